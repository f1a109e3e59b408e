#include "tests/unit/server/stage.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/log.h"
#include "server/listen.h"

bool
stage_init(struct stage *stage)
{
	*stage = (struct stage){ .listener = -1, .fibers = 64 };
	stage->options = (struct w_server_options){
		.request_timeout = 10 * W_SEC,
		.request_memory = 1 << 20,
		.max_json = 4096,
		.query_timeout = W_SEC,
		.stall_timeout = 10 * W_SEC,
	};
	w_log_init("unit", W_ERROR, false);
	stage->srv.name = "server-1";
	stage->srv.router = srv__router_new();
	for (const struct weir_route *route = stage_routes; route->pattern != NULL; route++)
		if (srv__router_add(stage->srv.router, "unit", route, NULL) < 0)
			return false;
	stage->metrics = w_metrics_new(1);
	srv__metrics_add(stage->metrics, stage->srv.router, &stage->srv.ids);
	stage->srv.ids.link = lnk_metrics(stage->metrics);
	stage->worker.meter = w_metrics_meter(stage->metrics, 0);
	return srv__listen("127.0.0.1:0", 1, &stage->listener, &stage->port, NULL) == W_OK &&
	    w_loop_init(&stage->loop) == W_OK;
}

bool
stage_open(struct stage *stage)
{
	atomic_init(&stage->srv.options, &stage->options);
	stage->worker.srv = &stage->srv;
	stage->worker.loop = &stage->loop;
	srv__worker_init(&stage->worker);
	return w_fibers_new(&stage->loop, 256 * 1024, stage->fibers, &stage->worker.fibers) == W_OK &&
	    srv__direct_new(&stage->worker, &stage->listener, 100, NULL) == W_OK;
}

void
stage_close(struct stage *stage)
{
	srv__direct_free(&stage->worker);
	/* handlers whose client is gone end at their next call */
	for (int i = 0; i < 1000; i++) {
		struct w_fiber_stats stats;

		w_fibers_stats(stage->worker.fibers, &stats);
		if (stats.running == 0)
			break;
		uv_run(&stage->loop.uv, UV_RUN_NOWAIT);
		usleep(1000);
	}
	w_fibers_free(&stage->worker.fibers);
	srv__worker_fini(&stage->worker);
}

static void *
run(void *arg)
{
	struct stage *stage = arg;

	if (stage_open(stage)) {
		w_loop_run(&stage->loop);
		stage_close(stage);
	}
	return NULL;
}

bool
stage_start(struct stage *stage)
{
	stage->threaded = pthread_create(&stage->thread, NULL, run, stage) == 0;
	return stage->threaded;
}

static void
stop(void *arg)
{
	w_loop_stop(arg);
}

void
stage_stop(struct stage *stage)
{
	if (!stage->threaded)
		return;
	w_loop_call(&stage->loop, stop, &stage->loop);
	pthread_join(stage->thread, NULL);
	stage->threaded = false;
}

void
stage_fini(struct stage *stage)
{
	stage_stop(stage);
	w_loop_fini(&stage->loop);
	w_close(&stage->listener);
	w_metrics_free(&stage->metrics);
	srv__router_free(&stage->srv.router);
}

int64_t
stage_metric(const struct stage *stage, enum srv_metric metric)
{
	return w_metrics_value(stage->metrics, stage->srv.ids.own + metric);
}

/* ---- the client ---- */

int
stage_connect(const struct stage *stage)
{
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_port = htons((uint16_t)stage->port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct timeval limit = { 20, 0 };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (fd >= 0 && connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		w_close(&fd);
	return fd;
}

bool
stage_send(int fd, const void *ptr, size_t len)
{
	const char *at = ptr;

	while (len > 0) {
		ssize_t sent = send(fd, at, len, MSG_NOSIGNAL);

		if (sent <= 0)
			return false;
		at += sent;
		len -= (size_t)sent;
	}
	return true;
}

struct reply
stage_read(int fd)
{
	struct reply reply = { 0 };
	size_t size = 65536;
	ssize_t got;
	char *body;

	reply.text = w_xcalloc(1, size);
	while ((got = recv(fd, reply.text + reply.len, size - reply.len - 1, 0)) > 0) {
		reply.len += (size_t)got;
		if (size - reply.len < 32768) {
			size *= 2;
			reply.text = w_xrealloc(reply.text, size);
		}
	}
	reply.text[reply.len] = '\0';
	if (sscanf(reply.text, "HTTP/1.1 %u", &reply.status) != 1)
		reply.status = 0;
	body = strstr(reply.text, "\r\n\r\n");
	reply.body = body != NULL ? body + 4 : reply.text + reply.len;
	reply.body_len = reply.len - (size_t)(reply.body - reply.text);
	return reply;
}

struct reply
stage_ask(const struct stage *stage, const char *request)
{
	W_AUTO(w_close) int fd = stage_connect(stage);

	if (fd < 0 || !stage_send(fd, request, strlen(request)))
		return (struct reply){ 0, w_xstrdup(""), 0, "", 0 };
	return stage_read(fd);
}

struct reply
stage_get(const struct stage *stage, const char *path)
{
	W_AUTO(w_free) char *request =
	    w_xasprintf("GET %s HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", path);

	return stage_ask(stage, request);
}

void
reply_free(struct reply *reply)
{
	w_free(&reply->text);
}

bool
reply_has(const struct reply *reply, const char *text)
{
	return strstr(reply->text, text) != NULL;
}

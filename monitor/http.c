/*
 * HTTP: libmicrohttpd on the control thread's loop, by its epoll descriptor. GET and HEAD only.
 *
 * Everything that is answered is made in memory at once, so a slow client costs its connection
 * and its answer, of which there are CONNECTIONS_MAX at most.
 */
#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/log.h"
#include "monitor/inner.h"

#define CONNECTIONS_MAX 128
#define IDLE_SECONDS 15u
#define ANSWER_MAX ((size_t)64 << 20)

struct mon_http {
	struct mon *mon;
	struct MHD_Daemon *daemon;
	struct mon_page *page;
	uv_poll_t *poll; /* heap, so that closing may finish later */
	struct w_timer timer; /* libmicrohttpd's own deadlines */
};

/* ---- answers ---- */

/* On every answer. No inline script or style: the page has none. */
static const char *const headers[][2] = {
	{ "Content-Security-Policy",
	    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
	    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'" },
	{ "X-Content-Type-Options", "nosniff" },
	{ "Referrer-Policy", "no-referrer" },
	{ "Cross-Origin-Opener-Policy", "same-origin" },
	{ "Cross-Origin-Resource-Policy", "same-origin" },
};

/* Takes the response over. */
static enum MHD_Result
queue(struct MHD_Connection *connection, unsigned status, struct MHD_Response *response,
    const char *type)
{
	enum MHD_Result result;

	if (response == NULL)
		return MHD_NO;
	for (size_t i = 0; i < W_NELEM(headers); i++)
		MHD_add_response_header(response, headers[i][0], headers[i][1]);
	if (type != NULL)
		MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	result = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return result;
}

/* A response of the buffer's bytes, which it takes over. */
static struct MHD_Response *
response_of(struct w_buf *body)
{
	struct w_buf owned = *body;
	struct MHD_Response *response;

	*body = (struct w_buf){ 0 };
	response = MHD_create_response_from_buffer(owned.len, owned.ptr, MHD_RESPMEM_MUST_FREE);
	if (response == NULL)
		w_buf_fini(&owned);
	return response;
}

/* RFC 9457 */
static enum MHD_Result
queue_problem(struct MHD_Connection *connection, int err, const char *detail)
{
	struct w_buf body = { 0 };
	struct MHD_Response *response;
	struct w_json json;

	w_json_init(&json, &body);
	w_json_open(&json, '{');
	w_json_key(&json, "title");
	w_json_text(&json, w_err_text(err));
	w_json_key(&json, "status");
	w_json_int(&json, w_err_http(err));
	w_json_key(&json, "detail");
	w_json_text(&json, detail);
	w_json_close(&json, '}');
	response = response_of(&body);
	if (response != NULL && w_err_http(err) == MHD_HTTP_METHOD_NOT_ALLOWED)
		MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
	return queue(connection, (unsigned)w_err_http(err), response, "application/problem+json");
}

static enum MHD_Result
queue_file(struct MHD_Connection *connection, const struct mon_page_file *file)
{
	const char *known = MHD_lookup_connection_value(connection, MHD_HEADER_KIND,
	    MHD_HTTP_HEADER_IF_NONE_MATCH);
	bool same = known != NULL && strcmp(known, file->etag) == 0;
	struct MHD_Response *response = MHD_create_response_from_buffer(
	    same ? 0 : file->body.len, file->body.ptr, MHD_RESPMEM_PERSISTENT);

	if (response != NULL) {
		MHD_add_response_header(response, MHD_HTTP_HEADER_ETAG, file->etag);
		MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-cache");
	}
	return queue(connection, same ? MHD_HTTP_NOT_MODIFIED : MHD_HTTP_OK, response,
	    same ? NULL : file->type);
}

static const char *
argument(struct MHD_Connection *connection, const char *name)
{
	return MHD_lookup_connection_value(connection, MHD_GET_ARGUMENT_KIND, name);
}

static enum MHD_Result
queue_answer(struct mon_http *http, struct MHD_Connection *connection, const char *path, bool get)
{
	const struct mon_query query = { argument(connection, "series"),
		argument(connection, "tier"), argument(connection, "node") };
	W_AUTO(w_buf_fini) struct w_buf body = { .limit = ANSWER_MAX };
	struct MHD_Response *response;
	struct w_fault fault = { 0 };
	const char *type = NULL;
	int rc;

	rc = mon_api_answer(http->mon, path, &query, &body, &type, &fault);
	if (rc != -W_ENOROUTE && !get)
		return queue_problem(connection, -W_EMETHOD, "wanted is GET or HEAD");
	if (rc < 0)
		return queue_problem(connection, rc, fault.text);
	if (w_buf_broken(&body))
		return queue_problem(connection, -W_ENOMEM, "the answer is too large");
	response = response_of(&body);
	if (response != NULL)
		MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
	return queue(connection, MHD_HTTP_OK, response, type);
}

static enum MHD_Result
on_request(void *arg, struct MHD_Connection *connection, const char *url, const char *method,
    const char *version W_UNUSED, const char *upload W_UNUSED, size_t *upload_size,
    void **context)
{
	struct mon_http *http = arg;
	struct mon *mon = http->mon;
	const struct mon_page_file *file = mon_page_find(http->page, url);
	bool get = strcmp(method, MHD_HTTP_METHOD_GET) == 0 ||
	           strcmp(method, MHD_HTTP_METHOD_HEAD) == 0;

	/*
	 * An answer at the first call, before a body could be read, closes the connection. That is
	 * right for other methods, whose bodies nobody wants.
	 */
	if (get && *context == NULL) {
		*context = http;
		return MHD_YES;
	}
	/* a GET's body, which means nothing, is read and forgotten */
	if (*upload_size > 0) {
		*upload_size = 0;
		return MHD_YES;
	}
	w_meter_add(mon->node->meter, mon->metrics + MON_M_HTTP, 1);
	if (file != NULL && get)
		return queue_file(connection, file);
	if (file != NULL)
		return queue_problem(connection, -W_EMETHOD, "wanted is GET or HEAD");
	return queue_answer(http, connection, url, get);
}

/* ---- the loop ---- */

static void
turn(struct mon_http *http)
{
	MHD_UNSIGNED_LONG_LONG wait;

	MHD_run(http->daemon);
	if (MHD_get_timeout(http->daemon, &wait) == MHD_YES)
		w_timer_start(&http->mon->node->loop, &http->timer,
		    (w_usec)W_MIN(wait, 60000ULL) * W_MSEC, 0);
	else
		w_timer_stop(&http->timer);
}

static void
on_readable(uv_poll_t *poll, int status W_UNUSED, int events W_UNUSED)
{
	struct mon_http *http = poll->data;

	if (http == NULL)
		return;
	w_loop_enter(&http->mon->node->loop);
	turn(http);
}

static void
on_timer(void *arg)
{
	turn(arg);
}

static void
free_handle(uv_handle_t *handle)
{
	free(handle);
}

/* ---- life ---- */

static int
try_listen(const struct addrinfo *info)
{
	W_AUTO(w_close) int fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
	    info->ai_protocol);
	int one = 1, good = fd;

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (info->ai_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	if (bind(fd, info->ai_addr, info->ai_addrlen) < 0 || listen(fd, SOMAXCONN) < 0)
		return -1;
	fd = -1;
	return good;
}

static int
listen_at(const char *addr, int *ret, struct w_fault *fault)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE };
	struct addrinfo *list = NULL;
	char host[256], service[16];
	unsigned port;
	int fd = -1, rc;

	if (w_addr_split(addr, host, sizeof(host), &port) < 0)
		return w_fail(fault, -W_EINVAL, "http: '%s' is not HOST:PORT", addr);
	snprintf(service, sizeof(service), "%u", port);
	rc = getaddrinfo(host, service, &hints, &list);
	if (rc != 0)
		return w_fail(fault, -W_EIO, "http: %s: %s", host, gai_strerror(rc));
	for (const struct addrinfo *info = list; info != NULL && fd < 0; info = info->ai_next)
		fd = try_listen(info);
	rc = errno;
	freeaddrinfo(list);
	if (fd < 0)
		return w_fail(fault, -W_EIO, "http: cannot listen at %s: %s", addr, strerror(rc));
	*ret = fd;
	return W_OK;
}

static int
watch(struct mon_http *http, struct w_fault *fault)
{
	const union MHD_DaemonInfo *info =
	    MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	uv_poll_t *poll;

	http->timer.fire = on_timer;
	http->timer.arg = http;
	if (info == NULL)
		return w_fail(fault, -W_EIO, "http: this libmicrohttpd is built without epoll");
	poll = w_xcalloc(1, sizeof(*poll));
	if (uv_poll_init(&http->mon->node->loop.uv, poll, info->epoll_fd) < 0) {
		free(poll);
		return w_fail(fault, -W_EIO, "http: the loop cannot watch libmicrohttpd");
	}
	poll->data = http;
	http->poll = poll;
	uv_poll_start(poll, UV_READABLE, on_readable);
	return W_OK;
}

int
mon_http_open(struct mon *mon, struct mon_http **ret, struct w_fault *fault)
{
	W_AUTO(mon_http_close) struct mon_http *http = w_xcalloc(1, sizeof(*http));
	int fd, rc;

	http->mon = mon;
	http->page = mon_page_load();
	rc = listen_at(mon->node->self->opt.monitor.http, &fd, fault);
	if (rc < 0)
		return rc;
	http->daemon = MHD_start_daemon(MHD_USE_EPOLL, 0, NULL, NULL, on_request, http,
	    MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX,
	    MHD_OPTION_CONNECTION_TIMEOUT, IDLE_SECONDS, MHD_OPTION_STRICT_FOR_CLIENT, 1,
	    MHD_OPTION_END);
	if (http->daemon == NULL) {
		close(fd);
		return w_fail(fault, -W_EIO, "http: libmicrohttpd does not start: %s",
		    strerror(errno));
	}
	rc = watch(http, fault);
	if (rc < 0)
		return rc;
	*ret = w_steal(&http);
	return W_OK;
}

void
mon_http_close(struct mon_http **http)
{
	struct mon_http *h = w_steal(http);

	if (h == NULL)
		return;
	w_timer_fini(&h->timer);
	if (h->poll != NULL) {
		h->poll->data = NULL;
		uv_poll_stop(h->poll);
		uv_close((uv_handle_t *)h->poll, free_handle);
	}
	if (h->daemon != NULL)
		MHD_stop_daemon(h->daemon);
	mon_page_free(&h->page);
	free(h);
}

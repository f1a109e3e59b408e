/*
 * What runs in a suite's set-up asserts by W_ASSERT: CUnit counts only within tests.
 */
#include "tests/unit/monitor/live.h"

#include <CUnit/CUnit.h>
#include <arpa/inet.h>
#include <curl/curl.h>
#include <dirent.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zmq.h>

#include "monitor/monitor.h"

void
live_clear_folder(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;

	while (dir != NULL && (entry = readdir(dir)) != NULL) {
		W_AUTO(w_free) char *file = w_xasprintf("%s/%s", path, entry->d_name);

		unlink(file);
	}
	if (dir != NULL)
		closedir(dir);
}

/* A listening socket of 127.0.0.1 at a port of the kernel's choice. */
int
live_listen(unsigned *ret_port)
{
	struct sockaddr_in addr = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(addr);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	W_ASSERT(fd >= 0);
	W_ASSERT(bind(fd, (struct sockaddr *)&addr, len) == 0 && listen(fd, 8) == 0);
	W_ASSERT(getsockname(fd, (struct sockaddr *)&addr, &len) == 0);
	*ret_port = ntohs(addr.sin_port);
	return fd;
}

unsigned
live_free_port(void)
{
	unsigned port;

	close(live_listen(&port));
	return port;
}

pid_t
live_start(const char *dir)
{
	pid_t pid;

	fflush(NULL);
	pid = fork();
	W_ASSERT(pid >= 0);
	if (pid == 0) {
		char *config = w_xasprintf("%s/cluster.yaml", dir);
		char *argv[] = { "weir-monitor", "--config", config, "--name", "monitor-1", NULL };
		int status;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		status = w_node_main(5, argv, &mon_role);
		free(config);
		exit(status);
	}
	return pid;
}

int
live_stop(pid_t pid)
{
	int status;

	if (kill(pid, SIGTERM) < 0 || waitpid(pid, &status, 0) != pid)
		return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void *
live_connect(void *zmq, int type, const char *folder, const char *name, unsigned port)
{
	W_AUTO(w_keys_free) struct w_keys *keys = NULL;
	void *socket = zmq_socket(zmq, type);
	char endpoint[64];

	CU_ASSERT_PTR_NOT_NULL_FATAL(socket);
	CU_ASSERT_EQUAL_FATAL(w_keys_load(folder, name, &keys, NULL), W_OK);
	CU_ASSERT_EQUAL_FATAL(w_keys_client(keys, socket, "monitor-1", NULL), W_OK);
	snprintf(endpoint, sizeof(endpoint), "tcp://127.0.0.1:%u", port);
	CU_ASSERT_EQUAL_FATAL(zmq_connect(socket, endpoint), 0);
	return socket;
}

bool
live_receive(void *socket, int wait, struct w_buf *topic, struct w_buf *body)
{
	zmq_pollitem_t item = { .socket = socket, .events = ZMQ_POLLIN };
	struct w_buf *to[] = { topic, body };
	int more = 1;

	if (zmq_poll(&item, 1, wait) <= 0)
		return false;
	for (int i = 0; more; i++) {
		zmq_msg_t frame;

		zmq_msg_init(&frame);
		CU_ASSERT_FATAL(zmq_msg_recv(&frame, socket, 0) >= 0 && i < 2);
		w_buf_clear(to[i]);
		w_buf_add(to[i], zmq_msg_data(&frame), zmq_msg_size(&frame));
		w_buf_char(to[i], '\0');
		more = zmq_msg_more(&frame);
		zmq_msg_close(&frame);
	}
	return true;
}

static size_t
take_bytes(char *ptr, size_t size, size_t count, void *arg)
{
	w_buf_add(arg, ptr, size * count);
	return size * count;
}

long
live_get(unsigned port, const char *path, struct w_buf *body)
{
	W_AUTO(w_free) char *url = w_xasprintf("http://127.0.0.1:%u%s", port, path);
	CURL *curl = curl_easy_init();
	long status = 0;

	w_buf_clear(body);
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)LIVE_WAIT);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_bytes);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, body);
	if (curl_easy_perform(curl) == CURLE_OK)
		curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_cleanup(curl);
	w_buf_char(body, '\0');
	return status;
}

/* Read until the body is whole; true when it is. */
static bool
read_post(int fd, struct w_buf *body)
{
	W_AUTO(w_buf_fini) struct w_buf all = { 0 };
	char *end, *length;
	ssize_t got;

	for (;;) {
		struct pollfd item = { .fd = fd, .events = POLLIN };

		if (poll(&item, 1, LIVE_WAIT) <= 0)
			return false;
		got = read(fd, w_buf_room(&all, 4096), 4095);
		if (got <= 0)
			return false;
		w_buf_added(&all, (size_t)got);
		*w_buf_room(&all, 1) = '\0';
		end = strstr(all.ptr, "\r\n\r\n");
		length = strcasestr(all.ptr, "content-length:");
		if (end == NULL || length == NULL ||
		    strlen(end + 4) < strtoul(length + strlen("content-length:"), NULL, 10))
			continue;
		w_buf_clear(body);
		w_buf_text(body, end + 4);
		w_buf_char(body, '\0');
		return true;
	}
}

bool
live_take_post(int fd, int wait, int status, struct w_buf *body)
{
	struct pollfd item = { .fd = fd, .events = POLLIN };
	W_AUTO(w_close) int peer = -1;
	char answer[128];
	int len = snprintf(answer, sizeof(answer),
	    "HTTP/1.1 %d x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", status);

	if (poll(&item, 1, wait) <= 0)
		return false;
	peer = accept(fd, NULL, NULL);
	return peer >= 0 && read_post(peer, body) && write(peer, answer, (size_t)len) == len;
}

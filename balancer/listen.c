/*
 * Listening sockets. Each worker has its own on the same address (SO_REUSEPORT), and the
 * system spreads new connections over them.
 */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <unistd.h>

#include "balancer/conn.h"
#include "common/log.h"

#define BACKLOG 1024
#define ACCEPTS_PER_EVENT 32
#define NO_FILES_PAUSE (100 * W_MSEC)

static void poll_listeners(struct bal_worker *worker, bool on);

static void
resume(void *arg)
{
	poll_listeners(arg, true);
}

/*
 * No descriptor is free: give up the spare one for a moment, so that the client is told at
 * once and the backlog does not keep the loop busy. If even that fails, pause.
 */
static void
refuse_without_files(struct bal_listener *listener)
{
	struct bal_worker *worker = listener->worker;
	int fd = -1;

	if (worker->spare_fd >= 0) {
		w_close(&worker->spare_fd);
		fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		w_close(&fd);
		worker->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	}
	bal_count(&worker->edge, BAL_M_REFUSED_FILES, 1);
	if (worker->spare_fd >= 0)
		return;
	poll_listeners(worker, false);
	w_timer_start(&worker->base->loop, &worker->accept_timer, NO_FILES_PAUSE, 0);
}

/* False: no more to accept now. */
static bool
accept_one(struct bal_listener *listener)
{
	struct bal_worker *worker = listener->worker;
	struct sockaddr_storage peer;
	socklen_t len = sizeof(peer);
	int fd = accept4(listener->fd, (struct sockaddr *)&peer, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0) {
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
			refuse_without_files(listener);
		return errno == ECONNABORTED || errno == EINTR;
	}
	if (worker->connection_count >= worker->connection_max) {
		bal_count(&worker->edge, BAL_M_REFUSED_LIMIT, 1);
		close(fd);
		return true;
	}
	bal_conn_new(worker, fd, &peer, listener->tls);
	return true;
}

static void
on_accept(uv_poll_t *poll, int status W_UNUSED, int events W_UNUSED)
{
	struct bal_listener *listener = poll->data;

	if (listener == NULL)
		return;
	w_loop_enter(&listener->worker->base->loop);
	for (unsigned i = 0; i < ACCEPTS_PER_EVENT && accept_one(listener); i++)
		continue;
}

static void
poll_listeners(struct bal_worker *worker, bool on)
{
	for (unsigned i = 0; i < worker->listener_count; i++) {
		uv_poll_t *poll = worker->listeners[i].poll;

		if (poll == NULL)
			continue;
		if (on)
			uv_poll_start(poll, UV_READABLE, on_accept);
		else
			uv_poll_stop(poll);
	}
}

static int
open_socket(const struct addrinfo *ai)
{
	W_AUTO(w_close) int fd = -1;
	int on = 1, off = 0, ret;

	fd = socket(ai->ai_family, ai->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, ai->ai_protocol);
	if (fd < 0)
		return -1;
	if (ai->ai_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	/* Accepted sockets inherit TCP_NODELAY. */
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) < 0 ||
	    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0 ||
	    bind(fd, ai->ai_addr, ai->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0)
		return -1;
	ret = fd;
	fd = -1;
	return ret;
}

static int
add_listener(struct bal_worker *worker, int fd, bool tls)
{
	struct bal_listener *listener;

	if (worker->listener_count == BAL_LISTENERS_MAX) {
		close(fd);
		return -W_ERANGE;
	}
	listener = &worker->listeners[worker->listener_count];
	*listener = (struct bal_listener){ .fd = fd, .tls = tls, .worker = worker };
	listener->poll = w_xcalloc(1, sizeof(*listener->poll));
	if (uv_poll_init(&worker->base->loop.uv, listener->poll, fd) < 0) {
		free(listener->poll);
		close(fd);
		return -W_EIO;
	}
	listener->poll->data = listener;
	uv_poll_start(listener->poll, UV_READABLE, on_accept);
	worker->listener_count++;
	return W_OK;
}

/* A name may have several addresses: all that this host has are listened on. */
static unsigned
open_all(struct bal_worker *worker, const struct addrinfo *list, bool tls, int *ret_errno)
{
	unsigned opened = 0;

	for (const struct addrinfo *ai = list; ai != NULL; ai = ai->ai_next) {
		int fd = open_socket(ai);

		if (fd < 0) {
			*ret_errno = errno;
			/* Half of a name in use by somebody else is not a success. */
			if (errno != EADDRNOTAVAIL && errno != EAFNOSUPPORT)
				return 0;
			continue;
		}
		if (add_listener(worker, fd, tls) == W_OK)
			opened++;
	}
	return opened;
}

int
bal_listen(struct bal_worker *worker, const char *addr, bool tls, struct w_fault *fault)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE }, *list = NULL;
	char host[256], service[16];
	unsigned port = 0, opened;
	int rc, error = 0;

	worker->accept_timer.fire = resume;
	worker->accept_timer.arg = worker;
	if (w_addr_split(addr, host, sizeof(host), &port) < 0)
		return w_fail(fault, -W_EINVAL, "%s: not an address; write HOST:PORT", addr);
	snprintf(service, sizeof(service), "%u", port);
	rc = getaddrinfo(host[0] != '\0' ? host : NULL, service, &hints, &list);
	if (rc != 0)
		return w_fail(fault, -W_EINVAL, "%s: %s", addr, gai_strerror(rc));
	opened = open_all(worker, list, tls, &error);
	freeaddrinfo(list);
	if (opened == 0)
		return w_fail(fault, -W_EIO, "cannot listen on %s: %s", addr, strerror(error));
	return W_OK;
}

static void
free_handle(uv_handle_t *handle)
{
	free(handle);
}

void
bal_listeners_close(struct bal_worker *worker)
{
	w_timer_fini(&worker->accept_timer);
	for (unsigned i = 0; i < worker->listener_count; i++) {
		struct bal_listener *listener = &worker->listeners[i];

		if (listener->poll == NULL)
			continue;
		listener->poll->data = NULL;
		uv_poll_stop(listener->poll);
		uv_close((uv_handle_t *)listener->poll, free_handle);
		listener->poll = NULL;
		w_close(&listener->fd);
	}
}

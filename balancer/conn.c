/*
 * Client connections: see conn.h. Order of this file: events, settling, life.
 */
#include "balancer/conn.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <unistd.h>

#include "common/log.h"

#define MAGIC 0x42434f4e      /* "BCON" */
#define LINGER_TIME (2 * W_SEC)
#define READS_PER_EVENT 4

static void
mark_dirty(struct bal_conn *conn)
{
	if (conn->phase != BAL_CONN_GONE && w_list_empty(&conn->dirty))
		w_list_push(&conn->worker->dirty, &conn->dirty);
}

static void
on_wake(struct bal_h1 *h1)
{
	mark_dirty(w_container_of(h1, struct bal_conn, h1));
}

/* ---- events ---- */

static void
read_input(struct bal_conn *conn)
{
	struct bal_edge *edge = &conn->worker->edge;
	char *to;
	size_t room;
	ssize_t n;

	for (unsigned i = 0; i < READS_PER_EVENT && bal_h1_wants_input(&conn->h1); i++) {
		room = bal_h1_room(&conn->h1, &to);
		if (room == 0)
			return;
		n = bal_conn_recv(conn, to, room);
		if (n == -W_EAGAIN)
			return;
		if (n < 0) {
			bal_conn_destroy(conn);
			return;
		}
		if (n == 0) {
			bal_h1_eof(&conn->h1);
			return;
		}
		bal_count(edge, BAL_M_IN, (uint64_t)n);
		bal_h1_added(&conn->h1, (size_t)n);
		if (conn->drained && !bal_conn_has_buffered(conn))
			return;
	}
}

static void
handshake(struct bal_conn *conn)
{
	struct bal_edge *edge = &conn->worker->edge;
	int rc = bal_conn_handshake(conn);

	if (rc == -W_EAGAIN)
		return;
	if (rc < 0) {
		bal_count(edge, BAL_M_TLS_FAILED, 1);
		bal_conn_destroy(conn);
		return;
	}
	bal_count(edge, gnutls_session_is_resumed(conn->tls) ? BAL_M_TLS_RESUMED : BAL_M_TLS_FULL, 1);
	conn->phase = BAL_CONN_OPEN;
	conn->phase_due = W_NEVER;
	conn->blocked = false;
	conn->h1.read_due = bal_now(edge) + bal_opt(edge)->idle_timeout;
	if (edge->draining)
		bal_h1_drain(&conn->h1);
	read_input(conn);
}

/* Read and forget, so that the client gets to read the answer before the socket goes. */
static void
discard(struct bal_conn *conn)
{
	char bytes[16384];
	ssize_t n = 1;

	for (unsigned i = 0; i < READS_PER_EVENT && n > 0; i++)
		n = recv(conn->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		bal_conn_destroy(conn);
}

static void
on_poll(uv_poll_t *poll, int status, int events)
{
	struct bal_conn *conn = w_typed(poll->data, MAGIC);

	w_loop_enter(&conn->worker->base->loop);
	if (status < 0) {
		bal_conn_destroy(conn);
		return;
	}
	if (events & UV_WRITABLE)
		conn->blocked = false;
	if (events & UV_READABLE)
		conn->drained = false;
	if (conn->phase == BAL_CONN_HANDSHAKE)
		handshake(conn);
	else if (conn->phase == BAL_CONN_LINGER)
		discard(conn);
	else if (events & UV_READABLE)
		read_input(conn);
	mark_dirty(conn);
}

static void
on_timer(struct bal_timer *timer)
{
	struct bal_conn *conn = w_container_of(timer, struct bal_conn, timer);
	struct bal_edge *edge = &conn->worker->edge;
	w_usec now = bal_now(edge);

	if (conn->phase == BAL_CONN_HANDSHAKE) {
		bal_count(edge, BAL_M_SLOW_HANDSHAKE, 1);
		bal_count(edge, BAL_M_TLS_FAILED, 1);
		bal_conn_destroy(conn);
	} else if (conn->phase == BAL_CONN_LINGER) {
		bal_conn_destroy(conn);
	} else if (conn->write_due <= now) {
		bal_count(edge, BAL_M_SLOW_WRITE, 1);
		bal_conn_destroy(conn);
	} else if (conn->h1.read_due <= now) {
		bal_h1_timeout(&conn->h1);
		mark_dirty(conn);
	} else {
		mark_dirty(conn);
	}
}

/* ---- settling ---- */

static void
poll_for(struct bal_conn *conn)
{
	int events = 0;

	if (conn->phase != BAL_CONN_OPEN || bal_h1_wants_input(&conn->h1))
		events |= UV_READABLE;
	if (conn->blocked)
		events |= UV_WRITABLE;
	if (events == conn->events)
		return;
	conn->events = events;
	if (events != 0)
		uv_poll_start(&conn->poll, events, on_poll);
	else
		uv_poll_stop(&conn->poll);
}

static void
set_timer(struct bal_conn *conn)
{
	w_usec due = conn->phase_due;

	if (conn->phase == BAL_CONN_OPEN)
		due = W_MIN(conn->h1.read_due, conn->write_due);
	bal_timer_set(&conn->worker->edge.wheel, &conn->timer, due);
}

static void
finish(struct bal_conn *conn)
{
	struct linger reset = { .l_onoff = 1, .l_linger = 0 };

	if (conn->h1.abort) {
		/* The client must not take a cut-off answer for a complete one. */
		setsockopt(conn->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
		bal_conn_destroy(conn);
		return;
	}
	bal_conn_bye(conn);
	if (!conn->h1.linger) {
		bal_conn_destroy(conn);
		return;
	}
	shutdown(conn->fd, SHUT_WR);
	conn->phase = BAL_CONN_LINGER;
	conn->phase_due = bal_now(&conn->worker->edge) + LINGER_TIME;
}

/* False: the connection is gone. */
static bool
flush(struct bal_conn *conn)
{
	struct bal_edge *edge = &conn->worker->edge;
	size_t before = conn->h1.out.bytes, sent;
	int rc;

	if (before == 0 || conn->blocked)
		return true;
	rc = bal_conn_send(conn);
	if (rc == -W_EIO || conn->h1.out.broken) {
		bal_conn_destroy(conn);
		return false;
	}
	conn->blocked = rc == -W_EAGAIN;
	sent = before - conn->h1.out.bytes;
	bal_count(edge, BAL_M_OUT, sent);
	if (!conn->blocked)
		conn->write_due = W_NEVER;
	else if (sent > 0 || conn->write_due == W_NEVER)
		conn->write_due = bal_now(edge) + bal_opt(edge)->write_timeout;
	return true;
}

void
bal_conn_settle(struct bal_conn *conn)
{
	if (conn->phase == BAL_CONN_OPEN) {
		if (!flush(conn))
			return;
		if (conn->h1.x != NULL) {
			/* Windows that open now go out with the next turn's batch. */
			bal_h1_flushed(&conn->h1);
			if (conn->h1.x != NULL && conn->h1.x->head_sent)
				w_loop_again(&conn->worker->base->loop);
		}
		if (conn->h1.state == BAL_H1_CLOSE && (conn->h1.out.bytes == 0 || conn->h1.abort)) {
			finish(conn);
		} else if (bal_conn_has_buffered(conn) && bal_h1_wants_input(&conn->h1)) {
			read_input(conn);
			w_loop_again(&conn->worker->base->loop);
		}
	}
	if (conn->phase == BAL_CONN_GONE)
		return;
	if (conn->phase == BAL_CONN_OPEN)
		bal_h1_trim(&conn->h1);
	poll_for(conn);
	set_timer(conn);
}

/* ---- life ---- */

static void
format_client(struct bal_conn *conn, const struct sockaddr_storage *peer)
{
	const struct sockaddr_in *v4 = (const void *)peer;
	const struct sockaddr_in6 *v6 = (const void *)peer;
	char host[INET6_ADDRSTRLEN] = "unknown";

	if (peer->ss_family == AF_INET) {
		inet_ntop(AF_INET, &v4->sin_addr, host, sizeof(host));
		snprintf(conn->client, sizeof(conn->client), "%s:%u", host, ntohs(v4->sin_port));
	} else if (peer->ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) {
		inet_ntop(AF_INET, &v6->sin6_addr.s6_addr[12], host, sizeof(host));
		snprintf(conn->client, sizeof(conn->client), "%s:%u", host, ntohs(v6->sin6_port));
	} else if (peer->ss_family == AF_INET6) {
		inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof(host));
		snprintf(conn->client, sizeof(conn->client), "[%s]:%u", host, ntohs(v6->sin6_port));
	} else {
		snprintf(conn->client, sizeof(conn->client), "%s", host);
	}
}

static void
count_in(struct bal_conn *conn, bool tls)
{
	struct bal_worker *worker = conn->worker;

	worker->connection_count++;
	w_list_push(&worker->connections, &conn->node);
	bal_count(&worker->edge, tls ? BAL_M_ACCEPTED_TLS : BAL_M_ACCEPTED_CLEAR, 1);
	bal_gauge(&worker->edge, tls ? BAL_M_OPEN_TLS : BAL_M_OPEN_CLEAR, 1);
}

void
bal_conn_new(struct bal_worker *worker, int fd, const struct sockaddr_storage *peer, bool tls)
{
	struct bal_conn *conn = calloc(1, sizeof(*conn));
	struct bal_edge *edge = &worker->edge;

	if (conn == NULL) {
		close(fd);
		return;
	}
	*conn = (struct bal_conn){ .magic = MAGIC, .worker = worker, .fd = fd,
		.phase = tls ? BAL_CONN_HANDSHAKE : BAL_CONN_OPEN, .write_due = W_NEVER,
		.phase_due = tls ? bal_now(edge) + bal_opt(edge)->header_timeout : W_NEVER };
	if ((tls && bal_conn_tls_start(conn, edge->config->tls) < 0) ||
	    uv_poll_init(&worker->base->loop.uv, &conn->poll, fd) < 0) {
		if (conn->tls != NULL)
			gnutls_deinit(conn->tls);
		close(fd);
		free(conn);
		return;
	}
	conn->poll.data = conn;
	conn->timer.fire = on_timer;
	w_list_init(&conn->dirty);
	format_client(conn, peer);
	conn->h1.wake = on_wake;
	conn->h1.client = conn->client;
	conn->h1.tls = tls;
	bal_h1_init(&conn->h1, edge);
	count_in(conn, tls);
	mark_dirty(conn);
}

static void
on_closed(uv_handle_t *handle)
{
	struct bal_conn *conn = w_typed(handle->data, MAGIC);

	free(conn);
}

void
bal_conn_destroy(struct bal_conn *conn)
{
	struct bal_worker *worker = conn->worker;

	if (conn->phase == BAL_CONN_GONE)
		return;
	conn->phase = BAL_CONN_GONE;
	bal_h1_fini(&conn->h1);
	bal_block_give(&worker->edge.pool, &conn->cipher);
	bal_timer_stop(&worker->edge.wheel, &conn->timer);
	w_list_remove(&conn->dirty);
	w_list_remove(&conn->node);
	if (conn->tls != NULL)
		gnutls_deinit(conn->tls);
	uv_poll_stop(&conn->poll);
	uv_close((uv_handle_t *)&conn->poll, on_closed);
	close(conn->fd);
	bal_gauge(&worker->edge, conn->h1.tls ? BAL_M_OPEN_TLS : BAL_M_OPEN_CLEAR, -1);
	worker->connection_count--;
	bal_worker_check_done(worker);
}

void
bal_conn_drain(struct bal_conn *conn)
{
	if (conn->phase == BAL_CONN_OPEN)
		bal_h1_drain(&conn->h1);
	mark_dirty(conn);
}

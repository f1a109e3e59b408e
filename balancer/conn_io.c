/*
 * Bytes of a connection, in clear and over TLS: see conn.h.
 *
 * GnuTLS asks for five bytes of record header, then for the record. It gets them from a block
 * that one recv(2) filled, so a small request costs one system call.
 */
#include "balancer/conn.h"

#include <errno.h>
#include <poll.h>
#include <sys/uio.h>
#include <unistd.h>

#include "balancer/tls.h"

#define IOV_MAX_OUT 16

static ssize_t
socket_recv(struct bal_conn *conn, char *to, size_t len)
{
	ssize_t n;

	if (conn->drained) {
		errno = EAGAIN;
		return -1;
	}
	do
		n = recv(conn->fd, to, len, 0);
	while (n < 0 && errno == EINTR);
	/* A short read has emptied the socket; epoll is level-triggered and will tell of more. */
	if (n < 0 || (n > 0 && (size_t)n < len))
		conn->drained = true;
	return n;
}

/* ---- what GnuTLS calls ---- */

static ssize_t
pull(gnutls_transport_ptr_t ptr, void *to, size_t len)
{
	struct bal_conn *conn = ptr;
	struct bal_block *block = conn->cipher;
	size_t part;
	ssize_t n;

	if (block == NULL) {
		block = bal_block_take(&conn->worker->edge.pool, BAL_BLOCK);
		if (block == NULL)
			return -1;
		n = socket_recv(conn, block->data, block->cap);
		if (n <= 0) {
			int saved = errno;

			bal_block_give(&conn->worker->edge.pool, &block);
			gnutls_transport_set_errno(conn->tls, saved);
			return n;
		}
		block->len = (uint32_t)n;
		conn->cipher = block;
	}
	part = W_MIN(len, (size_t)(block->len - block->pos));
	memcpy(to, block->data + block->pos, part);
	block->pos += (uint32_t)part;
	if (block->pos == block->len)
		bal_block_give(&conn->worker->edge.pool, &conn->cipher);
	return (ssize_t)part;
}

static int
pull_timeout(gnutls_transport_ptr_t ptr, unsigned int ms)
{
	struct bal_conn *conn = ptr;
	struct pollfd pfd = { .fd = conn->fd, .events = POLLIN };

	/* Never wait: the loop does. */
	(void)ms;
	return conn->cipher != NULL ? 1 : poll(&pfd, 1, 0);
}

static ssize_t
push(gnutls_transport_ptr_t ptr, const giovec_t *iov, int count)
{
	struct bal_conn *conn = ptr;
	struct msghdr msg = { .msg_iov = (struct iovec *)iov, .msg_iovlen = (size_t)count };
	ssize_t n;

	do
		n = sendmsg(conn->fd, &msg, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		gnutls_transport_set_errno(conn->tls, errno);
	return n;
}

int
bal_conn_tls_start(struct bal_conn *conn, const struct bal_tls *tls)
{
	int rc = bal_tls_session(tls, &conn->tls);

	if (rc < 0)
		return rc;
	gnutls_transport_set_ptr(conn->tls, conn);
	gnutls_transport_set_pull_function(conn->tls, pull);
	gnutls_transport_set_pull_timeout_function(conn->tls, pull_timeout);
	gnutls_transport_set_vec_push_function(conn->tls, push);
	return W_OK;
}

int
bal_conn_handshake(struct bal_conn *conn)
{
	int rc;

	do
		rc = gnutls_handshake(conn->tls);
	while (rc < 0 && rc != GNUTLS_E_AGAIN && gnutls_error_is_fatal(rc) == 0);
	if (rc == GNUTLS_E_AGAIN) {
		conn->blocked = gnutls_record_get_direction(conn->tls) == 1;
		return -W_EAGAIN;
	}
	if (rc < 0) {
		gnutls_alert_send_appropriate(conn->tls, rc);
		return -W_EPROTO;
	}
	return W_OK;
}

static ssize_t
tls_recv(struct bal_conn *conn, char *to, size_t len)
{
	ssize_t n;

	do
		n = gnutls_record_recv(conn->tls, to, len);
	while (n == GNUTLS_E_INTERRUPTED || n == GNUTLS_E_WARNING_ALERT_RECEIVED);
	if (n >= 0)
		return n;
	/* A wish to renegotiate counts as broken: TLS 1.3 has none, and 1.2 is better without. */
	return n == GNUTLS_E_AGAIN ? -W_EAGAIN : -W_EIO;
}

ssize_t
bal_conn_recv(struct bal_conn *conn, char *to, size_t len)
{
	ssize_t n;

	if (conn->tls != NULL)
		return tls_recv(conn, to, len);
	n = socket_recv(conn, to, len);
	if (n >= 0)
		return n;
	return errno == EAGAIN || errno == EWOULDBLOCK ? -W_EAGAIN : -W_EIO;
}

bool
bal_conn_has_buffered(const struct bal_conn *conn)
{
	return conn->cipher != NULL ||
	    (conn->tls != NULL && gnutls_record_check_pending(conn->tls) > 0);
}

static int
clear_send(struct bal_conn *conn)
{
	struct bal_out *out = &conn->h1.out;
	struct iovec iov[IOV_MAX_OUT];
	struct msghdr msg = { .msg_iov = iov };
	struct bal_block *block;
	ssize_t n;

	while (out->bytes > 0) {
		msg.msg_iovlen = 0;
		for (block = out->head; block != NULL && msg.msg_iovlen < IOV_MAX_OUT;
		     block = block->next)
			iov[msg.msg_iovlen++] = (struct iovec){ block->data + block->pos,
				block->len - block->pos };
		n = sendmsg(conn->fd, &msg, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN || errno == EWOULDBLOCK ? -W_EAGAIN : -W_EIO;
		bal_out_drop(out, (size_t)n);
	}
	return W_OK;
}

static int
tls_send(struct bal_conn *conn)
{
	struct bal_out *out = &conn->h1.out;
	struct w_view first;
	ssize_t n;

	while (out->bytes > 0) {
		first = conn->tls_retry ? (struct w_view){ NULL, 0 } : bal_out_first(out);
		n = gnutls_record_send(conn->tls, first.ptr, first.len);
		if (n == GNUTLS_E_AGAIN || n == GNUTLS_E_INTERRUPTED) {
			/* The record is GnuTLS's now: what follows it may still grow. */
			conn->tls_retry = true;
			if (n == GNUTLS_E_AGAIN)
				return -W_EAGAIN;
			continue;
		}
		if (n <= 0)
			return -W_EIO;
		conn->tls_retry = false;
		bal_out_drop(out, (size_t)n);
	}
	return W_OK;
}

int
bal_conn_send(struct bal_conn *conn)
{
	return conn->tls != NULL ? tls_send(conn) : clear_send(conn);
}

void
bal_conn_bye(struct bal_conn *conn)
{
	if (conn->tls != NULL)
		gnutls_bye(conn->tls, GNUTLS_SHUT_WR);
}

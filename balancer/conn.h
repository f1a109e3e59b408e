/*
 * A client's connection: socket, TLS, deadlines. What the bytes mean is h1's business.
 *
 *	HANDSHAKE -> OPEN -> LINGER -> (closed)
 *
 * 1. Readable bytes go to h1 at once; output waits for the end of the turn, so a turn costs
 *    one send.
 * 2. Whatever changes, the connection puts itself on the worker's dirty list; only
 *    bal_conn_settle() closes, flushes, sets the timer and what is polled for.
 *
 * Threads: a connection belongs to its worker.
 */
#ifndef WEIR_BALANCER_CONN_H
#define WEIR_BALANCER_CONN_H

#include <gnutls/gnutls.h>
#include <sys/socket.h>

#include "balancer/h1.h"
#include "balancer/worker.h"

enum bal_conn_phase { BAL_CONN_HANDSHAKE, BAL_CONN_OPEN, BAL_CONN_LINGER, BAL_CONN_GONE };

struct bal_conn {
	uint32_t magic;
	enum bal_conn_phase phase;
	struct bal_h1 h1;
	struct bal_worker *worker;
	struct w_list node, dirty;
	uv_poll_t poll;
	int fd, events;
	struct bal_timer timer;
	w_usec phase_due; /* handshake or linger must be over then */
	w_usec write_due; /* bytes must have gone out by then */
	gnutls_session_t tls;      /* NULL in clear */
	struct bal_block *cipher;  /* received, not yet taken by GnuTLS */
	bool drained;    /* the socket had no more bytes when it was last read */
	bool blocked;    /* the socket takes no more bytes now */
	bool tls_retry;  /* GnuTLS holds a record that it could not send */
	char client[56];
};

/* Take over an accepted socket. */
void bal_conn_new(struct bal_worker *worker, int fd, const struct sockaddr_storage *peer, bool tls);
void bal_conn_destroy(struct bal_conn *conn);
/* Flush, close, rearm: at the end of a turn in which something happened. */
void bal_conn_settle(struct bal_conn *conn);
/* The worker drains: close when idle. */
void bal_conn_drain(struct bal_conn *conn);

/* ---- bytes (conn_io.c) ---- */

/* TLS on this connection. Errors: -W_ENOMEM. */
int bal_conn_tls_start(struct bal_conn *conn, const struct bal_tls *tls);
/* W_OK done, -W_EAGAIN not yet, or failed. */
int bal_conn_handshake(struct bal_conn *conn);
/* Bytes read, 0 at the end, -W_EAGAIN none now, -W_EIO broken. */
ssize_t bal_conn_recv(struct bal_conn *conn, char *to, size_t len);
/* Received bytes wait inside TLS: the socket will not tell. */
bool bal_conn_has_buffered(const struct bal_conn *conn);
/* Send from h1.out until it is empty (W_OK) or the socket is full (-W_EAGAIN). -W_EIO broken. */
int bal_conn_send(struct bal_conn *conn);
/* Say that nothing more comes: close_notify. */
void bal_conn_bye(struct bal_conn *conn);

#endif

/*
 * The bytes of an open connection of libpq's, written and read by a lane itself: one write and one
 * read per turn however many statements they carry.
 *
 * libpq keeps the socket and the TLS session, and must not send or receive meanwhile. A TLS session
 * reads ahead: what one system call brings may be many records, one for each of the server's answers.
 *
 * Threads: the lane's.
 * Source   libpq, PQsslStruct(); OpenSSL, SSL_read(3), SSL_set_read_ahead(3)
 */
#ifndef WEIR_DBTIER_CHANNEL_H
#define WEIR_DBTIER_CHANNEL_H

#include <libpq-fe.h>

#include "common/buf.h"
#include "common/error.h"

struct dbt__channel {
	PGconn *conn; /* borrowed */
	void *tls;    /* SSL; NULL: clear */
	struct w_buf out, in;
	size_t sent;   /* of out */
	size_t parsed; /* of in */
	size_t skip;   /* bytes to come that nobody wants */
};

/* conn is connected and idle. Errors: -W_EIO its TLS is of a library that is not OpenSSL. */
int dbt__channel_open(struct dbt__channel *channel, PGconn *conn);
void dbt__channel_fini(struct dbt__channel *channel);
/* Write out. Returns 1 when all of it is gone, 0 when the peer takes no more now, or -W_ELOST. */
int dbt__channel_write(struct dbt__channel *channel);
/*
 * Read what is there into in, after what is not parsed yet. Returns 0 when it took all, 1 when there
 * may be more that no readiness will tell of, or -W_ELOST at the end: in may hold last words then.
 */
int dbt__channel_read(struct dbt__channel *channel);

static inline struct w_view
dbt__channel_rest(const struct dbt__channel *channel)
{
	return w_view_sub(w_buf_get(&channel->in), channel->parsed, SIZE_MAX);
}

#endif

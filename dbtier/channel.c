/* An open connection's bytes. See channel.h. */
#include "dbtier/channel.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#define READ_SIZE ((size_t)16 * 1024)  /* a TLS record's most */
#define READ_MOST ((size_t)256 * 1024) /* in one call */
#define KEPT ((size_t)64 * 1024)       /* memory that an empty buffer keeps */

int
dbt__channel_open(struct dbt__channel *channel, PGconn *conn)
{
	*channel = (struct dbt__channel){ .conn = conn, .tls = PQsslStruct(conn, "OpenSSL") };
	if (PQsslInUse(conn) && channel->tls == NULL)
		return -W_EIO;
	if (channel->tls != NULL) {
		SSL_set_read_ahead(channel->tls, 1);
		SSL_set_mode(channel->tls,
		    SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	}
	return W_OK;
}

void
dbt__channel_fini(struct dbt__channel *channel)
{
	w_buf_fini(&channel->out);
	w_buf_fini(&channel->in);
	*channel = (struct dbt__channel){ 0 };
}

/* Bytes, 0: not now, or -1. */
static ssize_t
clear_result(ssize_t done)
{
	if (done > 0)
		return done;
	return done < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) ? 0 : -1;
}

static ssize_t
tls_result(SSL *tls, int done)
{
	int error = done > 0 ? SSL_ERROR_NONE : SSL_get_error(tls, done);

	if (done > 0)
		return done;
	return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? 0 : -1;
}

static ssize_t
write_some(struct dbt__channel *channel, struct w_view bytes)
{
	if (channel->tls == NULL)
		return clear_result(
		    send(PQsocket(channel->conn), bytes.ptr, bytes.len, MSG_NOSIGNAL));
	ERR_clear_error();
	return tls_result(channel->tls,
	    SSL_write(channel->tls, bytes.ptr, (int)W_MIN(bytes.len, (size_t)INT32_MAX)));
}

static ssize_t
read_some(struct dbt__channel *channel, char *to)
{
	if (channel->tls == NULL) {
		ssize_t got = recv(PQsocket(channel->conn), to, READ_SIZE, 0);

		return got == 0 ? -1 : clear_result(got);
	}
	ERR_clear_error();
	return tls_result(channel->tls, SSL_read(channel->tls, to, (int)READ_SIZE));
}

/* Give back the memory of a burst. */
static void
settle(struct w_buf *buf)
{
	w_buf_clear(buf);
	if (buf->cap > KEPT)
		w_buf_fini(buf);
}

int
dbt__channel_write(struct dbt__channel *channel)
{
	if (w_buf_broken(&channel->out))
		return -W_ELOST;
	while (channel->sent < channel->out.len) {
		ssize_t done = write_some(channel,
		    w_view_sub(w_buf_get(&channel->out), channel->sent, SIZE_MAX));

		if (done <= 0)
			return done == 0 ? 0 : -W_ELOST;
		channel->sent += (size_t)done;
	}
	channel->sent = 0;
	settle(&channel->out);
	return 1;
}

/* May there be bytes that the socket does not tell of? */
static bool
has_more(const struct dbt__channel *channel, ssize_t got)
{
	return channel->tls != NULL ? SSL_has_pending(channel->tls) == 1 : got == (ssize_t)READ_SIZE;
}

static void
drop_parsed(struct dbt__channel *channel)
{
	if (channel->parsed == channel->in.len)
		settle(&channel->in);
	else
		w_buf_drop(&channel->in, channel->parsed);
	channel->parsed = 0;
}

int
dbt__channel_read(struct dbt__channel *channel)
{
	size_t total = 0;
	ssize_t got;

	drop_parsed(channel);
	do {
		char *room = w_buf_room(&channel->in, READ_SIZE);

		if (room == NULL)
			return -W_ELOST;
		got = read_some(channel, room);
		if (got <= 0)
			return got == 0 ? 0 : -W_ELOST;
		w_buf_added(&channel->in, (size_t)got);
		total += (size_t)got;
	} while (total < READ_MOST && has_more(channel, got));
	return total >= READ_MOST;
}

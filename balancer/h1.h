/*
 * HTTP/1.1 and HTTP/1.0 as a server speaks them: one connection's bytes in, exchanges, bytes
 * out. No sockets here: a connection (or a test) moves the bytes.
 *
 *	IDLE -> HEADER -> BODY -> WAIT -> IDLE ...      DRAIN: answered before the body's end
 *	   \______\________\_______\____> CLOSE         (flush what is in out, then close)
 *
 * 1. Requests of a connection are answered in order: one exchange at a time. A pipelined
 *    request waits unparsed in the input block; when that is full nothing more is read.
 * 2. The header's bytes stay where they arrived until the exchange has ended.
 * 3. wake() is called whenever out, read_due or the state may have changed.
 *
 * Threads: a connection belongs to its worker.
 * Source: RFC 9110, RFC 9112
 */
#ifndef WEIR_BALANCER_H1_H
#define WEIR_BALANCER_H1_H

#include "balancer/exchange.h"
#include "balancer/h1_check.h"

#define BAL_DRAIN_MAX (256 * 1024) /* bytes of a body discarded to keep a connection open */

enum bal_h1_state {
	BAL_H1_IDLE,   /* between requests */
	BAL_H1_HEADER,
	BAL_H1_BODY,
	BAL_H1_WAIT,   /* the request is complete, its answer is not */
	BAL_H1_DRAIN,
	BAL_H1_CLOSE,
};

enum bal_chunk_state { BAL_CHUNK_SIZE, BAL_CHUNK_DATA, BAL_CHUNK_DATA_END, BAL_CHUNK_TRAILER };

/* All-zero at the start of a chunked body. */
struct bal_chunks {
	enum bal_chunk_state state;
	uint64_t left;         /* bytes of this chunk */
	uint32_t trailer_size; /* so far */
};

struct bal_h1 {
	struct bal_edge *edge;
	void (*wake)(struct bal_h1 *h1);
	const char *client; /* "203.0.113.7:51234" */
	bool tls;

	/* Input: in->data[in->pos..in->len) is unread; [0..base) belongs to x while there is one. */
	struct bal_block *in, *held;
	uint32_t base;
	struct bal_out out;
	struct bal_exchange *x;
	enum bal_h1_state state;
	w_usec read_due; /* call bal_h1_timeout() then */
	struct bal_h1_scan scan;

	/* The request in hand. */
	int64_t left; /* bytes of its body to come; -1 chunked */
	struct bal_chunks chunks;
	uint64_t body_size, drain_left;
	uint8_t minor;
	bool head_only; /* HEAD */
	bool keep_alive;
	bool expect; /* waits for 100 Continue */

	/* The response in hand. */
	bool head_sent, no_body, chunked;
	int64_t res_left; /* bytes of its body to come; -1 unknown */

	bool running, eof;
	bool poked;  /* the exchange was ready for more of the body since it was last given some */
	bool linger; /* CLOSE: bytes may still come in; let the client read first */
	bool abort;  /* CLOSE: the response is incomplete, and the client must notice */
};

/* wake, client and tls are set by the caller. */
void bal_h1_init(struct bal_h1 *h1, struct bal_edge *edge);
/* The client is gone, or all is done. */
void bal_h1_fini(struct bal_h1 *h1);

/* Where to put input, and how many bytes; 0: not now. Then bal_h1_added. */
size_t bal_h1_room(struct bal_h1 *h1, char **ret);
void bal_h1_added(struct bal_h1 *h1, size_t len);
bool bal_h1_wants_input(const struct bal_h1 *h1);
/* The client will send nothing more. */
void bal_h1_eof(struct bal_h1 *h1);
/* read_due has passed. */
void bal_h1_timeout(struct bal_h1 *h1);
/* Some of out went to the client. */
void bal_h1_flushed(struct bal_h1 *h1);
/* Close as soon as nothing is in hand. */
void bal_h1_drain(struct bal_h1 *h1);
/* Give back blocks that an idle connection does not need. */
void bal_h1_trim(struct bal_h1 *h1);

/* ---- inside the front ---- */

/*
 * Framing of a chunked body at data[0..len): consumes it and sets *ret_used. BAL_H1_OK: the
 * body has ended; BAL_H1_MORE: chunks->left bytes of data follow when chunks->state is
 * BAL_CHUNK_DATA, else more input is needed; or an error.
 */
enum bal_h1_error bal_chunks_next(struct bal_chunks *chunks, char *data, size_t len,
    size_t max_trailer, size_t *ret_used);
/* The caller took n bytes of the chunk's data. */
void bal_chunks_took(struct bal_chunks *chunks, size_t n);

/* Parse a header that bal_h1_scan() has passed. fields: room for scan->fields. */
enum bal_h1_error bal_h1_parse(const struct bal_h1_scan *scan, const char *data,
    struct lnk_field *fields, struct bal_h1_request *ret);

/* Write the response's header to out. id: request id. */
void bal_h1_write_head(struct bal_h1 *h1, const struct bal_head *head, struct w_view id);
/* Write bytes of the body in the framing that the head announced. */
void bal_h1_write_body(struct bal_h1 *h1, struct w_view bytes, bool end);

#endif

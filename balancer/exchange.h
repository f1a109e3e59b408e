/*
 * An exchange: one request and its response, whatever the front (HTTP/1.1, HTTP/2). It finds
 * a server, sends the request over the link, sends it again when a server is lost, and hands
 * the response to its front.
 *
 *	new -> (waiting) -> open -> response -> ended
 *	          ^          |
 *	          +-- retry -+
 *
 * Order of calls
 *	front:    bal_exchange_new, fill in req, bal_exchange_start, [bal_exchange_body]*,
 *	          [bal_exchange_flushed]*, bal_exchange_end
 *	exchange: [ready]*, head, [body]*; or head-less failures as a whole problem response;
 *	          or fail, when the response breaks off after its head
 *
 * 1. After head or body with end, or fail, the front gets no more calls.
 * 2. The front may call bal_exchange_end inside any of these calls but ready and a head
 *    without end.
 * 3. Only a request whose body so far is kept, and whose response has not begun, is sent again:
 *    one that was refused; one whose server was lost, in doubt from then on; an idempotent one
 *    also after other failures. It waits for another server until its deadline.
 *
 * Threads: an exchange belongs to its worker.
 */
#ifndef WEIR_BALANCER_EXCHANGE_H
#define WEIR_BALANCER_EXCHANGE_H

#include "balancer/edge.h"

#define BAL_FIELDS_INLINE 32
/*
 * A request is sent this often at most. More often than a cluster in trouble asks for within a
 * deadline, but not for ever: it may be what kills the servers.
 */
#define BAL_TRIES_MAX 8
/* By then a lost process has been noticed on all its links. */
#define BAL_AVOID ((LNK_BEATS_MISSED + 1) * LNK_BEAT)

struct bal_head {
	unsigned status;
	int64_t length; /* of the body; -1 unknown */
	bool end;       /* no body follows */
	bool made_here; /* the balancer's own answer, not a server's */
	const struct lnk_field *fields;
	size_t field_count;
	/* For Server-Timing; -1 where there is none. */
	w_usec waited, link, queue, handler, database;
};

struct bal_front {
	void (*head)(struct bal_exchange *x, const struct bal_head *head);
	void (*body)(struct bal_exchange *x, struct w_view bytes, bool end);
	void (*fail)(struct bal_exchange *x, int err);
	/* A server takes body bytes now (again). */
	void (*ready)(struct bal_exchange *x);
};

struct bal_exchange {
	uint32_t magic;
	struct bal_edge *edge;
	const struct bal_front *front;
	void *owner;               /* the front's */
	struct bal_exchange *next; /* in the edge's free list */

	/* The front fills these in; all that they point to outlives the exchange. */
	struct lnk_request req;
	struct lnk_field inline_fields[BAL_FIELDS_INLINE];
	struct lnk_field *more_fields; /* when inline_fields are too few */
	size_t fields_cap;
	bool safe, idempotent;

	struct bal_waiter waiter;
	struct bal_timer timer;
	struct lnk_stream *stream;
	uint64_t node, peer_id; /* where it was sent last */
	w_usec avoid_until;
	struct bal_board_slot *slot;
	unsigned tries;
	int last_err;     /* why the last try failed */
	bool lost;        /* a server that had it was lost */
	int closed_err;   /* the stream was closed inside a call of ours: 1 for W_OK */
	bool calling;     /* inside a call to the link for this stream */
	bool waiting;     /* for credit */
	bool body_end;    /* the front gave the last byte of the request */
	bool end_sent;    /* and the stream has it */
	bool replayable;  /* all bytes so far are in replay */
	bool head_sent;   /* the front has the response's head */
	bool ended;       /* the front has all of the response */
	unsigned status;
	struct w_buf replay;
	size_t replay_sent;
	size_t pending;   /* bytes of the response that the client has not taken */
	w_usec received, deadline, opened;

	char id[BAL_ID_SIZE];
	char key[BAL_ID_SIZE];
	char trace[56];
};

/* An empty exchange; owner is the front's. */
struct bal_exchange *bal_exchange_new(struct bal_edge *edge, const struct bal_front *front,
    void *owner);
/* Room for count fields: req.fields is set to it, to be filled by the front. */
struct lnk_field *bal_exchange_fields(struct bal_exchange *x, size_t count);
/*
 * Go. Sets id, traceparent (unless valid), idempotency key (unless given) of req. The response
 * may come inside this call.
 */
void bal_exchange_start(struct bal_exchange *x);
/*
 * Bytes of the request body; end: the last ones. Returns how many were taken; less than len:
 * give the rest again after ready(). end counts only when all were taken.
 */
size_t bal_exchange_body(struct bal_exchange *x, struct w_view bytes, bool end);
/* left bytes of what body() gave have not reached the client yet. */
void bal_exchange_flushed(struct bal_exchange *x, size_t left);
/* The front is done with it. Before the end of the response it means that the client is gone. */
void bal_exchange_end(struct bal_exchange **x);
void bal_exchanges_fini(struct bal_edge *edge);

/* What the hub calls; arg is the exchange. */
void bal_exchange_on_response(struct lnk_stream *stream, const struct lnk_response *response,
    void *arg);
void bal_exchange_on_data(struct lnk_stream *stream, struct w_view bytes, bool end, void *arg);
void bal_exchange_on_writable(struct lnk_stream *stream, void *arg);
void bal_exchange_on_closed(struct lnk_stream *stream, int err, void *arg);

/* Count an answer that no exchange made (a refused request). */
void bal_edge_answered(struct bal_edge *edge, unsigned status);

#endif

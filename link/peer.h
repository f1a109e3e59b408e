/*
 * One session: what both ends of the link do with records. It needs no socket: bytes come in by
 * lnk__peer_receive() and go out by the end's transmit().
 *
 *	GREETING --HELLO or WELCOME--> OPEN --GOAWAY--> DRAINING
 *	    any of them --doom--> (next sweep) --> DOWN
 *
 * 1. Nobody tears a session down where it breaks: lnk__peer_doom() notes why, and
 *    lnk__end_sweep() does it, called only by the loop's own entries (hook, timer, after
 *    receiving). So a callback may call whatever it likes, and a peer outlives it.
 * 2. closed(W_OK) comes from the turn hook only, never from inside the call that ended the
 *    stream, so a caller may still use the pointer after lnk_stream_send().
 * 3. After calling a callback, a handler of a record touches neither stream nor record.
 * 4. A connection that is gone leaves messages behind that came before. They are received
 *    first, then the peer is doomed: a server that has answered and left has answered.
 * 5. Batches get their numbers in the order in which they are sealed, and leave in that order.
 *
 * Threads: all of it belongs to one worker.
 */
#ifndef WEIR_LINK_PEER_H
#define WEIR_LINK_PEER_H

#include "link/codec.h"

/* clang-format off */
#define LNK_METRICS(X)                                                                             \
	X(LNK__RECORDS_IN, COUNTER, "weir_link_records_received_total", "", "Records received over the link.") \
	X(LNK__RECORDS_OUT, COUNTER, "weir_link_records_sent_total", "", "Records sent over the link.") \
	X(LNK__BATCHES_IN, COUNTER, "weir_link_batches_received_total", "", "Messages received over the link.") \
	X(LNK__BATCHES_OUT, COUNTER, "weir_link_batches_sent_total", "", "Messages sent over the link.") \
	X(LNK__BYTES_IN, COUNTER, "weir_link_received_bytes_total", "", "Bytes received over the link.") \
	X(LNK__BYTES_OUT, COUNTER, "weir_link_sent_bytes_total", "", "Bytes sent over the link.")     \
	X(LNK__OPENED, COUNTER, "weir_link_streams_opened_total", "", "Streams opened.")                \
	X(LNK__REFUSED, COUNTER, "weir_link_streams_refused_total", "", "Streams refused by the server before they were started.") \
	X(LNK__RESETS, COUNTER, "weir_link_streams_reset_total", "", "Streams given up by either end, refused ones excepted.") \
	X(LNK__LOST, COUNTER, "weir_link_streams_lost_total", "", "Streams that ended because the peer went away.") \
	X(LNK__PEERS_LOST, COUNTER, "weir_link_peers_lost_total", "", "Sessions that ended without a goodbye.") \
	X(LNK__ERRORS, COUNTER, "weir_link_protocol_errors_total", "", "Violations of the link's protocol by peers.") \
	X(LNK__LATE, COUNTER, "weir_link_late_records_total", "", "Records and batches for what was over already.") \
	X(LNK__BLOCKED, COUNTER, "weir_link_send_blocked_total", "", "Batches that had to wait because the queue to the peer was full.") \
	X(LNK__STREAMS, GAUGE, "weir_link_streams", "", "Streams open now.")                            \
	X(LNK__PEERS, GAUGE, "weir_link_peers", "", "Sessions open now.")                               \
	X(LNK__CREDITS, GAUGE, "weir_link_credit", "", "Requests that may be opened now: by a balancer at its servers, or at this server.") \
	X(LNK__BACKLOG, GAUGE, "weir_link_backlog_bytes", "", "Bytes that wait because the queue to a peer is full.") \
	X(LNK__RTT, HISTOGRAM, "weir_link_round_trip_seconds", "", "Time from PING to PONG, both loops included.")
/* clang-format on */

enum lnk__metric { LNK_METRICS(W_METRIC_ENUM) LNK__METRIC_COUNT };

#define LNK__MESSAGE_MAX (512 * 1024)	    /* ZeroMQ's limit; no batch of ours comes near */
#define LNK__HWM 10000			    /* messages; see the specification, 6.4 */
#define LNK__BACKLOG_SLOW (1024 * 1024)	    /* bytes that wait: streams take no more */
#define LNK__BACKLOG_MAX (64 * 1024 * 1024) /* bytes that wait: the peer is lost */
#define LNK__TICK (LNK_BEAT / 2)
#define LNK__RETRY (2 * W_MSEC) /* when a queue was full */
#define LNK__NEW_SESSION 1	/* lnk__peer_receive: HELLO of another session */

enum lnk__state { LNK__GREETING, LNK__OPEN, LNK__DRAINING, LNK__DOWN };

/* Streams by number: open addressing, at most half full. All-zero is empty. */
struct lnk__table {
	struct lnk_stream **slots;
	size_t mask; /* slots - 1 */
	size_t count;
};

struct lnk__end;

struct lnk_peer {
	struct lnk__end *end;
	enum lnk__state state;
	void *arg;
	char name[64];
	unsigned worker;
	uint64_t session, epoch;

	struct lnk__table table;
	struct w_list streams; /* of struct lnk_stream, by number */
	struct w_list starved; /* of struct lnk_stream: writable() is due */
	uint64_t opened;       /* highest number used */
	uint64_t limit;	       /* CREDIT: as received (hub) or sent (spoke) */
	uint64_t limit_most;   /* spoke: the highest that was sent */
	unsigned share;	       /* spoke: of the capacity */
	unsigned peak;	       /* spoke: most streams at once since shares were moved */
	uint32_t first_window; /* bytes that the peer takes per stream at first */

	uint64_t out_number, in_number; /* of the next batch */
	struct w_buf batch;		/* being filled; empty or begins with a header's room */
	unsigned batch_records;
	struct w_list backlog; /* of struct lnk__sealed: the queue was full */
	size_t backlog_bytes;
	w_usec heard, said;

	int doom;      /* negative: ends at the next sweep */
	bool parted;   /* nothing reaches it any more; what it said before may still come */
	uint64_t last; /* hub: what GOAWAY with NOW said; streams above were never started */
	char why[LNK__REASON_MAX + 1];
	struct w_list dirty_node, blocked_node, parted_node, doomed_node;
};

struct lnk_stream {
	struct lnk_peer *peer;
	uint64_t number;
	void *arg;
	struct w_list node;	     /* in peer->streams; in end->pool when unused */
	struct w_list finished_node; /* in end->finished when both directions have ended */
	struct w_list starved_node;  /* in peer->starved when send took less than it was given */
	uint64_t sent, send_limit;
	uint64_t received, consumed, recv_limit;
	int64_t length; /* that DATA has to add up to; -1 unknown */
	bool local_end, remote_end;
	bool responded; /* RESPONSE was sent or has come */
	bool gone;	/* closed() runs: the pointer is no good any more */
};

/* What hub and spoke have in common. */
struct lnk__end {
	bool hub;
	struct w_loop *loop;   /* may be NULL: tests that need no time */
	struct w_meter *meter; /* may be NULL */
	unsigned metrics;
	const char *name;
	unsigned worker, workers;
	uint64_t epoch;
	unsigned capacity; /* spoke */
	unsigned active;   /* streams open, all peers together */
	bool draining;	   /* spoke: takes no new requests */
	const struct lnk_stream_ops *stream_ops;
	const struct lnk_hub_ops *hub_ops;     /* hub */
	const struct lnk_spoke_ops *spoke_ops; /* spoke */
	void *arg;

	/* Give a batch to the socket. W_OK, -W_EAGAIN the queue is full, -W_ELOST nobody there. */
	int (*transmit)(struct lnk_peer *peer, struct w_view batch);
	/* May this peer enter, or is it the one that was dialled? Sets peer->why when not. May be
	 * NULL. */
	int (*admit)(struct lnk_peer *peer, const struct lnk__greeting *greeting);
	/* The session is down, its streams are closed: forget the peer, or begin anew. */
	void (*bury)(struct lnk_peer *peer);

	/* Receive what is there: words of peers whose connection is gone. May be NULL. */
	void (*drain)(struct lnk__end *end);

	struct w_list dirty, blocked, parted, doomed; /* of struct lnk_peer */
	struct w_list finished; /* of struct lnk_stream: closed(W_OK) is due */
	struct w_list pool;	/* of struct lnk_stream: free ones */
	struct w_turn turn;
	struct w_timer retry;
	w_usec ticked;				 /* last lnk__end_tick() */
	struct lnk_field fields[LNK_FIELDS_MAX]; /* of the record that is being handled */
};

/* --- ends --- */

/* Lists, hook and epoch; the caller has set what stands above transmit, and the three functions. */
void lnk__end_init(struct lnk__end *end);
void lnk__end_fini(struct lnk__end *end); /* all peers are gone */
/* What the turn hook does: closed(W_OK), sweep, one batch per peer. */
void lnk__end_turn(struct lnk__end *end);
void lnk__end_sweep(struct lnk__end *end);
/* Once per LNK__TICK. False when the own loop has stalled: silence of the peers proves nothing. */
bool lnk__end_tick(struct lnk__end *end);
w_usec lnk__now(const struct lnk__end *end);

static inline void
lnk__count(const struct lnk__end *end, enum lnk__metric id, uint64_t n)
{
	if (end->meter != NULL)
		w_meter_add(end->meter, end->metrics + id, n);
}

static inline void
lnk__move(const struct lnk__end *end, enum lnk__metric id, int64_t by)
{
	if (end->meter != NULL)
		w_meter_move(end->meter, end->metrics + id, by);
}

/* --- peers --- */

void lnk__peer_init(struct lnk_peer *peer, struct lnk__end *end, uint64_t session);
void lnk__peer_fini(struct lnk_peer *peer);
/*
 * One message from the peer. Returns W_OK, LNK__NEW_SESSION (hub: a HELLO that is not of this
 * session; nothing was done), or the error that the peer is doomed with.
 */
int lnk__peer_receive(struct lnk_peer *peer, const void *bytes, size_t len);
/* The session cannot go on; ends at the next sweep. The first reason counts. */
int lnk__peer_doom(struct lnk_peer *peer, int err, const char *fmt, ...) W_PRINTF(3, 4);
/* End the session: GOAWAY, peer_down(err), then closed(stream_err) for every stream. */
void lnk__peer_down(struct lnk_peer *peer, int err, int stream_err);
void lnk__peer_goaway(struct lnk_peer *peer, bool now, int err, const char *text);
/* Spoke: HELLO, outside of the numbered batches. */
int lnk__peer_hello(struct lnk_peer *peer);
/* Seal the batch and send it, or keep it when the queue is full. */
void lnk__peer_send(struct lnk_peer *peer);
/* The queue may have room again: in order, what waited; then writable() for who waited. */
void lnk__peer_resend(struct lnk_peer *peer);
/* Spoke: grant what the share allows, and nothing while it drains. */
void lnk__peer_credit(struct lnk_peer *peer);
void lnk__peer_tell_down(struct lnk_peer *peer, int err);
/* A batch whose first record is GOAWAY with NOW: understood in every version and state. */
bool lnk__says_goaway(struct w_view records);
void lnk__peer_beat(struct lnk_peer *peer, bool judge);
/* Where to append a record of size bytes: the batch, after it was sent when that was full. */
struct w_buf *lnk__peer_batch(struct lnk_peer *peer, size_t size);
/* There may be something to send at the end of this turn. */
void lnk__peer_touch(struct lnk_peer *peer);
/* A session is up and not doomed. */
bool lnk__peer_alive(const struct lnk_peer *peer);

/* --- streams --- */

struct lnk_stream *lnk__stream_new(struct lnk_peer *peer, uint64_t number);
struct lnk_stream *lnk__stream_find(const struct lnk_peer *peer, uint64_t number);
/* Note that a direction has ended: when both have, closed(W_OK) is due. */
void lnk__stream_ended(struct lnk_stream *stream);
/* Tell closed(err) and forget the stream. */
void lnk__stream_close(struct lnk_stream *stream, int err);
/* The peer broke the protocol within a stream: RESET, closed(-W_EPROTO). */
void lnk__stream_break(struct lnk_stream *stream);
/* Somebody waits for writable(). */
void lnk__stream_starved(struct lnk_stream *stream);
/* The window has grown or the backlog has gone: writable() if somebody waits for it. */
void lnk__stream_writable(struct lnk_stream *stream);
void *lnk__stream_context(const struct lnk_stream *stream); /* its arg, else the end's */
void lnk__table_fini(struct lnk__table *table);

#endif

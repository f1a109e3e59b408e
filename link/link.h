/*
 * The link: requests from balancers to servers and answers back, over ZeroMQ/CURVE.
 * The only door of this room. The wire is docs/protocol/01-link.md.
 *
 * A balancer worker has one hub (ROUTER, bound). A server worker has one spoke: a DEALER to
 * every worker of every balancer. Both see streams: one request and its response, each way a
 * header and bytes under a window.
 *
 * Batching: calls only append records to the peer's batch; the W_TURN_LINK hook sends one
 * ZeroMQ message per peer and loop turn. A batch that reaches LNK_BATCH_MAX goes at once.
 *
 * Threads: all of a hub or spoke belongs to its worker. Views handed to callbacks live until
 * the callback returns.
 *
 * Life of a stream
 *	hub:   lnk_hub_open -> [send]* -> response -> [data]* -> closed   (or reset / lost)
 *	spoke: request -> [data]* -> lnk_stream_respond -> [send]* -> closed
 *	"closed" comes exactly once per stream, last, and its err says how it ended: W_OK both
 *	directions ended, -W_ELOST the peer went away, -W_EREFUSED never started, -W_ECANCELED ...
 *	After closed the stream pointer is gone. A side that called lnk_stream_reset() gets no closed.
 */
#ifndef WEIR_LINK_LINK_H
#define WEIR_LINK_LINK_H

#include "common/error.h"
#include "common/keys.h"
#include "common/loop.h"
#include "common/metrics.h"
#include "common/view.h"

#define LNK_BATCH_MAX (256 * 1024)  /* bytes in one ZeroMQ message */
#define LNK_DATA_MAX (64 * 1024)    /* bytes in one DATA record */
#define LNK_WINDOW (256 * 1024)     /* first window of a stream, each way, bytes */
#define LNK_BEAT (250 * W_MSEC)     /* PING when nothing else was sent */
#define LNK_BEATS_MISSED 3          /* then the peer is lost */
#define LNK_FIELDS_MAX 1000         /* header fields of a message */

struct lnk_field {
	struct w_view name, value; /* name in lower case */
};

/* What a request carries. No HTTP text: every part has its length. */
struct lnk_request {
	struct w_view method;      /* "GET" */
	struct w_view scheme;      /* "https" or "http": as the client spoke */
	struct w_view authority;   /* Host */
	struct w_view target;      /* path and query as received: "/messages?limit=3" */
	struct w_view client;      /* "203.0.113.7:51234" */
	struct w_view id;          /* request id, printable */
	struct w_view traceparent; /* W3C trace context, or empty */
	struct w_view position;    /* read position token, or empty */
	struct w_view idempotency; /* key, or empty */
	w_usec timeout;            /* time left until the deadline, when the record is written */
	int64_t length;            /* of the body; 0 none, -1 unknown */
	unsigned attempt;          /* 0 the first time, 1.. when it is sent again */
	bool end;                  /* no body follows */
	bool doubt;                /* a server that had it was lost: it may have begun there */
	const struct lnk_field *fields; /* hop-by-hop fields are gone, Host too */
	size_t field_count;
};

struct lnk_response {
	unsigned status;           /* 100..599; 1xx are not sent over the link */
	int64_t length;            /* of the body; -1 unknown */
	bool end;                  /* no body follows */
	bool started;              /* a handler had begun: repeating is not harmless by itself */
	w_usec queue, handler, database; /* where the server spent the time */
	const struct lnk_field *fields;
	size_t field_count;
};

struct lnk_stream; /* one request and its response, as this side sees it */
struct lnk_peer;   /* hub: one worker of a server; spoke: one worker of a balancer */

/* Callbacks common to both ends; arg is the stream's (lnk_stream_set_arg), else the end's. */
struct lnk_stream_ops {
	/* Bytes of the body; end: the last ones. Call lnk_stream_consumed() once they are used. */
	void (*data)(struct lnk_stream *stream, struct w_view bytes, bool end, void *arg);
	/* The send window has grown from 0: lnk_stream_send() takes bytes again. */
	void (*writable)(struct lnk_stream *stream, void *arg);
	/* Last callback of this stream; see above. */
	void (*closed)(struct lnk_stream *stream, int err, void *arg);
};

/* --- streams, both ends --- */

void lnk_stream_set_arg(struct lnk_stream *stream, void *arg);
void *lnk_stream_arg(const struct lnk_stream *stream);
struct lnk_peer *lnk_stream_peer(const struct lnk_stream *stream);
/*
 * Send bytes of the body. Takes as many as the window allows, splits them into DATA records.
 * end: nothing follows, meant only when all bytes were taken.
 * Returns the bytes taken, 0..len. Less than len: wait for writable().
 */
size_t lnk_stream_send(struct lnk_stream *stream, struct w_view bytes, bool end);
size_t lnk_stream_window(const struct lnk_stream *stream); /* bytes that send would take now */
/* The receiver has used bytes that data() gave it: the peer may send that many more. */
void lnk_stream_consumed(struct lnk_stream *stream, size_t bytes);
/*
 * Give up both directions; the peer's closed() gets err. Sends RESET. The pointer is gone.
 * -W_EREFUSED promises that the request was never started.
 */
void lnk_stream_reset(struct lnk_stream *stream, int err);

/* --- metrics: both ends count into the meter they were given, from lnk_metrics() on --- */

/* Register the room's metrics; the base is given to hub and spoke. */
unsigned lnk_metrics(struct w_metrics *metrics);

/* --- hub: the balancer's end --- */

struct lnk_hub;

struct lnk_hub_ops {
	struct lnk_stream_ops stream;
	/* A server worker said HELLO with its node's name; credit may follow at once. */
	void (*peer_up)(struct lnk_peer *peer, void *arg);
	/* It is gone or drains: no new requests. Its streams get closed(-W_ELOST) when gone. */
	void (*peer_down)(struct lnk_peer *peer, int err, void *arg);
	/* It has credit again after having none. */
	void (*peer_credit)(struct lnk_peer *peer, void *arg);
	/* The response's header; data() follows unless response->end. Once per stream. */
	void (*response)(struct lnk_stream *stream, const struct lnk_response *response, void *arg);
};

struct lnk_hub_config {
	void *zmq;                 /* context; ZAP runs already */
	struct w_loop *loop;
	const struct w_keys *keys;
	const char *address;       /* W_BALANCER option link */
	unsigned worker, workers;  /* binds port + worker; tells servers how many there are */
	struct w_meter *meter;
	unsigned metrics;          /* from lnk_metrics() */
	const struct lnk_hub_ops *ops;
	void *arg;
};

int lnk_hub_new(const struct lnk_hub_config *config, struct lnk_hub **ret, struct w_fault *fault);
/* Open streams get closed(-W_ECANCELED). Says GOAWAY first. */
void lnk_hub_free(struct lnk_hub **hub);

const char *lnk_peer_name(const struct lnk_peer *peer);   /* the server node's name */
unsigned lnk_peer_worker(const struct lnk_peer *peer);
/* Requests that may be opened at it now. */
unsigned lnk_peer_credit(const struct lnk_peer *peer);
unsigned lnk_peer_streams(const struct lnk_peer *peer);   /* open now */
void *lnk_peer_arg(const struct lnk_peer *peer);
void lnk_peer_set_arg(struct lnk_peer *peer, void *arg);

/*
 * Open a stream: one unit of credit is used. The request's views are copied into the batch.
 * Errors   -W_EBUSY no credit; -W_EDOWN the peer is gone or drains; -W_ETOOBIG header over 256 KiB
 */
int lnk_hub_open(struct lnk_peer *peer, const struct lnk_request *request, void *arg,
    struct lnk_stream **ret);

/* --- spoke: the server's end --- */

struct lnk_spoke;

struct lnk_spoke_ops {
	struct lnk_stream_ops stream;
	/* A new request; set the stream's arg here. */
	void (*request)(struct lnk_stream *stream, const struct lnk_request *request, void *arg);
	void (*peer_up)(struct lnk_peer *peer, void *arg);            /* WELCOME came; may be NULL */
	void (*peer_down)(struct lnk_peer *peer, int err, void *arg); /* may be NULL */
};

struct lnk_spoke_config {
	void *zmq;
	struct w_loop *loop;
	const struct w_keys *keys;
	const char *node;             /* our name */
	unsigned worker, workers;     /* ours */
	const struct w_cluster *cluster; /* all balancers with a link address are dialled */
	unsigned capacity;            /* requests at once on this worker, all balancers together */
	struct w_meter *meter;
	unsigned metrics;
	const struct lnk_spoke_ops *ops;
	void *arg;
};

int lnk_spoke_new(const struct lnk_spoke_config *config, struct lnk_spoke **ret, struct w_fault *fault);
/*
 * Dial the balancers that are new in a cluster file. Those that are gone, or have another address, are not
 * dialled again once their session ends. The cluster lives on, as that of the config does.
 */
void lnk_spoke_reload(struct lnk_spoke *spoke, const struct w_cluster *cluster);
/* Credit 0 and GOAWAY to all balancers; streams go on. Then lnk_spoke_streams() falls to 0. */
void lnk_spoke_drain(struct lnk_spoke *spoke);
unsigned lnk_spoke_streams(const struct lnk_spoke *spoke);
unsigned lnk_spoke_peers(const struct lnk_spoke *spoke); /* balancer workers that welcomed us */
void lnk_spoke_free(struct lnk_spoke **spoke);

/* The response's header. Once per stream. Errors: -W_ETOOBIG header over 256 KiB (nothing sent). */
int lnk_stream_respond(struct lnk_stream *stream, const struct lnk_response *response);

#endif

/*
 * One request, whichever front it came by, and the worker that serves it.
 *
 *	front                     request                          handler (fiber)
 *	srv__request_new   ->
 *	(head filled)
 *	srv__request_run   ->     target, route, start      ->     handle
 *	srv__request_data  ->     in                        ->     weir_read
 *	respond, send      <-     reply                     <-     settle
 *	srv__request_gone  ->     gone                      ->     WEIR_EGONE
 *	srv__request_give  ->     back to the pool when the fiber has ended, too
 *
 * 1. Two hold a request: its front until it forgets it, and its fiber until it ends.
 * 2. The handler always ends by itself; nothing unwinds its stack.
 * 3. A whole answer goes out when the handler has returned, a streamed one from weir_begin() on.
 * 4. All memory is of the arena, of in and out, each bounded by request_memory.
 *
 * Threads: all of it belongs to the worker. While a blocking handler runs on another thread
 * the fiber is parked, and touches neither arena nor answer (see wait.c).
 */
#ifndef WEIR_SERVER_REQUEST_H
#define WEIR_SERVER_REQUEST_H

#include "common/fiber.h"
#include "common/node.h"
#include "dbtier/dbtier.h"
#include "include/weir.h"
#include "link/link.h"
#include "server/json.h"
#include "server/metrics.h"
#include "server/route.h"

#define SRV_REQUEST_MAGIC 0x57524551u
#define SRV_FIELDS_MAX 32                 /* header fields that a handler may set */
#define SRV_IDLE_MAX 256                  /* request structs kept per worker */

struct srv_request;

/* What the process has once. Immutable while workers run, but for options. */
struct srv {
	struct w_node *node;
	const char *name; /* the node's */
	_Atomic(const struct w_server_options *) options; /* a reload swaps them; old ones stay */
	struct srv_router *router;
	struct srv_module *modules;
	unsigned module_count;
	struct dbt *dbt; /* NULL: the cluster has no database */
	struct srv_metric_ids ids;
	int *listeners; /* one per worker; -1: no direct HTTP */
	w_usec started;
	uint64_t witnessed; /* the prober's: what was last told of the databases, see role.c */
};

struct srv_worker {
	struct srv *srv;
	struct w_worker *base;
	struct w_loop *loop;
	struct w_meter *meter;
	struct w_fibers *fibers;
	struct dbt_worker *dbt;
	struct lnk_spoke *spoke;
	struct srv_direct *direct;
	struct w_list requests; /* in service */
	unsigned count;
	struct w_list idle;
	unsigned idle_count;
	struct w_timer tick;    /* gauges, each second */
	struct w_timer drain, cut; /* look for the end; cut off who is left */
	w_usec expire_at;       /* when old keys are looked for next */
	bool expiring;
	bool draining;
};

/* What carries a request. Calls come from the worker, most of them from the fiber. */
struct srv_front {
	size_t drain; /* bytes of a body that are taken though nobody reads them */
	/*
	 * Send the answer's header, and its body when it is whole. The answer and its memory stay
	 * until the front gives the request back.
	 */
	void (*respond)(struct srv_request *req);
	/* Streamed body: bytes taken, 0..len; less: srv__request_wake() follows. Or an error. */
	int64_t (*send)(struct srv_request *req, struct w_view bytes, bool end);
	/* The handler used bytes of the body, or they were thrown away. */
	void (*consumed)(struct srv_request *req, size_t bytes);
	/* The answer cannot be ended: let the client see that it is not whole. */
	void (*cut)(struct srv_request *req, int err);
	/* Nobody started it. True: the front told so; false: it wants a 503 problem. */
	bool (*refuse)(struct srv_request *req);
	/* Nobody reads the body any more; may be NULL. */
	void (*unread)(struct srv_request *req);
};

enum srv_answer_kind { SRV_NOTHING, SRV_WHOLE, SRV_STREAM };

struct srv_answer {
	enum srv_answer_kind kind;
	unsigned status;
	struct lnk_field fields[SRV_FIELDS_MAX]; /* names in lower case */
	unsigned field_count;
	struct w_view body; /* whole */
	int64_t length;     /* streamed; -1 unknown */
	uint64_t written;
	bool no_body;       /* HEAD, 204, 304 */
	w_usec queue, handler, database;
};

/* Where a request of the direct front stands; see direct.c. */
struct srv_direct_part {
	struct MHD_Connection *connection;
	struct w_list ready; /* among those that go on at the end of the turn */
	struct w_buf stream; /* streamed bytes on their way out */
	size_t stream_at;    /* sent of it */
	bool inside;         /* a callback of libmicrohttpd works on it */
	bool suspended;
	bool started;        /* srv__request_run() was called */
	bool final;          /* the body has come; an answer may be queued */
	bool answered;       /* the request has called respond() */
	bool queued;         /* libmicrohttpd has the answer */
	bool stream_end;     /* nothing follows what is in stream */
	bool failed;         /* the connection is to be closed */
	bool close;          /* after the answer */
	bool first;          /* libmicrohttpd looks at the connection before others */
};

struct srv_rows;

struct srv_request {
	uint32_t magic;
	unsigned holders;
	struct srv_worker *worker;
	const struct srv_front *front; /* NULL once it is gone */
	struct lnk_stream *stream;     /* linked.c */
	struct srv_direct_part direct; /* direct.c */
	struct w_list node;
	struct w_arena arena;
	unsigned step;

	/* what came */
	struct lnk_request head; /* views of the arena */
	struct srv_target target;
	struct srv_match match;
	w_usec arrived, started, deadline;

	/* its body */
	struct w_buf in;
	size_t in_at;          /* used of it */
	bool in_end, in_unread;
	size_t thrown;         /* bytes that came though nobody reads */
	bool has_body;
	struct w_view body;    /* read whole */
	int object_rc;         /* 1: not parsed yet */
	struct srv_object object;

	/* its answer */
	struct srv_answer answer;
	struct w_buf out;
	struct w_json writer;
	unsigned problem_status; /* prepared for when the handler returns an error */
	const char *problem_detail;

	/* its handler */
	struct w_fiber *fiber;
	struct srv_thread *thread; /* of a blocking handler */
	int rc;
	bool gone;
	bool cut; /* its time is over, whatever it was promised */

	/* its database work */
	struct w_view shard; /* key of the shard that its statements go to; empty: none was said */
	struct srv_rows *rows;
	struct w_list transactions;
	struct dbt_sql_error sql;
	struct dbt_position position; /* of its writes */
	bool position_told;
	struct dbt_position after;    /* that its client came with */
	bool after_parsed;
	bool replayed;                /* some of its writes had been done before */
	unsigned writes;              /* keys that were given out */
	w_usec database;
};

/* ---- request.c: the life ---- */

/* With one holder, the front. NULL: no memory. */
struct srv_request *srv__request_new(struct srv_worker *worker, const struct srv_front *front);
/* Copy everything of head into the request. Errors: -W_ENOMEM */
int srv__request_head(struct srv_request *req, const struct lnk_request *head);
/* Route it and run its handler until that parks or ends. The head is complete. */
void srv__request_run(struct srv_request *req);
/* Answer with an error without looking further. The head is complete as far as it could be. */
void srv__request_fail(struct srv_request *req, int err, const char *detail);
/*
 * Bytes of the body. Wakes the handler.
 * Errors   -W_ETOOBIG nobody reads them and they are more than is thrown away silently
 */
int srv__request_data(struct srv_request *req, struct w_view bytes, bool end);
size_t srv__request_buffered(const struct srv_request *req); /* bytes nobody has read yet */
/* Something that the handler may wait for has changed. */
void srv__request_wake(struct srv_request *req);
/* The front is done with it; lost: the other end left before it had its answer. */
void srv__request_gone(struct srv_request *req, bool lost);
/* One holder less; the last one gives the memory back. */
void srv__request_give(struct srv_request *req);
void srv__worker_init(struct srv_worker *worker);
void srv__worker_fini(struct srv_worker *worker); /* frees the pool */

/* ---- answer.c ---- */

/* The body of a problem (RFC 9457) as the whole answer; replaces what was there. */
void srv__problem(struct srv_request *req, unsigned status, const char *detail);
/* The status and the sentence that a WEIR_E... stands for. */
void srv__problem_of(int rc, unsigned *ret_status, const char **ret_text);
const char *srv__phrase(unsigned status); /* "Not Found" */
/* Errors: -W_ENOMEM too many fields. Views must live as long as the request. */
int srv__answer_field(struct srv_request *req, struct w_view name, struct w_view value);
/* "queue;dur=0.012, app;dur=1.200, db;dur=0.800" (milliseconds) */
size_t srv__server_timing(const struct srv_answer *answer, char *to, size_t size);

/* ---- body.c ---- */

/* A request field by its name in lower case; ptr NULL: absent. */
struct w_view srv__field(const struct srv_request *req, struct w_view name);

/* ---- db.c ---- */

/* Roll back what the handler left open, free all rows. On the fiber. */
void srv__database_settle(struct srv_request *req);
/* Tell the client the position of its writes, and that they were replays. Before the answer. */
void srv__database_fields(struct srv_request *req);

/* ---- wait.c ---- */

/*
 * Run fn(arg) where waiting is possible: at once on the fiber, or, for a blocking handler on its
 * thread, by the fiber while the thread waits.
 */
void srv__on_fiber(struct srv_request *req, void (*fn)(void *arg), void *arg);
/* Run the route's handler on the blocking pool; the fiber waits and works for it. */
int srv__run_blocking(struct srv_request *req);

/* ---- fronts ---- */

extern const struct lnk_spoke_ops srv__link_ops; /* arg: struct srv_worker */

/* Takes the listener over: closes it and sets *listener -1. */
int srv__direct_new(struct srv_worker *worker, int *listener, unsigned connections,
    struct w_fault *fault);
void srv__direct_drain(struct srv_worker *worker);
void srv__direct_tick(struct srv_worker *worker);
void srv__direct_free(struct srv_worker *worker);

/* ---- small words ---- */

static inline struct srv_request *
srv__of(const struct weir_request *req)
{
	return w_typed((void *)(uintptr_t)req, SRV_REQUEST_MAGIC);
}

static inline struct weir_request *
srv__public(struct srv_request *req)
{
	return (struct weir_request *)(void *)req;
}

static inline struct weir_view
srv__out_view(struct w_view view)
{
	return (struct weir_view){ view.ptr, view.len };
}

static inline struct w_view
srv__in_view(struct weir_view view)
{
	return (struct w_view){ view.ptr, view.len };
}

static inline const struct w_server_options *
srv__options(const struct srv_worker *worker)
{
	return atomic_load_explicit(&worker->srv->options, memory_order_acquire);
}

/*
 * Until when to wait for bytes of a body. The request's deadline bounds the time to the start of the
 * answer; a transfer that has begun may last as long as it moves.
 */
w_usec srv__body_deadline(const struct srv_request *req);

#endif

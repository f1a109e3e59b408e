/*
 * The direct front: HTTP/1.1 by libmicrohttpd, one daemon per worker on the worker's own loop.
 *
 * Callbacks of one request, in the order they fire:
 *
 *	on_uri -> on_call: head -> on_call: bytes of the body* -> on_call: the end
 *	       -> (on_bytes, for a streamed answer)* -> on_completed
 *
 * 1. libmicrohttpd 0.9.75 closes a connection whose answer is queued in the first call, so
 *    answers are queued at the end of the body, or later, while suspended. The first call
 *    answers only who broke the framing, or would send more than is worth throwing away.
 * 2. A handler runs in the first call when its body is long or of unknown length, else when the
 *    body is there: it then mostly ends without a suspend.
 * 3. A suspended connection is resumed only at the end of a turn, and MHD_run() follows at once:
 *    without its internal threads the library has nobody to wake it.
 * 4. Nothing here runs within MHD_run() but the callbacks above. It is called once a turn, in the
 *    clients' hook: it reads all requests that have come and sends all answers that are there.
 * 5. A resumed connection counts as readable to the library, which asks the socket in vain, watches
 *    it by epoll until the next request, and no longer from the suspend on: three system calls. It
 *    looks first at connections with a timeout of their own, sends their answers without asking,
 *    and asks only two runs later. By then, under load, the next request is there: no call is made
 *    in vain. So a short answer brings a timeout of its own, and a turn of many answers is not
 *    followed by a run at once, but by one with the next event or after PATIENCE.
 * 6. The library cannot send while it receives. An answer that is streamed before the body has
 *    ended waits in memory, up to request_memory.
 */
#include <arpa/inet.h>
#include <microhttpd.h>
#include <stdio.h>
#include <time.h>

#include "common/log.h"
#include "server/audit.h"
#include "server/request.h"

#define FIELDS_MAX 256
#define IN_MAX ((size_t)64 * 1024)      /* body bytes that wait for the handler */
#define STREAM_MAX ((size_t)256 * 1024) /* answer bytes that wait for the client */
#define WAIT_MAX ((int64_t)1024 * 1024) /* a longer body is not waited for when nobody reads it */
#define DRAIN_MAX ((size_t)64 * 1024 * 1024) /* the answer must wait for the end of the body */
#define BLOCK 32768                     /* bytes that the library asks for at once */
#define IDLE_SECONDS 60u                /* without progress */
#define POOL ((size_t)16 * 1024)        /* of a connection; the library clears it per request */
#define SHORT ((size_t)BLOCK)           /* an answer that mostly leaves at once */
#define MANY 4                          /* answers in a turn: the next event is near */
#define PATIENCE W_MSEC                 /* if it is not: what a client may have to wait for */

struct srv_direct {
	struct srv_worker *worker;
	struct MHD_Daemon *daemon;
	uv_poll_t *poll;
	struct w_turn turn;
	struct w_list ready;  /* of requests that go on */
	bool due;             /* the library has something to do */
	unsigned resumed;     /* connections, before the library ran last */
	struct w_timer patience;
	bool stirred;         /* a callback may have given the loop work */
	char date[40];        /* "Mon, 23 Nov 2026 10:00:00 GMT" */
	w_usec date_until;
	struct lnk_field fields[FIELDS_MAX];
	size_t field_count;
};

/* ---- going on ---- */

/* At the end of this turn the connection goes on. */
static void
make_ready(struct srv_request *req)
{
	if (req->direct.connection != NULL && w_list_empty(&req->direct.ready))
		w_list_push(&req->worker->direct->ready, &req->direct.ready);
}

static void
suspend(struct srv_request *req)
{
	req->direct.suspended = true;
	MHD_suspend_connection(req->direct.connection);
}

/* ---- the answer ---- */

static const char *
date_of(struct srv_direct *direct)
{
	w_usec now = direct->worker->loop->now, wall;
	struct tm tm;
	time_t seconds;

	if (now < direct->date_until)
		return direct->date;
	wall = w_wall();
	seconds = (time_t)(wall / W_SEC);
	gmtime_r(&seconds, &tm);
	strftime(direct->date, sizeof(direct->date), "%a, %d %b %Y %H:%M:%S GMT", &tm);
	direct->date_until = now + W_SEC - wall % W_SEC;
	return direct->date;
}

/* More of a streamed answer for the library. */
static ssize_t
on_bytes(void *arg, uint64_t at W_UNUSED, char *to, size_t max)
{
	struct srv_request *req = w_typed(arg, SRV_REQUEST_MAGIC);
	struct srv_direct_part *part = &req->direct;
	size_t len = W_MIN(max, part->stream.len - part->stream_at);

	if (part->failed)
		return MHD_CONTENT_READER_END_WITH_ERROR;
	if (len > 0) {
		memcpy(to, part->stream.ptr + part->stream_at, len);
		part->stream_at += len;
		req->worker->direct->stirred = true;
		srv__request_wake(req);
		return (ssize_t)len;
	}
	if (part->stream_end)
		return MHD_CONTENT_READER_END_OF_STREAM;
	suspend(req);
	return 0;
}

static struct MHD_Response *
make_response(struct srv_request *req)
{
	const struct srv_answer *answer = &req->answer;

	if (answer->kind == SRV_WHOLE)
		return MHD_create_response_from_buffer(answer->body.len,
		    (void *)(uintptr_t)answer->body.ptr, MHD_RESPMEM_PERSISTENT);
	return MHD_create_response_from_callback(
	    answer->length < 0 ? MHD_SIZE_UNKNOWN : (uint64_t)answer->length, BLOCK, on_bytes, req,
	    NULL);
}

static void
add_fields(struct srv_request *req, struct MHD_Response *response)
{
	const struct srv_answer *answer = &req->answer;
	char timing[160];

	for (unsigned i = 0; i < answer->field_count; i++)
		MHD_add_response_header(response, answer->fields[i].name.ptr,
		    answer->fields[i].value.ptr);
	MHD_add_response_header(response, "date", date_of(req->worker->direct));
	MHD_add_response_header(response, "server", "weir");
	if (req->head.id.len > 0)
		MHD_add_response_header(response, "x-request-id", req->head.id.ptr);
	if (req->started != 0) {
		srv__server_timing(answer, timing, sizeof(timing));
		MHD_add_response_header(response, "server-timing", timing);
	}
	if (req->direct.close || req->worker->draining)
		MHD_add_response_header(response, "connection", "close");
}

/* Give the answer to the library: in a callback of it, or while the connection is suspended. */
static bool
queue_answer(struct srv_request *req)
{
	struct MHD_Response *response = make_response(req);
	enum MHD_Result done = MHD_NO;

	if (response != NULL) {
		add_fields(req, response);
		done = MHD_queue_response(req->direct.connection, req->answer.status, response);
		MHD_destroy_response(response);
	}
	req->direct.queued = done == MHD_YES;
	req->direct.failed = done != MHD_YES;
	return req->direct.queued;
}

/* ---- what the request asks of its front ---- */

static void
respond(struct srv_request *req)
{
	req->direct.answered = true;
	if (!req->direct.inside && req->direct.final)
		make_ready(req);
}

static int64_t
send_bytes(struct srv_request *req, struct w_view bytes, bool end)
{
	struct srv_direct_part *part = &req->direct;
	size_t limit = part->final ? STREAM_MAX : srv__options(req->worker)->request_memory;
	size_t waiting, len;

	if (part->failed || part->connection == NULL)
		return -W_ELOST;
	if (part->stream_at > 0 && part->stream_at * 2 >= part->stream.len) {
		w_buf_drop(&part->stream, part->stream_at);
		part->stream_at = 0;
	}
	waiting = part->stream.len - part->stream_at;
	len = W_MIN(bytes.len, limit - W_MIN(limit, waiting));
	if (len < bytes.len && !part->final)
		return -W_ETOOBIG;
	w_buf_view(&part->stream, w_view_sub(bytes, 0, len));
	part->stream_end = end && len == bytes.len;
	if (part->queued && part->suspended)
		make_ready(req);
	return (int64_t)len;
}

static void
consumed(struct srv_request *req, size_t bytes W_UNUSED)
{
	struct srv_direct_part *part = &req->direct;

	if (part->suspended && !part->final && srv__request_buffered(req) <= IN_MAX / 2)
		make_ready(req);
}

/* What is not whole must not look whole; what nobody has seen yet can still be told better. */
static void
cut(struct srv_request *req, int err W_UNUSED)
{
	struct srv_direct_part *part = &req->direct;

	if (!part->queued && part->final) {
		srv__problem(req, 500, "the handler failed");
		return;
	}
	if (!part->queued) {
		srv__problem(req, 413, "the answer began before the request's body had ended "
		    "and grew too long to wait");
		return;
	}
	part->failed = true;
	if (part->suspended)
		make_ready(req);
}

static bool
refuse(struct srv_request *req W_UNUSED)
{
	return false;
}

/* The rest of the body is thrown away: let it come. */
static void
unread(struct srv_request *req)
{
	if (req->direct.suspended && !req->direct.final)
		make_ready(req);
}

static const struct srv_front direct_front = {
	.drain = DRAIN_MAX,
	.respond = respond,
	.send = send_bytes,
	.consumed = consumed,
	.cut = cut,
	.refuse = refuse,
	.unread = unread,
};

/* ---- the head ---- */

static enum MHD_Result
on_field(void *arg, enum MHD_ValueKind kind W_UNUSED, const char *name, size_t name_len,
    const char *value, size_t value_len)
{
	struct srv_direct *direct = arg;

	if (direct->field_count == FIELDS_MAX)
		return MHD_NO;
	direct->fields[direct->field_count++] = (struct lnk_field){
		{ name, name_len }, { value != NULL ? value : "", value != NULL ? value_len : 0 } };
	return MHD_YES;
}

/* Drop what belongs to the connection. */
static void
drop_hop_fields(struct srv_direct *direct)
{
	size_t kept = 0;

	for (size_t i = 0; i < direct->field_count; i++)
		if (!srv__is_hop_field(direct->fields[i].name))
			direct->fields[kept++] = direct->fields[i];
	direct->field_count = kept;
}

static void
lower_names(struct srv_request *req)
{
	for (size_t i = 0; i < req->head.field_count; i++) {
		char *name = (char *)(uintptr_t)req->head.fields[i].name.ptr;

		for (; *name != '\0'; name++)
			if (*name >= 'A' && *name <= 'Z')
				*name = (char)(*name | 0x20);
	}
}

static struct w_view
new_id(char to[17])
{
	static const char digits[] = "0123456789abcdef";
	uint64_t number = w_random();

	for (int i = 15; i >= 0; i--, number >>= 4)
		to[i] = digits[number & 15];
	to[16] = '\0';
	return (struct w_view){ to, 16 };
}

static struct w_view
client_of(struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info =
	    MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

	return w_view_of(info != NULL ? info->socket_context : NULL);
}

/* Gather and check the header fields. */
static int
read_fields(struct srv_request *req, const char *method, const char *version,
    struct srv_audit *ret, const char **ret_why)
{
	struct srv_direct *direct = req->worker->direct;
	struct MHD_Connection *connection = req->direct.connection;

	direct->field_count = 0;
	if (MHD_get_connection_values_n(connection, MHD_HEADER_KIND, NULL, NULL) > FIELDS_MAX)
		return -W_EHEADERS;
	MHD_get_connection_values_n(connection, MHD_HEADER_KIND, on_field, direct);
	return srv__audit(w_view_of(method), w_view_of(version), direct->fields,
	    direct->field_count, ret, ret_why);
}

/* Fill the request's head. The error is for srv__request_fail(). */
static int
read_head(struct srv_request *req, const char *method, const char *version,
    struct srv_audit *audit, const char **ret_why)
{
	struct srv_direct *direct = req->worker->direct;
	int audited = read_fields(req, method, version, audit, ret_why), rc;
	char id[17];
	struct lnk_request head = {
		.method = w_view_of(method),
		.scheme = W_VIEW("http"),
		.authority = audit->host,
		.target = req->head.target,
		.client = client_of(req->direct.connection),
		.id = audit->id.len > 0 ? audit->id : new_id(id),
		.traceparent = audit->traceparent,
		.position = audit->position,
		.idempotency = audit->idempotency,
		.length = audit->length,
		.end = audit->length == 0,
		.fields = direct->fields,
	};

	drop_hop_fields(direct);
	head.field_count = direct->field_count;
	rc = srv__request_head(req, &head);
	lower_names(req);
	return audited < 0 ? audited : rc < 0 ? -W_EHEADERS : W_OK;
}

static void
run(struct srv_request *req)
{
	req->direct.started = true;
	req->worker->direct->stirred = true;
	srv__request_run(req);
}

static enum MHD_Result
take_head(struct srv_request *req, const char *method, const char *version)
{
	struct srv_direct_part *part = &req->direct;
	struct srv_audit audit = { .length = 0 };
	const char *why = NULL;
	bool early;
	int rc = read_head(req, method, version, &audit, &why);

	/* who would send much for nothing, or waits to be told to send, is answered at once */
	early = rc < 0 || audit.expects || audit.length > WAIT_MAX;
	if (rc < 0) {
		part->started = true;
		srv__request_fail(req, rc, why);
	} else if (audit.length < 0 || (uint64_t)audit.length > IN_MAX) {
		run(req);
	}
	if (!early || !part->answered || req->answer.kind != SRV_WHOLE)
		return MHD_YES;
	part->close = true;
	return queue_answer(req) ? MHD_YES : MHD_NO;
}

/* ---- the body, and its end ---- */

static enum MHD_Result
take_body(struct srv_request *req, const char *bytes, size_t *len)
{
	size_t room = IN_MAX - W_MIN(IN_MAX, srv__request_buffered(req));
	size_t take = req->in_unread ? *len : W_MIN(*len, room);

	req->worker->direct->stirred = true;
	if (srv__request_data(req, (struct w_view){ bytes, take }, false) < 0)
		return MHD_NO;
	*len -= take;
	if (*len > 0)
		suspend(req);
	return MHD_YES;
}

static enum MHD_Result
take_end(struct srv_request *req)
{
	struct srv_direct_part *part = &req->direct;

	if (!part->final) {
		part->final = true;
		srv__request_data(req, (struct w_view){ NULL, 0 }, true);
		if (!part->started)
			run(req);
	}
	if (part->answered)
		return queue_answer(req) ? MHD_YES : MHD_NO;
	suspend(req);
	return MHD_YES;
}

static enum MHD_Result
on_call(void *arg W_UNUSED, struct MHD_Connection *connection, const char *url W_UNUSED,
    const char *method, const char *version, const char *bytes, size_t *len, void **context)
{
	struct srv_request *req = *context;
	enum MHD_Result done;

	if (req == NULL || req->direct.failed)
		return MHD_NO;
	req->direct.inside = true;
	if (req->direct.connection == NULL) {
		req->direct.connection = connection;
		done = take_head(req, method, version);
	} else if (*len > 0) {
		done = take_body(req, bytes, len);
	} else {
		done = take_end(req);
	}
	req->direct.inside = false;
	return done;
}

/* ---- the library's other callbacks ---- */

/* The request line has come. What is returned here is the request's context from now on. */
static void *
on_uri(void *arg, const char *uri, struct MHD_Connection *connection W_UNUSED)
{
	struct srv_direct *direct = arg;
	struct srv_request *req = srv__request_new(direct->worker, &direct_front);

	if (req == NULL)
		return NULL;
	req->head.target = w_arena_copy(&req->arena, w_view_of(uri));
	return req;
}

/* The library looks first at connections with another timeout than most have. */
static void
look_first(struct MHD_Connection *connection, bool first)
{
	MHD_set_connection_option(
	    connection, MHD_CONNECTION_OPTION_TIMEOUT, first ? IDLE_SECONDS + 1 : IDLE_SECONDS);
}

static void
on_completed(void *arg W_UNUSED, struct MHD_Connection *connection, void **context,
    enum MHD_RequestTerminationCode why)
{
	struct srv_request *req = *context;

	if (req == NULL)
		return;
	*context = NULL;
	if (req->direct.first)
		look_first(connection, false);
	req->direct.connection = NULL;
	w_list_remove(&req->direct.ready);
	srv__request_gone(req, why != MHD_REQUEST_TERMINATED_COMPLETED_OK && req->step != 0);
	srv__request_give(req);
}

/* Paths and queries are decoded by srv__target_parse(), not in place. */
static size_t
on_unescape(void *arg W_UNUSED, struct MHD_Connection *connection W_UNUSED, char *text)
{
	return strlen(text);
}

static char *
client_text(const struct sockaddr *addr)
{
	char host[INET6_ADDRSTRLEN] = "";

	if (addr != NULL && addr->sa_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)addr;

		inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host));
		return w_xasprintf("%s:%u", host, ntohs(in->sin_port));
	}
	if (addr != NULL && addr->sa_family == AF_INET6) {
		const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)(const void *)addr;

		inet_ntop(AF_INET6, &in->sin6_addr, host, sizeof(host));
		return w_xasprintf("[%s]:%u", host, ntohs(in->sin6_port));
	}
	return w_xstrdup("local");
}

static void
on_connection(void *arg, struct MHD_Connection *connection, void **context,
    enum MHD_ConnectionNotificationCode what)
{
	struct srv_direct *direct = arg;
	unsigned metric = direct->worker->srv->ids.own + SRV_CONNECTIONS;
	const union MHD_ConnectionInfo *info;

	if (what == MHD_CONNECTION_NOTIFY_STARTED) {
		info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
		*context = client_text(info != NULL ? info->client_addr : NULL);
		w_meter_move(direct->worker->meter, metric, 1);
	} else {
		w_free(context);
		w_meter_move(direct->worker->meter, metric, -1);
	}
}

/* ---- the loop ---- */

static void
run_library(struct srv_direct *direct)
{
	MHD_UNSIGNED_LONG_LONG wait = 1;

	direct->stirred = false;
	MHD_run(direct->daemon);
	direct->due = MHD_get_timeout(direct->daemon, &wait) == MHD_YES && wait == 0;
	if (direct->stirred)
		w_loop_work(direct->worker->loop, W_TURN_FIBERS);
	if (!direct->due)
		return;
	if (direct->resumed < MANY)
		w_loop_again(direct->worker->loop);
	else
		w_timer_start(direct->worker->loop, &direct->patience, PATIENCE, 0);
}

/* It has ended the wait; the hook does the rest. */
static void
on_patience(void *arg W_UNUSED)
{
}

static void
on_poll(uv_poll_t *poll, int status W_UNUSED, int events W_UNUSED)
{
	struct srv_direct *direct = poll->data;

	if (direct == NULL)
		return;
	w_loop_enter(direct->worker->loop);
	direct->due = true;
}

static void
go_on(struct srv_request *req)
{
	struct srv_direct_part *part = &req->direct;

	if (!part->suspended)
		return;
	if (part->answered && part->final && !part->queued && queue_answer(req) &&
	    req->answer.kind == SRV_WHOLE && req->answer.body.len <= SHORT) {
		part->first = true;
		look_first(part->connection, true);
	}
	part->suspended = false;
	MHD_resume_connection(part->connection);
	req->worker->direct->resumed++;
}

/* Resume all that has something new, then let the library work on all of them at once. */
static void
on_turn(void *arg)
{
	struct srv_direct *direct = arg;
	struct w_list *node;

	if (w_list_empty(&direct->ready) && !direct->due)
		return;
	direct->resumed = 0;
	while ((node = w_list_shift(&direct->ready)) != NULL)
		go_on(w_list_entry(node, struct srv_request, direct.ready));
	run_library(direct);
}

/* Timeouts of idle connections. */
void
srv__direct_tick(struct srv_worker *worker)
{
	if (worker->direct != NULL)
		worker->direct->due = true;
}

/* ---- life ---- */

static void
on_log(void *arg W_UNUSED, const char *fmt W_UNUSED, va_list args W_UNUSED)
{
	/* the library tells of every client that goes away: the metrics count them */
}

static struct MHD_Daemon *
start_daemon(struct srv_direct *direct, int listener, unsigned connections)
{
	return MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_TURBO |
	    MHD_USE_ERROR_LOG | MHD_USE_SUPPRESS_DATE_NO_CLOCK, 0, NULL, NULL, on_call, direct,
	    MHD_OPTION_LISTEN_SOCKET, listener,
	    MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL,
	    MHD_OPTION_CONNECTION_LIMIT, connections,
	    MHD_OPTION_CONNECTION_MEMORY_LIMIT, POOL,
	    MHD_OPTION_CONNECTION_TIMEOUT, IDLE_SECONDS,
	    MHD_OPTION_URI_LOG_CALLBACK, on_uri, direct,
	    MHD_OPTION_UNESCAPE_CALLBACK, on_unescape, NULL,
	    MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL,
	    MHD_OPTION_NOTIFY_CONNECTION, on_connection, direct, MHD_OPTION_END);
}

static int
watch_daemon(struct srv_direct *direct)
{
	const union MHD_DaemonInfo *info =
	    MHD_get_daemon_info(direct->daemon, MHD_DAEMON_INFO_EPOLL_FD);

	if (info == NULL)
		return -W_EIO;
	direct->poll = w_xcalloc(1, sizeof(*direct->poll));
	if (uv_poll_init(&direct->worker->loop->uv, direct->poll, info->epoll_fd) < 0) {
		w_free(&direct->poll);
		return -W_EIO;
	}
	direct->poll->data = direct;
	uv_poll_start(direct->poll, UV_READABLE, on_poll);
	w_turn_add(direct->worker->loop, &direct->turn, W_TURN_CLIENTS, on_turn, direct);
	return W_OK;
}

int
srv__direct_new(struct srv_worker *worker, int *listener, unsigned connections,
    struct w_fault *fault)
{
	struct srv_direct *direct = w_xcalloc(1, sizeof(*direct));

	direct->worker = worker;
	direct->patience.fire = on_patience;
	w_list_init(&direct->ready);
	worker->direct = direct;
	direct->daemon = start_daemon(direct, *listener, connections);
	if (direct->daemon != NULL)
		*listener = -1;
	if (direct->daemon == NULL || watch_daemon(direct) < 0)
		return w_fail(fault, -W_EIO, "cannot start the direct HTTP listener of worker %u",
		    worker->base != NULL ? worker->base->index : 0);
	return W_OK;
}

/* No new connections; those that are open end with their next answer. */
void
srv__direct_drain(struct srv_worker *worker)
{
	int listener;

	if (worker->direct == NULL)
		return;
	listener = MHD_quiesce_daemon(worker->direct->daemon);
	w_close(&listener);
}

static void
free_handle(uv_handle_t *handle)
{
	free(handle);
}

/* The library panics when it is stopped while connections are suspended. */
static void
resume_all(struct srv_worker *worker)
{
	struct w_list *node;

	w_list_each(node, &worker->requests) {
		struct srv_request *req = w_list_entry(node, struct srv_request, node);

		if (req->direct.connection == NULL || !req->direct.suspended)
			continue;
		req->direct.suspended = false;
		req->direct.failed = true;
		MHD_resume_connection(req->direct.connection);
	}
	MHD_run(worker->direct->daemon);
}

void
srv__direct_free(struct srv_worker *worker)
{
	struct srv_direct *direct = worker->direct;

	if (direct == NULL)
		return;
	w_turn_remove(&direct->turn);
	w_timer_fini(&direct->patience);
	if (direct->poll != NULL) {
		direct->poll->data = NULL;
		uv_poll_stop(direct->poll);
		uv_close((uv_handle_t *)direct->poll, free_handle);
	}
	if (direct->daemon != NULL) {
		resume_all(worker);
		MHD_stop_daemon(direct->daemon);
	}
	free(direct);
	worker->direct = NULL;
}

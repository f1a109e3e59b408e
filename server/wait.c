/*
 * Waiting: sleep, work on the blocking pool, and handlers that run there altogether.
 *
 * A blocking handler runs on a thread of libuv's pool while its fiber waits. What touches the
 * worker (body, database, streamed answers, sleep) the thread hands to the fiber and waits:
 *
 *	thread:  call = fn ----------------> wait for "done" ---> go on
 *	fiber:   parked --- sees the call --> runs fn, may park --> posts "done"
 *
 * 1. The fiber touches the request only between a call and its "done"; the thread only outside
 *    of that. The semaphore orders their memory.
 * 2. The worker's callbacks (data came, peer gone) touch only in, in_end and gone, which the
 *    thread never reads by itself but for gone, a hint.
 */
#include "server/request.h"

/* ---- work on the pool ---- */

struct work {
	uv_work_t uv;
	struct srv_request *req;
	void (*fn)(void *arg);
	void *arg;
	bool done;
};

static void
on_pool(uv_work_t *uv)
{
	struct work *work = uv->data;

	work->fn(work->arg);
}

static void
on_worked(uv_work_t *uv, int status W_UNUSED)
{
	struct work *work = uv->data;

	w_loop_enter(work->req->worker->loop);
	work->done = true;
	srv__request_wake(work->req);
}

int
weir_offload(struct weir_request *pub, void (*fn)(void *arg), void *arg)
{
	struct srv_request *req = srv__of(pub);
	struct work work = { .req = req, .fn = fn, .arg = arg };

	if (fn == NULL)
		return WEIR_EUSAGE;
	if (req->thread != NULL) {
		fn(arg);
		return WEIR_OK;
	}
	if (req->gone)
		return WEIR_EGONE;
	work.uv.data = &work;
	if (uv_queue_work(&req->worker->loop->uv, &work.uv, on_pool, on_worked) < 0)
		return WEIR_EBUSY;
	/* fn works on memory of the handler, so neither deadline nor client ends this wait */
	while (!work.done)
		w_fiber_park();
	return req->gone ? WEIR_EGONE : WEIR_OK;
}

/* ---- sleep ---- */

struct sleep_call {
	struct srv_request *req;
	w_usec until;
	int rc;
};

static void
do_sleep(void *arg)
{
	struct sleep_call *call = arg;
	struct srv_request *req = call->req;
	w_usec until;

	/* the deadline may come closer while this waits */
	do
		until = W_MIN(call->until, req->deadline);
	while (!req->gone && w_fiber_park_until(until) == W_OK);
	call->rc = req->gone ? WEIR_EGONE : until < call->until ? WEIR_ETIMEOUT : WEIR_OK;
}

int
weir_sleep(struct weir_request *pub, int64_t microseconds)
{
	struct sleep_call call = { .req = srv__of(pub), .rc = WEIR_EUSAGE };

	if (microseconds < 0 || microseconds > W_NEVER / 4)
		return WEIR_EINVAL;
	call.until = w_now() + microseconds;
	srv__on_fiber(call.req, do_sleep, &call);
	return call.rc;
}

/* ---- handlers on the pool ---- */

struct srv_thread {
	struct srv_request *req;
	void (*fn)(void *arg); /* the call in progress; NULL: none */
	void *arg;
	bool asked;            /* set on the worker: fn waits for the fiber */
	uv_sem_t done;
	int rc;
};

/* On the worker: the thread wants something. */
static void
on_asked(void *arg)
{
	struct srv_thread *thread = arg;

	thread->asked = true;
	srv__request_wake(thread->req);
}

void
srv__on_fiber(struct srv_request *req, void (*fn)(void *arg), void *arg)
{
	struct srv_thread *thread = req->thread;

	if (thread == NULL || w_fiber_self() != NULL) {
		fn(arg);
		return;
	}
	thread->fn = fn;
	thread->arg = arg;
	w_loop_call(req->worker->loop, on_asked, thread);
	uv_sem_wait(&thread->done);
}

static void
run_handler(void *arg)
{
	struct srv_thread *thread = arg;

	thread->rc = thread->req->match.route->handler(srv__public(thread->req));
}

/* The fiber's part: whatever the thread asks for, until its handler has returned. */
static void
work_for(struct srv_thread *thread, const struct work *work)
{
	while (!work->done) {
		if (!thread->asked) {
			w_fiber_park();
			continue;
		}
		thread->asked = false;
		thread->fn(thread->arg);
		uv_sem_post(&thread->done);
	}
}

int
srv__run_blocking(struct srv_request *req)
{
	struct srv_thread thread = { .req = req, .rc = WEIR_EUSAGE };
	struct work work = { .req = req, .fn = run_handler, .arg = &thread };

	work.uv.data = &work;
	if (uv_sem_init(&thread.done, 0) < 0)
		return WEIR_EBUSY;
	req->thread = &thread;
	if (uv_queue_work(&req->worker->loop->uv, &work.uv, on_pool, on_worked) < 0)
		thread.rc = WEIR_EBUSY;
	else
		work_for(&thread, &work);
	req->thread = NULL;
	uv_sem_destroy(&thread.done);
	return thread.rc;
}

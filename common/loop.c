/*
 * The event loop of one thread. See loop.h for what it adds to libuv.
 *
 * One turn, in libuv's order:
 *
 *	timers -> prepare: hooks (again, while one makes work for an earlier one), then look
 *	       at zsocks -> wait -> handles' callbacks
 *	       -> check: readable() of zsocks -> (timers of the next turn)
 *
 * 1. Looking at ZMQ_EVENTS comes after the hooks, because sending may take the edge of
 *    the descriptor: what is not seen then is not seen at all. A socket that nobody used since
 *    the last look, and that had nothing then, still has its edge: looking is a system call,
 *    or two, so it is left out.
 * 2. Lists are emptied and refilled while they are walked, so that callbacks may add and
 *    remove any member, themselves included.
 * 3. Handles with an owner outside live on the heap and are freed when libuv has closed them.
 */
#include "common/loop.h"

#include <zmq.h>

#include "common/error.h"
#include "common/log.h"

#define ROUNDS 4 /* times that the hooks may run within one turn */

struct loop_call {
	struct w_list node;
	void (*fn)(void *arg);
	void *arg;
};

static void
free_handle(uv_handle_t *handle)
{
	free(handle);
}

/* Move all members to ret. */
static void
take_list(struct w_list *from, struct w_list *ret)
{
	w_list_init(ret);
	if (w_list_empty(from))
		return;
	*ret = *from;
	ret->next->prev = ret->prev->next = ret;
	w_list_init(from);
}

/* ---- ZeroMQ sockets ---- */

static bool
zsock_has_input(const struct w_zsock *zsock)
{
	int events = 0;
	size_t size = sizeof(events);

	/* A context that is being terminated answers ETERM: no input any more. */
	if (zmq_getsockopt(zsock->socket, ZMQ_EVENTS, &events, &size) < 0)
		return false;
	return (events & ZMQ_POLLIN) != 0;
}

int
w_zsock_send(struct w_zsock *zsock, struct w_view bytes, bool more)
{
	zsock->used = true;
	if (zmq_send(zsock->socket, bytes.ptr, bytes.len, ZMQ_DONTWAIT | (more ? ZMQ_SNDMORE : 0)) >=
	    0)
		return W_OK;
	return zmq_errno() == EAGAIN ? -W_EAGAIN : -W_ELOST;
}

int
w_zsock_receive(struct w_zsock *zsock, struct zmq_msg_t *msg)
{
	zsock->used = true;
	if (zmq_msg_recv(msg, zsock->socket, ZMQ_DONTWAIT) >= 0)
		return W_OK;
	return zmq_errno() == EAGAIN ? -W_EAGAIN : -W_ELOST;
}

int
w_zsock_receive_into(struct w_zsock *zsock, void *to, size_t max)
{
	int len;

	zsock->used = true;
	len = zmq_recv(zsock->socket, to, max, ZMQ_DONTWAIT);
	if (len >= 0)
		return len;
	return zmq_errno() == EAGAIN ? -W_EAGAIN : -W_ELOST;
}

void
w_zsock_catch_up(struct w_zsock *zsock)
{
	zsock->used = true;
	zsock_has_input(zsock);
}

/* Before the wait: is there input already, which no descriptor will tell of? */
static bool
look_at_zsocks(struct w_loop *loop)
{
	struct w_list *pos;
	bool any = false;

	w_list_each(pos, &loop->zsocks)
	{
		struct w_zsock *zsock = w_list_entry(pos, struct w_zsock, node);

		if (zsock->used || zsock->ready)
			zsock->ready = zsock_has_input(zsock);
		zsock->used = false;
		any |= zsock->ready;
	}
	return any;
}

static void
read_zsocks(struct w_loop *loop)
{
	struct w_list todo, *node;

	take_list(&loop->zsocks, &todo);
	while ((node = w_list_shift(&todo)) != NULL) {
		struct w_zsock *zsock = w_list_entry(node, struct w_zsock, node);

		w_list_push(&loop->zsocks, node);
		if (zsock->signaled && !zsock->ready)
			zsock->ready = zsock_has_input(zsock);
		zsock->signaled = false;
		if (zsock->ready)
			zsock->readable(zsock->arg);
	}
}

static void
on_zsock(uv_poll_t *poll, int status W_UNUSED, int events W_UNUSED)
{
	struct w_zsock *zsock = poll->data;

	if (zsock == NULL)
		return;
	w_loop_enter(zsock->loop);
	zsock->signaled = true;
}

int
w_zsock_add(struct w_loop *loop, struct w_zsock *zsock, void *socket, void (*readable)(void *arg),
    void *arg)
{
	uv_poll_t *poll;
	int fd = -1;
	size_t size = sizeof(fd);

	if (zmq_getsockopt(socket, ZMQ_FD, &fd, &size) < 0)
		return -W_EIO;
	poll = w_xcalloc(1, sizeof(*poll));
	if (uv_poll_init(&loop->uv, poll, fd) < 0) {
		free(poll);
		return -W_EIO;
	}

	*zsock = (struct w_zsock){
	    .loop = loop, .socket = socket, .poll = poll, .readable = readable, .arg = arg};
	zsock->used = true; /* by who bound or connected it */
	poll->data = zsock;
	uv_poll_start(poll, UV_READABLE, on_zsock);
	w_list_push(&loop->zsocks, &zsock->node);
	return W_OK;
}

void
w_zsock_remove(struct w_zsock *zsock)
{
	if (zsock->poll == NULL)
		return;
	w_list_remove(&zsock->node);
	zsock->poll->data = NULL;
	uv_poll_stop(zsock->poll);
	uv_close((uv_handle_t *)zsock->poll, free_handle);
	zsock->poll = NULL;
	zsock->ready = false;
}

/* ---- timers ---- */

static void
on_timer(uv_timer_t *handle)
{
	struct w_timer *timer = handle->data;

	if (timer != NULL)
		timer->fire(timer->arg);
}

static uint64_t
msec_up(w_usec wait)
{
	return wait <= 0 ? 0 : ((uint64_t)wait + W_MSEC - 1) / W_MSEC;
}

void
w_timer_start(struct w_loop *loop, struct w_timer *timer, w_usec wait, w_usec repeat)
{
	uint64_t due, now;

	if (timer->timer == NULL) {
		timer->timer = w_xcalloc(1, sizeof(*timer->timer));
		uv_timer_init(&loop->uv, timer->timer);
		timer->timer->data = timer;
	}
	/* libuv counts from the time it last looked at the clock, which may be long ago. */
	wait = W_MIN(W_MAX(wait, 0), W_NEVER / 4);
	due = msec_up(w_now() + wait);
	now = uv_now(&loop->uv);
	uv_timer_start(timer->timer, on_timer, due > now ? due - now : 0, msec_up(repeat));
}

void
w_timer_stop(struct w_timer *timer)
{
	if (timer->timer != NULL)
		uv_timer_stop(timer->timer);
}

void
w_timer_fini(struct w_timer *timer)
{
	if (timer->timer == NULL)
		return;
	uv_timer_stop(timer->timer);
	timer->timer->data = NULL;
	uv_close((uv_handle_t *)timer->timer, free_handle);
	timer->timer = NULL;
}

/* ---- calls from other threads ---- */

void
w_loop_call(struct w_loop *loop, void (*fn)(void *arg), void *arg)
{
	struct loop_call *call = w_xcalloc(1, sizeof(*call));

	call->fn = fn;
	call->arg = arg;
	pthread_mutex_lock(&loop->calls_lock);
	w_list_push(&loop->calls, &call->node);
	pthread_mutex_unlock(&loop->calls_lock);
	uv_async_send(&loop->async);
}

/* Calls that are made meanwhile wait for the next turn, so that no loop spins here. */
static void
take_calls(struct w_loop *loop, struct w_list *ret)
{
	pthread_mutex_lock(&loop->calls_lock);
	take_list(&loop->calls, ret);
	pthread_mutex_unlock(&loop->calls_lock);
}

static void
on_async(uv_async_t *async)
{
	struct w_loop *loop = async->data;
	struct w_list todo, *node;

	w_loop_enter(loop);
	take_calls(loop, &todo);
	while ((node = w_list_shift(&todo)) != NULL) {
		struct loop_call call = *w_list_entry(node, struct loop_call, node);

		free(w_list_entry(node, struct loop_call, node));
		call.fn(call.arg);
	}
}

/* ---- turns ---- */

void
w_turn_add(struct w_loop *loop, struct w_turn *turn, enum w_turn_order order,
    void (*run)(void *arg), void *arg)
{
	W_ASSERT(order < W_TURN_ORDERS);
	turn->order = order;
	turn->run = run;
	turn->arg = arg;
	w_list_push(&loop->turns[order], &turn->node);
}

void
w_turn_remove(struct w_turn *turn)
{
	if (turn->node.next != NULL)
		w_list_remove(&turn->node);
}

static void
run_hooks(struct w_list *hooks)
{
	struct w_list todo, *node;

	take_list(hooks, &todo);
	while ((node = w_list_shift(&todo)) != NULL) {
		struct w_turn *turn = w_list_entry(node, struct w_turn, node);

		w_list_push(hooks, node);
		turn->run(turn->arg);
	}
}

static void
run_all_hooks(struct w_loop *loop)
{
	loop->repeat = false;
	for (loop->running = 0; loop->running < W_TURN_ORDERS; loop->running++)
		run_hooks(&loop->turns[loop->running]);
	loop->running = 0;
}

static void
on_idle(uv_idle_t *idle W_UNUSED)
{
}

static void
on_prepare(uv_prepare_t *prepare)
{
	struct w_loop *loop = prepare->data;
	bool busy;

	w_loop_enter(loop);
	loop->repeat = true;
	for (unsigned round = 0; round < ROUNDS && loop->repeat; round++)
		run_all_hooks(loop);

	busy = look_at_zsocks(loop) || loop->again || loop->repeat;
	loop->again = loop->repeat = false;
	if (busy)
		uv_idle_start(&loop->idle, on_idle);
	else
		uv_idle_stop(&loop->idle);
	atomic_store_explicit(&loop->busy_since, 0, memory_order_relaxed);
}

static void
on_check(uv_check_t *check)
{
	struct w_loop *loop = check->data;
	uint64_t turns = atomic_load_explicit(&loop->turns_run, memory_order_relaxed);

	w_loop_enter(loop);
	atomic_store_explicit(&loop->turns_run, turns + 1, memory_order_relaxed);
	read_zsocks(loop);
}

void
w_loop_again(struct w_loop *loop)
{
	loop->again = true;
}

void
w_loop_work(struct w_loop *loop, enum w_turn_order order)
{
	loop->repeat |= loop->running > order;
}

/* ---- life ---- */

int
w_loop_init(struct w_loop *loop)
{
	memset(loop, 0, sizeof(*loop));
	w_list_init(&loop->calls);
	w_list_init(&loop->zsocks);
	for (unsigned i = 0; i < W_TURN_ORDERS; i++)
		w_list_init(&loop->turns[i]);
	if (uv_loop_init(&loop->uv) < 0)
		return -W_EIO;
	if (uv_async_init(&loop->uv, &loop->async, on_async) < 0) {
		uv_loop_close(&loop->uv);
		return -W_EIO;
	}
	pthread_mutex_init(&loop->calls_lock, NULL);
	uv_prepare_init(&loop->uv, &loop->prepare);
	uv_check_init(&loop->uv, &loop->check);
	uv_idle_init(&loop->uv, &loop->idle);
	loop->async.data = loop->prepare.data = loop->check.data = loop->idle.data = loop;
	uv_prepare_start(&loop->prepare, on_prepare);
	uv_check_start(&loop->check, on_check);
	loop->now = w_now();
	return W_OK;
}

/* An owner forgot its handle: our own mistake, but no reason to die while ending. */
static void
close_leftover(uv_handle_t *handle, void *arg W_UNUSED)
{
	if (uv_is_closing(handle))
		return;
	w_log(W_WARN, "", "handle-left-open", "type=%s", uv_handle_type_name(handle->type));
	uv_close(handle, NULL);
}

void
w_loop_fini(struct w_loop *loop)
{
	struct w_list late, *node;

	uv_close((uv_handle_t *)&loop->prepare, NULL);
	uv_close((uv_handle_t *)&loop->check, NULL);
	uv_close((uv_handle_t *)&loop->idle, NULL);
	uv_close((uv_handle_t *)&loop->async, NULL);
	uv_walk(&loop->uv, close_leftover, NULL);
	/* again and again, for libuv stops early after a w_loop_stop() */
	while (uv_run(&loop->uv, UV_RUN_DEFAULT) != 0)
		continue;
	W_ASSERT(uv_loop_close(&loop->uv) == 0);

	/* Calls that came too late: what they meant to work on is gone. */
	take_calls(loop, &late);
	while ((node = w_list_shift(&late)) != NULL)
		free(w_list_entry(node, struct loop_call, node));
	pthread_mutex_destroy(&loop->calls_lock);
}

void
w_loop_run(struct w_loop *loop)
{
	/* libuv forgets a stop that came before the run. */
	while (!loop->stopping)
		uv_run(&loop->uv, UV_RUN_DEFAULT);
	loop->stopping = false;
}

void
w_loop_stop(struct w_loop *loop)
{
	loop->stopping = true;
	uv_stop(&loop->uv);
}

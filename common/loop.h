/*
 * The event loop of one thread: libuv, plus two things that it lacks.
 *
 * End of turn: after all events of one turn are handled and before the loop waits
 * again, the turn hooks run in their order. There fibers that were woken run, then
 * database lanes flush, then the link sends one message per peer, then client
 * connections flush. That is how everything is batched.
 *
 * ZeroMQ sockets: their file descriptor says "something changed", once, to whichever call on
 * the socket comes first (zmq_getsockopt(3), ZMQ_FD). So all calls go through the loop, which asks
 * for the events again after a turn that had any, and leaves an idle socket alone.
 *
 * Threads: a loop belongs to the thread that runs it. Only w_loop_call() may be used
 * from others.
 */
#ifndef WEIR_COMMON_LOOP_H
#define WEIR_COMMON_LOOP_H

#include <pthread.h>
#include <stdatomic.h>
#include <uv.h>

#include "common/base.h"
#include "common/view.h"

enum w_turn_order { W_TURN_FIBERS, W_TURN_DATABASE, W_TURN_LINK, W_TURN_CLIENTS, W_TURN_ORDERS };

struct w_turn {
	struct w_list node;
	enum w_turn_order order;
	void (*run)(void *arg);
	void *arg;
};

struct w_loop {
	uv_loop_t uv;
	uv_prepare_t prepare;
	uv_check_t check;
	uv_idle_t idle; /* active while something is known to be ready: do not block */
	uv_async_t async;
	pthread_mutex_t calls_lock;
	struct w_list calls;  /* of struct loop_call: from other threads */
	struct w_list turns[W_TURN_ORDERS];
	struct w_list zsocks; /* of struct w_zsock */
	w_usec now;           /* start of this turn; see w_loop_enter() */
	bool again;           /* a hook wants another turn at once */
	bool repeat;          /* a hook made work for one that ran before it */
	unsigned running;     /* order of the hooks that run now; 0 outside of them, too */
	bool stopping;
	/* For the watchdog: when the running turn began, 0 while the loop waits. */
	_Atomic(w_usec) busy_since;
	_Atomic(uint64_t) turns_run;
};

int w_loop_init(struct w_loop *loop); /* Errors: -W_EIO */
/* Closes what the loop made itself; the caller closed its own handles before. */
void w_loop_fini(struct w_loop *loop);
/* Runs until w_loop_stop(). The calling thread owns the loop from now on. */
void w_loop_run(struct w_loop *loop);
void w_loop_stop(struct w_loop *loop);
/* Run fn(arg) on the loop's thread, soon. Any thread; order is kept. */
void w_loop_call(struct w_loop *loop, void (*fn)(void *arg), void *arg);
/* Do not block before the next turn. Needed by a hook that leaves some of its work. */
void w_loop_again(struct w_loop *loop);
/*
 * There is work for hooks of this order. Needed by whoever makes it while hooks run: when those
 * have run already, all hooks run once more before this turn ends. Harmless at any other time.
 */
void w_loop_work(struct w_loop *loop, enum w_turn_order order);

/*
 * Callbacks of libuv handles call this first. libuv runs them before anything of this file
 * gets a chance to note that the wait is over, so loop->now would be of the turn before, and
 * the watchdog would not see them stall. Timers, hooks, w_loop_call() functions, readable()
 * of zsocks and fibers need not. Costs one clock reading a turn. Returns loop->now.
 */
static inline w_usec
w_loop_enter(struct w_loop *loop)
{
	if (atomic_load_explicit(&loop->busy_since, memory_order_relaxed) == 0) {
		loop->now = w_now();
		atomic_store_explicit(&loop->busy_since, loop->now, memory_order_relaxed);
	}
	return loop->now;
}

void w_turn_add(struct w_loop *loop, struct w_turn *turn, enum w_turn_order order,
    void (*run)(void *arg), void *arg);
void w_turn_remove(struct w_turn *turn);

/*
 * A ZeroMQ socket on the loop. readable() is called once per turn while the socket
 * has messages; it receives as many as it likes and may leave some: it is called
 * again next turn. A zsock may be removed in its own callback.
 *
 * From w_zsock_add() on nobody may send, receive or ask for ZMQ_EVENTS but by the functions below:
 * any such call may take what the descriptor would have told. tests/house/zsocks.sh watches.
 */
struct zmq_msg_t;
struct w_zsock {
	struct w_list node;
	struct w_loop *loop;
	void *socket; /* borrowed */
	uv_poll_t *poll; /* heap, so that closing may finish later */
	bool signaled;   /* the descriptor says that something changed */
	bool used;       /* a call may have taken what the descriptor had to say */
	bool ready;      /* has messages, as of the last look */
	void (*readable)(void *arg);
	void *arg;
};

int w_zsock_add(struct w_loop *loop, struct w_zsock *zsock, void *socket,
    void (*readable)(void *arg), void *arg); /* Errors: -W_EIO */
void w_zsock_remove(struct w_zsock *zsock); /* twice is harmless; close the socket after it */

/*
 * Send one frame, another follows when more is set. Never waits.
 *
 * Errors   -W_EAGAIN no room, or nobody to send to yet; -W_ELOST anything else
 */
int w_zsock_send(struct w_zsock *zsock, struct w_view bytes, bool more);
/* Receive one frame into msg, which was initialised. Never waits. Errors: as above. */
int w_zsock_receive(struct w_zsock *zsock, struct zmq_msg_t *msg);
/* The same into memory: returns the frame's length, which may be more than max. */
int w_zsock_receive_into(struct w_zsock *zsock, void *to, size_t max);
/* Make libzmq look at what its own threads have told the socket about connections. */
void w_zsock_catch_up(struct w_zsock *zsock);

/*
 * A timer. Zeroed is valid and stopped. Deadlines of requests use one timer wheel per
 * worker instead where there are thousands; this is libuv's heap, O(log n).
 */
struct w_timer {
	uv_timer_t *timer; /* heap, so that closing may finish later */
	void (*fire)(void *arg);
	void *arg;
};

/* (Re)start: fire once after wait microseconds (rounded up to ms), then every repeat if > 0. */
void w_timer_start(struct w_loop *loop, struct w_timer *timer, w_usec wait, w_usec repeat);
void w_timer_stop(struct w_timer *timer);
/* Stop and forget; needed before the memory of *timer goes away. */
void w_timer_fini(struct w_timer *timer);

#endif

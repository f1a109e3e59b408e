/*
 * The event loop and its watchdog. Each test runs a loop of its own until the test says
 * stop; a guard stops one that waits for what never comes.
 */
#include <CUnit/CUnit.h>
#include <pthread.h>
#include <stdio.h>
#include <zmq.h>

#include "common/error.h"
#include "common/loop.h"
#include "common/watchdog.h"

static struct w_loop loop;
static struct w_timer guard;
static bool guarded;

static void
on_guard(void *arg W_UNUSED)
{
	guarded = true;
	w_loop_stop(&loop);
}

static void
begin(void)
{
	CU_ASSERT_FATAL(w_loop_init(&loop) == W_OK);
	guarded = false;
	guard = (struct w_timer){.fire = on_guard};
	w_timer_start(&loop, &guard, 20 * W_SEC, 0);
}

static void
end(void)
{
	CU_ASSERT_FALSE(guarded);
	w_timer_fini(&guard);
	w_loop_fini(&loop);
}

static void
stop(void *arg W_UNUSED)
{
	w_loop_stop(&loop);
}

/* ---- hooks ---- */

static char trail[64];

static void
leave_trail(void *arg)
{
	strncat(trail, arg, sizeof(trail) - strlen(trail) - 1);
}

static void
hooks_run_in_order(void)
{
	struct w_turn turns[4];
	struct w_turn last;

	begin();
	trail[0] = '\0';
	w_turn_add(&loop, &turns[0], W_TURN_CLIENTS, leave_trail, "d");
	w_turn_add(&loop, &turns[1], W_TURN_LINK, leave_trail, "c");
	w_turn_add(&loop, &turns[2], W_TURN_DATABASE, leave_trail, "b");
	w_turn_add(&loop, &turns[3], W_TURN_FIBERS, leave_trail, "a");
	w_turn_add(&loop, &last, W_TURN_CLIENTS, stop, NULL);
	w_loop_again(&loop);
	w_loop_run(&loop);
	CU_ASSERT_STRING_EQUAL(trail, "abcd");
	end();
}

static struct w_turn removed[3];

static void
remove_all(void *arg)
{
	leave_trail(arg);
	for (size_t i = 0; i < W_NELEM(removed); i++)
		w_turn_remove(&removed[i]);
	w_loop_call(&loop, stop, NULL);
}

static void
hook_removes_itself_and_others(void)
{
	begin();
	trail[0] = '\0';
	w_turn_add(&loop, &removed[0], W_TURN_LINK, leave_trail, "x");
	w_turn_add(&loop, &removed[1], W_TURN_LINK, remove_all, "y");
	w_turn_add(&loop, &removed[2], W_TURN_LINK, leave_trail, "z");
	w_loop_run(&loop);
	CU_ASSERT_STRING_EQUAL(trail, "xy");
	w_turn_remove(&removed[0]);
	end();
}

static unsigned rounds;

static void
ask_for_more(void *arg W_UNUSED)
{
	if (++rounds == 1000)
		w_loop_stop(&loop);
	w_loop_again(&loop);
}

static void
again_does_not_wait(void)
{
	struct w_turn turn;

	begin();
	rounds = 0;
	w_turn_add(&loop, &turn, W_TURN_LINK, ask_for_more, NULL);
	w_loop_run(&loop);
	CU_ASSERT_EQUAL(rounds, 1000);
	CU_ASSERT_TRUE(atomic_load(&loop.turns_run) >= 999);
	end();
}

static bool asked_for_work;

static void
make_work_once(void *arg)
{
	leave_trail(arg);
	if (!asked_for_work)
		w_loop_work(&loop, W_TURN_DATABASE);
	asked_for_work = true;
}

static void
no_work_for_later_hooks(void *arg)
{
	leave_trail(arg);
	w_loop_work(&loop, W_TURN_LINK);
	w_loop_work(&loop, W_TURN_CLIENTS);
}

static void
work_for_an_earlier_hook_is_done_before_the_wait(void)
{
	struct w_turn turns[3];

	begin();
	asked_for_work = false;
	trail[0] = '\0';
	w_turn_add(&loop, &turns[0], W_TURN_FIBERS, leave_trail, "a");
	w_turn_add(&loop, &turns[1], W_TURN_LINK, no_work_for_later_hooks, "b");
	w_turn_add(&loop, &turns[2], W_TURN_CLIENTS, make_work_once, "c");
	w_loop_work(&loop, W_TURN_FIBERS); /* no hook runs: harmless */
	w_loop_again(&loop);
	CU_ASSERT_FATAL(uv_run(&loop.uv, UV_RUN_NOWAIT) != 0);
	CU_ASSERT_STRING_EQUAL(trail, "abcabc");
	end();
}

static void
make_work_always(void *arg W_UNUSED)
{
	if (++rounds == 1000)
		w_loop_stop(&loop);
	w_loop_work(&loop, W_TURN_FIBERS);
}

/* Two hooks that make work for each other keep neither the loop's events nor its end away. */
static void
work_without_end_does_not_hold_the_turn(void)
{
	struct w_turn turn;

	begin();
	rounds = 0;
	w_turn_add(&loop, &turn, W_TURN_LINK, make_work_always, NULL);
	w_loop_run(&loop);
	CU_ASSERT_TRUE(rounds >= 1000);
	CU_ASSERT_TRUE(atomic_load(&loop.turns_run) >= 100);
	end();
}

static void
stop_before_run_counts(void)
{
	begin();
	w_loop_stop(&loop);
	w_loop_run(&loop);
	end();
}

/* ---- calls ---- */

#define CALLS 5000

static unsigned called;
static bool in_order, on_own_thread;
static pthread_t owner;

static void
on_call(void *arg)
{
	in_order &= (uintptr_t)arg == called;
	on_own_thread &= pthread_equal(pthread_self(), owner) != 0;
	if (++called == CALLS)
		w_loop_stop(&loop);
}

static void *
call_often(void *arg W_UNUSED)
{
	for (uintptr_t i = 0; i < CALLS; i++)
		w_loop_call(&loop, on_call, (void *)i);
	return NULL;
}

static void
calls_keep_order(void)
{
	pthread_t thread;

	begin();
	called = 0;
	in_order = on_own_thread = true;
	owner = pthread_self();
	CU_ASSERT_FATAL(pthread_create(&thread, NULL, call_often, NULL) == 0);
	w_loop_run(&loop);
	pthread_join(thread, NULL);
	CU_ASSERT_EQUAL(called, CALLS);
	CU_ASSERT_TRUE(in_order);
	CU_ASSERT_TRUE(on_own_thread);
	end();
}

static void
late_calls_are_dropped(void)
{
	begin();
	called = 0;
	w_loop_call(&loop, on_call, NULL);
	end();
	CU_ASSERT_EQUAL(called, 0);
}

static w_usec asked_at, seen_at;

static void
note_time(void *arg W_UNUSED)
{
	seen_at = loop.now;
	w_loop_stop(&loop);
}

static void *
call_when_it_waits(void *arg W_UNUSED)
{
	while (atomic_load(&loop.turns_run) < 1 || atomic_load(&loop.busy_since) != 0)
		sched_yield();
	asked_at = w_now();
	w_loop_call(&loop, note_time, NULL);
	return NULL;
}

static void
time_is_fresh_after_a_wait(void)
{
	pthread_t thread;

	begin();
	w_loop_again(&loop);
	CU_ASSERT_FATAL(pthread_create(&thread, NULL, call_when_it_waits, NULL) == 0);
	w_loop_run(&loop);
	pthread_join(thread, NULL);
	CU_ASSERT_TRUE(seen_at >= asked_at);
	end();
}

/* ---- timers ---- */

static struct w_timer tick;
static w_usec due;
static bool early;
static unsigned fired;

static void
on_tick(void *arg W_UNUSED)
{
	early |= w_now() < due;
	due = w_now() + 3 * W_MSEC + 1;
	if (++fired == 20) {
		w_timer_fini(&tick);
		w_loop_stop(&loop);
	} else {
		w_timer_start(&loop, &tick, 3 * W_MSEC + 1, 0);
	}
}

static void
timer_is_never_early(void)
{
	begin();
	early = false;
	fired = 0;
	tick = (struct w_timer){.fire = on_tick};
	due = w_now() + 5 * W_MSEC;
	w_timer_start(&loop, &tick, 5 * W_MSEC, 0);
	w_loop_run(&loop);
	CU_ASSERT_EQUAL(fired, 20);
	CU_ASSERT_FALSE(early);
	w_timer_fini(&tick);
	end();
}

static void
on_repeat(void *arg W_UNUSED)
{
	if (++fired == 5)
		w_loop_stop(&loop);
}

static void
timer_repeats(void)
{
	begin();
	fired = 0;
	tick = (struct w_timer){.fire = on_repeat};
	w_timer_stop(&tick); /* zeroed is valid and stopped */
	w_timer_start(&loop, &tick, 0, W_MSEC);
	w_loop_run(&loop);
	CU_ASSERT_EQUAL(fired, 5);
	w_timer_fini(&tick);
	end();
}

/* ---- ZeroMQ sockets ---- */

static void *context;

static void *
open_socket(int type, const char *endpoint, bool bind)
{
	void *socket = zmq_socket(context, type);
	int linger = 0, rc;

	zmq_setsockopt(socket, ZMQ_LINGER, &linger, sizeof(linger));
	rc = bind ? zmq_bind(socket, endpoint) : zmq_connect(socket, endpoint);
	CU_ASSERT_FATAL(rc == 0);
	return socket;
}

static struct w_zsock one, other;
static unsigned received, wanted;

static void
read_one(void *arg)
{
	char byte;

	if (w_zsock_receive_into(arg, &byte, 1) == 1 && ++received == wanted)
		w_loop_stop(&loop);
}

static void
messages_left_over_come_next_turn(void)
{
	void *pull, *push;

	begin();
	context = zmq_ctx_new();
	pull = open_socket(ZMQ_PULL, "inproc://left-over", true);
	push = open_socket(ZMQ_PUSH, "inproc://left-over", false);
	CU_ASSERT_EQUAL(w_zsock_add(&loop, &one, pull, read_one, &one), W_OK);
	received = 0;
	wanted = 500;
	for (unsigned i = 0; i < wanted; i++)
		CU_ASSERT_EQUAL(zmq_send(push, "x", 1, ZMQ_DONTWAIT), 1);
	w_loop_run(&loop);
	CU_ASSERT_EQUAL(received, wanted);
	CU_ASSERT_TRUE(atomic_load(&loop.turns_run) >= wanted);
	w_zsock_remove(&one);
	w_zsock_remove(&one);
	zmq_close(pull);
	zmq_close(push);
	zmq_ctx_term(context);
	end();
}

/* Ping-pong over TCP; answers go out in a hook, which takes the descriptor's edge. */
static unsigned owed[2];

static void
read_all(void *arg)
{
	struct w_zsock *zsock = arg;
	char byte;

	while (w_zsock_receive_into(zsock, &byte, 1) == 1) {
		received++;
		owed[zsock == &one ? 0 : 1]++;
	}
	if (received >= wanted)
		w_loop_stop(&loop);
}

static void
send_owed(void *arg W_UNUSED)
{
	for (; owed[0] > 0; owed[0]--)
		w_zsock_send(&one, W_VIEW("x"), false);
	for (; owed[1] > 0; owed[1]--)
		w_zsock_send(&other, W_VIEW("x"), false);
}

static void
no_edge_is_lost(void)
{
	void *server, *client;
	struct w_turn turn;
	char endpoint[64];
	size_t size = sizeof(endpoint);

	begin();
	context = zmq_ctx_new();
	server = open_socket(ZMQ_PAIR, "tcp://127.0.0.1:*", true);
	zmq_getsockopt(server, ZMQ_LAST_ENDPOINT, endpoint, &size);
	client = open_socket(ZMQ_PAIR, endpoint, false);
	CU_ASSERT_EQUAL(w_zsock_add(&loop, &one, server, read_all, &one), W_OK);
	CU_ASSERT_EQUAL(w_zsock_add(&loop, &other, client, read_all, &other), W_OK);
	w_turn_add(&loop, &turn, W_TURN_LINK, send_owed, NULL);
	received = 0;
	wanted = 3000;
	owed[0] = 0;
	owed[1] = 3;
	w_loop_run(&loop);
	CU_ASSERT_TRUE(received >= wanted);
	w_zsock_remove(&one);
	w_zsock_remove(&other);
	zmq_close(server);
	zmq_close(client);
	zmq_ctx_term(context);
	end();
}

/*
 * Two messages come, and a call on the socket takes the descriptor's edge with them. The loop has
 * looked before and seen nothing; it must look again, or it waits for ever.
 */
static void *far_end;

static void
use_by_catching_up(void)
{
	w_zsock_catch_up(&one);
}

static void
use_by_receiving(void)
{
	zmq_msg_t msg;

	zmq_msg_init(&msg);
	CU_ASSERT_EQUAL(w_zsock_receive(&one, &msg), W_OK);
	CU_ASSERT_EQUAL(zmq_msg_size(&msg), 1);
	zmq_msg_close(&msg);
}

static void
use_by_receiving_into(void)
{
	char text[4];

	CU_ASSERT_EQUAL(w_zsock_receive_into(&one, text, sizeof(text)), 1);
	CU_ASSERT_EQUAL(text[0], 'x');
}

/* libzmq looks at what was told only when the last look was a while ago. */
static void
use_by_sending(void)
{
	w_usec until = w_now() + 20 * W_MSEC;

	while (w_now() < until)
		continue;
	CU_ASSERT_EQUAL(w_zsock_send(&one, W_VIEW("one"), true), W_OK);
	CU_ASSERT_EQUAL(w_zsock_send(&one, W_VIEW("two"), false), W_OK);
}

/* Behind the loop's back: what w_zsock_add() forbids. */
static void
use_without_telling(void)
{
	int events = 0;
	size_t size = sizeof(events);

	CU_ASSERT_EQUAL(zmq_getsockopt(one.socket, ZMQ_EVENTS, &events, &size), 0);
	CU_ASSERT_EQUAL(events & ZMQ_POLLIN, ZMQ_POLLIN);
	one.signaled = false;
}

static unsigned turns_after, turns_left; /* the loop's after the use; 0: no end */

static void
count_turns(void *arg W_UNUSED)
{
	if (turns_left > 0 && --turns_left == 0)
		w_loop_stop(&loop);
	if (turns_left > 0)
		w_loop_again(&loop);
}

static void
fill_and_use(void *use)
{
	CU_ASSERT_FALSE(one.ready);
	CU_ASSERT_FALSE(one.used);
	CU_ASSERT_EQUAL(zmq_send(far_end, "x", 1, ZMQ_DONTWAIT), 1);
	CU_ASSERT_EQUAL(zmq_send(far_end, "x", 1, ZMQ_DONTWAIT), 1);
	(*(void (**)(void))use)();
	turns_left = turns_after;
}

static void *
fill_when_it_waits(void *use)
{
	while (atomic_load(&loop.turns_run) < 1 || atomic_load(&loop.busy_since) != 0)
		sched_yield();
	w_loop_call(&loop, fill_and_use, use);
	return NULL;
}

static void
run_with_use(void (*use)(void), unsigned turns)
{
	struct w_turn turn;
	pthread_t thread;

	begin();
	context = zmq_ctx_new();
	far_end = open_socket(ZMQ_PAIR, "inproc://use", true);
	CU_ASSERT_EQUAL(w_zsock_add(&loop, &one, open_socket(ZMQ_PAIR, "inproc://use", false),
	    read_one, &one), W_OK);
	received = 0;
	wanted = 1;
	turns_left = 0;
	turns_after = turns;
	w_loop_again(&loop);
	w_turn_add(&loop, &turn, W_TURN_CLIENTS, count_turns, NULL);
	CU_ASSERT_FATAL(pthread_create(&thread, NULL, fill_when_it_waits, &use) == 0);
	w_loop_run(&loop);
	pthread_join(thread, NULL);
	w_zsock_remove(&one);
	zmq_close(one.socket);
	zmq_close(far_end);
	zmq_ctx_term(context);
	end();
}

static void
used_socket_is_looked_at(void)
{
	static void (*const uses[])(void) = {
	    use_by_catching_up, use_by_receiving, use_by_receiving_into, use_by_sending};

	for (size_t i = 0; i < W_NELEM(uses); i++) {
		run_with_use(uses[i], 0);
		CU_ASSERT_EQUAL(received, 1);
	}
}

static void
idle_socket_is_left_alone(void)
{
	run_with_use(use_without_telling, 50);
	CU_ASSERT_EQUAL(received, 0);
}

static void
remove_both(void *arg W_UNUSED)
{
	received++;
	w_zsock_remove(&one);
	w_zsock_remove(&other);
	w_loop_call(&loop, stop, NULL);
}

static void
zsock_is_removed_in_a_callback(void)
{
	void *sockets[4];

	begin();
	context = zmq_ctx_new();
	sockets[0] = open_socket(ZMQ_PULL, "inproc://a", true);
	sockets[1] = open_socket(ZMQ_PULL, "inproc://b", true);
	sockets[2] = open_socket(ZMQ_PUSH, "inproc://a", false);
	sockets[3] = open_socket(ZMQ_PUSH, "inproc://b", false);
	CU_ASSERT_EQUAL(w_zsock_add(&loop, &one, sockets[0], remove_both, NULL), W_OK);
	CU_ASSERT_EQUAL(w_zsock_add(&loop, &other, sockets[1], remove_both, NULL), W_OK);
	zmq_send(sockets[2], "x", 1, 0);
	zmq_send(sockets[3], "x", 1, 0);
	received = 0;
	w_loop_run(&loop);
	CU_ASSERT_EQUAL(received, 1);
	for (size_t i = 0; i < W_NELEM(sockets); i++)
		zmq_close(sockets[i]);
	zmq_ctx_term(context);
	end();
}

/* ---- watchdog ---- */

static struct w_watchdog *dog;
static uint64_t stalls_while_stalled;

/* Stall until the dog barks, then for twice the limit more: it must not bark again. */
static void
stall(void *arg W_UNUSED)
{
	w_usec give_up = w_now() + 10 * W_SEC, until;

	while (w_watchdog_stalls(dog) == 0 && w_now() < give_up)
		continue;
	for (until = w_now() + 60 * W_MSEC; w_now() < until;)
		continue;
	stalls_while_stalled = w_watchdog_stalls(dog);
	w_loop_stop(&loop);
}

static void
stall_is_reported_once(void)
{
	begin();
	CU_ASSERT_FATAL(w_watchdog_start(30 * W_MSEC, &dog) == W_OK);
	w_watchdog_watch(dog, &loop, pthread_self(), "stalling");
	w_loop_call(&loop, stall, NULL);
	w_loop_run(&loop);
	CU_ASSERT_EQUAL(stalls_while_stalled, 1);
	w_watchdog_forget(dog, &loop);
	w_watchdog_stop(&dog);
	CU_ASSERT_PTR_NULL(dog);
	end();
}

static w_usec quiet_until;

static void
on_quiet(void *arg W_UNUSED)
{
	w_loop_stop(&loop);
}

/* A loop that waits is no stalled loop, however long it waits. */
static void
waiting_is_no_stall(void)
{
	begin();
	CU_ASSERT_FATAL(w_watchdog_start(20 * W_MSEC, &dog) == W_OK);
	w_watchdog_watch(dog, &loop, pthread_self(), "waiting");
	tick = (struct w_timer){.fire = on_quiet};
	w_timer_start(&loop, &tick, 120 * W_MSEC, 0);
	quiet_until = w_now() + 120 * W_MSEC;
	w_loop_run(&loop);
	CU_ASSERT_TRUE(w_now() >= quiet_until);
	CU_ASSERT_EQUAL(w_watchdog_stalls(dog), 0);
	w_timer_fini(&tick);
	w_watchdog_stop(&dog);
	end();
}

static CU_TestInfo turn_tests[] = {{"hooks run in their order before the wait", hooks_run_in_order},
    {"a hook removes itself and others", hook_removes_itself_and_others},
    {"a loop asked for another turn does not wait", again_does_not_wait},
    {"work for an earlier hook is done before the wait",
	work_for_an_earlier_hook_is_done_before_the_wait},
    {"work without end does not hold the turn", work_without_end_does_not_hold_the_turn},
    {"a stop before the run counts", stop_before_run_counts},
    {"calls from another thread keep their order", calls_keep_order},
    {"a call that comes too late is dropped", late_calls_are_dropped},
    {"the time is fresh after a wait", time_is_fresh_after_a_wait}, CU_TEST_INFO_NULL};
static CU_TestInfo timer_tests[] = {{"a timer is never early", timer_is_never_early},
    {"a timer repeats", timer_repeats}, CU_TEST_INFO_NULL};
static CU_TestInfo zsock_tests[] = {
    {"messages left over come next turn", messages_left_over_come_next_turn},
    {"no edge is lost when a hook sends", no_edge_is_lost},
    {"a socket that was used is looked at", used_socket_is_looked_at},
    {"an idle socket is left alone", idle_socket_is_left_alone},
    {"a socket is removed in a callback", zsock_is_removed_in_a_callback}, CU_TEST_INFO_NULL};
static CU_TestInfo watchdog_tests[] = {{"a stall is reported once", stall_is_reported_once},
    {"waiting is no stall", waiting_is_no_stall}, CU_TEST_INFO_NULL};
CU_SuiteInfo loop_suites[] = {{.pName = "common/loop turns", .pTests = turn_tests},
    {.pName = "common/loop timers", .pTests = timer_tests},
    {.pName = "common/loop zsocks", .pTests = zsock_tests},
    {.pName = "common/watchdog", .pTests = watchdog_tests}, CU_SUITE_INFO_NULL};

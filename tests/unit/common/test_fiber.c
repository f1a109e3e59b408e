/*
 * Fibers, and the heap of their deadlines.
 */
#include <CUnit/CUnit.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/fiber.h"
#include "common/fiber_heap.h"

static struct w_loop loop;
static struct w_fibers *fibers;
static struct w_timer guard;
static bool guarded;

static void
on_guard(void *arg W_UNUSED)
{
	guarded = true;
	w_loop_stop(&loop);
}

static void
begin(unsigned most)
{
	CU_ASSERT_FATAL(w_loop_init(&loop) == W_OK);
	CU_ASSERT_FATAL(w_fibers_new(&loop, 256 * 1024, most, &fibers) == W_OK);
	guarded = false;
	guard = (struct w_timer){.fire = on_guard};
	w_timer_start(&loop, &guard, 30 * W_SEC, 0);
}

static void
end(void)
{
	struct w_fiber_stats stats;

	CU_ASSERT_FALSE(guarded);
	w_fibers_stats(fibers, &stats);
	CU_ASSERT_EQUAL(stats.running, 0);
	w_fibers_free(&fibers);
	CU_ASSERT_PTR_NULL(fibers);
	w_timer_fini(&guard);
	w_loop_fini(&loop);
}

/* ---- parking and waking ---- */

static unsigned steps;
static struct w_fiber *parked;

static void
never_waits(void *arg)
{
	CU_ASSERT_PTR_NOT_NULL(w_fiber_self());
	*(unsigned *)arg = 1;
}

static void
runs_at_once(void)
{
	unsigned done = 0;

	begin(1);
	CU_ASSERT_PTR_NULL(w_fiber_self());
	CU_ASSERT_EQUAL(w_fiber_start(fibers, never_waits, &done), W_OK);
	CU_ASSERT_EQUAL(done, 1);
	CU_ASSERT_PTR_NULL(w_fiber_self());
	end();
}

static void
parks_twice(void *arg W_UNUSED)
{
	parked = w_fiber_self();
	steps = 1;
	w_fiber_park();
	steps = 2;
	w_fiber_park();
	steps = 3;
	w_loop_stop(&loop);
}

static void
wake_it(void *arg W_UNUSED)
{
	w_fiber_wake(parked);
	w_fiber_wake(parked); /* ready already: harmless */
	if (steps == 1)
		w_loop_call(&loop, wake_it, NULL);
}

static void
park_waits_for_wake(void)
{
	begin(1);
	CU_ASSERT_EQUAL(w_fiber_start(fibers, parks_twice, NULL), W_OK);
	CU_ASSERT_EQUAL(steps, 1);
	w_loop_call(&loop, wake_it, NULL);
	w_loop_run(&loop);
	CU_ASSERT_EQUAL(steps, 3);
	end();
}

static void
wakes_itself(void *arg)
{
	w_fiber_wake(w_fiber_self());
	w_fiber_wake(w_fiber_self());
	w_fiber_park(); /* returns at once */
	*(int *)arg = w_fiber_park_until(w_now() + W_MSEC);
	w_loop_stop(&loop);
}

static void
early_wake_counts_once(void)
{
	int rc = 1;

	begin(1);
	CU_ASSERT_EQUAL(w_fiber_start(fibers, wakes_itself, &rc), W_OK);
	w_loop_run(&loop);
	CU_ASSERT_EQUAL(rc, -W_ETIMEOUT);
	end();
}

/* A chain in which each fiber wakes the one before it, longer than one turn's rounds. */
#define CHAIN 100

static struct w_fiber *chain[CHAIN];
static unsigned chained;

static void
link_of_chain(void *arg)
{
	uintptr_t i = (uintptr_t)arg;

	chain[i] = w_fiber_self();
	w_fiber_park();
	chained++;
	if (i > 0)
		w_fiber_wake(chain[i - 1]);
	else
		w_loop_stop(&loop);
}

static void
wake_last(void *arg W_UNUSED)
{
	w_fiber_wake(chain[CHAIN - 1]);
}

static void
fibers_wake_fibers(void)
{
	begin(CHAIN);
	chained = 0;
	for (uintptr_t i = 0; i < CHAIN; i++)
		CU_ASSERT_EQUAL(w_fiber_start(fibers, link_of_chain, (void *)i), W_OK);
	w_loop_call(&loop, wake_last, NULL);
	w_loop_run(&loop);
	CU_ASSERT_EQUAL(chained, CHAIN);
	end();
}

/* A wake from a hook that runs after the fibers' own must not wait for the next event. */
static struct w_turn late_turn;

static void
wake_late(void *arg W_UNUSED)
{
	w_turn_remove(&late_turn);
	w_fiber_wake(parked);
}

static void
parks_once(void *arg W_UNUSED)
{
	parked = w_fiber_self();
	w_fiber_park();
	w_loop_stop(&loop);
}

static void
late_hook_wakes(void)
{
	begin(1);
	CU_ASSERT_EQUAL(w_fiber_start(fibers, parks_once, NULL), W_OK);
	w_turn_add(&loop, &late_turn, W_TURN_CLIENTS, wake_late, NULL);
	w_loop_run(&loop);
	end();
}

/* ---- limits ---- */

static void
parks_for_good(void *arg)
{
	*(struct w_fiber **)arg = w_fiber_self();
	w_fiber_park();
}

static void
stop_soon(void *arg W_UNUSED)
{
	w_loop_stop(&loop);
}

static void
one_too_many_is_busy(void)
{
	struct w_fiber *two[2];

	begin(2);
	CU_ASSERT_EQUAL(w_fiber_start(fibers, parks_for_good, &two[0]), W_OK);
	CU_ASSERT_EQUAL(w_fiber_start(fibers, parks_for_good, &two[1]), W_OK);
	CU_ASSERT_EQUAL(w_fiber_start(fibers, parks_for_good, &two[1]), -W_EBUSY);
	w_fiber_wake(two[0]);
	w_fiber_wake(two[1]);
	w_loop_call(&loop, stop_soon, NULL);
	w_loop_run(&loop);
	end();
}

static void
no_stack_is_an_error(void)
{
	struct w_fibers *huge;
	struct w_fiber_stats stats;

	begin(1);
	CU_ASSERT_EQUAL(w_fibers_new(&loop, (size_t)1 << 52, 1, &huge), W_OK);
	CU_ASSERT_EQUAL(w_fiber_start(huge, never_waits, NULL), -W_ENOMEM);
	w_fibers_stats(huge, &stats);
	CU_ASSERT_EQUAL(stats.running, 0);
	w_fibers_free(&huge);
	end();
}

static void
stacks_are_used_again(void)
{
	struct w_fiber_stats stats;
	unsigned done;

	begin(4);
	for (unsigned i = 0; i < 1000; i++)
		CU_ASSERT_EQUAL(w_fiber_start(fibers, never_waits, &done), W_OK);
	w_fibers_stats(fibers, &stats);
	CU_ASSERT_EQUAL(stats.pooled, 1);
	CU_ASSERT_EQUAL(stats.started, 1000);
	CU_ASSERT_TRUE(stats.switches >= 1000);
	end();
}

static void
uses_much_stack(void *arg)
{
	volatile char room[100 * 1024];

	for (size_t i = 0; i < sizeof(room); i += 512)
		room[i] = (char)i;
	*(unsigned *)arg = (unsigned)room[512];
}

static void
deepest_use_is_known(void)
{
	struct w_fiber_stats stats;
	unsigned done;

	begin(1);
	CU_ASSERT_EQUAL(w_fiber_start(fibers, uses_much_stack, &done), W_OK);
	for (unsigned i = 0; i < 100; i++)
		CU_ASSERT_EQUAL(w_fiber_start(fibers, never_waits, &done), W_OK);
	w_fibers_stats(fibers, &stats);
	CU_ASSERT_TRUE(stats.high_water >= 100 * 1024);
	end();
}

static unsigned
dig(unsigned depth)
{
	volatile char room[4096];

	room[0] = (char)depth;
	room[4095] = (char)depth;
	return depth == 0 ? 0 : dig(depth - 1) + (unsigned)room[0] + (unsigned)room[4095];
}

static void
digs(void *arg W_UNUSED)
{
	steps = dig(100000);
}

static void
overflow_hits_the_guard_page(void)
{
	struct rlimit no_core = {0, 0};
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		setrlimit(RLIMIT_CORE, &no_core);
		close(STDERR_FILENO); /* a sanitizer has a lot to say */
		w_loop_init(&loop);
		w_fibers_new(&loop, 64 * 1024, 1, &fibers);
		w_fiber_start(fibers, digs, NULL);
		_exit(0);
	}
	CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
	CU_ASSERT_FALSE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* ---- deadlines ---- */

#define SLEEPERS 2000

static unsigned awake, outrun;
static w_usec last_deadline;

static void
sleeps(void *arg)
{
	uintptr_t i = (uintptr_t)arg;
	w_usec deadline = w_now() + 20 * W_MSEC + (w_usec)(i * 7919 % SLEEPERS * 50);

	CU_ASSERT_EQUAL(w_fiber_park_until(deadline), -W_ETIMEOUT);
	if (w_now() < deadline || deadline < last_deadline)
		outrun++;
	last_deadline = deadline;
	if (++awake == SLEEPERS)
		w_loop_stop(&loop);
}

static void
thousands_of_deadlines_fire_in_order(void)
{
	begin(SLEEPERS);
	awake = outrun = 0;
	last_deadline = 0;
	for (uintptr_t i = 0; i < SLEEPERS; i++)
		CU_ASSERT_EQUAL(w_fiber_start(fibers, sleeps, (void *)i), W_OK);
	w_loop_run(&loop);
	CU_ASSERT_EQUAL(awake, SLEEPERS);
	CU_ASSERT_EQUAL(outrun, 0);
	end();
}

static void
waits_with_deadline(void *arg)
{
	parked = w_fiber_self();
	*(int *)arg = w_fiber_park_until(w_now() + 3600 * W_SEC);
	w_loop_stop(&loop);
}

static void
wake_comes_before_deadline(void)
{
	int rc = 1;

	begin(1);
	CU_ASSERT_EQUAL(w_fiber_start(fibers, waits_with_deadline, &rc), W_OK);
	w_loop_call(&loop, wake_it, NULL);
	steps = 0;
	w_loop_run(&loop);
	CU_ASSERT_EQUAL(rc, W_OK);
	end();
}

static void
asks_too_late(void *arg)
{
	*(int *)arg = w_fiber_park_until(w_now() - 1);
}

static void
past_deadline_does_not_park(void)
{
	int rc = 1;

	begin(1);
	CU_ASSERT_EQUAL(w_fiber_start(fibers, asks_too_late, &rc), W_OK);
	CU_ASSERT_EQUAL(rc, -W_ETIMEOUT);
	end();
}

static void
naps(void *arg)
{
	w_usec start = w_now();

	w_fiber_sleep(5 * W_MSEC);
	*(w_usec *)arg = w_now() - start;
	w_loop_stop(&loop);
}

static void
sleep_lasts(void)
{
	w_usec slept = 0;

	begin(1);
	CU_ASSERT_EQUAL(w_fiber_start(fibers, naps, &slept), W_OK);
	w_loop_run(&loop);
	CU_ASSERT_TRUE(slept >= 5 * W_MSEC);
	end();
}

static void
heap_gives_the_earliest(void)
{
	static struct w_deadline items[1000];
	struct w_deadlines heap = {0};
	unsigned left = W_NELEM(items);
	w_usec last = 0;

	memset(items, 0, sizeof(items));
	for (unsigned i = 0; i < W_NELEM(items); i++) {
		items[i].at = (w_usec)(w_random() % 500);
		w_deadlines_add(&heap, &items[i]);
	}
	for (unsigned i = 0; i < W_NELEM(items); i += 3, left--) {
		w_deadlines_remove(&heap, &items[i]);
		w_deadlines_remove(&heap, &items[i]);
	}
	for (struct w_deadline *first; (first = w_deadlines_first(&heap)) != NULL; left--) {
		CU_ASSERT_TRUE(first->at >= last);
		last = first->at;
		w_deadlines_remove(&heap, first);
	}
	CU_ASSERT_EQUAL(left, 0);
	w_deadlines_fini(&heap);
}

static CU_TestInfo park_tests[] = {
    {"a fiber that never waits is done when start returns", runs_at_once},
    {"a parked fiber waits for a wake", park_waits_for_wake},
    {"wakes before the park count as one", early_wake_counts_once},
    {"fibers wake fibers in a long chain", fibers_wake_fibers},
    {"a wake from a late hook is not forgotten", late_hook_wakes}, CU_TEST_INFO_NULL};
static CU_TestInfo limit_tests[] = {{"one fiber too many is BUSY", one_too_many_is_busy},
    {"no memory for a stack is NOMEM", no_stack_is_an_error},
    {"stacks are used again", stacks_are_used_again},
    {"the deepest use of a stack is known", deepest_use_is_known},
    {"an overflow hits the guard page", overflow_hits_the_guard_page}, CU_TEST_INFO_NULL};
static CU_TestInfo deadline_tests[] = {
    {"thousands of deadlines fire in order", thousands_of_deadlines_fire_in_order},
    {"a wake before the deadline is no timeout", wake_comes_before_deadline},
    {"a deadline in the past does not park", past_deadline_does_not_park},
    {"a sleep lasts as long as it should", sleep_lasts},
    {"the heap gives the earliest deadline", heap_gives_the_earliest}, CU_TEST_INFO_NULL};
CU_SuiteInfo fiber_suites[] = {{.pName = "common/fiber parking", .pTests = park_tests},
    {.pName = "common/fiber limits", .pTests = limit_tests},
    {.pName = "common/fiber deadlines", .pTests = deadline_tests}, CU_SUITE_INFO_NULL};

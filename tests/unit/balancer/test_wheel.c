/*
 * Timer wheel, pools and retry budget.
 */
#include "balancer/budget.h"
#include "balancer/pool.h"
#include "balancer/wheel.h"
#include "tests/unit/unit.h"

#define TIMERS 500

static struct bal_wheel wheel;
static w_usec now;

struct alarm {
	struct bal_timer timer;
	w_usec wanted, fired;
	unsigned count;
};

static void
ring(struct bal_timer *timer)
{
	struct alarm *alarm = w_container_of(timer, struct alarm, timer);

	alarm->fired = now;
	alarm->count++;
}

static void
start(void)
{
	now = 5000 * W_SEC + 123;
	bal_wheel_init(&wheel, now);
}

static void
run_until(w_usec end, w_usec step)
{
	for (; now < end; now += step)
		bal_wheel_run(&wheel, now);
}

static void
never_early_and_soon_after(void)
{
	static struct alarm alarms[TIMERS];

	start();
	for (unsigned i = 0; i < TIMERS; i++) {
		alarms[i] = (struct alarm){ .timer.fire = ring, .wanted = now + (w_usec)i * 77777 };
		bal_timer_set(&wheel, &alarms[i].timer, alarms[i].wanted);
	}
	run_until(now + 45 * W_SEC, 1777);
	for (unsigned i = 0; i < TIMERS; i++) {
		CU_ASSERT(alarms[i].count == 1);
		CU_ASSERT(alarms[i].fired >= alarms[i].wanted);
		CU_ASSERT(alarms[i].fired <= alarms[i].wanted + 2 * BAL_WHEEL_TICK);
	}
	CU_ASSERT(wheel.count == 0);
	CU_ASSERT(bal_wheel_next(&wheel) == W_NEVER);
}

static void
moved_timers_fire_at_the_new_time(void)
{
	struct alarm later = { .timer.fire = ring }, sooner = { .timer.fire = ring };

	start();
	bal_timer_set(&wheel, &later.timer, now + W_SEC);
	bal_timer_set(&wheel, &later.timer, now + 20 * W_SEC);
	later.wanted = now + 20 * W_SEC;
	bal_timer_set(&wheel, &sooner.timer, now + 20 * W_SEC);
	bal_timer_set(&wheel, &sooner.timer, now + W_SEC);
	sooner.wanted = now + W_SEC;
	run_until(now + 30 * W_SEC, W_MSEC);
	CU_ASSERT(later.count == 1 && later.fired >= later.wanted);
	CU_ASSERT(later.fired <= later.wanted + 2 * BAL_WHEEL_TICK);
	CU_ASSERT(sooner.count == 1 && sooner.fired >= sooner.wanted);
	CU_ASSERT(sooner.fired <= sooner.wanted + 2 * BAL_WHEEL_TICK);
}

static void
stopped_timers_stay_silent(void)
{
	struct alarm alarm = { .timer.fire = ring };

	start();
	bal_timer_stop(&wheel, &alarm.timer);
	bal_timer_set(&wheel, &alarm.timer, now + W_SEC);
	CU_ASSERT(bal_timer_armed(&alarm.timer));
	bal_timer_stop(&wheel, &alarm.timer);
	bal_timer_stop(&wheel, &alarm.timer);
	bal_timer_set(&wheel, &alarm.timer, W_NEVER);
	CU_ASSERT(!bal_timer_armed(&alarm.timer));
	run_until(now + 20 * W_SEC, 10 * W_MSEC);
	CU_ASSERT(alarm.count == 0);
}

static void
a_long_sleep_fires_all_once(void)
{
	static struct alarm alarms[TIMERS];

	start();
	for (unsigned i = 0; i < TIMERS; i++) {
		alarms[i] = (struct alarm){ .timer.fire = ring };
		bal_timer_set(&wheel, &alarms[i].timer, now + (w_usec)i * 33333);
	}
	now += 3600 * W_SEC;
	bal_wheel_run(&wheel, now);
	for (unsigned i = 0; i < TIMERS; i++)
		CU_ASSERT(alarms[i].count == 1);
	/* And a timer set after a sleep without timers still comes in time. */
	now += 3600 * W_SEC;
	alarms[0].count = 0;
	bal_timer_set(&wheel, &alarms[0].timer, now + W_SEC);
	run_until(now + W_SEC - W_MSEC, W_MSEC);
	CU_ASSERT(alarms[0].count == 0);
	run_until(now + 20 * W_MSEC, W_MSEC);
	CU_ASSERT(alarms[0].count == 1);
}

static void
next_is_never_after_a_timer(void)
{
	struct alarm alarm = { .timer.fire = ring };

	start();
	for (unsigned i = 0; i < 300; i++) {
		w_usec due = now + (w_usec)(i * i) * 1000;

		bal_timer_set(&wheel, &alarm.timer, due);
		while (alarm.count == 0) {
			w_usec next = bal_wheel_next(&wheel);

			CU_ASSERT_FATAL(next != W_NEVER);
			CU_ASSERT(next <= due + BAL_WHEEL_TICK);
			now = W_MAX(now + 1, next);
			bal_wheel_run(&wheel, now);
		}
		CU_ASSERT(alarm.fired >= due && alarm.fired <= due + 2 * BAL_WHEEL_TICK);
		alarm.count = 0;
	}
}

static void
output_keeps_order_over_blocks(void)
{
	struct bal_pool pool = { 0 };
	struct bal_out out = { .pool = &pool };
	unsigned char byte, wanted = 0;
	char some[1000];

	for (unsigned i = 0, n = 0; i < 100; i++) {
		for (unsigned j = 0; j < sizeof(some); j++)
			some[j] = (char)n++;
		bal_out_add(&out, some, sizeof(some));
	}
	CU_ASSERT(out.bytes == 100 * sizeof(some));
	while (out.bytes > 0) {
		byte = (unsigned char)bal_out_first(&out).ptr[0];
		CU_ASSERT_FATAL(byte == wanted);
		wanted = (unsigned char)(wanted + W_MIN(out.bytes, (size_t)37));
		bal_out_drop(&out, W_MIN(out.bytes, (size_t)37));
	}
	CU_ASSERT(pool.taken == 0);
	bal_pool_fini(&pool);
}

static void
budget_is_a_share_of_ten_seconds(void)
{
	struct bal_budget budget = { 0 };
	w_usec at = 77 * W_SEC;
	unsigned allowed = 0;

	for (unsigned i = 0; i < 100; i++)
		bal_budget_request(&budget, at);
	while (bal_budget_take(&budget, at, 20))
		allowed++;
	CU_ASSERT(allowed == 20);
	CU_ASSERT(!bal_budget_take(&budget, at + 9 * W_SEC, 20));
	CU_ASSERT(bal_budget_take(&budget, at + 11 * W_SEC, 20));
}

static void
budget_allows_three_at_least(void)
{
	struct bal_budget budget = { 0 };
	unsigned allowed = 0;

	while (bal_budget_take(&budget, W_SEC, 20))
		allowed++;
	CU_ASSERT(allowed == 3);
	CU_ASSERT(!bal_budget_take(&budget, 100 * W_SEC, 0));
}

static CU_TestInfo wheel_tests[] = {
	{ "timers fire never early and soon after", never_early_and_soon_after },
	{ "moved timers fire at the new time", moved_timers_fire_at_the_new_time },
	{ "stopped timers stay silent", stopped_timers_stay_silent },
	{ "after a long sleep all fire once", a_long_sleep_fires_all_once },
	{ "the next wake-up is never after a timer", next_is_never_after_a_timer },
	CU_TEST_INFO_NULL
};
static CU_TestInfo pool_tests[] = {
	{ "output keeps its order over blocks", output_keeps_order_over_blocks },
	CU_TEST_INFO_NULL
};
static CU_TestInfo budget_tests[] = {
	{ "retries are a share of the requests of ten seconds", budget_is_a_share_of_ten_seconds },
	{ "three retries are always allowed, and none at 0 %", budget_allows_three_at_least },
	CU_TEST_INFO_NULL
};

CU_SuiteInfo wheel_suites[] = {
	{ .pName = "balancer/wheel", .pTests = wheel_tests },
	{ .pName = "balancer/pool", .pTests = pool_tests },
	{ .pName = "balancer/budget", .pTests = budget_tests },
	CU_SUITE_INFO_NULL
};

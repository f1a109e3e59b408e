/*
 * The scheduler: whose turn it is, and who waits.
 */
#include "tests/unit/balancer/fake.h"
#include "tests/unit/unit.h"

static const struct bal_avoid nobody;

static unsigned
taken_by(unsigned peer)
{
	return 1000 - fake.peers[peer].credit;
}

static void
take(unsigned count)
{
	while (count-- > 0) {
		struct bal_peer *peer = bal_sched_pick(&fake.edge.sched, &nobody);

		CU_ASSERT_FATAL(peer != NULL);
		peer->link->credit--;
	}
}

static void
two_servers_share_evenly(void)
{
	fake_start();
	fake_peer(0, "a", 0, 1000);
	fake_peer(1, "b", 0, 1000);
	take(100);
	CU_ASSERT(taken_by(0) == 50 && taken_by(1) == 50);
	fake_stop();
}

static void
shares_do_not_depend_on_workers(void)
{
	fake_start();
	fake_peer(0, "a", 0, 1000);
	fake_peer(1, "b", 0, 1000);
	fake_peer(2, "b", 1, 1000);
	fake_peer(3, "b", 2, 1000);
	take(120);
	CU_ASSERT(taken_by(0) == 60);
	CU_ASSERT(taken_by(1) == 20 && taken_by(2) == 20 && taken_by(3) == 20);
	fake_stop();
}

static void
servers_without_credit_are_passed_over(void)
{
	fake_start();
	fake_peer(0, "a", 0, 10);
	fake_peer(1, "b", 0, 1000);
	take(100);
	CU_ASSERT(fake.peers[0].credit == 0);
	CU_ASSERT(taken_by(1) == 90);
	fake.peers[1].credit = 0;
	CU_ASSERT(bal_sched_pick(&fake.edge.sched, &nobody) == NULL);
	fake_stop();
}

static struct bal_avoid
avoid_peer(const struct bal_peer *peer)
{
	return (struct bal_avoid){ peer->server->hash, peer->id, peer->id };
}

static void
a_peer_to_avoid_is_avoided(void)
{
	struct lnk_peer *a0, *a1, *b0;
	struct bal_avoid avoid;

	fake_start();
	a0 = fake_peer(0, "a", 0, 1000);
	avoid = avoid_peer(a0->sched);
	a1 = fake_peer(1, "a", 1, 1000);
	b0 = fake_peer(2, "b", 0, 1000);
	for (unsigned i = 0; i < 10; i++)
		CU_ASSERT(bal_sched_pick(&fake.edge.sched, &avoid)->link == b0);
	b0->credit = 0;
	for (unsigned i = 0; i < 10; i++)
		CU_ASSERT(bal_sched_pick(&fake.edge.sched, &avoid)->link == a1);
	a1->credit = 0;
	CU_ASSERT(bal_sched_pick(&fake.edge.sched, &avoid) == NULL);
	fake_stop();
}

/* What else a node had when one of its workers was lost is suspect; what comes later is not. */
static void
an_older_peer_of_a_lost_node_is_avoided(void)
{
	struct bal_avoid avoid;
	struct lnk_peer *a0, *a2;

	fake_start();
	a0 = fake_peer(0, "a", 0, 1000);
	fake_peer(1, "a", 1, 1000);
	avoid = (struct bal_avoid){ a0->sched->server->hash, 0, fake.edge.sched.last_id };
	CU_ASSERT(bal_sched_pick(&fake.edge.sched, &avoid) == NULL);
	a2 = fake_peer(2, "a", 0, 1000);
	for (unsigned i = 0; i < 4; i++)
		CU_ASSERT(bal_sched_pick(&fake.edge.sched, &avoid)->link == a2);
	fake_stop();
}

static unsigned order[8], order_count;

struct guest {
	struct bal_waiter waiter;
	unsigned number;
};

static void
seat(struct bal_waiter *waiter, struct bal_peer *peer)
{
	peer->link->credit--;
	order[order_count++] = w_container_of(waiter, struct guest, waiter)->number;
}

static void
the_queue_is_first_come_first_served(void)
{
	struct guest guests[4];
	struct lnk_peer *a;

	fake_start();
	order_count = 0;
	a = fake_peer(0, "a", 0, 0);
	for (unsigned i = 0; i < 4; i++) {
		guests[i] = (struct guest){ .waiter.place = seat, .number = i };
		bal_sched_wait(&fake.edge.sched, &guests[i].waiter);
	}
	CU_ASSERT(fake.edge.sched.waiting == 4);
	bal_sched_leave(&fake.edge.sched, &guests[1].waiter);
	a->credit = 2;
	bal_sched_pump(&fake.edge.sched);
	CU_ASSERT(order_count == 2 && order[0] == 0 && order[1] == 2);
	a->credit = 1;
	bal_sched_pump(&fake.edge.sched);
	CU_ASSERT(order_count == 3 && order[2] == 3);
	CU_ASSERT(fake.edge.sched.waiting == 0);
	fake_stop();
}

static void
a_picky_guest_holds_up_nobody(void)
{
	struct guest picky = { .waiter.place = seat, .number = 0 };
	struct guest other = { .waiter.place = seat, .number = 1 };
	struct lnk_peer *a;

	fake_start();
	order_count = 0;
	a = fake_peer(0, "a", 0, 5);
	picky.waiter.avoid = avoid_peer(a->sched);
	picky.waiter.again = true;
	bal_sched_wait(&fake.edge.sched, &picky.waiter);
	CU_ASSERT(!bal_sched_queued(&fake.edge.sched));
	bal_sched_wait(&fake.edge.sched, &other.waiter);
	bal_sched_pump(&fake.edge.sched);
	CU_ASSERT(order_count == 1 && order[0] == 1);
	fake_peer(1, "b", 0, 5);
	bal_sched_pump(&fake.edge.sched);
	CU_ASSERT(order_count == 2 && order[1] == 0);
	CU_ASSERT(fake.peers[1].credit == 4);
	fake_stop();
}

static void
who_comes_again_is_served_first(void)
{
	struct guest first = { .waiter.place = seat, .number = 0 };
	struct guest again = { .waiter = { .place = seat, .again = true }, .number = 1 };
	struct lnk_peer *a;

	fake_start();
	order_count = 0;
	a = fake_peer(0, "a", 0, 0);
	bal_sched_wait(&fake.edge.sched, &first.waiter);
	bal_sched_wait(&fake.edge.sched, &again.waiter);
	a->credit = 1;
	bal_sched_pump(&fake.edge.sched);
	CU_ASSERT(order_count == 1 && order[0] == 1);
	a->credit = 1;
	bal_sched_pump(&fake.edge.sched);
	CU_ASSERT(order_count == 2 && order[1] == 0);
	fake_stop();
}

static CU_TestInfo sched_tests[] = {
	{ "100 requests over two servers go 50 and 50", two_servers_share_evenly },
	{ "a server's share does not depend on its workers", shares_do_not_depend_on_workers },
	{ "servers without credit are passed over", servers_without_credit_are_passed_over },
	{ "a lost peer is avoided, its node too if another has credit", a_peer_to_avoid_is_avoided },
	{ "an older peer of a lost node is avoided, a later one is not",
	    an_older_peer_of_a_lost_node_is_avoided },
	{ "the queue is first come, first served", the_queue_is_first_come_first_served },
	{ "one that avoids a peer holds up nobody", a_picky_guest_holds_up_nobody },
	{ "one that comes again is served first", who_comes_again_is_served_first },
	CU_TEST_INFO_NULL
};

CU_SuiteInfo sched_suites[] = {
	{ .pName = "balancer/sched", .pTests = sched_tests },
	CU_SUITE_INFO_NULL
};

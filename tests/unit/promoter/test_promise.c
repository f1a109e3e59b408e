/* What an order means to a promise, and what of it a crash leaves. */
#include "dbtier/promise.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "suites.h"

#define COHORT "db-1,db-2,db-3/1"
#define A "monitor-1/100"
#define B "monitor-2/200"

/* Promises to begin with. */
static const struct dbt_promise nothing = { 0 };
static const struct dbt_promise empty_5 = { .term = 5, .promoter = A };
static const struct dbt_promise fenced_5 = { .term = 5, .promoter = A, .stage = DBT_FENCED };
static const struct dbt_promise following_5 = { .term = 5, .promoter = A, .stage = DBT_FOLLOWING, .upstream = "db-2" };
static const struct dbt_promise leading_5 = { .term = 5, .promoter = A, .stage = DBT_LEADING };
static const struct dbt_promise made_1 = { .term = 1, .promoter = A, .stage = DBT_LEADING, .made = true };
static const struct dbt_promise paused_9 = { .term = 5, .promoter = A, .stage = DBT_LEADING, .paused = true, .stamp = 9 };

/* Cohorts. */
static const struct dbt_cohort alone = { .names = COHORT };

/* Standings. */
static const struct dbt__standing bare = { 0 };
static const struct dbt__standing down = { .has_data = true };
static const struct dbt__standing up = { .running = true, .has_data = true };
static const struct dbt__standing settled = { .running = true, .settled = true, .has_data = true };

static const struct dbt__standing later = { .running = true, .settled = true, .has_data = true, .timeline = 6 };

/* clang-format off */
static const struct row {
	const char *name;
	const struct dbt_promise *before;
	const struct dbt__standing *standing;
	struct dbt_order order;
	bool taken;
	struct dbt_promise after; /* when it was taken */
} rows[] = {
	{ "init of what is empty", &nothing, &bare, { DBT_INIT, .term = 1, .promoter = A }, true,
	    { .term = 1, .promoter = A, .stage = DBT_LEADING, .made = true } },
	{ "init again", &made_1, &down, { DBT_INIT, .term = 1, .promoter = A }, true, { .term = 1, .promoter = A, .stage = DBT_LEADING, .made = true } },
	{ "init by somebody else", &made_1, &down, { DBT_INIT, .term = 1, .promoter = B }, false, { 0 } },
	{ "init in another term", &nothing, &bare, { DBT_INIT, .term = 2, .promoter = A }, false, { 0 } },
	{ "init where something was promised", &empty_5, &bare, { DBT_INIT, .term = 1, .promoter = A }, false, { 0 } },
	{ "init over data", &nothing, &down, { DBT_INIT, .term = 1, .promoter = A }, false, { 0 } },

	{ "prepare in a new term", &following_5, &up, { DBT_PREPARE, .term = 6, .promoter = B }, true, { .term = 6, .promoter = B, .stage = DBT_FENCED } },
	{ "prepare a leader in a new term", &leading_5, &up, { DBT_PREPARE, .term = 6, .promoter = B }, true, { .term = 6, .promoter = B, .stage = DBT_FENCED } },
	{ "prepare without data", &nothing, &bare, { DBT_PREPARE, .term = 6, .promoter = B }, true, { .term = 6, .promoter = B, .stage = DBT_EMPTY } },
	{ "prepare one that was made", &made_1, &down, { DBT_PREPARE, .term = 2, .promoter = A }, true, { .term = 2, .promoter = A, .stage = DBT_FENCED } },
	{ "prepare again", &fenced_5, &settled, { DBT_PREPARE, .term = 5, .promoter = A }, true, { .term = 5, .promoter = A, .stage = DBT_FENCED } },
	{ "prepare again, empty", &empty_5, &bare, { DBT_PREPARE, .term = 5, .promoter = A }, true, { .term = 5, .promoter = A, .stage = DBT_EMPTY } },
	{ "prepare in another's term", &fenced_5, &up, { DBT_PREPARE, .term = 5, .promoter = B }, false, { 0 } },
	{ "prepare a follower again", &following_5, &up, { DBT_PREPARE, .term = 5, .promoter = A }, false, { 0 } },
	{ "prepare a leader again", &leading_5, &up, { DBT_PREPARE, .term = 5, .promoter = A }, false, { 0 } },
	{ "prepare in an old term", &fenced_5, &up, { DBT_PREPARE, .term = 4, .promoter = A }, false, { 0 } },
	{ "prepare in no term", &nothing, &bare, { DBT_PREPARE, .term = 0, .promoter = A }, false, { 0 } },

	{ "prepare in the term of its WAL", &following_5, &later, { DBT_PREPARE, .term = 6, .promoter = B }, false, { 0 } },
	{ "prepare after it", &following_5, &later, { DBT_PREPARE, .term = 7, .promoter = B }, true,
	    { .term = 7, .promoter = B, .stage = DBT_FENCED } },
	{ "promote what has later WAL", &fenced_5, &later, { DBT_PROMOTE, .term = 5, .promoter = A }, false, { 0 } },
	{ "follow in a term before its WAL", &fenced_5, &later, { DBT_FOLLOW, .term = 5, .promoter = A, .upstream = "db-3" }, false, { 0 } },
	{ "follow in the term of its WAL", &fenced_5, &later, { DBT_FOLLOW, .term = 6, .promoter = A, .upstream = "db-3" }, true,
	    { .term = 6, .promoter = A, .stage = DBT_FOLLOWING, .upstream = "db-3" } },
	{ "follow in a new term", &leading_5, &up, { DBT_FOLLOW, .term = 6, .promoter = B, .upstream = "db-3" }, true,
	    { .term = 6, .promoter = B, .stage = DBT_FOLLOWING, .upstream = "db-3" } },
	{ "follow in the same term", &fenced_5, &settled, { DBT_FOLLOW, .term = 5, .promoter = B, .upstream = "db-3" }, true,
	    { .term = 5, .promoter = A, .stage = DBT_FOLLOWING, .upstream = "db-3" } },
	{ "follow without data", &nothing, &bare, { DBT_FOLLOW, .term = 1, .promoter = A, .upstream = "db-1" }, true,
	    { .term = 1, .promoter = A, .stage = DBT_FOLLOWING, "db-1" } },
	{ "follow somebody else", &following_5, &up, { DBT_FOLLOW, .term = 5, .promoter = A, .upstream = "db-3" }, true,
	    { .term = 5, .promoter = A, .stage = DBT_FOLLOWING, .upstream = "db-3" } },
	{ "follow in a term that it leads", &leading_5, &up, { DBT_FOLLOW, .term = 5, .promoter = A, .upstream = "db-3" }, false, { 0 } },
	{ "follow in an old term", &fenced_5, &up, { DBT_FOLLOW, .term = 4, .promoter = A, .upstream = "db-3" }, false, { 0 } },
	{ "follow nobody", &fenced_5, &up, { DBT_FOLLOW, .term = 6, .promoter = A }, false, { 0 } },

	{ "promote what is settled", &fenced_5, &settled, { DBT_PROMOTE, .term = 5, .promoter = A }, true, { .term = 5, .promoter = A, .stage = DBT_LEADING } },
	{ "promote again", &leading_5, &up, { DBT_PROMOTE, .term = 5, .promoter = A }, true, { .term = 5, .promoter = A, .stage = DBT_LEADING } },
	{ "promote what may still change", &fenced_5, &up, { DBT_PROMOTE, .term = 5, .promoter = A }, false, { 0 } },
	{ "promote by somebody else", &fenced_5, &settled, { DBT_PROMOTE, .term = 5, .promoter = B }, false, { 0 } },
	{ "promote in a term that was not prepared", &fenced_5, &settled, { DBT_PROMOTE, .term = 6, .promoter = A }, false, { 0 } },
	{ "promote in an old term", &fenced_5, &settled, { DBT_PROMOTE, .term = 4, .promoter = A }, false, { 0 } },
	{ "promote a follower", &following_5, &settled, { DBT_PROMOTE, .term = 5, .promoter = A }, false, { 0 } },
	{ "promote what is empty", &empty_5, &bare, { DBT_PROMOTE, .term = 5, .promoter = A }, false, { 0 } },

	{ "resume", &leading_5, &down, { DBT_RESUME, .term = 5, .promoter = B }, true, { .term = 5, .promoter = A, .stage = DBT_LEADING } },
	{ "resume what runs", &leading_5, &up, { DBT_RESUME, .term = 5, .promoter = A }, false, { 0 } },
	{ "resume a follower", &following_5, &down, { DBT_RESUME, .term = 5, .promoter = A }, false, { 0 } },
	{ "resume in another term", &leading_5, &down, { DBT_RESUME, .term = 6, .promoter = A }, false, { 0 } },

	{ "drain", &leading_5, &up, { DBT_DRAIN, .term = 5, .promoter = A }, true, { .term = 5, .promoter = A, .stage = DBT_LEADING } },
	{ "drain a follower", &following_5, &up, { DBT_DRAIN, .term = 5, .promoter = A }, false, { 0 } },
	{ "drain in another term", &leading_5, &up, { DBT_DRAIN, .term = 6, .promoter = A }, false, { 0 } },
	{ "undrain", &leading_5, &up, { DBT_UNDRAIN, .term = 5, .promoter = A }, true, { .term = 5, .promoter = A, .stage = DBT_LEADING } },
	{ "undrain what is fenced", &fenced_5, &up, { DBT_UNDRAIN, .term = 5, .promoter = A }, false, { 0 } },

	{ "pause", &leading_5, &up, { DBT_PAUSE, .term = 5, .promoter = A, .paused = true, .stamp = 9 }, true,
	    { .term = 5, .promoter = A, .stage = DBT_LEADING, .paused = true, .stamp = 9 } },
	{ "pause where nothing was promised", &nothing, &bare, { DBT_PAUSE, .paused = true, .stamp = 9 }, true,
	    { .paused = true, .stamp = 9 } },
	{ "pause that ends", &paused_9, &up, { DBT_PAUSE, .term = 5, .stamp = 10 }, true, { .term = 5, .promoter = A, .stage = DBT_LEADING, .stamp = 10 } },
	{ "pause again", &paused_9, &up, { DBT_PAUSE, .term = 5, .paused = true, .stamp = 9 }, true,
	    { .term = 5, .promoter = A, .stage = DBT_LEADING, .paused = true, .stamp = 9 } },
	{ "pause with an old stamp", &paused_9, &up, { DBT_PAUSE, .term = 5, .stamp = 8 }, false, { 0 } },
};
/* clang-format on */

static bool
same(const struct dbt_promise *a, const struct dbt_promise *b)
{
	return a->term == b->term && strcmp(a->promoter, b->promoter) == 0 && a->stage == b->stage &&
	    strcmp(a->upstream, b->upstream) == 0 && a->made == b->made && a->paused == b->paused &&
	    a->stamp == b->stamp;
}

static int
take(struct dbt_promise *promise, const struct row *row, const struct dbt_cohort *cohort, char why[DBT_TEXT])
{
	struct dbt_order order = row->order;

	order.cohort = *cohort;
	if (promise->term != 0 && promise->cohort.names[0] == '\0')
		promise->cohort = alone;
	return dbt__promise_take(promise, &order, row->standing, why);
}

static void
each_order_is_taken_or_refused(void)
{
	for (size_t i = 0; i < W_NELEM(rows); i++) {
		const struct row *row = &rows[i];
		struct dbt_promise promise = *row->before;
		char why[DBT_TEXT] = "";
		int rc = take(&promise, row, &alone, why);
		bool good = row->taken ? rc == W_OK && same(&promise, &row->after) && why[0] == '\0' :
		    rc == -W_EDENIED && same(&promise, row->before) && why[0] != '\0';

		if (!good)
			printf("%s: rc=%d why=%s\n", row->name, rc, why);
		CU_ASSERT(good);
	}
}

/* ---- cohorts ---- */

#define X COHORT
#define Y "db-1,db-2,db-3,db-4/1"
#define Z "db-2,db-3/1"

static const struct dbt_cohort x_2 = { .names = X, .edition = 2 };
static const struct dbt_cohort xy_3 = { .names = Y, .joint = X, .edition = 3 };
static const struct dbt_cohort xz_3 = { .names = Z, .joint = X, .edition = 3 };
static const struct dbt_cohort y_3 = { .names = Y, .edition = 3 };
static const struct dbt_cohort yz_4 = { .names = Z, .joint = Y, .edition = 4 };
static const struct dbt_cohort z_4 = { .names = Z, .edition = 4 };
static const struct dbt_cohort z_2 = { .names = Z, .edition = 2 };
static const struct dbt_cohort no_cohort = { .names = "db-1,db-1/1" };
static const struct dbt_cohort no_joint = { .names = X, .joint = "db-1/1", .edition = 1 };
static const struct dbt_cohort no_change = { .names = X, .joint = Y };

static const struct {
	const struct dbt_cohort *promised, *ordered;
	bool prepare, follow;       /* are they taken in a higher term? */
	const struct dbt_cohort *after; /* NULL: the order's */
} cohorts[] = {
	{ &x_2, &x_2, true, true, NULL },
	{ &x_2, &xy_3, true, true, NULL },
	{ &x_2, &y_3, true, true, NULL },    /* the change was established elsewhere */
	{ &x_2, &yz_4, true, true, NULL },
	{ &x_2, &z_2, false, true, NULL },   /* cluster files differed in the beginning */
	{ &xy_3, &xy_3, true, true, NULL },
	{ &xy_3, &x_2, false, true, NULL },  /* the change may have been elected */
	{ &xy_3, &xz_3, false, true, NULL },
	{ &xy_3, &y_3, true, true, NULL },
	{ &xz_3, &y_3, true, true, NULL },   /* another one was established: its own was in vain */
	{ &xy_3, &yz_4, true, true, NULL },
	{ &xz_3, &z_4, true, true, NULL },
	{ &y_3, &y_3, true, true, NULL },
	{ &y_3, &x_2, false, false, NULL },
	{ &y_3, &xy_3, false, true, &y_3 },  /* what is final stays so */
	{ &y_3, &xz_3, false, false, NULL },
	{ &yz_4, &y_3, false, true, NULL },
	{ &yz_4, &x_2, false, false, NULL },
	{ &yz_4, &xy_3, false, false, NULL },
	{ &x_2, &no_cohort, false, false, NULL },
	{ &x_2, &no_joint, false, false, NULL },
	{ &x_2, &no_change, false, false, NULL },
};

static bool
same_cohort(const struct dbt_cohort *a, const struct dbt_cohort *b)
{
	return a->edition == b->edition && strcmp(a->names, b->names) == 0 && strcmp(a->joint, b->joint) == 0;
}

static bool
order_taken(size_t at, enum dbt_order_kind kind, bool wanted)
{
	const struct dbt_cohort *promised = cohorts[at].promised, *after = cohorts[at].after;
	struct dbt_promise promise = following_5;
	struct dbt_order order = { .kind = kind, .term = 6, .promoter = B, .upstream = "db-3",
		.cohort = *cohorts[at].ordered };
	char why[DBT_TEXT] = "";
	int rc;

	promise.cohort = *promised;
	rc = dbt__promise_take(&promise, &order, &up, why);
	if (!wanted)
		return rc == -W_EDENIED && promise.term == 5 && same_cohort(&promise.cohort, promised) &&
		    why[0] != '\0';
	return rc == W_OK && promise.term == 6 &&
	    same_cohort(&promise.cohort, after != NULL ? after : &order.cohort);
}

static void
an_order_that_knows_less_is_refused(void)
{
	for (size_t i = 0; i < W_NELEM(cohorts); i++) {
		bool prepare = order_taken(i, DBT_PREPARE, cohorts[i].prepare);
		bool follow = order_taken(i, DBT_FOLLOW, cohorts[i].follow);

		if (!prepare || !follow)
			printf("\n      cohorts, row %zu: prepare %d, follow %d\n", i, prepare, follow);
		CU_ASSERT(prepare && follow);
	}
}

static void
who_promised_nothing_takes_any_cohort(void)
{
	const struct row row = { "", &nothing, &bare, { DBT_FOLLOW, .term = 5, .promoter = A, .upstream = "db-1" }, true, { 0 } };
	struct dbt_promise promise = nothing;
	char why[DBT_TEXT];

	CU_ASSERT(take(&promise, &row, &yz_4, why) == W_OK);
	CU_ASSERT(same_cohort(&promise.cohort, &yz_4));
}

/* In the term that is led, an order is of its cohort. */
static void
a_leader_heeds_its_own_cohort(void)
{
	static const enum dbt_order_kind kinds[] = { DBT_PROMOTE, DBT_RESUME, DBT_DRAIN, DBT_UNDRAIN };

	for (size_t i = 0; i < W_NELEM(kinds); i++) {
		struct dbt_promise promise = leading_5;
		struct dbt_order order = { .kind = kinds[i], .term = 5, .promoter = A, .cohort = xy_3 };
		char why[DBT_TEXT];

		promise.cohort = y_3;
		CU_ASSERT(dbt__promise_take(&promise, &order, &down, why) == W_OK);
		CU_ASSERT(same_cohort(&promise.cohort, &y_3));
		order.cohort = x_2;
		CU_ASSERT(dbt__promise_take(&promise, &order, &down, why) == -W_EDENIED);
	}
}

static void
a_change_is_settled_once(void)
{
	struct dbt_promise promise = leading_5, follower = following_5;
	struct dbt_order order = { .kind = DBT_FOLLOW, .term = 5, .promoter = A, .upstream = "db-2", .cohort = y_3 };
	char why[DBT_TEXT];

	promise.cohort = follower.cohort = xy_3;
	CU_ASSERT(dbt__promise_settle(&promise) && same_cohort(&promise.cohort, &y_3));
	CU_ASSERT(!dbt__promise_settle(&promise));
	CU_ASSERT(dbt__promise_take(&follower, &order, &up, why) == W_OK && same_cohort(&follower.cohort, &y_3));
	/* an order that was late */
	order.cohort = xy_3;
	CU_ASSERT(dbt__promise_take(&follower, &order, &up, why) == W_OK && same_cohort(&follower.cohort, &y_3));
}

/* Whatever comes, in whatever order. */
static void
the_term_never_goes_down(void)
{
	struct dbt_promise promise = { 0 };
	uint64_t random = 7;

	for (unsigned i = 0; i < 100000; i++) {
		struct row row = rows[(random >> 33) % W_NELEM(rows)];
		uint32_t before = promise.term;
		char why[DBT_TEXT];

		random = random * 6364136223846793005u + 1442695040888963407u;
		row.order.term = (uint32_t)(random >> 40) % 1000;
		(void)take(&promise, &row, &alone, why);
		CU_ASSERT_FATAL(promise.term >= before);
	}
}

/* ---- the file ---- */

static char folder[64];

static int
set_up(void)
{
	char wal[96];

	snprintf(folder, sizeof(folder), "/tmp/weir-promise-XXXXXX");
	if (mkdtemp(folder) == NULL)
		return 1;
	snprintf(wal, sizeof(wal), "%s/pg_wal", folder);
	return mkdir(wal, 0700);
}

static int
tear_down(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf '%s'", folder);
	return system(command);
}

static void
what_was_kept_comes_back(void)
{
	static const struct dbt_promise changing = { .term = 7, .promoter = B, .stage = DBT_LEADING,
		.cohort = { .names = Y, .joint = X, .edition = 3 } };
	const struct dbt_promise *const all[] = { &nothing, &empty_5, &fenced_5, &following_5, &leading_5,
		&made_1, &paused_9, &changing };
	struct w_fault fault = { 0 };
	char path[128];

	snprintf(path, sizeof(path), "%s/kept.promise", folder);
	for (size_t i = 0; i < W_NELEM(all); i++) {
		struct dbt_promise back = { 0 };

		CU_ASSERT(dbt__promise_keep(path, all[i], &fault) == W_OK);
		CU_ASSERT(dbt__promise_load(path, &back, &fault) == W_OK);
		CU_ASSERT(same(&back, all[i]) && same_cohort(&back.cohort, &all[i]->cohort));
	}
}

static void
no_file_is_told_from_a_bad_one(void)
{
	struct dbt_promise back = paused_9;
	struct w_fault fault = { 0 };
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "%s/none.promise", folder);
	CU_ASSERT(dbt__promise_load(path, &back, &fault) == -W_ENOTFOUND);
	file = fopen(path, "w");
	CU_ASSERT_FATAL(file != NULL);
	fputs("term=5\n", file);
	fclose(file);
	CU_ASSERT(dbt__promise_load(path, &back, &fault) == -W_EINVAL);
	CU_ASSERT(same(&back, &paused_9));
	CU_ASSERT(dbt__promise_keep("/nowhere/at.all", &paused_9, &fault) == -W_EIO);
}

/* of an older version */
#define OLD "term=5\npromoter=" A "\nstage=fenced\nupstream=\nmade=0\npaused=0\nstamp=0\n"
#define GOOD "cohort=" Y "\njoint=" X "\nedition=3\n" OLD

static void
nonsense_is_not_read(void)
{
	static const char *const bad[] = {
		"", "\n", "term=5", "term=5\n", GOOD "\n", GOOD "term=5\n", GOOD "color=red\n",
		"term=x\npromoter=" A "\nstage=fenced\nupstream=\nmade=0\npaused=0\nstamp=0\n",
		"term=4294967296\npromoter=" A "\nstage=fenced\nupstream=\nmade=0\npaused=0\nstamp=0\n",
		"term=5\npromoter=" A "\nstage=king\nupstream=\nmade=0\npaused=0\nstamp=0\n",
		"term=5\npromoter=" A "\nstage=fenced\nupstream=db-1\nmade=0\npaused=0\nstamp=0\n",
		"term=5\npromoter=" A "\nstage=following\nupstream=\nmade=0\npaused=0\nstamp=0\n",
		"term=5\npromoter=" A "\nstage=fenced\nupstream=\nmade=1\npaused=0\nstamp=0\n",
		"term=5\npromoter=" A "\nstage=fenced\nupstream=\nmade=2\npaused=0\nstamp=0\n",
		"term=0\npromoter=\nstage=leading\nupstream=\nmade=0\npaused=0\nstamp=0\n",
		"term=5\npromoter=\nstage=leading\nupstream=\nmade=0\npaused=0\nstamp=0\n",
		"cohort=\njoint=\nedition=1\n" OLD,
		"cohort=\njoint=" X "\nedition=0\n" OLD,
		"cohort=" Y "\njoint=" X "\nedition=0\n" OLD,
		"cohort=db-1/1\njoint=\nedition=0\n" OLD,
		"cohort=db-1/0\njoint=\n" OLD,
		"cohort=db-1/0\nedition=0\n" OLD,
		"edition=0\n" OLD,
	};
	struct dbt_promise back = paused_9;
	struct w_fault fault = { 0 };

	for (size_t i = 0; i < W_NELEM(bad); i++) {
		CU_ASSERT(dbt__promise_parse(w_view_of(bad[i]), &back, &fault) == -W_EINVAL);
		CU_ASSERT(same(&back, &paused_9));
	}
	/* cut off anywhere it is none either */
	for (size_t len = 0; len < sizeof(GOOD) - 1; len++)
		CU_ASSERT(dbt__promise_parse((struct w_view){ GOOD, len }, &back, &fault) == -W_EINVAL);
	CU_ASSERT(dbt__promise_parse(W_VIEW(GOOD), &back, &fault) == W_OK && same(&back, &fenced_5));
	CU_ASSERT(same_cohort(&back.cohort, &xy_3));
	CU_ASSERT(dbt__promise_parse(W_VIEW(OLD), &back, &fault) == W_OK && same(&back, &fenced_5));
	CU_ASSERT(back.cohort.names[0] == '\0' && back.cohort.edition == 0);
}

/* ---- timelines ---- */

static char *
history(uint32_t timeline)
{
	return w_xasprintf("%s/pg_wal/%08X.history", folder, timeline);
}

static void
put_history(uint32_t timeline, const char *text)
{
	W_AUTO(w_free) char *path = history(timeline);
	FILE *file = fopen(path, "w");

	CU_ASSERT_FATAL(file != NULL);
	fputs(text, file);
	fclose(file);
}

/* 'r' real, '.' reserved, '-' none; from 1 on */
static void
expect_histories(const char *wanted)
{
	for (uint32_t at = 1; wanted[at - 1] != '\0'; at++) {
		W_AUTO(w_free) char *path = history(at);
		FILE *file = fopen(path, "r");
		int first = file == NULL ? '-' : fgetc(file) == '#' ? '.' : 'r';

		CU_ASSERT(first == wanted[at - 1]);
		if (file != NULL)
			fclose(file);
	}
}

static void
gaps_are_filled_and_goals_removed(void)
{
	struct w_fault fault = { 0 };
	uint32_t highest = 0;

	CU_ASSERT(dbt__timelines_fill(folder, 1, getuid(), getgid(), &fault) == W_OK);
	CU_ASSERT(dbt__timelines_fill(folder, 2, getuid(), getgid(), &fault) == W_OK);
	expect_histories("------");
	put_history(4, "1\t0/3000000\tno recovery target specified\n");
	CU_ASSERT(dbt__timelines_fill(folder, 7, getuid(), getgid(), &fault) == W_OK);
	expect_histories("-..r..--");
	CU_ASSERT(dbt__timelines_highest(folder, &highest, &fault) == W_OK && highest == 4);
	CU_ASSERT(dbt__timelines_tidy(folder, getuid(), getgid(), &fault) == W_OK);
	expect_histories("-..r----");
	put_history(6, "4\t0/5000000\tno recovery target specified\n");
	CU_ASSERT(dbt__timelines_tidy(folder, getuid(), getgid(), &fault) == W_OK);
	expect_histories("-..r.r--");
	CU_ASSERT(dbt__timelines_fill(folder, UINT32_MAX, getuid(), getgid(), &fault) == -W_EIO);
	CU_ASSERT(dbt__timelines_tidy("/nowhere", getuid(), getgid(), &fault) == -W_EIO);
}

static CU_TestInfo take_tests[] = {
	{ "each order is taken or refused", each_order_is_taken_or_refused },
	{ "a promoter that knows less of the cohorts is refused", an_order_that_knows_less_is_refused },
	{ "who has promised nothing takes any cohort", who_promised_nothing_takes_any_cohort },
	{ "a leader heeds orders of its own cohort", a_leader_heeds_its_own_cohort },
	{ "a change that is established stays so", a_change_is_settled_once },
	{ "the term never goes down", the_term_never_goes_down },
	CU_TEST_INFO_NULL,
};

static CU_TestInfo file_tests[] = {
	{ "what was kept comes back", what_was_kept_comes_back },
	{ "no file is told from a bad one", no_file_is_told_from_a_bad_one },
	{ "nonsense is not read", nonsense_is_not_read },
	{ "gaps of timelines are filled, goals that nobody has are removed", gaps_are_filled_and_goals_removed },
	CU_TEST_INFO_NULL,
};

CU_SuiteInfo promise_suites[] = {
	{ .pName = "dbtier/promise: orders", .pTests = take_tests },
	{ .pName = "dbtier/promise: files", .pInitFunc = set_up, .pCleanupFunc = tear_down, .pTests = file_tests },
	CU_SUITE_INFO_NULL,
};

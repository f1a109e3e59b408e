/*
 * The promise of an agent: what an order does to it, and the file that keeps it.
 *
 * Orders are a table: what must hold, and what the promise becomes.
 */
#include "dbtier/promise.h"

#include <dirent.h>
#include <errno.h>
#include <libgen.h>
#include <stdio.h>
#include <sys/stat.h>

#define PROMISE_FILE_MAX 8192 /* bytes; what is longer was not written by us */
#define TIMELINES_MISSING 65536 /* files made at once, at most: more is no gap but a mistake */
#define RESERVED "# reserved by Weir\n"

/* ---- orders ---- */

struct asked {
	const struct dbt_promise *promise;
	const struct dbt_order *order;
	const struct dbt__standing *standing;
};

/* NULL when the order may be carried out, else why not. */
typedef const char *may_fn(const struct asked *asked);
typedef void change_fn(struct dbt_promise *promise, const struct dbt_order *order,
    const struct dbt__standing *standing);

static bool
is_newer(const struct asked *asked)
{
	return asked->order->term > asked->promise->term;
}

static bool
is_same_term(const struct asked *asked)
{
	return asked->order->term == asked->promise->term;
}

static bool
is_same_proposal(const struct asked *asked)
{
	return is_same_term(asked) && strcmp(asked->order->promoter, asked->promise->promoter) == 0;
}

static bool
is_leading(const struct asked *asked)
{
	return is_same_term(asked) && asked->promise->stage == DBT_LEADING;
}

/* ---- cohorts: section 8.1 ---- */

const char *
dbt__promise_covered(const struct dbt_promise *promise, const struct dbt_cohort *by)
{
	const struct dbt_cohort *own = &promise->cohort;
	uint32_t theirs = dbt_cohort_base_edition(by), ours = dbt_cohort_base_edition(own);

	if (promise->term == 0 || theirs > ours)
		return NULL;
	if (theirs < ours)
		return "a later cohort is promised";
	if (strcmp(dbt_cohort_base(by), dbt_cohort_base(own)) != 0)
		return "another cohort is promised";
	/* That change may have been elected by others: whoever does not ask its cohort, too, could miss it. */
	if (own->joint[0] != '\0' && (by->joint[0] == '\0' || strcmp(by->names, own->names) != 0))
		return "a change of the cohort is promised";
	return NULL;
}

/* It follows whom a quorum of all that was before has elected; only what that has not seen speaks against it. */
static const char *
follow_covered(const struct dbt_promise *promise, const struct dbt_cohort *by)
{
	const struct dbt_cohort *own = &promise->cohort;
	bool known = by->edition == own->edition && strcmp(by->names, own->names) == 0;

	if (promise->term == 0 || known ||
	    dbt_cohort_base_edition(by) >= dbt_cohort_base_edition(own))
		return NULL;
	return "a later cohort is promised";
}

static bool
is_own_cohort(const struct asked *asked)
{
	return asked->order->cohort.edition == asked->promise->cohort.edition &&
	    strcmp(asked->order->cohort.names, asked->promise->cohort.names) == 0;
}

/* What is final stays so: an order may be older than the news. */
static void
accept_cohort(struct dbt_promise *promise, const struct dbt_cohort *by)
{
	struct dbt_cohort *own = &promise->cohort;

	if (own->names[0] != '\0' && own->joint[0] == '\0' && own->edition == by->edition &&
	    strcmp(own->names, by->names) == 0)
		return;
	*own = *by;
}

bool
dbt__promise_settle(struct dbt_promise *promise)
{
	if (promise->cohort.joint[0] == '\0')
		return false;
	memset(promise->cohort.joint, 0, sizeof(promise->cohort.joint));
	return true;
}

/* It makes sense. It comes from outside. */
static bool
is_cohort(const struct dbt_cohort *cohort)
{
	struct dbt_members members;

	if (dbt_cohort_parse(cohort->names, &members) < 0)
		return false;
	return cohort->joint[0] == '\0' ||
	    (cohort->edition > 0 && dbt_cohort_parse(cohort->joint, &members) == W_OK);
}

/* ---- what must hold ---- */

static const char *
may_init(const struct asked *asked)
{
	/* an order that was carried out may come again */
	if (is_same_proposal(asked) && asked->order->term == 1 && is_leading(asked))
		return NULL;
	if (asked->promise->stage != DBT_EMPTY || asked->standing->has_data)
		return "there are data already";
	if (asked->promise->term != 0)
		return "something was promised before";
	return asked->order->term == 1 ? NULL : "a new cluster begins with term 1";
}

static const char *
may_prepare(const struct asked *asked)
{
	enum dbt_stage stage = asked->promise->stage;

	if (is_newer(asked) && asked->order->term <= asked->standing->timeline)
		return "its WAL is of this term or a later one";
	if (is_newer(asked))
		return dbt__promise_covered(asked->promise, &asked->order->cohort);
	if (!is_same_proposal(asked))
		return "this term or a higher one is promised to somebody else";
	return stage == DBT_FENCED || stage == DBT_EMPTY ? NULL : "this term's election is over";
}

static const char *
may_follow(const struct asked *asked)
{
	if (asked->order->upstream[0] == '\0')
		return "follow whom?";
	/* it acknowledges what a later leader writes, and must not be taken away from that one */
	if (asked->order->term < asked->standing->timeline)
		return "its WAL is of a later term";
	if (asked->order->term < asked->promise->term)
		return "a higher term is promised";
	if (is_leading(asked))
		return "it leads this term";
	return follow_covered(asked->promise, &asked->order->cohort);
}

static const char *
may_promote(const struct asked *asked)
{
	if (!is_same_proposal(asked))
		return "this term is not promised to this promoter";
	if (!is_own_cohort(asked))
		return "another cohort is promised";
	if (is_leading(asked))
		return NULL;
	if (asked->promise->stage != DBT_FENCED || !asked->standing->has_data)
		return "it is not fenced";
	if (asked->standing->timeline >= asked->order->term)
		return "its WAL is of this term or a later one";
	return asked->standing->settled ? NULL : "its position may still change";
}

static const char *
may_resume(const struct asked *asked)
{
	if (!is_leading(asked))
		return "it does not lead this term";
	if (!is_own_cohort(asked))
		return "another cohort is promised";
	return asked->standing->running ? "PostgreSQL runs" : NULL;
}

static const char *
may_drain(const struct asked *asked)
{
	if (!is_leading(asked))
		return "it does not lead this term";
	return is_own_cohort(asked) ? NULL : "another cohort is promised";
}

static const char *
may_pause(const struct asked *asked)
{
	const struct dbt_promise *promise = asked->promise;
	const struct dbt_order *order = asked->order;

	if (order->stamp > promise->stamp)
		return NULL;
	if (order->stamp == promise->stamp && order->paused == promise->paused)
		return NULL;
	return "something newer was said";
}

static void
accept_term(struct dbt_promise *promise, const struct dbt_order *order)
{
	accept_cohort(promise, &order->cohort);
	if (order->term == promise->term)
		return;
	promise->term = order->term;
	snprintf(promise->promoter, sizeof(promise->promoter), "%s", order->promoter);
}

static void
to_stage(struct dbt_promise *promise, enum dbt_stage stage, const char *upstream)
{
	promise->stage = stage;
	promise->made = false;
	snprintf(promise->upstream, sizeof(promise->upstream), "%s", upstream);
}

static void
do_init(struct dbt_promise *promise, const struct dbt_order *order, const struct dbt__standing *standing W_UNUSED)
{
	if (promise->stage == DBT_LEADING)
		return;
	accept_term(promise, order);
	to_stage(promise, DBT_LEADING, "");
	promise->made = true;
}

static void
do_prepare(struct dbt_promise *promise, const struct dbt_order *order, const struct dbt__standing *standing)
{
	accept_term(promise, order);
	to_stage(promise, standing->has_data ? DBT_FENCED : DBT_EMPTY, "");
}

static void
do_follow(struct dbt_promise *promise, const struct dbt_order *order, const struct dbt__standing *standing W_UNUSED)
{
	accept_term(promise, order);
	to_stage(promise, DBT_FOLLOWING, order->upstream);
}

static void
do_promote(struct dbt_promise *promise, const struct dbt_order *order W_UNUSED,
    const struct dbt__standing *standing W_UNUSED)
{
	if (promise->stage != DBT_LEADING)
		to_stage(promise, DBT_LEADING, "");
}

static void
do_nothing(struct dbt_promise *promise W_UNUSED, const struct dbt_order *order W_UNUSED,
    const struct dbt__standing *standing W_UNUSED)
{
}

static void
do_pause(struct dbt_promise *promise, const struct dbt_order *order, const struct dbt__standing *standing W_UNUSED)
{
	promise->paused = order->paused;
	promise->stamp = order->stamp;
}

static const struct {
	may_fn *may;
	change_fn *change;
} orders[DBT_ORDER_COUNT] = {
	[DBT_INIT] = { may_init, do_init },
	[DBT_PREPARE] = { may_prepare, do_prepare },
	[DBT_FOLLOW] = { may_follow, do_follow },
	[DBT_PROMOTE] = { may_promote, do_promote },
	[DBT_RESUME] = { may_resume, do_nothing },
	[DBT_DRAIN] = { may_drain, do_nothing },
	[DBT_UNDRAIN] = { may_drain, do_nothing },
	[DBT_PAUSE] = { may_pause, do_pause },
};

int
dbt__promise_take(struct dbt_promise *promise, const struct dbt_order *order,
    const struct dbt__standing *standing, char why[DBT_TEXT])
{
	const struct asked asked = { promise, order, standing };
	const char *not;

	if (order->term == 0 && order->kind != DBT_PAUSE)
		not = "there is no term 0";
	else if (order->kind != DBT_PAUSE && !is_cohort(&order->cohort))
		not = "its cohort makes no sense";
	else
		not = orders[order->kind].may(&asked);
	if (not != NULL) {
		snprintf(why, DBT_TEXT, "%s in term %u: %s (promised: term %u of %.95s, %s)",
		    dbt_order_name(order->kind), order->term, not, promise->term,
		    promise->term == 0 ? "nobody" : promise->promoter, dbt_stage_name(promise->stage));
		return -W_EDENIED;
	}
	orders[order->kind].change(promise, order, standing);
	return W_OK;
}

/* ---- the file's text ---- */

enum { KEY_TERM, KEY_PROMOTER, KEY_STAGE, KEY_UPSTREAM, KEY_MADE, KEY_PAUSED, KEY_STAMP, KEY_COHORT, KEY_JOINT,
	KEY_EDITION, KEY_COUNT };
static const char *const keys[KEY_COUNT] = { "term", "promoter", "stage", "upstream", "made", "paused",
	"stamp", "cohort", "joint", "edition" };
/* Files of older versions have no cohort. */
#define KEYS(count) ((1u << (count)) - 1)

void
dbt__promise_format(const struct dbt_promise *promise, struct w_buf *out)
{
	/* first, so that a file that is cut off is none of an older version */
	w_buf_printf(out, "cohort=%s\njoint=%s\nedition=%u\n", promise->cohort.names, promise->cohort.joint,
	    promise->cohort.edition);
	w_buf_printf(out, "term=%u\npromoter=%s\nstage=%s\nupstream=%s\nmade=%d\npaused=%d\nstamp=%lld\n",
	    promise->term, promise->promoter, dbt_stage_name(promise->stage), promise->upstream,
	    promise->made, promise->paused, (long long)promise->stamp);
}

static int
read_u32(struct w_view value, uint32_t *ret)
{
	uint64_t number;
	int rc = w_view_u64(value, UINT32_MAX, &number);

	if (rc == W_OK)
		*ret = (uint32_t)number;
	return rc;
}

static int
read_stage(struct w_view value, struct dbt_promise *ret)
{
	for (unsigned i = 0; i < DBT_STAGE_COUNT; i++) {
		if (!w_view_eq(value, w_view_of(dbt_stage_name((enum dbt_stage)i))))
			continue;
		ret->stage = (enum dbt_stage)i;
		return W_OK;
	}
	return -W_EINVAL;
}

static int
read_flag(struct w_view value, bool *ret)
{
	uint64_t number;
	int rc = w_view_u64(value, 1, &number);

	if (rc == W_OK)
		*ret = number != 0;
	return rc;
}

static int
read_value(unsigned key, struct w_view value, struct dbt_promise *ret)
{
	switch (key) {
	case KEY_TERM:
		return read_u32(value, &ret->term);
	case KEY_PROMOTER:
		return w_view_copy(value, ret->promoter, sizeof(ret->promoter));
	case KEY_STAGE:
		return read_stage(value, ret);
	case KEY_UPSTREAM:
		return w_view_copy(value, ret->upstream, sizeof(ret->upstream));
	case KEY_MADE:
		return read_flag(value, &ret->made);
	case KEY_PAUSED:
		return read_flag(value, &ret->paused);
	case KEY_COHORT:
		return w_view_copy(value, ret->cohort.names, sizeof(ret->cohort.names));
	case KEY_JOINT:
		return w_view_copy(value, ret->cohort.joint, sizeof(ret->cohort.joint));
	case KEY_EDITION:
		return read_u32(value, &ret->cohort.edition);
	default:
		return w_view_i64(value, &ret->stamp);
	}
}

/* One line into ret; *seen has a bit for each key. */
static int
read_line(struct w_view line, unsigned *seen, struct dbt_promise *ret)
{
	size_t at = w_view_find(line, '=');
	struct w_view key = w_view_sub(line, 0, at);

	for (unsigned i = 0; at < line.len && i < KEY_COUNT; i++) {
		if (!w_view_eq(key, w_view_of(keys[i])))
			continue;
		if (*seen & 1u << i)
			return -W_EINVAL;
		*seen |= 1u << i;
		return read_value(i, w_view_sub(line, at + 1, line.len), ret);
	}
	return -W_EINVAL;
}

static const char *
contradiction(const struct dbt_promise *promise)
{
	if (promise->stage != DBT_EMPTY && promise->term == 0)
		return "no term";
	if (promise->term != 0 && promise->promoter[0] == '\0')
		return "no promoter";
	if ((promise->stage == DBT_FOLLOWING) != (promise->upstream[0] != '\0'))
		return "an upstream is of stage following, and only of that";
	if (promise->made && promise->stage != DBT_LEADING)
		return "made is of stage leading only";
	if (promise->cohort.names[0] == '\0' ? promise->cohort.joint[0] != '\0' || promise->cohort.edition != 0 :
	    !is_cohort(&promise->cohort))
		return "its cohort makes no sense";
	return NULL;
}

int
dbt__promise_parse(struct w_view text, struct dbt_promise *ret, struct w_fault *fault)
{
	struct dbt_promise promise = { 0 };
	unsigned seen = 0, number = 0;
	const char *wrong;

	if (text.len == 0 || text.ptr[text.len - 1] != '\n')
		return w_fail(fault, -W_EINVAL, "the promise is cut off");
	text.len--;
	for (struct w_view line; w_view_split(&text, '\n', &line);) {
		number++;
		if (read_line(line, &seen, &promise) < 0)
			return w_fail(fault, -W_EINVAL, "line %u of the promise makes no sense: %.*s", number,
			    (int)W_MIN(line.len, (size_t)100), line.ptr);
	}
	if (seen != KEYS(KEY_COUNT) && seen != KEYS(KEY_COHORT))
		return w_fail(fault, -W_EINVAL, "after line %u of the promise some are missing", number);
	wrong = contradiction(&promise);
	if (wrong != NULL)
		return w_fail(fault, -W_EINVAL, "the promise contradicts itself: %s", wrong);
	*ret = promise;
	return W_OK;
}

/* ---- the file ---- */

int
dbt__write_all(int fd, struct w_view text)
{
	while (text.len > 0) {
		ssize_t put = write(fd, text.ptr, text.len);

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return -W_EIO;
		text = w_view_sub(text, (size_t)put, text.len);
	}
	return W_OK;
}

/* Up to max bytes of a file. Errors: -W_ENOTFOUND, -W_EIO */
static int
read_file(const char *path, size_t max, struct w_buf *text)
{
	W_AUTO(w_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got;

	if (fd < 0)
		return errno == ENOENT ? -W_ENOTFOUND : -W_EIO;
	got = read(fd, w_buf_room(text, max), max);
	if (got < 0)
		return -W_EIO;
	w_buf_added(text, (size_t)got);
	return W_OK;
}

int
dbt__promise_load(const char *path, struct dbt_promise *ret, struct w_fault *fault)
{
	W_AUTO(w_buf_fini) struct w_buf text = { 0 };
	int rc = read_file(path, PROMISE_FILE_MAX, &text);

	if (rc < 0)
		return w_fail(fault, rc, "%s: %s", path, strerror(errno));
	rc = dbt__promise_parse(w_buf_get(&text), ret, fault);
	if (rc < 0 && fault != NULL) {
		const struct w_fault inner = *fault;

		w_fail(fault, rc, "%.200s: %.250s", path, inner.text);
	}
	return rc;
}

int
dbt__sync_folder(const char *path)
{
	W_AUTO(w_free) char *copy = w_xstrdup(path);
	W_AUTO(w_close) int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 || fsync(fd) < 0 ? -W_EIO : W_OK;
}

int
dbt__promise_keep(const char *path, const struct dbt_promise *promise, struct w_fault *fault)
{
	W_AUTO(w_free) char *temp = w_xasprintf("%s.tmp", path);
	W_AUTO(w_buf_fini) struct w_buf text = { 0 };
	W_AUTO(w_close) int fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);

	dbt__promise_format(promise, &text);
	if (fd < 0 || dbt__write_all(fd, w_buf_get(&text)) < 0 || fsync(fd) < 0 || rename(temp, path) < 0 ||
	    dbt__sync_folder(path) < 0)
		return w_fail(fault, -W_EIO, "%s: the promise cannot be kept: %s", path, strerror(errno));
	return W_OK;
}

/* ---- timelines ---- */

static char *
history_path(const char *data, uint32_t timeline)
{
	return w_xasprintf("%s/pg_wal/%08X.history", data, timeline);
}

static bool
is_reserved(const char *path)
{
	W_AUTO(w_buf_fini) struct w_buf text = { 0 };

	return read_file(path, sizeof(RESERVED) - 1, &text) == W_OK &&
	    w_view_eq(w_buf_get(&text), W_VIEW(RESERVED));
}

static int
reserve(const char *path, uid_t uid, gid_t gid, struct w_fault *fault)
{
	/* Never through a link, and never over a file: what is there was PostgreSQL's. */
	W_AUTO(w_close) int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0 && errno == EEXIST)
		return W_OK;
	if (fd < 0 || fchown(fd, uid, gid) < 0 || dbt__write_all(fd, W_VIEW(RESERVED)) < 0 || fsync(fd) < 0)
		return w_fail(fault, -W_EIO, "%s: cannot reserve the timeline: %s", path, strerror(errno));
	return W_OK;
}

/* The number of a history file's name, 0: it is none. */
static uint32_t
history_number(const char *name)
{
	unsigned number = 0;
	int used = 0;

	if (strlen(name) != sizeof("00000001.history") - 1 || strspn(name, "0123456789ABCDEF") != 8)
		return 0;
	return sscanf(name, "%8X.history%n", &number, &used) == 1 && used == 16 ? number : 0;
}

static void
close_folder(DIR **folder)
{
	if (*folder != NULL)
		closedir(*folder);
}

/* How many timelines from 2 on and below term have no history file. Errors: -W_EIO */
static int
count_missing(const char *data, uint32_t term, uint32_t *ret)
{
	W_AUTO(w_free) char *wal = w_xasprintf("%s/pg_wal", data);
	W_AUTO(close_folder) DIR *folder = opendir(wal);
	uint32_t missing = term > 2 ? term - 2 : 0;
	const struct dirent *entry;

	if (folder == NULL)
		return -W_EIO;
	while ((entry = readdir(folder)) != NULL) {
		uint32_t number = history_number(entry->d_name);

		if (number >= 2 && number < term)
			missing--;
	}
	*ret = missing;
	return W_OK;
}

int
dbt__timelines_fill(const char *data, uint32_t term, uid_t uid, gid_t gid, struct w_fault *fault)
{
	uint32_t missing = 0;
	int rc = count_missing(data, term, &missing);

	if (rc < 0)
		return w_fail(fault, rc, "%s/pg_wal: cannot look at the timelines: %s", data, strerror(errno));
	if (missing > TIMELINES_MISSING)
		return w_fail(fault, -W_EIO, "%s: %u timelines are missing below %u, which is no gap but a mistake",
		    data, missing, term);
	for (uint32_t at = 2; rc == W_OK && missing > 0 && at < term; at++) {
		W_AUTO(w_free) char *path = history_path(data, at);

		rc = reserve(path, uid, gid, fault);
	}
	return rc;
}

/* The highest timeline that has a real history file; with drop, remove reserved ones above it. */
static int
walk_histories(const char *data, bool drop, uint32_t *highest)
{
	W_AUTO(w_free) char *wal = w_xasprintf("%s/pg_wal", data);
	W_AUTO(close_folder) DIR *folder = opendir(wal);
	const struct dirent *entry;

	if (folder == NULL)
		return -W_EIO;
	while ((entry = readdir(folder)) != NULL) {
		uint32_t number = history_number(entry->d_name);
		W_AUTO(w_free) char *path = history_path(data, number);

		if (number <= *highest)
			continue;
		if (!is_reserved(path)) {
			if (!drop)
				*highest = number;
		} else if (drop && unlink(path) < 0) {
			return -W_EIO;
		}
	}
	return W_OK;
}

int
dbt__timelines_highest(const char *data, uint32_t *ret, struct w_fault *fault)
{
	uint32_t highest = 1;

	if (walk_histories(data, false, &highest) < 0)
		return w_fail(fault, -W_EIO, "%s/pg_wal: cannot look at the timelines: %s", data,
		    strerror(errno));
	*ret = highest;
	return W_OK;
}

int
dbt__timelines_tidy(const char *data, uid_t uid, gid_t gid, struct w_fault *fault)
{
	uint32_t highest;
	int rc = dbt__timelines_highest(data, &highest, fault);

	if (rc < 0)
		return rc;
	if (walk_histories(data, true, &highest) < 0)
		return w_fail(fault, -W_EIO, "%s/pg_wal: cannot remove a reserved timeline: %s", data,
		    strerror(errno));
	return dbt__timelines_fill(data, highest, uid, gid, fault);
}

/*
 * Parsing of reports. See report.h.
 *
 * 1. jansson makes the tree, within a size that bounds it; nothing of the tree outlives the call.
 * 2. A metric that breaks a rule is skipped and counted: one bad metric must not hide a node.
 * 3. What is kept goes to other programs unescaped (labels, names), so its form is checked here.
 */
#include "monitor/report.h"

#include <jansson.h>
#include <math.h>

#define ARENA_MAX ((size_t)8 << 20) /* bytes; a report of the largest size stays below */

const char *
mon_life_name(enum mon_life life)
{
	static const char *const names[MON_LIFE_COUNT] = { "starting", "up", "draining", "down" };

	return names[life];
}

const char *
mon_database_name(enum mon_database database)
{
	static const char *const names[MON_DB_COUNT] = { "none", "primary", "replica" };

	return names[database];
}

/* ---- names and labels ---- */

static bool
is_letter(char c, bool colon)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (colon && c == ':');
}

static bool
is_word(struct w_view word, bool colon)
{
	if (word.len == 0 || !is_letter(word.ptr[0], colon))
		return false;
	for (size_t i = 1; i < word.len; i++)
		if (!is_letter(word.ptr[i], colon) && !(word.ptr[i] >= '0' && word.ptr[i] <= '9'))
			return false;
	return true;
}

bool
mon_name_valid(struct w_view name)
{
	return name.len <= MON_NAME_MAX && is_word(name, true);
}

/* Labels that the exposition adds itself. */
static bool
is_reserved(struct w_view label)
{
	static const struct w_view names[] = { W_VIEW("node"), W_VIEW("role"), W_VIEW("cluster"),
		W_VIEW("le"), W_VIEW("quantile") };

	for (size_t i = 0; i < W_NELEM(names); i++)
		if (w_view_eq(label, names[i]))
			return true;
	return w_view_starts(label, W_VIEW("__"));
}

/* "..." at the front of *text is taken off it. Escapes are \\ \" \n, as in the format. */
static bool
take_quoted(struct w_view *text)
{
	size_t i = 1;

	if (text->len < 2 || text->ptr[0] != '"')
		return false;
	for (; i < text->len && text->ptr[i] != '"'; i++) {
		if ((unsigned char)text->ptr[i] < 0x20)
			return false;
		if (text->ptr[i] != '\\')
			continue;
		if (++i == text->len || strchr("\\\"n", text->ptr[i]) == NULL ||
		    text->ptr[i] == '\0')
			return false;
	}
	if (i >= text->len)
		return false;
	*text = w_view_sub(*text, i + 1, text->len);
	return true;
}

bool
mon_labels_valid(struct w_view text)
{
	if (text.len == 0)
		return true;
	for (;;) {
		size_t equals = w_view_find(text, '=');
		struct w_view label = w_view_sub(text, 0, equals);

		if (equals == text.len || !is_word(label, false) || is_reserved(label))
			return false;
		text = w_view_sub(text, equals + 1, text.len);
		if (!take_quoted(&text))
			return false;
		if (text.len == 0)
			return true;
		if (text.ptr[0] != ',' || text.len == 1)
			return false;
		text = w_view_sub(text, 1, text.len);
	}
}

/* ---- members ---- */

static struct w_view
get_text(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);

	if (!json_is_string(value))
		return (struct w_view){ NULL, 0 };
	return (struct w_view){ json_string_value(value), json_string_length(value) };
}

/* Whole numbers from 0 on; a real that is one counts, others and no number are 0. */
static int64_t
get_count(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);
	double real = json_is_real(value) ? json_real_value(value) : -1;

	if (json_is_integer(value))
		return W_MAX((int64_t)json_integer_value(value), 0);
	return real >= 0 && real < 9e18 ? (int64_t)real : 0;
}

static double
get_real(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);

	return json_is_number(value) ? json_number_value(value) : NAN;
}

static int
get_word(const json_t *object, const char *key, const char *(*name_of)(int), int count)
{
	struct w_view text = get_text(object, key);

	for (int i = 0; text.ptr != NULL && i < count; i++)
		if (w_view_eq(text, w_view_of(name_of(i))))
			return i;
	return -1;
}

static const char *
role_word(int i)
{
	return w_role_name((enum w_role)i);
}

static const char *
life_word(int i)
{
	return mon_life_name((enum mon_life)i);
}

static const char *
database_word(int i)
{
	return mon_database_name((enum mon_database)i);
}

static const char *
type_word(int i)
{
	static const char *const names[] = {
		[W_COUNTER] = "counter", [W_GAUGE] = "gauge", [W_GAUGE_MAX] = "", [W_HISTOGRAM] = "histogram"
	};

	return names[i];
}

/* ---- metrics ---- */

/* Ascending indexes are what a node sends; anything else is not taken. */
static bool
parse_buckets(const json_t *list, struct w_arena *arena, struct mon_metric *metric)
{
	size_t i, count = json_array_size(list);
	const json_t *pair;

	if (!json_is_array(list) || count > W_HIST_BUCKETS)
		return false;
	metric->buckets = w_arena_take(arena, (count + 1) * sizeof(*metric->buckets));
	if (metric->buckets == NULL)
		return false;
	json_array_foreach(list, i, pair) {
		const json_t *index = json_array_get(pair, 0), *number = json_array_get(pair, 1);
		struct mon_bucket *bucket = &metric->buckets[i];

		if (!json_is_integer(index) || !json_is_integer(number) ||
		    json_integer_value(index) < 0 || json_integer_value(index) >= W_HIST_BUCKETS ||
		    json_integer_value(number) < 0)
			return false;
		bucket->index = (unsigned)json_integer_value(index);
		bucket->count = (uint64_t)json_integer_value(number);
		if (i > 0 && bucket->index <= bucket[-1].index)
			return false;
		metric->count += bucket->count;
	}
	metric->bucket_count = (unsigned)count;
	return true;
}

static bool
parse_metric(const json_t *object, struct w_arena *arena, struct mon_metric *ret)
{
	struct w_view name = get_text(object, "name"), labels = get_text(object, "labels");
	struct w_view help = get_text(object, "help");
	int type = get_word(object, "type", type_word, W_HISTOGRAM + 1);

	*ret = (struct mon_metric){ .type = (enum w_metric_type)type };
	if (type < 0 || type == W_GAUGE_MAX || !mon_name_valid(name) ||
	    labels.len > MON_LABELS_MAX || !mon_labels_valid(labels) || help.len > MON_HELP_MAX)
		return false;
	ret->name = w_arena_copy(arena, name);
	ret->labels = w_arena_copy(arena, labels.ptr != NULL ? labels : W_VIEW(""));
	ret->help = w_arena_copy(arena, help.ptr != NULL ? help : W_VIEW(""));
	if (ret->name.ptr == NULL || ret->labels.ptr == NULL || ret->help.ptr == NULL)
		return false;
	if (type == W_HISTOGRAM) {
		ret->sum = (uint64_t)get_count(object, "sum");
		return parse_buckets(json_object_get(object, "buckets"), arena, ret);
	}
	ret->value = get_real(object, "value");
	return isfinite(ret->value);
}

static int
compare_views(struct w_view a, struct w_view b)
{
	int order = memcmp(a.ptr, b.ptr, W_MIN(a.len, b.len));

	return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

static int
compare_metrics(const void *a, const void *b)
{
	const struct mon_metric *one = a, *other = b;
	int order = compare_views(one->name, other->name);

	return order != 0 ? order : compare_views(one->labels, other->labels);
}

/* Sort, and drop what is there twice or has another type than its family's first. */
static void
order_metrics(struct mon_report *report)
{
	struct mon_metric *all = report->metrics;
	unsigned kept = 0;

	if (report->count > 0)
		qsort(all, report->count, sizeof(*all), compare_metrics);
	for (unsigned i = 0; i < report->count; i++) {
		const struct mon_metric *last = kept > 0 ? &all[kept - 1] : NULL;

		if (last != NULL && w_view_eq(last->name, all[i].name) &&
		    (last->type != all[i].type || w_view_eq(last->labels, all[i].labels)))
			continue;
		all[kept++] = all[i];
	}
	report->skipped += report->count - kept;
	report->count = kept;
}

static int
parse_metrics(const json_t *list, struct mon_report *report, struct w_fault *fault)
{
	size_t total = json_array_size(list), count = W_MIN(total, (size_t)MON_METRICS_MAX);

	if (!json_is_array(list))
		return w_fail(fault, -W_EINVAL, "metrics: wanted is a list");
	report->metrics = w_arena_take(&report->arena, (count + 1) * sizeof(*report->metrics));
	if (report->metrics == NULL)
		return w_fail(fault, -W_ENOMEM, "metrics: no memory for %zu", count);
	for (size_t i = 0; i < count; i++) {
		const json_t *object = json_array_get(list, i);

		if (parse_metric(object, &report->arena, &report->metrics[report->count]))
			report->count++;
		else
			report->skipped++;
	}
	report->skipped += (unsigned)(total - count);
	order_metrics(report);
	return W_OK;
}

/* ---- the report ---- */

static void
parse_database(const json_t *root, struct mon_db *db)
{
	int kind = get_word(root, "database", database_word, MON_DB_COUNT);
	double lag = get_real(root, "lag_seconds");

	*db = (struct mon_db){
		.kind = kind < 0 ? MON_DB_NONE : (enum mon_database)kind,
		.postgres_pid = get_count(root, "postgres_pid"),
		.timeline = get_count(root, "timeline"),
		.position = get_count(root, "position"),
		.received = get_count(root, "received"),
		.sessions = get_count(root, "sessions"),
		.standbys = get_count(root, "standbys"),
		.lag_seconds = isfinite(lag) ? lag : 0,
	};
}

/*
 * Databases that answer a server, its primary not counted. While none is in force the one that leads may
 * still answer, as a primary that waits for its standbys for one: then only replicas count.
 */
static unsigned
count_others(const json_t *object, bool primary, int64_t answering)
{
	const json_t *nodes = json_object_get(object, "nodes"), *node;
	int64_t replicas = 0;
	size_t i;

	answering = W_MIN(answering, 1000);
	if (primary)
		return (unsigned)W_MAX(answering - 1, 0);
	if (!json_is_array(nodes))
		return (unsigned)answering;
	json_array_foreach(nodes, i, node)
		replicas += w_view_eq(get_text(node, "role"), W_VIEW("replica"));
	return (unsigned)W_MIN(answering, replicas);
}

/* One that makes no sense is none: what a server sees must not hide the server. */
static void
parse_sight(const json_t *root, struct mon_sight *sight)
{
	const json_t *object = json_object_get(root, "databases");
	const json_t *answering = json_object_get(object, "answering");
	struct w_view primary = get_text(object, "primary");
	struct mon_sight seen = { .there = true };

	*sight = (struct mon_sight){ 0 };
	if (!json_is_integer(answering) || json_integer_value(answering) < 0 ||
	    (primary.ptr == NULL && !json_is_null(json_object_get(object, "primary"))))
		return;
	if (primary.ptr != NULL &&
	    (primary.len == 0 || w_view_copy(primary, seen.primary, sizeof(seen.primary)) < 0))
		return;
	seen.others = count_others(object, primary.ptr != NULL, json_integer_value(answering));
	*sight = seen;
}

static int
parse_root(const json_t *root, struct mon_report *report, struct w_fault *fault)
{
	int role = get_word(root, "role", role_word, W_ROLE_COUNT);
	int life = get_word(root, "state", life_word, MON_LIFE_COUNT);
	struct w_view node = get_text(root, "node");

	if (!json_is_object(root))
		return w_fail(fault, -W_EJSON, "wanted is a JSON object");
	if (get_count(root, "v") != 1)
		return w_fail(fault, -W_EVERSION, "v: wanted is 1");
	if (node.len == 0 || w_view_copy(node, report->node, sizeof(report->node)) < 0 ||
	    strlen(report->node) != node.len)
		return w_fail(fault, -W_EINVAL, "node: wanted is a name of 1 to 63 bytes");
	if (role < 0)
		return w_fail(fault, -W_EINVAL, "role: wanted is balancer, server, database or monitor");
	if (life < 0)
		return w_fail(fault, -W_EINVAL, "state: wanted is starting, up, draining or down");
	report->role = (enum w_role)role;
	report->life = (enum mon_life)life;
	report->epoch = get_count(root, "epoch");
	report->seq = get_count(root, "seq");
	report->time = get_count(root, "time");
	report->pid = get_count(root, "pid");
	if (report->epoch == 0 || report->time == 0)
		return w_fail(fault, -W_EINVAL, "epoch, time: wanted are microseconds since 1970");
	parse_database(root, &report->db);
	if (report->role == W_SERVER)
		parse_sight(root, &report->sight);
	return parse_metrics(json_object_get(root, "metrics"), report, fault);
}

int
mon_report_parse(struct w_view json, struct mon_report **ret, struct w_fault *fault)
{
	W_AUTO(mon_report_free) struct mon_report *report = NULL;
	json_error_t error;
	json_t *root;
	int rc;

	if (json.len > MON_REPORT_MAX)
		return w_fail(fault, -W_ETOOBIG, "%zu bytes, allowed are %zu", json.len, MON_REPORT_MAX);
	root = json_loadb(json.len > 0 ? json.ptr : "", json.len, 0, &error);
	if (root == NULL)
		return w_fail(fault, -W_EJSON, "byte %d: %s", error.position, error.text);
	report = w_xcalloc(1, sizeof(*report));
	w_arena_init(&report->arena, ARENA_MAX);
	rc = parse_root(root, report, fault);
	json_decref(root);
	if (rc < 0)
		return rc;
	*ret = w_steal(&report);
	return W_OK;
}

void
mon_report_free(struct mon_report **report)
{
	struct mon_report *r = w_steal(report);

	if (r == NULL)
		return;
	w_arena_fini(&r->arena);
	free(r);
}

/* ---- looking things up ---- */

/* Index of the first metric that is not before (name, labels). */
static unsigned
lower_bound(const struct mon_report *report, const struct mon_metric *key)
{
	unsigned from = 0, to = report->count;

	while (from < to) {
		unsigned middle = from + (to - from) / 2;

		if (compare_metrics(&report->metrics[middle], key) < 0)
			from = middle + 1;
		else
			to = middle;
	}
	return from;
}

const struct mon_metric *
mon_report_family(const struct mon_report *report, struct w_view name, unsigned *ret_count)
{
	const struct mon_metric key = { .name = name, .labels = W_VIEW("") };
	unsigned from = lower_bound(report, &key), to = from;

	while (to < report->count && w_view_eq(report->metrics[to].name, name))
		to++;
	*ret_count = to - from;
	return to > from ? &report->metrics[from] : NULL;
}

const struct mon_metric *
mon_report_find(const struct mon_report *report, struct w_view name, struct w_view labels)
{
	const struct mon_metric key = { .name = name,
		.labels = labels.ptr != NULL ? labels : W_VIEW("") };
	unsigned at = lower_bound(report, &key);

	return at < report->count && compare_metrics(&report->metrics[at], &key) == 0
	           ? &report->metrics[at]
	           : NULL;
}

double
mon_report_sum(const struct mon_report *report, struct w_view name)
{
	unsigned count;
	const struct mon_metric *metric = mon_report_family(report, name, &count);
	double sum = 0;

	for (unsigned i = 0; i < count; i++)
		sum += metric[i].value;
	return sum;
}

void
mon_metric_growth(const struct mon_metric *now, const struct mon_metric *before, struct w_hist *to)
{
	unsigned b = 0, before_count = before != NULL ? before->bucket_count : 0;

	for (unsigned i = 0; now != NULL && i < now->bucket_count; i++) {
		const struct mon_bucket *bucket = &now->buckets[i];
		uint64_t old = 0;

		while (b < before_count && before->buckets[b].index < bucket->index)
			b++;
		if (b < before_count && before->buckets[b].index == bucket->index)
			old = before->buckets[b].count;
		if (bucket->count <= old)
			continue;
		to->bucket[bucket->index] += bucket->count - old;
		to->count += bucket->count - old;
	}
	if (now != NULL && now->sum > (before != NULL ? before->sum : 0))
		to->sum += now->sum - (before != NULL ? before->sum : 0);
}

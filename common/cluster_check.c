/*
 * What no single value shows: names that collide, words of a fixed choice, options that
 * need each other, numbers that must fit the cluster.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "common/cluster_inner.h"
#include "common/log.h"

#define NEAR_MISS 2 /* edits between a word and the one that was meant */

bool
w__name_valid(const char *name)
{
	size_t len = strlen(name);

	return len >= 1 && len <= W__NAME_MAX && name[0] >= 'a' && name[0] <= 'z' &&
	    strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == len;
}

/* Levenshtein's distance; both words are at most W__NAME_MAX bytes. */
static unsigned
distance(const char *a, const char *b)
{
	unsigned row[W__NAME_MAX + 1], corner, above, best;
	size_t a_len = strlen(a), b_len = strlen(b);

	for (unsigned j = 0; j <= b_len; j++)
		row[j] = j;
	for (size_t i = 0; i < a_len; i++) {
		corner = row[0]++;
		for (size_t j = 0; j < b_len; j++) {
			above = row[j + 1];
			best = corner + (a[i] != b[j]);
			best = W_MIN(best, above + 1);
			row[j + 1] = W_MIN(best, row[j] + 1);
			corner = above;
		}
	}
	return row[b_len];
}

const char *
w__near_miss(const char *word, const char *const *words)
{
	unsigned least = NEAR_MISS + 1, far;
	const char *best = NULL;

	if (strlen(word) > W__NAME_MAX)
		return NULL;
	for (; *words != NULL; words++) {
		far = distance(word, *words);
		/* a word of which nothing is left was not meant */
		if (far >= least || far >= strlen(*words))
			continue;
		least = far;
		best = *words;
	}
	return best;
}

static struct w__place
place_of(const struct w_member *member, const char *key)
{
	return (struct w__place){ w__sections[W__BALANCERS + member->role].key,
		(int)member->index, key, -1 };
}

static struct w__place
place_of_alert(size_t index, const char *key)
{
	return (struct w__place){ "alerts", (int)index, key, -1 };
}

static int
fail_twice(const struct w__load *load, const char *name, struct w__place first,
    struct w__place second)
{
	return w__load_fail(load, &second, -W_EINVAL,
	    "%s is the name of another one already, in line %u; names are unique", name,
	    w__tree_line(load->tree, &first));
}

static int
check_names(const struct w__load *load)
{
	const struct w_cluster *cluster = load->cluster;
	const struct w_member *members = cluster->members;

	for (size_t i = 0; i < cluster->member_count; i++)
		for (size_t j = 0; j < i; j++)
			if (strcmp(members[i].name, members[j].name) == 0)
				return fail_twice(load, members[i].name,
				    place_of(&members[j], "name"), place_of(&members[i], "name"));
	for (size_t i = 0; i < cluster->alert_count; i++)
		for (size_t j = 0; j < i; j++)
			if (strcmp(cluster->alerts[i].name, cluster->alerts[j].name) == 0)
				return fail_twice(load, cluster->alerts[i].name,
				    place_of_alert(j, "name"), place_of_alert(i, "name"));
	return W_OK;
}

/* text is one of the words, which stand in one string with spaces between. */
static int
check_choice(const struct w__load *load, struct w__place place, const char *text,
    const char *choice)
{
	struct w_view left = w_view_of(choice), word;
	char quoted[80];

	while (w_view_split(&left, ' ', &word))
		if (w_view_eq(word, w_view_of(text)))
			return W_OK;
	return w__load_fail(load, &place, -W_EINVAL, "is %s, wanted is one of: %s",
	    w_log_quote(w_view_of(text), quoted, sizeof(quoted)), choice);
}

/* present without partner is half an answer */
static int
check_pair(const struct w__load *load, const struct w_member *member, const char *const keys[2],
    const char *const values[2])
{
	struct w__place place = place_of(member, keys[0]);

	if (values[0][0] == '\0' || values[1][0] != '\0')
		return W_OK;
	return w__load_fail(load, &place, -W_EINVAL, "needs %s as well, which is not set",
	    keys[1]);
}

static int
check_balancer(const struct w__load *load, const struct w_member *member)
{
	const struct w_balancer_options *opt = &member->opt.balancer;
	struct w__place place = place_of(member, "link");
	const char *cert = opt->certificate, *key = opt->certificate_key;
	const char *const pairs[][2][2] = {
		{ { "https", "certificate" }, { opt->https, cert } },
		{ { "https", "certificate_key" }, { opt->https, key } },
		{ { "certificate", "certificate_key" }, { cert, key } },
		{ { "certificate_key", "certificate" }, { key, cert } },
	};
	unsigned last = opt->workers != 0 ? (unsigned)opt->workers - 1 : 0;
	char endpoint[300];
	int rc;

	for (size_t i = 0; i < W_NELEM(pairs); i++) {
		rc = check_pair(load, member, pairs[i][0], pairs[i][1]);
		if (rc < 0)
			return rc;
	}
	if (opt->link[0] != '\0' && w_addr_zmq(opt->link, last, endpoint, sizeof(endpoint)) < 0)
		return w__load_fail(load, &place, -W_ERANGE,
		    "port + workers goes beyond 65535; each worker needs a port of its own");
	return W_OK;
}

/* What the file says, or "... by default" when it says nothing. */
static const char *
by_default(const struct w__load *load, const struct w__place *place)
{
	enum w__kind kind;

	return w__tree_kind(load->tree, place, &kind) < 0 ? " by default" : "";
}

/* A client must remember its position for as long as a fit replica may not have replayed it. */
static int
check_server(const struct w__load *load, const struct w_member *member)
{
	w_usec ttl = member->opt.server.position_ttl, lag = load->cluster->opt.lag_limit_time;
	struct w__place place = place_of(member, "position_ttl");
	char is[32], wanted[32];

	if (ttl >= lag)
		return W_OK;
	w__number_format(W__TYPE_usec, (uint64_t)ttl, is, sizeof(is));
	w__number_format(W__TYPE_usec, (uint64_t)lag, wanted, sizeof(wanted));
	return w__load_fail(load, &place, -W_ERANGE,
	    "is %s%s, wanted is %s at least: what cluster.lag_limit_time is", is,
	    by_default(load, &place), wanted);
}

/* name=value, name in postgresql.conf's letters */
static bool
is_setting(const char *text)
{
	size_t len = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				  "0123456789_.");

	return len > 0 && text[len + strspn(text + len, " ")] == '=';
}

static int
check_database(const struct w__load *load, const struct w_member *member)
{
	const struct w_database_options *opt = &member->opt.database;
	struct w__place place = place_of(member, "address");
	static const char *const keys[][2] = { { "certificate", "certificate_key" },
		{ "certificate_key", "certificate" } };
	const char *const values[][2] = { { opt->certificate, opt->certificate_key },
		{ opt->certificate_key, opt->certificate } };
	int rc;

	if (opt->address[0] == '\0')
		return w__load_fail(load, &place, -W_EINVAL,
		    "not set; wanted is HOST:PORT of this PostgreSQL");
	for (size_t i = 0; i < W_NELEM(keys); i++) {
		rc = check_pair(load, member, keys[i], values[i]);
		if (rc < 0)
			return rc;
	}
	place.key = "settings";
	for (size_t i = 0; i < opt->settings.count; i++) {
		place.item = (int)i;
		if (!is_setting(opt->settings.items[i]))
			return w__load_fail(load, &place, -W_EINVAL,
			    "is \"%.80s\", wanted is NAME=VALUE as in postgresql.conf",
			    opt->settings.items[i]);
	}
	return check_choice(load, place_of(member, "initial"), opt->initial, "primary replica");
}

static int
check_monitor(const struct w__load *load, const struct w_member *member)
{
	const struct w_strings *urls = &member->opt.monitor.webhooks;
	struct w__place place = place_of(member, "webhooks");

	for (size_t i = 0; i < urls->count; i++) {
		struct w_view url = w_view_of(urls->items[i]);

		place.item = (int)i;
		if (!w_view_starts(url, W_VIEW("http://")) &&
		    !w_view_starts(url, W_VIEW("https://")))
			return w__load_fail(load, &place, -W_EINVAL,
			    "is \"%.80s\", wanted is a URL with http:// or https://", url.ptr);
	}
	return W_OK;
}

static int (*const role_checks[W_ROLE_COUNT])(const struct w__load *, const struct w_member *) = {
	[W_BALANCER] = check_balancer,
	[W_SERVER] = check_server,
	[W_DATABASE] = check_database,
	[W_MONITOR] = check_monitor,
};

static bool
is_decimal(const char *text)
{
	char *end;

	/* strtod() also takes words and hexadecimal numbers */
	if (text[0] == '\0' || text[strspn(text, "0123456789+-.eE")] != '\0')
		return false;
	return isfinite(strtod(text, &end)) && *end == '\0';
}

static int
check_alert(const struct w__load *load, size_t index)
{
	const struct w_alert_options *opt = &load->cluster->alerts[index].opt;
	struct w__place place = place_of_alert(index, "value");
	char quoted[80];
	int rc;

	if (opt->value[0] == '\0')
		return w__load_fail(load, &place, -W_EINVAL,
		    "not set; wanted is what to compare, see weir-monitor(8)");
	rc = check_choice(load, place_of_alert(index, "compare"), opt->compare,
	    "> >= < <= == !=");
	if (rc < 0)
		return rc;
	place.key = "threshold";
	if (!is_decimal(opt->threshold))
		return w__load_fail(load, &place, -W_EINVAL,
		    "is %s, wanted is a decimal number, as in 0.5 or 1e6",
		    w_log_quote(w_view_of(opt->threshold), quoted, sizeof(quoted)));
	return check_choice(load, place_of_alert(index, "severity"), opt->severity,
	    "info warning critical");
}

static int
check_cluster(const struct w__load *load)
{
	const struct w_cluster_options *opt = &load->cluster->opt;
	struct w__place place = { "cluster", -1, "quorum", -1 };
	size_t databases = w_cluster_count(load->cluster, W_DATABASE);
	int rc;

	rc = check_choice(load, (struct w__place){ "cluster", -1, "log_format", -1 },
	    opt->log_format, "text json");
	if (rc < 0)
		return rc;
	rc = check_choice(load, (struct w__place){ "cluster", -1, "log_level", -1 },
	    opt->log_level, "debug info warn error");
	if (rc < 0)
		return rc;
	if (databases > 0 && opt->quorum > databases - 1)
		return w__load_fail(load, &place, -W_ERANGE,
		    "is %" PRIu64 "%s, wanted is %zu at most: one less than there are databases",
		    opt->quorum, by_default(load, &place), databases - 1);
	return W_OK;
}

/* Two nodes that both begin as primary would be two clusters. */
static int
check_primaries(const struct w__load *load)
{
	const struct w_member *first = NULL, *member;
	struct w__place place, before;

	for (size_t i = 0; i < load->cluster->member_count; i++) {
		member = &load->cluster->members[i];
		if (member->role != W_DATABASE ||
		    strcmp(member->opt.database.initial, "primary") != 0)
			continue;
		if (first != NULL) {
			place = place_of(member, "initial");
			before = place_of(first, "initial");
			return w__load_fail(load, &place, -W_EINVAL,
			    "is primary, and so is that in line %u; only one may be",
			    w__tree_line(load->tree, &before));
		}
		first = member;
	}
	return W_OK;
}

/* Statements would go to either as if they held the same. */
static int
check_shards(const struct w__load *load)
{
	const struct w_member *first = w_cluster_nth(load->cluster, W_DATABASE, 0), *member;
	struct w__place place, before;

	for (unsigned i = 1; (member = w_cluster_nth(load->cluster, W_DATABASE, i)) != NULL; i++) {
		if (strcmp(member->opt.database.shard, first->opt.database.shard) == 0)
			continue;
		place = place_of(member, "shard");
		before = place_of(first, "shard");
		return w__load_fail(load, &place, -W_EINVAL,
		    "is \"%.63s\", and that of %s in line %u is \"%.63s\"; this version runs one "
		    "shard, so all databases must have the same",
		    member->opt.database.shard, first->name, w__tree_line(load->tree, &before),
		    first->opt.database.shard);
	}
	return W_OK;
}

static bool
has_promoter(const struct w_cluster *cluster)
{
	const struct w_member *member;

	for (unsigned i = 0; (member = w_cluster_nth(cluster, W_MONITOR, i)) != NULL; i++)
		if (member->opt.monitor.control[0] != '\0')
			return true;
	return false;
}

/* Who runs PostgreSQL, and who decides which one is primary, must go together. */
static int
check_failover(const struct w__load *load)
{
	const struct w_cluster *cluster = load->cluster;
	struct w__place place = { "cluster", -1, "failover", -1 };
	bool builtin = strcmp(cluster->opt.failover, "builtin") == 0;
	const struct w_member *member;
	unsigned own = 0, count = 0;
	int rc = check_choice(load, place, cluster->opt.failover, "builtin external");

	if (rc < 0)
		return rc;
	for (; (member = w_cluster_nth(cluster, W_DATABASE, count)) != NULL; count++)
		own += member->opt.database.data[0] != '\0';
	if (own == 0)
		return W_OK;
	if (!builtin)
		return w__load_fail(load, &place, -W_EINVAL,
		    "is external, but there are databases with a data directory; an agent that runs "
		    "PostgreSQL wants builtin, one that only observes no data");
	if (own < count)
		return w__load_fail(load, &place, -W_EINVAL,
		    "is builtin%s, and only %u of %u databases have a data directory; wanted is one "
		    "for each, or for none", by_default(load, &place), own, count);
	if (!has_promoter(cluster))
		return w__load_fail(load, &place, -W_EINVAL,
		    "is builtin%s, which needs a monitor with a control address: its promoter decides "
		    "which database is primary", by_default(load, &place));
	return W_OK;
}

int
w__cluster_check(const struct w__load *load)
{
	const struct w_cluster *cluster = load->cluster;
	struct w__place everything = { NULL, -1, NULL, -1 };
	int rc;

	if (cluster->member_count == 0)
		return w__load_fail(load, &everything, -W_EINVAL,
		    "no node; wanted is at least one under balancers, servers, databases or "
		    "monitors");
	rc = check_names(load);
	for (size_t i = 0; rc == W_OK && i < cluster->member_count; i++)
		if (role_checks[cluster->members[i].role] != NULL)
			rc = role_checks[cluster->members[i].role](load, &cluster->members[i]);
	for (size_t i = 0; rc == W_OK && i < cluster->alert_count; i++)
		rc = check_alert(load, i);
	if (rc == W_OK)
		rc = check_primaries(load);
	if (rc == W_OK)
		rc = check_shards(load);
	if (rc == W_OK)
		rc = check_failover(load);
	if (rc == W_OK)
		rc = check_cluster(load);
	return rc;
}

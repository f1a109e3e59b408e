/*
 * The cluster file: what it may say, and what is said about each mistake.
 */
#include <CUnit/CUnit.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cluster_inner.h"

static char folder[64], file[96];

static int
set_up(void)
{
	snprintf(folder, sizeof(folder), "/tmp/weir-unit-XXXXXX");
	if (mkdtemp(folder) == NULL)
		return 1;
	snprintf(file, sizeof(file), "%s/c.yaml", folder);
	return 0;
}

static int
tear_down(void)
{
	unlink(file);
	return rmdir(folder);
}

static int
load(struct w_view text, struct w_cluster **ret, struct w_fault *fault)
{
	W_AUTO(w_close) int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	CU_ASSERT_FATAL(fd >= 0 && write(fd, text.ptr, text.len) == (ssize_t)text.len);
	*fault = (struct w_fault){ 0 };
	return w_cluster_load(file, ret, fault);
}

static struct w_cluster *
load_good(const char *text)
{
	struct w_cluster *cluster = NULL;
	struct w_fault fault;
	int rc;

	rc = load(w_view_of(text), &cluster, &fault);
	if (rc != 0)
		fprintf(stderr, "%s\n", fault.text);
	CU_ASSERT_EQUAL_FATAL(rc, 0);
	return cluster;
}

static const char whole[] =
    "# a cluster of all roles\n"
    "cluster:\n"
    "  name: demo\n"
    "  keys: secrets/keys\n"
    "  log_format: json\n"
    "  quorum: 0\n"
    "  probe_interval: 250ms\n"
    "  lag_limit: 1GiB\n"
    "  database_ca: /etc/ca.pem\n"
    "balancers:\n"
    "  - name: balancer-1\n"
    "    https: \"0.0.0.0:443\"\n"
    "    link: 10.0.0.1:8200\n"
    "    certificate: cert.pem\n"
    "    certificate_key: cert.key\n"
    "    body_timeout: 5min\n"
    "servers:\n"
    "  - {name: server-1, http: '127.0.0.1:8101', modules: [guestbook, ./x.so], workers: 2}\n"
    "  - {name: server-2, http: \"\"}\n"
    "databases:\n"
    "  - name: db-1\n"
    "    address: \"[::1]:5432\"\n"
    "    initial: primary\n"
    "    settings: [\"shared_buffers = 64MB\"]\n"
    "monitors:\n"
    "  - name: monitor-1\n"
    "    collect: mon.example:8092\n"
    "    webhooks: [\"https://example.org/hook\"]\n"
    "alerts:\n"
    "  - {name: replica-lag, value: lag_bytes, compare: \">\", threshold: 1e6, hold: 10s}\n";

static void
whole_file_loads(void)
{
	W_AUTO(w_cluster_free) struct w_cluster *cluster = load_good(whole);
	const struct w_member *member;
	char want[128];

	CU_ASSERT_STRING_EQUAL(cluster->path, file);
	CU_ASSERT_STRING_EQUAL(cluster->dir, folder);
	CU_ASSERT_STRING_EQUAL(cluster->opt.name, "demo");
	CU_ASSERT_STRING_EQUAL(cluster->opt.log_format, "json");
	CU_ASSERT_EQUAL(cluster->opt.quorum, 0);
	CU_ASSERT_EQUAL(cluster->opt.probe_interval, 250 * W_MSEC);
	CU_ASSERT_EQUAL(cluster->opt.lag_limit, UINT64_C(1) << 30);
	CU_ASSERT_EQUAL(cluster->member_count, 5);
	snprintf(want, sizeof(want), "%s/secrets/keys", folder);
	CU_ASSERT_STRING_EQUAL(cluster->opt.keys, want);
	CU_ASSERT_STRING_EQUAL(cluster->opt.database_ca, "/etc/ca.pem");

	member = w_cluster_find(cluster, W_VIEW("balancer-1"));
	CU_ASSERT_PTR_NOT_NULL_FATAL(member);
	snprintf(want, sizeof(want), "%s/cert.pem", folder);
	CU_ASSERT_STRING_EQUAL(member->opt.balancer.certificate, want);
	CU_ASSERT_STRING_EQUAL(member->opt.balancer.ticket_key, "");
	CU_ASSERT_EQUAL(member->opt.balancer.body_timeout, 300 * W_SEC);

	member = w_cluster_nth(cluster, W_SERVER, 0);
	CU_ASSERT_PTR_NOT_NULL_FATAL(member);
	CU_ASSERT_EQUAL(member->opt.server.workers, 2);
	CU_ASSERT_EQUAL_FATAL(member->opt.server.modules.count, 2);
	CU_ASSERT_STRING_EQUAL(member->opt.server.modules.items[1], "./x.so");
	CU_ASSERT_EQUAL(cluster->alert_count, 1);
	CU_ASSERT_EQUAL(cluster->alerts[0].opt.hold, 10 * W_SEC);
	CU_ASSERT_STRING_EQUAL(cluster->alerts[0].opt.severity, "warning");
}

static void
members_are_found(void)
{
	W_AUTO(w_cluster_free) struct w_cluster *cluster = load_good(whole);

	CU_ASSERT_EQUAL(w_cluster_count(cluster, W_SERVER), 2);
	CU_ASSERT_EQUAL(w_cluster_count(cluster, W_MONITOR), 1);
	CU_ASSERT_STRING_EQUAL(w_cluster_nth(cluster, W_SERVER, 1)->name, "server-2");
	CU_ASSERT_EQUAL(w_cluster_nth(cluster, W_SERVER, 1)->index, 1);
	CU_ASSERT_PTR_NULL(w_cluster_nth(cluster, W_SERVER, 2));
	CU_ASSERT_PTR_NULL(w_cluster_find(cluster, W_VIEW("server")));
	CU_ASSERT_EQUAL(w_cluster_find(cluster, W_VIEW("db-1"))->role, W_DATABASE);
	CU_ASSERT_STRING_EQUAL(w_role_name(W_DATABASE), "database");
}

/* What every default of the lists means after loading. */
static void
defaults_are_loaded(void)
{
	W_AUTO(w_cluster_free) struct w_cluster *cluster =
	    load_good("servers:\n  - name: s\nbalancers:\n  - name: b\n    workers: 4\n"
		      "monitors:\n- name: m\nalerts:\ncluster:\n");
	const struct w_server_options *server = &w_cluster_nth(cluster, W_SERVER, 0)->opt.server;
	const struct w_balancer_options *balancer =
	    &w_cluster_nth(cluster, W_BALANCER, 0)->opt.balancer;

	CU_ASSERT_EQUAL(cluster->opt.quorum, 1);
	CU_ASSERT_EQUAL(cluster->opt.lag_limit, 16 << 20);
	CU_ASSERT_EQUAL(cluster->opt.lag_limit_time, 5 * W_SEC);
	CU_ASSERT_EQUAL(server->position_ttl, 10 * W_SEC);
	CU_ASSERT_EQUAL(server->reply_ttl, 86400 * W_SEC);
	CU_ASSERT_EQUAL(server->tx_idle_timeout, 60 * W_SEC);
	CU_ASSERT_EQUAL(server->tx_retries, 5);
	CU_ASSERT_EQUAL(server->request_timeout, 30 * W_SEC);
	CU_ASSERT_EQUAL(server->fiber_stack, 256 << 10);
	CU_ASSERT_EQUAL(server->modules.count, 0);
	CU_ASSERT_STRING_EQUAL(server->http, "");
	CU_ASSERT_EQUAL(balancer->workers, 4);
	CU_ASSERT_EQUAL(balancer->max_body, 0);
	CU_ASSERT_EQUAL(w_cluster_nth(cluster, W_MONITOR, 0)->opt.monitor.gone_after, 2 * W_SEC);
}

static void
every_default_is_in_range(void)
{
	uint64_t number;

	for (size_t i = 0; i < W__SECTION_COUNT; i++) {
		const struct w__section *section = &w__sections[i];

		for (size_t j = 0; j < section->count; j++) {
			const struct w_option_info *info = &section->infos[j];

			if (section->slots[j].type > W__TYPE_bytes)
				continue;
			number = 0;
			CU_ASSERT_EQUAL(w__number_parse(section->slots[j].type,
			    w_view_of(info->def), &number), 0);
			CU_ASSERT_TRUE(number >= (uint64_t)info->min &&
			    number <= (uint64_t)info->max);
		}
	}
}

#define SERVER "servers:\n  - name: s\n"

/* where: "LINE: KEY", what: a part of the message */
static const struct mistake {
	const char *text, *where, *what;
	int rc;
} mistakes[] = {
	{ "", NULL, "empty", -W_EINVAL },
	{ "# a comment only\n", NULL, "empty", -W_EINVAL },
	{ "~\n", NULL, "empty", -W_EINVAL },
	{ "\x80\xff\n", NULL, "UTF-8", -W_EINVAL },
	{ "{}\n", "1: the file", "no node", -W_EINVAL },
	{ "servers: []\n", "1: the file", "no node", -W_EINVAL },
	{ "hello\n", "1: the file", "is a single value, wanted is KEY: VALUE", -W_EINVAL },
	{ "- a\n", "1: the file", "is a list", -W_EINVAL },
	{ SERVER "  broken\n", "4: not YAML", "expected ':'", -W_EINVAL },
	{ "servers:\n\t- name: s\n", "2: not YAML", "cannot start any token", -W_EINVAL },
	{ SERVER "---\na: b\n", "3", "second YAML document", -W_EINVAL },
	{ "a: &x [b]\nc: *x\n", "2", "aliases", -W_EINVAL },
	{ "? [a]\n: b\n", "1", "where a key is wanted", -W_EINVAL },
	{ "[[[[[[[[[[[[\n", "1", "deeper", -W_EINVAL },
	{ "srvers:\n  - name: s\n", "1: srvers", "did you mean servers?", -W_EINVAL },
	{ SERVER "other: 1\n", "3: other", "unknown key; weir-cluster(5)", -W_EINVAL },
	{ SERVER "    htpp: a:1\n", "3: servers[0].htpp", "did you mean http?", -W_EINVAL },
	{ SERVER "    \"a\\nb\": 1\n", "3: servers[0].a?b", "unknown key", -W_EINVAL },
	{ "cluster:\n  nam: x\n" SERVER, "2: cluster.nam", "did you mean name?", -W_EINVAL },
	{ SERVER "    http: a:1\n    http: a:2\n", "4: servers[0].http",
	    "stands twice, first in line 3", -W_EINVAL },
	{ SERVER "servers: []\n", "3: servers", "stands twice, first in line 1", -W_EINVAL },
	{ SERVER "monitors:\n  - name: m\n  - name: s\n", "5: monitors[1].name",
	    "in line 2", -W_EINVAL },
	{ SERVER "    http:\n", "3: servers[0].http", "has no value", -W_EINVAL },
	{ SERVER "    http: ~\n", "3: servers[0].http", "has no value", -W_EINVAL },
	{ "servers: 5\n", "1: servers", "is a single value, wanted is a list", -W_EINVAL },
	{ "servers:\n  a: 1\n", "1: servers", "is KEY: VALUE lines", -W_EINVAL },
	{ "servers:\n  - a\n", "2: servers[0]", "wanted is KEY: VALUE", -W_EINVAL },
	{ "servers:\n  - \n", "2: servers[0]", "is empty", -W_EINVAL },
	{ "cluster: [a]\n", "1: cluster", "is a list", -W_EINVAL },
	{ SERVER "    http: [1]\n", "3: servers[0].http", "is a list", -W_EINVAL },
	{ SERVER "    modules: x\n", "3: servers[0].modules", "wanted is a list", -W_EINVAL },
	{ SERVER "    modules: [a, [b]]\n", "3: servers[0].modules[1]", "is a list", -W_EINVAL },
	{ SERVER "    modules: [a, \"\"]\n", "3: servers[0].modules[1]", "is empty", -W_EINVAL },
	{ SERVER "    http: |\n      a:1\n", "3: servers[0].http", "control byte", -W_EINVAL },
	{ "servers:\n  - http: a:1\n", "2: servers[0].name", "not set", -W_EINVAL },
	{ "servers:\n  - name: Server\n", "2: servers[0].name", "is Server, wanted", -W_EINVAL },
	{ "servers:\n  - name: 1st\n", "2: servers[0].name", "is a small letter", -W_EINVAL },
	{ "servers:\n  - name: \"\"\n", "2: servers[0].name", "is a small letter", -W_EINVAL },
	{ SERVER "    workers: 257\n", "3: servers[0].workers", "wanted is 0 to 256", -W_ERANGE },
	{ SERVER "    workers: -1\n", "3: servers[0].workers", "a decimal number", -W_EINVAL },
	{ SERVER "    workers: 99999999999999999999\n", "3: servers[0].workers", "0 to 256",
	    -W_ERANGE },
	{ SERVER "    query_timeout: 5\n", "3: servers[0].query_timeout", "a time", -W_EINVAL },
	{ SERVER "    query_timeout: 25h\n", "3: servers[0].query_timeout", "1ms to 1d",
	    -W_ERANGE },
	{ SERVER "    max_json: 5MB\n", "3: servers[0].max_json", "KiB, MiB", -W_EINVAL },
	{ SERVER "    max_json: 2GiB\n", "3: servers[0].max_json", "1KiB to 1GiB", -W_ERANGE },
	{ SERVER "    http: localhost\n", "3: servers[0].http", "HOST:PORT", -W_EINVAL },
	{ SERVER "    http: \"::1:80\"\n", "3: servers[0].http", "HOST:PORT", -W_EINVAL },
	{ SERVER "    http: \"a:65536\"\n", "3: servers[0].http", "HOST:PORT", -W_EINVAL },
	{ SERVER "cluster: {log_level: loud}\n", "3: cluster.log_level",
	    "is loud, wanted is one of: debug info", -W_EINVAL },
	{ SERVER "cluster: {log_format: xml}\n", "3: cluster.log_format", "text json", -W_EINVAL },
	{ "balancers:\n  - name: b\n    https: a:1\n", "3: balancers[0].https",
	    "needs certificate as well", -W_EINVAL },
	{ "balancers:\n  - name: b\n    https: a:1\n    certificate: c\n", "3: balancers[0].https",
	    "needs certificate_key as well", -W_EINVAL },
	{ "balancers:\n  - name: b\n    link: a:65530\n    workers: 8\n", "3: balancers[0].link",
	    "beyond 65535", -W_ERANGE },
	{ "databases:\n  - name: d\n", "2: databases[0].address", "not set", -W_EINVAL },
	{ "databases:\n  - {name: d, address: a:1}\n", "1: cluster.quorum", "is 1 by default",
	    -W_ERANGE },
	{ "cluster: {quorum: 3}\ndatabases:\n  - {name: d, address: a:1}\n", "1: cluster.quorum",
	    "is 3, wanted is 0", -W_ERANGE },
	{ "databases:\n  - {name: d, address: a:1, initial: both}\n", "2: databases[0].initial",
	    "primary replica", -W_EINVAL },
	{ "databases:\n  - {name: d, address: a:1, initial: primary}\n"
	  "  - {name: e, address: a:2, initial: primary}\n", "3: databases[1].initial",
	    "in line 2", -W_EINVAL },
	{ "databases:\n  - {name: d, address: a:1, shard: north}\n"
	  "  - {name: e, address: a:2, shard: south}\n", "3: databases[1].shard",
	    "is \"south\", and that of d in line 2 is \"north\"; this version runs one shard",
	    -W_EINVAL },
	{ "databases:\n  - {name: d, address: a:1}\n  - {name: e, address: a:2, shard: s}\n",
	    "3: databases[1].shard", "is \"s\", and that of d in line 2 is \"\"", -W_EINVAL },
	{ SERVER "    position_ttl: 4s\n", "3: servers[0].position_ttl",
	    "is 4s, wanted is 5s at least: what cluster.lag_limit_time is", -W_ERANGE },
	{ SERVER "cluster: {lag_limit_time: 1min}\n", "2: servers[0].position_ttl",
	    "is 10s by default, wanted is 1min at least", -W_ERANGE },
	{ "databases:\n  - {name: d, address: a:1, settings: [x]}\n", "2: databases[0].settings[0]",
	    "NAME=VALUE", -W_EINVAL },
	{ "monitors:\n  - {name: m, webhooks: [x]}\n", "2: monitors[0].webhooks[0]", "a URL",
	    -W_EINVAL },
	{ SERVER "alerts:\n  - name: a\n", "4: alerts[0].value", "not set", -W_EINVAL },
	{ SERVER "alerts:\n  - {name: a, value: v, compare: \"=>\"}\n", "4: alerts[0].compare",
	    "is \"=>\", wanted is one of: >", -W_EINVAL },
	{ SERVER "alerts:\n  - {name: a, value: v, threshold: 0x10}\n", "4: alerts[0].threshold",
	    "decimal", -W_EINVAL },
	{ SERVER "alerts:\n  - {name: a, value: v, threshold: 1e999}\n", "4: alerts[0].threshold",
	    "decimal", -W_EINVAL },
	{ SERVER "alerts:\n  - {name: a, value: v, severity: bad}\n", "4: alerts[0].severity",
	    "info warning critical", -W_EINVAL },
	{ SERVER "alerts:\n  - {name: a, value: v}\n  - {name: a, value: v}\n", "5: alerts[1].name",
	    "in line 4", -W_EINVAL },
};

static void
expect_mistake(const struct mistake *mistake)
{
	struct w_cluster *cluster = NULL;
	struct w_fault fault;
	char start[200];
	bool good;
	int rc;

	rc = load(w_view_of(mistake->text), &cluster, &fault);
	snprintf(start, sizeof(start), "%s:%s%s", file,
	    mistake->where != NULL ? mistake->where : "", mistake->where != NULL ? ":" : " ");
	good = rc == mistake->rc && fault.err == rc && cluster == NULL &&
	    strncmp(fault.text, start, strlen(start)) == 0 &&
	    strstr(fault.text, mistake->what) != NULL;
	if (!good)
		fprintf(stderr, "\n%s\ngave %d %s\nwanted %d %s ... %s\n", mistake->text, rc,
		    fault.text, mistake->rc, start, mistake->what);
	CU_ASSERT_TRUE(good);
	w_cluster_free(&cluster);
}

static void
mistakes_are_named(void)
{
	for (size_t i = 0; i < W_NELEM(mistakes); i++)
		expect_mistake(&mistakes[i]);
}

static void
shards_and_positions_agree(void)
{
	W_AUTO(w_cluster_free) struct w_cluster *same = load_good(
	    "databases:\n  - {name: d, address: a:1, shard: s}\n"
	    "  - {name: e, address: a:2, shard: s}\n");
	W_AUTO(w_cluster_free) struct w_cluster *level = load_good(
	    SERVER "    position_ttl: 30s\ncluster: {lag_limit_time: 30s}\n");
	W_AUTO(w_cluster_free) struct w_cluster *none = load_good(
	    SERVER "    position_ttl: 1s\ncluster: {lag_limit_time: 0}\n");

	CU_ASSERT_STRING_EQUAL(w_cluster_nth(same, W_DATABASE, 1)->opt.database.shard, "s");
	CU_ASSERT_EQUAL(level->opt.lag_limit_time, 30 * W_SEC);
	CU_ASSERT_EQUAL(none->opt.lag_limit_time, 0);
}

static void
odd_files_are_refused(void)
{
	W_AUTO(w_buf_fini) struct w_buf text = { 0 };
	struct w_cluster *cluster = NULL;
	struct w_fault fault;
	char fifo[96];

	CU_ASSERT_EQUAL(w_cluster_load("/does/not/exist", &cluster, &fault), -W_EIO);
	CU_ASSERT_PTR_NOT_NULL(strstr(fault.text, "/does/not/exist: cannot be opened"));
	CU_ASSERT_EQUAL(w_cluster_load(folder, &cluster, &fault), -W_EINVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(fault.text, "a folder"));
	snprintf(fifo, sizeof(fifo), "%s/fifo", folder);
	CU_ASSERT_EQUAL_FATAL(mkfifo(fifo, 0600), 0);
	CU_ASSERT_EQUAL(w_cluster_load(fifo, &cluster, &fault), -W_EINVAL);
	unlink(fifo);
	CU_ASSERT_EQUAL(load((struct w_view){ "a\0b", 3 }, &cluster, &fault), -W_EINVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(fault.text, "zero byte"));

	for (size_t i = 0; i < W__FILE_MAX / 64 + 1; i++)
		w_buf_printf(&text, "#%062zu\n", i);
	CU_ASSERT_EQUAL(load(w_buf_get(&text), &cluster, &fault), -W_ERANGE);
	CU_ASSERT_PTR_NOT_NULL(strstr(fault.text, "larger than 4 MiB"));
	CU_ASSERT_EQUAL(w_cluster_load("/does/not/exist", &cluster, NULL), -W_EIO);
	CU_ASSERT_PTR_NULL(cluster);
}

/* Text that is fine but for its amount. */
static void
amounts_are_bounded(void)
{
	W_AUTO(w_buf_fini) struct w_buf text = { 0 };
	struct w_cluster *cluster = NULL;
	struct w_fault fault;

	w_buf_text(&text, SERVER "    modules: [a");
	for (int i = 0; i < W__ENTRIES_MAX; i++)
		w_buf_text(&text, ",a");
	w_buf_text(&text, "]\n");
	CU_ASSERT_EQUAL(load(w_buf_get(&text), &cluster, &fault), -W_EINVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(fault.text, "c.yaml:3: more than 1024 list items"));

	w_buf_clear(&text);
	w_buf_printf(&text, SERVER "    http: %04097d\n", 1);
	CU_ASSERT_EQUAL(load(w_buf_get(&text), &cluster, &fault), -W_ERANGE);
	CU_ASSERT_PTR_NOT_NULL(strstr(fault.text, "c.yaml:3: servers[0].http: longer than 4096"));

	w_buf_clear(&text);
	for (int i = 0; i < 1000; i++)
		w_buf_printf(&text, "k%d: 1\n", i);
	CU_ASSERT_EQUAL(load(w_buf_get(&text), &cluster, &fault), -W_EINVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(fault.text, "more than 256 keys"));

	w_buf_clear(&text);
	w_buf_text(&text, "servers:\n");
	for (int i = 0; i < W__ENTRIES_MAX; i++)
		w_buf_printf(&text, "  - name: s%d\n", i);
	CU_ASSERT_EQUAL(load(w_buf_get(&text), &cluster, &fault), 0);
	CU_ASSERT_EQUAL(w_cluster_count(cluster, W_SERVER), W__ENTRIES_MAX);
	w_cluster_free(&cluster);
}

static void
relative_paths_become_absolute(void)
{
	W_AUTO(w_free) char *cwd = getcwd(NULL, 0);
	W_AUTO(w_cluster_free) struct w_cluster *cluster = load_good(SERVER);
	W_AUTO(w_cluster_free) struct w_cluster *again = NULL;

	CU_ASSERT_EQUAL_FATAL(chdir(folder), 0);
	CU_ASSERT_EQUAL(w_cluster_load("c.yaml", &again, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(chdir(cwd), 0);
	CU_ASSERT_PTR_NOT_NULL_FATAL(again);
	CU_ASSERT_STRING_EQUAL(again->path, cluster->path);
	CU_ASSERT_STRING_EQUAL(again->dir, cluster->dir);
	CU_ASSERT_STRING_EQUAL(again->opt.keys, cluster->opt.keys);
}

static void
numbers_have_units(void)
{
	static const struct {
		enum w__type type;
		const char *text;
		int rc;
		uint64_t value;
	} table[] = {
		{ W__TYPE_usec, "250ms", 0, 250000 },
		{ W__TYPE_usec, "10 s", 0, 10000000 },
		{ W__TYPE_usec, "2d", 0, UINT64_C(172800000000) },
		{ W__TYPE_usec, "7us", 0, 7 },
		{ W__TYPE_usec, "0", 0, 0 },
		{ W__TYPE_usec, "10", -W_EINVAL, 0 },
		{ W__TYPE_usec, "10m", -W_EINVAL, 0 },
		{ W__TYPE_usec, "1.5s", -W_EINVAL, 0 },
		{ W__TYPE_usec, "s", -W_EINVAL, 0 },
		{ W__TYPE_usec, "18446744073709551615s", -W_ERANGE, 0 },
		{ W__TYPE_bytes, "64KiB", 0, 65536 },
		{ W__TYPE_bytes, "4096", 0, 4096 },
		{ W__TYPE_bytes, "1EiB", 0, UINT64_C(1) << 60 },
		{ W__TYPE_bytes, "16EiB", -W_ERANGE, 0 },
		{ W__TYPE_bytes, "1kib", -W_EINVAL, 0 },
		{ W__TYPE_uint, "12", 0, 12 },
		{ W__TYPE_uint, "12s", -W_EINVAL, 0 },
	};
	uint64_t value;

	for (size_t i = 0; i < W_NELEM(table); i++) {
		value = 0;
		CU_ASSERT_EQUAL(w__number_parse(table[i].type, w_view_of(table[i].text), &value),
		    table[i].rc);
		if (table[i].rc == 0)
			CU_ASSERT_EQUAL(value, table[i].value);
	}
}

static void
numbers_format_back(void)
{
	static const uint64_t values[] = { 0, 1, 999, 1000, 60000000, 90000000, 86400000000, 1024,
		1536, UINT64_C(1) << 40, UINT64_MAX };
	uint64_t back;
	char text[32];

	for (size_t i = 0; i < W_NELEM(values); i++) {
		for (enum w__type type = W__TYPE_uint; type <= W__TYPE_bytes; type++) {
			back = 1;
			w__number_format(type, values[i], text, sizeof(text));
			CU_ASSERT_EQUAL(w__number_parse(type, w_view_of(text), &back), 0);
			CU_ASSERT_EQUAL(back, values[i]);
		}
	}
	w__number_format(W__TYPE_usec, 90000000, text, sizeof(text));
	CU_ASSERT_STRING_EQUAL(text, "90s");
}

static void
addresses_split(void)
{
	static const char *const bad[] = { "", ":80", "host", "host:", "host:x", "host:-1",
		"host:65536", "::1:80", "[::1]", "[::1]80", "[::1:80", "[]:80", "[host]:80",
		"a b:80", "a/b:80", "[::1%]:80", "*:80", "a:80 ", "a:8:0" };
	char host[64] = "same", zmq[64];
	unsigned port = 7;

	for (size_t i = 0; i < W_NELEM(bad); i++)
		CU_ASSERT_EQUAL(w_addr_split(bad[i], host, sizeof(host), &port), -W_EINVAL);
	CU_ASSERT_EQUAL(port, 7);
	CU_ASSERT_EQUAL(w_addr_split("db_1.example-x:5432", host, sizeof(host), &port), 0);
	CU_ASSERT_STRING_EQUAL(host, "db_1.example-x");
	CU_ASSERT_EQUAL(port, 5432);
	CU_ASSERT_EQUAL(w_addr_split("[fe80::1%eth0]:1", host, sizeof(host), &port), 0);
	CU_ASSERT_STRING_EQUAL(host, "fe80::1%eth0");
	CU_ASSERT_EQUAL(w_addr_split("127.0.0.1:80", host, 5, &port), -W_EINVAL);
	CU_ASSERT_EQUAL(w_addr_zmq("[::1]:8200", 2, zmq, sizeof(zmq)), 0);
	CU_ASSERT_STRING_EQUAL(zmq, "tcp://[::1]:8202");
	CU_ASSERT_EQUAL(w_addr_zmq("10.0.0.1:8200", 0, zmq, sizeof(zmq)), 0);
	CU_ASSERT_STRING_EQUAL(zmq, "tcp://10.0.0.1:8200");
	CU_ASSERT_EQUAL(w_addr_zmq("a:65535", 1, zmq, sizeof(zmq)), -W_ERANGE);
	CU_ASSERT_EQUAL(w_addr_zmq("a", 1, zmq, sizeof(zmq)), -W_EINVAL);
	CU_ASSERT_EQUAL(w_addr_zmq("10.0.0.1:8200", 0, zmq, 8), -W_ERANGE);
}

static void
option_tables_are_known(void)
{
	static const char *const names[] = { "cluster", "balancer", "server", "database", "monitor",
		"alert" };
	size_t count;

	for (size_t i = 0; i < W_NELEM(names); i++) {
		const struct w_option_info *infos = w_options_of(names[i], &count);

		CU_ASSERT_PTR_NOT_NULL_FATAL(infos);
		CU_ASSERT_TRUE(count > 0);
		for (size_t j = 0; j < count; j++)
			CU_ASSERT_TRUE(strcmp(infos[j].when, "reload") == 0 ||
			    strcmp(infos[j].when, "restart") == 0);
	}
	CU_ASSERT_PTR_NULL(w_options_of("servers", &count));
}

/* What w_options_print() prints for a section; the caller's text is cut to size. */
static void
catch_print(const char *section, char *to, size_t size)
{
	int saved = dup(STDOUT_FILENO), fd = open(file, O_RDWR | O_CREAT | O_TRUNC, 0600);
	ssize_t len;

	CU_ASSERT_FATAL(saved >= 0 && fd >= 0);
	fflush(stdout);
	dup2(fd, STDOUT_FILENO);
	w_options_print(section);
	fflush(stdout);
	dup2(saved, STDOUT_FILENO);
	len = pread(fd, to, size - 1, 0);
	to[len > 0 ? len : 0] = '\0';
	close(saved);
	close(fd);
}

static void
manual_holds_the_options(void)
{
	static char page[131072], printed[32768];
	const char *srcdir = getenv("srcdir");
	char path[512], wanted[40000];
	FILE *from;

	snprintf(path, sizeof(path), "%s/docs/man/weir-cluster.5", srcdir != NULL ? srcdir : ".");
	from = fopen(path, "re");
	if (from == NULL) {
		fprintf(stderr, "no %s: run this in the source tree, or set srcdir\n", path);
		CU_FAIL_FATAL("no manual page");
	}
	page[fread(page, 1, sizeof(page) - 1, from)] = '\0';
	fclose(from);
	for (size_t i = 0; i < W__SECTION_COUNT; i++) {
		const char *name = w__sections[i].name;

		catch_print(name, printed, sizeof(printed));
		CU_ASSERT_TRUE(strlen(printed) > 100);
		snprintf(wanted, sizeof(wanted),
		    ".\\\" options begin %s\n%s.\\\" options end %s\n", name, printed, name);
		if (strstr(page, wanted) == NULL)
			fprintf(stderr, "%s: section %s differs from the options' list\n", path,
			    name);
		CU_ASSERT_PTR_NOT_NULL(strstr(page, wanted));
	}
}

static void
near_misses_are_near(void)
{
	static const char *const words[] = { "http", "workers", "name", NULL };

	CU_ASSERT_STRING_EQUAL(w__near_miss("htp", words), "http");
	CU_ASSERT_STRING_EQUAL(w__near_miss("wrokers", words), "workers");
	CU_ASSERT_STRING_EQUAL(w__near_miss("named", words), "name");
	CU_ASSERT_PTR_NULL(w__near_miss("capacity", words));
	CU_ASSERT_PTR_NULL(w__near_miss("", words));
}

static CU_TestInfo tests[] = {
	{ "a file with all roles loads", whole_file_loads },
	{ "nodes are found by name, role and index", members_are_found },
	{ "what the file leaves out has its default", defaults_are_loaded },
	{ "every default parses and is in its range", every_default_is_in_range },
	{ "each mistake is named with line, key and wish", mistakes_are_named },
	{ "one shard, and positions that outlast the lag", shards_and_positions_agree },
	{ "missing, odd, binary and huge files are refused", odd_files_are_refused },
	{ "lists, keys and values are bounded", amounts_are_bounded },
	{ "relative paths become absolute", relative_paths_become_absolute },
	{ "numbers have units", numbers_have_units },
	{ "a formatted number parses to itself", numbers_format_back },
	{ "addresses split into host and port", addresses_split },
	{ "option tables are known by section", option_tables_are_known },
	{ "the manual page holds the options as they are", manual_holds_the_options },
	{ "a near miss is within two edits", near_misses_are_near },
	CU_TEST_INFO_NULL,
};

CU_SuiteInfo cluster_suites[] = {
	{ .pName = "common/cluster", .pInitFunc = set_up, .pCleanupFunc = tear_down,
	    .pTests = tests },
	CU_SUITE_INFO_NULL,
};

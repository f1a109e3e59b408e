/*
 * Keys in files, and real CURVE handshakes on loopback: who gets in and who does not.
 */
#include <CUnit/CUnit.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>

#include "common/keys.h"
#include "common/log.h"

static char folder[64], keys_dir[80];
static struct w_cluster *cluster;
static struct w_loop loop;
static void *context;
static struct w_zap *zap;
static struct w_timer guard;
static bool guarded;

static void
write_file(const char *name, const char *text, mode_t mode)
{
	W_AUTO(w_free) char *path = w_xasprintf("%s/%s", folder, name);
	W_AUTO(w_close) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, mode);

	CU_ASSERT_FATAL(fd >= 0);
	CU_ASSERT(fchmod(fd, mode) == 0);
	CU_ASSERT(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
}

static void
make_folder(void)
{
	static const char *const names[] = {
	    "balancer-1", "server-1", "db-1", "monitor-1", "alice", "operator"};
	W_AUTO(w_free) char *path = NULL;
	struct w_fault fault = {0};

	snprintf(folder, sizeof(folder), "/tmp/weir-unit-keys-XXXXXX");
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(folder));
	snprintf(keys_dir, sizeof(keys_dir), "%s/keys", folder);
	write_file("cluster.yaml",
	    "cluster: { name: test, keys: keys, quorum: 0 }\n"
	    "balancers: [ { name: balancer-1, link: \"127.0.0.1:8200\" } ]\n"
	    "servers: [ { name: server-1, http: \"127.0.0.1:8101\" } ]\n"
	    "databases: [ { name: db-1, address: \"127.0.0.1:5432\" } ]\n"
	    "monitors: [ { name: monitor-1, collect: \"127.0.0.1:8092\" } ]\n",
	    0644);
	for (size_t i = 0; i < W_NELEM(names); i++)
		CU_ASSERT_EQUAL(w_keys_ensure(keys_dir, names[i], &fault), W_OK);
	path = w_xasprintf("%s/cluster.yaml", folder);
	if (w_cluster_load(path, &cluster, &fault) != W_OK)
		fprintf(stderr, "%s\n", fault.text);
	CU_ASSERT_PTR_NOT_NULL_FATAL(cluster);
}

static void
remove_folder(void)
{
	W_AUTO(w_free) char *command = w_xasprintf("rm -rf %s", folder);

	w_cluster_free(&cluster);
	CU_ASSERT_EQUAL(system(command), 0);
}

/* ---- files ---- */

static void
ensure_makes_a_pair_once(void)
{
	struct w_keys *first = NULL, *second = NULL;
	struct w_fault fault = {0};
	struct stat st;
	W_AUTO(w_free) char *path = w_xasprintf("%s/db-1.key", keys_dir);

	CU_ASSERT_EQUAL(w_keys_load(keys_dir, "db-1", &first, &fault), W_OK);
	CU_ASSERT_EQUAL(w_keys_ensure(keys_dir, "db-1", &fault), W_OK);
	CU_ASSERT_EQUAL(w_keys_load(keys_dir, "db-1", &second, &fault), W_OK);
	CU_ASSERT_STRING_EQUAL(first->public_key, second->public_key);
	CU_ASSERT_STRING_EQUAL(first->name, "db-1");
	CU_ASSERT_EQUAL(stat(path, &st), 0);
	CU_ASSERT_EQUAL(st.st_mode & 0777, 0600);
	CU_ASSERT_EQUAL(st.st_size, W_KEY_SIZE);
	w_keys_free(&first);
	w_keys_free(&second);
	CU_ASSERT_PTR_NULL(second);
}

static void
half_a_pair_is_refused(void)
{
	W_AUTO(w_free) char *key = w_xasprintf("%s/half.key", keys_dir);
	struct w_keys *keys = NULL;
	struct w_fault fault = {0};

	CU_ASSERT_EQUAL(w_keys_ensure(keys_dir, "half", &fault), W_OK);
	CU_ASSERT_EQUAL(unlink(key), 0);
	CU_ASSERT_EQUAL(w_keys_ensure(keys_dir, "half", &fault), -W_EINVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(fault.text, "half.key"));
	CU_ASSERT_EQUAL(w_keys_load(keys_dir, "half", &keys, &fault), -W_EIO);
	CU_ASSERT_PTR_NULL(keys);
}

static void
open_secret_is_refused(void)
{
	W_AUTO(w_free) char *path = w_xasprintf("%s/server-1.key", keys_dir);
	struct w_keys *keys = NULL;
	struct w_fault fault = {0};

	CU_ASSERT_EQUAL(chmod(path, 0644), 0);
	CU_ASSERT_EQUAL(w_keys_load(keys_dir, "server-1", &keys, &fault), -W_EDENIED);
	CU_ASSERT_PTR_NOT_NULL(strstr(fault.text, "chmod 600"));
	CU_ASSERT_PTR_NULL(keys);
	CU_ASSERT_EQUAL(chmod(path, 0400), 0);
	CU_ASSERT_EQUAL(w_keys_load(keys_dir, "server-1", &keys, &fault), W_OK);
	w_keys_free(&keys);
}

static void
what_is_no_key_is_refused(void)
{
	static const char *const bad[] = {"", "\n", "short\n",
	    "0123456789012345678901234567890123456789012345678901234567890123456789\n",
	    "\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\n"};
	struct w_keys *keys = NULL;
	struct w_fault fault = {0};

	for (size_t i = 0; i < W_NELEM(bad); i++) {
		write_file("keys/server-1.key", bad[i], 0600);
		CU_ASSERT_EQUAL(w_keys_load(keys_dir, "server-1", &keys, &fault), -W_EINVAL);
		CU_ASSERT_PTR_NOT_NULL(strstr(fault.text, "server-1.key"));
	}
	CU_ASSERT_EQUAL(w_keys_load(keys_dir, "../etc/x", &keys, &fault), -W_EINVAL);
	CU_ASSERT_EQUAL(w_keys_load(keys_dir, "", &keys, &fault), -W_EINVAL);
	CU_ASSERT_EQUAL(w_keys_load(keys_dir, "nobody", &keys, &fault), -W_EIO);
	CU_ASSERT_PTR_NULL(keys);
}

static void
pair_must_belong_together(void)
{
	struct w_keys *keys = NULL;
	struct w_fault fault = {0};
	char pub[W_KEY_SIZE], sec[W_KEY_SIZE];

	CU_ASSERT_EQUAL(w_keys_make(pub, sec), W_OK);
	write_file("keys/server-1.pub", pub, 0644); /* no newline: as good */
	CU_ASSERT_EQUAL(w_keys_load(keys_dir, "server-1", &keys, &fault), -W_EINVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(fault.text, "server-1.pub"));
	write_file("keys/server-1.key", sec, 0600);
	CU_ASSERT_EQUAL(w_keys_load(keys_dir, "server-1", &keys, &fault), W_OK);
	w_keys_free(&keys);
}

/* ---- handshakes ---- */

static void
on_guard(void *arg W_UNUSED)
{
	guarded = true;
	w_loop_stop(&loop);
}

static void
begin_net(bool with_zap)
{
	struct w_fault fault = {0};

	w_log_init("test", W_ERROR, false); /* refusals are what is wanted here */
	make_folder();
	CU_ASSERT_FATAL(w_loop_init(&loop) == W_OK);
	context = zmq_ctx_new();
	zap = NULL;
	if (with_zap)
		CU_ASSERT_FATAL(w_zap_start(context, &loop, cluster, &zap, &fault) == W_OK);
	guarded = false;
	guard = (struct w_timer){.fire = on_guard};
	w_timer_start(&loop, &guard, 60 * W_SEC, 0);
}

static void
end_net(void)
{
	CU_ASSERT_FALSE(guarded);
	w_timer_fini(&guard);
	w_zap_stop(&zap);
	w_loop_fini(&loop);
	zmq_ctx_term(context);
	remove_folder();
	w_log_init("test", W_INFO, false);
}

/* One attempt to get in: the server, the client and what the client's monitor says. */
struct attempt {
	void *server, *client, *monitor;
	struct w_zsock watch, input;
	bool decided, admitted;
	char user[64]; /* the user id that the server's first message carries */
};

static void
on_event(void *arg)
{
	struct attempt *attempt = arg;
	zmq_msg_t msg;
	uint16_t event;

	zmq_msg_init(&msg);
	while (zmq_msg_recv(&msg, attempt->monitor, ZMQ_DONTWAIT) >= 0) {
		memcpy(&event, zmq_msg_data(&msg), sizeof(event));
		zmq_msg_recv(&msg, attempt->monitor, 0); /* the address */
		if (!attempt->decided)
			attempt->admitted = event == ZMQ_EVENT_HANDSHAKE_SUCCEEDED;
		attempt->decided = true;
		if (!attempt->admitted)
			w_loop_stop(&loop);
	}
	zmq_msg_close(&msg);
}

static void
on_message(void *arg)
{
	struct attempt *attempt = arg;
	const char *user;
	zmq_msg_t msg;

	zmq_msg_init(&msg);
	while (zmq_msg_recv(&msg, attempt->server, ZMQ_DONTWAIT) >= 0) {
		user = zmq_msg_gets(&msg, "User-Id");
		snprintf(attempt->user, sizeof(attempt->user), "%s", user != NULL ? user : "");
		/* It is proof by itself, and may come before the monitor's event of the handshake. */
		attempt->decided = attempt->admitted = true;
		w_loop_stop(&loop);
	}
	zmq_msg_close(&msg);
}

static void
open_server(struct attempt *attempt, enum w_domain domain, char *endpoint, size_t size)
{
	struct w_keys *keys = NULL;
	struct w_fault fault = {0};

	attempt->server = zmq_socket(context, ZMQ_DEALER);
	CU_ASSERT_FATAL(w_keys_load(keys_dir, "balancer-1", &keys, &fault) == W_OK);
	CU_ASSERT_EQUAL(w_keys_server(keys, attempt->server, domain, &fault), W_OK);
	w_keys_free(&keys);
	CU_ASSERT_FATAL(zmq_bind(attempt->server, "tcp://127.0.0.1:*") == 0);
	zmq_getsockopt(attempt->server, ZMQ_LAST_ENDPOINT, endpoint, &size);
	CU_ASSERT_EQUAL(
	    w_zsock_add(&loop, &attempt->input, attempt->server, on_message, attempt), W_OK);
}

static void
open_client(struct attempt *attempt, const struct w_keys *keys, const char *endpoint)
{
	static unsigned attempts; /* closed sockets keep their addresses for a while */
	const int patience = 1000; /* ms */
	W_AUTO(w_free) char *events = w_xasprintf("inproc://events-%u", attempts++);
	struct w_fault fault = {0};

	attempt->client = zmq_socket(context, ZMQ_DEALER);
	CU_ASSERT_EQUAL(w_keys_client(keys, attempt->client, "balancer-1", &fault), W_OK);
	/* who is turned away hears nothing, and gives up after this */
	CU_ASSERT(zmq_setsockopt(attempt->client, ZMQ_HANDSHAKE_IVL, &patience, sizeof(patience)) == 0);
	CU_ASSERT_FATAL(
	    zmq_socket_monitor(attempt->client, events,
		ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH |
		    ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL |
		    ZMQ_EVENT_DISCONNECTED) == 0);
	attempt->monitor = zmq_socket(context, ZMQ_PAIR);
	CU_ASSERT_FATAL(zmq_connect(attempt->monitor, events) == 0);
	CU_ASSERT_EQUAL(
	    w_zsock_add(&loop, &attempt->watch, attempt->monitor, on_event, attempt), W_OK);
	CU_ASSERT_FATAL(zmq_connect(attempt->client, endpoint) == 0);
	CU_ASSERT_EQUAL(zmq_send(attempt->client, "hello", 5, ZMQ_DONTWAIT), 5);
}

/* Does a client with these keys get into the domain? user gets who the server thinks it is. */
static bool
admits(const struct w_keys *keys, enum w_domain domain, char *user)
{
	struct attempt attempt = {0};
	char endpoint[128];

	open_server(&attempt, domain, endpoint, sizeof(endpoint));
	open_client(&attempt, keys, endpoint);
	w_loop_run(&loop);
	w_zsock_remove(&attempt.watch);
	w_zsock_remove(&attempt.input);
	zmq_socket_monitor(attempt.client, NULL, 0);
	zmq_close(attempt.client);
	zmq_close(attempt.monitor);
	zmq_close(attempt.server);
	CU_ASSERT_TRUE(attempt.decided);
	if (user != NULL)
		snprintf(user, 64, "%s", attempt.user);
	return attempt.admitted;
}

static bool
admits_name(const char *name, enum w_domain domain)
{
	struct w_keys *keys = NULL;
	struct w_fault fault = {0};
	char user[64] = "";
	bool in;

	CU_ASSERT_FATAL(w_keys_load(keys_dir, name, &keys, &fault) == W_OK);
	in = admits(keys, domain, user);
	if (in)
		CU_ASSERT_STRING_EQUAL(user, name);
	w_keys_free(&keys);
	return in;
}

static struct w_keys *
stranger(void)
{
	struct w_keys *keys = w_xcalloc(1, sizeof(*keys));

	CU_ASSERT_EQUAL(w_keys_make(keys->public_key, keys->secret_key), W_OK);
	snprintf(keys->name, sizeof(keys->name), "stranger");
	keys->dir = w_xstrdup(keys_dir);
	return keys;
}

static void
domains_admit_whom_they_should(void)
{
	/* clang-format off */
	static const struct {
		const char *name;
		bool in[W_DOMAIN_COUNT]; /* link, collect, feed, control */
	} table[] = {
		{ "server-1",   { true,  true,  true, false } },
		{ "balancer-1", { false, true,  true, false } },
		{ "db-1",       { false, true,  true, true } },
		{ "monitor-1",  { false, true,  true, false } },
		{ "alice",      { false, false, true, false } },
		{ "operator",   { false, false, true, true } },
	};
	/* clang-format on */
	unsigned in = 0, out = 0;

	begin_net(true);
	for (size_t i = 0; i < W_NELEM(table); i++) {
		for (int domain = 0; domain < W_DOMAIN_COUNT; domain++) {
			bool want = table[i].in[domain];

			CU_ASSERT_EQUAL(admits_name(table[i].name, (enum w_domain)domain), want);
			in += want;
			out += !want;
		}
	}
	CU_ASSERT_TRUE(w_zap_accepted(zap) >= in);
	CU_ASSERT_TRUE(w_zap_refused(zap) >= out);
	end_net();
}

static void
unknown_key_is_refused_and_counted(void)
{
	W_AUTO(w_keys_free) struct w_keys *keys = NULL;

	begin_net(true);
	keys = stranger();
	for (int domain = 0; domain < W_DOMAIN_COUNT; domain++)
		CU_ASSERT_FALSE(admits(keys, (enum w_domain)domain, NULL));
	CU_ASSERT_EQUAL(w_zap_accepted(zap), 0);
	CU_ASSERT_TRUE(w_zap_refused(zap) >= W_DOMAIN_COUNT);
	end_net();
}

static void
nobody_enters_without_a_handler(void)
{
	begin_net(false);
	CU_ASSERT_FALSE(admits_name("server-1", W_DOMAIN_LINK));
	CU_ASSERT_FALSE(admits_name("server-1", W_DOMAIN_FEED));
	end_net();
}

static void
peer_without_a_key_is_an_error(void)
{
	struct w_keys *keys = NULL;
	struct w_fault fault = {0};
	void *socket;

	begin_net(true);
	CU_ASSERT_FATAL(w_keys_load(keys_dir, "server-1", &keys, &fault) == W_OK);
	socket = zmq_socket(context, ZMQ_DEALER);
	CU_ASSERT_EQUAL(w_keys_client(keys, socket, "balancer-9", &fault), -W_EINVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(fault.text, "balancer-9.pub"));
	zmq_close(socket);
	w_keys_free(&keys);
	end_net();
}

static void
reload_admits_a_new_key(void)
{
	struct w_fault fault = {0};
	W_AUTO(w_free) char *pub = NULL;

	begin_net(true);
	CU_ASSERT_EQUAL(w_keys_ensure(keys_dir, "bob", &fault), W_OK);
	CU_ASSERT_FALSE(admits_name("bob", W_DOMAIN_FEED));
	CU_ASSERT_EQUAL(w_zap_reload(zap, cluster, &fault), W_OK);
	CU_ASSERT_TRUE(admits_name("bob", W_DOMAIN_FEED));
	CU_ASSERT_FALSE(admits_name("bob", W_DOMAIN_COLLECT));

	pub = w_xasprintf("%s/alice.pub", keys_dir);
	CU_ASSERT_EQUAL(unlink(pub), 0);
	CU_ASSERT_TRUE(access(pub, F_OK) < 0 && errno == ENOENT);
	CU_ASSERT_EQUAL(w_zap_reload(zap, cluster, &fault), W_OK);
	end_net();
}

static void
bad_reload_keeps_the_old_list(void)
{
	struct w_fault fault = {0};
	W_AUTO(w_keys_free) struct w_keys *alice = NULL;

	begin_net(true);
	CU_ASSERT_EQUAL(w_keys_load(keys_dir, "alice", &alice, &fault), W_OK);
	write_file("keys/alice.pub", "half a ke", 0644);
	CU_ASSERT_EQUAL(w_zap_reload(zap, cluster, &fault), -W_EINVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(fault.text, "alice.pub"));
	CU_ASSERT_TRUE(admits(alice, W_DOMAIN_FEED, NULL));

	write_file("keys/alice.pub", alice->public_key, 0644);
	write_file("keys/mallory.pub", alice->public_key, 0644);
	CU_ASSERT_EQUAL(w_zap_reload(zap, cluster, &fault), -W_EINVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(fault.text, "same key"));
	CU_ASSERT_TRUE(admits(alice, W_DOMAIN_FEED, NULL));
	end_net();
}

static void
bad_file_does_not_keep_a_node_from_starting(void)
{
	struct w_fault fault = {0};

	begin_net(true);
	w_zap_stop(&zap);
	write_file("keys/carol.pub", "no key\n", 0644);
	CU_ASSERT_EQUAL(w_zap_start(context, &loop, cluster, &zap, &fault), W_OK);
	CU_ASSERT_TRUE(admits_name("server-1", W_DOMAIN_LINK));
	end_net();
}

static CU_TestInfo file_tests[] = {{"a pair is made once", ensure_makes_a_pair_once},
    {"half a pair is refused", half_a_pair_is_refused},
    {"a secret key that others can read is refused", open_secret_is_refused},
    {"a file that holds no key is refused", what_is_no_key_is_refused},
    {"the two keys of a pair must belong together", pair_must_belong_together}, CU_TEST_INFO_NULL};
static CU_TestInfo zap_tests[] = {
    {"every domain admits whom it should and nobody else", domains_admit_whom_they_should},
    {"an unknown key is refused and counted", unknown_key_is_refused_and_counted},
    {"nobody enters when there is no ZAP handler", nobody_enters_without_a_handler},
    {"a peer without a public key is an error", peer_without_a_key_is_an_error},
    {"a reload admits a new key", reload_admits_a_new_key},
    {"a reload that fails keeps the old list", bad_reload_keeps_the_old_list},
    {"a bad file does not keep a node from starting", bad_file_does_not_keep_a_node_from_starting},
    CU_TEST_INFO_NULL};
CU_SuiteInfo keys_suites[] = {{.pName = "common/keys files",
				  .pSetUpFunc = make_folder,
				  .pTearDownFunc = remove_folder,
				  .pTests = file_tests},
    {.pName = "common/keys handshakes", .pTests = zap_tests}, CU_SUITE_INFO_NULL};

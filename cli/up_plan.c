/*
 * What lies in the folder of weir up:
 *
 *	cluster.yaml      the cluster; made once, then the user's to edit
 *	endpoints.json    where everything answers, for programs
 *	ca.pem ca.key     private CA; tls/ certificates of balancers and databases
 *	keys/             CURVE keys of every node and of the operator
 *	secrets/          passwords of PostgreSQL's roles, and pgpass of the administrator
 *	db-N/             PostgreSQL's data directories
 *	logs/ run/        a log per node; control socket and lock
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/up.h"
#include "common/keys.h"

#define PORT_HTTPS 443
#define PORT_HTTP 80
#define PORT_MONITOR 90
#define PORT_FEED 91
#define PORT_COLLECT 92
#define PORT_CONTROL 93
#define PORT_SERVER 101
#define PORT_DATABASE 301
#define PORT_LINK 600
#define PORT_LINK_STEP 16 /* most workers of a balancer of weir up */

static const char *const folders[][2] = {
	{ "keys", "0700" }, { "tls", "0700" }, { "secrets", "0700" }, { "logs", "0755" }, { "run", "0700" },
};

static int
make_folders(struct up *up, struct w_fault *fault)
{
	for (size_t i = 0; i < W_NELEM(folders); i++) {
		W_AUTO(w_free) char *path = w_xasprintf("%s/%s", up->dir, folders[i][0]);
		int rc = cli_make_dir(path, (unsigned)strtoul(folders[i][1], NULL, 8), fault);

		if (rc < 0)
			return rc;
	}
	return W_OK;
}

/* One weir up per folder. */
static int
take_lock(struct up *up, struct w_fault *fault)
{
	W_AUTO(w_free) char *path = w_xasprintf("%s/run/lock", up->dir);

	up->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (up->lock_fd < 0)
		return w_fail(fault, -W_EIO, "cannot open %s: %s", path, strerror(errno));
	if (flock(up->lock_fd, LOCK_EX | LOCK_NB) < 0)
		return w_fail(fault, -W_EBUSY,
		    "a cluster runs in %s already; weir down --dir %s stops it", up->dir, up->dir);
	return W_OK;
}

static int
make_secret(const struct up *up, const char *name, struct w_fault *fault)
{
	W_AUTO(w_free) char *path = w_xasprintf("%s/secrets/%s", up->dir, name);
	unsigned char bytes[24];
	char text[2 * sizeof(bytes) + 2];

	if (cli_is_file(path))
		return W_OK;
	w_random_bytes(bytes, sizeof(bytes));
	for (size_t i = 0; i < sizeof(bytes); i++)
		snprintf(text + 2 * i, 3, "%02x", bytes[i]);
	memcpy(text + 2 * sizeof(bytes), "\n", 2);
	return cli_write_file(path, w_view_of(text), 0600, fault);
}

/* The key of TLS session tickets: raw bytes. */
static int
make_ticket_key(const struct up *up, struct w_fault *fault)
{
	W_AUTO(w_free) char *path = w_xasprintf("%s/secrets/ticket.key", up->dir);
	char bytes[64];

	if (cli_is_file(path))
		return W_OK;
	w_random_bytes(bytes, sizeof(bytes));
	return cli_write_file(path, (struct w_view){ bytes, sizeof(bytes) }, 0600, fault);
}

/* The administrator's password file, in the form that libpq and psql read. */
static int
make_pgpass(const struct up *up, struct w_fault *fault)
{
	W_AUTO(w_free) char *from = w_xasprintf("%s/secrets/admin", up->dir);
	W_AUTO(w_free) char *path = w_xasprintf("%s/secrets/pgpass", up->dir);
	W_AUTO(w_free) char *line = NULL;
	W_AUTO(w_buf_fini) struct w_buf password = { 0 };

	if (cli_read_file(from, 4096, &password) < 0)
		return w_fail(fault, -W_EIO, "cannot read %s", from);
	line = w_xasprintf("*:*:*:postgres:%s", password.ptr);
	return cli_write_file(path, w_view_of(line), 0600, fault);
}

static int
make_secrets(const struct up *up, struct w_fault *fault)
{
	static const char *const names[] = { "rw", "ro", "agent", "admin" };
	int rc = W_OK;

	for (size_t i = 0; rc == W_OK && i < W_NELEM(names); i++)
		rc = make_secret(up, names[i], fault);
	if (rc == W_OK)
		rc = make_ticket_key(up, fault);
	return rc == W_OK ? make_pgpass(up, fault) : rc;
}

/* --- the cluster file --- */

/*
 * Workers of a node that shares the machine with a whole cluster: more of them than cores would
 * only make every batch smaller.
 */
static unsigned
plan_workers(void)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN) / 4;

	return (unsigned)W_MAX(1, W_MIN(cores, PORT_LINK_STEP));
}

/* Whether PostgreSQL's user may pass through every folder of path; root's own way is no measure. */
static bool
passable(const char *path)
{
	const struct passwd *user = getpwnam("postgres");
	char part[PATH_MAX];
	struct stat st;

	if (geteuid() != 0)
		return true;
	for (const char *slash = strchr(path, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
		snprintf(part, sizeof(part), "%.*s", (int)(slash - path), path);
		if (part[0] == '\0')
			continue;
		if (stat(part, &st) < 0)
			return false;
		if (!(st.st_mode & S_IXOTH) &&
		    !(user != NULL && st.st_uid == user->pw_uid && (st.st_mode & S_IXUSR)))
			return false;
	}
	return true;
}

/* Where data directories go: the folder itself, unless PostgreSQL's user cannot get there. */
static char *
plan_data(const struct up *up, struct w_fault *fault)
{
	W_AUTO(w_free) char *inside = w_xasprintf("%s/db-1", up->dir);
	char *data;

	if (passable(inside))
		return w_xstrdup(up->dir);
	data = w_xasprintf("/var/lib/weir/%016llx",
	    (unsigned long long)w_view_hash(w_view_of(up->dir)));
	if (cli_make_dir("/var/lib/weir", 0755, fault) < 0 || cli_make_dir(data, 0755, fault) < 0)
		w_free(&data);
	else
		printf("weir: PostgreSQL's user cannot enter %s, so its data goes to %s\n", up->dir, data);
	return data;
}

/* A list item for modules: every shared object of --app's folder, or the guestbook. */
static int
plan_modules(const struct up *up, struct w_buf *out, struct w_fault *fault)
{
	W_AUTO(w_free) char *app = NULL;

	if (up->args.app == NULL) {
		w_buf_text(out, "[guestbook, probe]");
		return W_OK;
	}
	app = realpath(up->args.app, NULL);
	if (app == NULL)
		return w_fail(fault, -W_EINVAL, "--app %s: %s", up->args.app, strerror(errno));
	return cli_list_modules(app, out, fault);
}

static void
plan_balancers(const struct up *up, struct w_buf *out)
{
	unsigned base = up->args.port_base;

	w_buf_text(out, "\nbalancers:\n");
	for (unsigned i = 0; i < up->args.balancers; i++)
		w_buf_printf(out,
		    "  - name: balancer-%u\n    https: \"127.0.0.1:%u\"\n    http: \"127.0.0.1:%u\"\n"
		    "    link: \"127.0.0.1:%u\"\n    workers: %u\n"
		    "    certificate: tls/balancer.pem\n    certificate_key: tls/balancer.key\n"
		    "    ticket_key: secrets/ticket.key\n",
		    i + 1, base + PORT_HTTPS + i, base + PORT_HTTP + i,
		    base + PORT_LINK + i * PORT_LINK_STEP, plan_workers());
}

static void
plan_servers(const struct up *up, struct w_buf *out, const struct w_buf *modules)
{
	w_buf_text(out, "\nservers:\n");
	for (unsigned i = 0; i < up->args.servers; i++)
		w_buf_printf(out,
		    "  - name: server-%u\n    http: \"127.0.0.1:%u\"\n    workers: %u\n    modules: %.*s\n",
		    i + 1, up->args.port_base + PORT_SERVER + i, plan_workers(), (int)modules->len,
		    modules->ptr);
}

static void
plan_databases(const struct up *up, struct w_buf *out, const char *data)
{
	w_buf_text(out, "\ndatabases:\n");
	for (unsigned i = 0; i <= up->args.replicas; i++)
		w_buf_printf(out,
		    "  - name: db-%u\n    address: \"127.0.0.1:%u\"\n    data: \"%s/db-%u\"\n"
		    "    initial: %s\n    certificate: tls/db.pem\n    certificate_key: tls/db.key\n"
		    "    admin_password: secrets/admin\n",
		    i + 1, up->args.port_base + PORT_DATABASE + i, data, i + 1,
		    i == 0 ? "primary" : "replica");
}

static const char plan_alerts[] =
    "\n# Values: see weir-monitor(8). The defaults are always there; a rule of the same name replaces one.\n"
    "alerts: []\n";

static int
write_cluster(const struct up *up, const char *path, struct w_fault *fault)
{
	W_AUTO(w_free) char *data = plan_data(up, fault);
	W_AUTO(w_buf_fini) struct w_buf out = { 0 }, modules = { 0 };
	unsigned base = up->args.port_base;
	int rc;

	if (data == NULL)
		return -W_EIO;
	rc = plan_modules(up, &modules, fault);
	if (rc < 0)
		return rc;
	w_buf_printf(&out,
	    "# Made by weir up; yours to edit: it is read again at the next start. See weir-cluster(5).\n"
	    "cluster:\n  name: demo\n  keys: keys\n  database: weir\n  database_ca: ca.pem\n"
	    "  rw_password: secrets/rw\n  ro_password: secrets/ro\n  agent_password: secrets/agent\n"
	    "  # Passwords of 192 random bits need no rounds of hashing, which make connections dear.\n"
	    "  scram_iterations: 1\n"
	    "  quorum: %u\n  failover: builtin\n",
	    up->args.replicas > 0 ? 1u : 0u);
	plan_balancers(up, &out);
	plan_servers(up, &out, &modules);
	plan_databases(up, &out, data);
	w_buf_printf(&out,
	    "\nmonitors:\n  - name: monitor-1\n    http: \"127.0.0.1:%u\"\n    feed: \"127.0.0.1:%u\"\n"
	    "    collect: \"127.0.0.1:%u\"\n    control: \"127.0.0.1:%u\"\n",
	    base + PORT_MONITOR, base + PORT_FEED, base + PORT_COLLECT, base + PORT_CONTROL);
	w_buf_text(&out, plan_alerts);
	return cli_write_file(path, w_buf_get(&out), 0644, fault);
}

/* A layout asked for on the command line must be the one that is there already. */
static int
check_layout(const struct up *up, struct w_fault *fault)
{
	const struct w_cluster *cluster = up->cluster;
	const struct w_member *server = w_cluster_nth(cluster, W_SERVER, 0);
	char host[256];
	unsigned port = 0;

	if (!up->args.layout_given)
		return W_OK;
	if (server != NULL)
		w_addr_split(server->opt.server.http, host, sizeof(host), &port);
	if (w_cluster_count(cluster, W_BALANCER) == up->args.balancers &&
	    w_cluster_count(cluster, W_SERVER) == up->args.servers &&
	    w_cluster_count(cluster, W_DATABASE) == up->args.replicas + 1 &&
	    port == up->args.port_base + PORT_SERVER)
		return W_OK;
	return w_fail(fault, -W_EINVAL,
	    "%s describes another cluster than the options ask for; edit it, or use another --dir",
	    cluster->path);
}

static int
make_keys(const struct w_cluster *cluster, struct w_fault *fault)
{
	int rc = w_keys_ensure(cluster->opt.keys, "operator", fault);

	for (size_t i = 0; rc == W_OK && i < cluster->member_count; i++)
		rc = w_keys_ensure(cluster->opt.keys, cluster->members[i].name, fault);
	return rc;
}

static int
make_certs(const struct up *up, struct w_fault *fault)
{
	W_AUTO(w_free) char *tls = w_xasprintf("%s/tls", up->dir);
	W_AUTO(w_free) char *ca = w_xasprintf("%s/ca.pem", tls);
	W_AUTO(w_free) char *copy = w_xasprintf("%s/ca.pem", up->dir);
	W_AUTO(w_buf_fini) struct w_buf text = { 0 };
	int rc = cli_certs_ca(tls, fault);

	if (rc == W_OK)
		rc = cli_certs_make(tls, "balancer", "localhost", fault);
	if (rc == W_OK)
		rc = cli_certs_make(tls, "db", "localhost", fault);
	if (rc < 0)
		return rc;
	if (cli_read_file(ca, 65536, &text) < 0)
		return w_fail(fault, -W_EIO, "cannot read %s", ca);
	return cli_write_file(copy, w_buf_get(&text), 0644, fault);
}

int
cli__up_plan_nodes(const struct up *up, const struct w_cluster *cluster, struct w_fault *fault)
{
	int rc = make_certs(up, fault);

	return rc == W_OK ? make_keys(cluster, fault) : rc;
}

int
cli__up_plan(struct up *up, struct w_fault *fault)
{
	W_AUTO(w_free) char *path = NULL;
	int rc = cli_make_dir(up->args.dir, 0755, fault);

	if (rc < 0)
		return rc;
	up->dir = realpath(up->args.dir, NULL);
	if (up->dir == NULL)
		return w_fail(fault, -W_EIO, "--dir %s: %s", up->args.dir, strerror(errno));
	path = w_xasprintf("%s/cluster.yaml", up->dir);
	rc = make_folders(up, fault);
	if (rc == W_OK)
		rc = take_lock(up, fault);
	if (rc == W_OK)
		rc = make_secrets(up, fault);
	if (rc == W_OK)
		rc = make_certs(up, fault);
	if (rc == W_OK && !cli_is_file(path))
		rc = write_cluster(up, path, fault);
	if (rc == W_OK)
		rc = w_cluster_load(path, &up->cluster, fault);
	if (rc == W_OK)
		rc = check_layout(up, fault);
	if (rc == W_OK)
		rc = make_keys(up->cluster, fault);
	return rc == W_OK ? cli__up_endpoints(up, fault) : rc;
}

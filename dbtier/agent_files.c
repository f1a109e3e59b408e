/*
 * What the database agent writes to disk. Every file is written beside its place, synced and
 * renamed, so that a crash leaves the old one or the new one. Only weir.conf is not synced: it is
 * written again at every start, and an election has no time for disks.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/log.h"
#include "dbtier/agent.h"
#include "dbtier/scram.h"

#define AGENT_FILE_MAX 65536

int
dbt__agent_user(struct dbt_agent *agent, struct w_fault *fault)
{
	const char *candidates[] = { agent->opt->user, "postgres", "nobody" };
	const struct passwd *user = NULL;

	agent->uid = geteuid();
	agent->gid = getegid();
	if (agent->uid != 0)
		return W_OK;
	if (candidates[0][0] != '\0') {
		user = getpwnam(candidates[0]);
	} else {
		user = getpwnam(candidates[1]);
		if (user == NULL)
			user = getpwnam(candidates[2]);
	}
	if (user == NULL || user->pw_uid == 0)
		return w_fail(fault, -W_EINVAL,
		    "%s: PostgreSQL refuses to run as root and there is no user '%s' for it; set the "
		    "option user",
		    agent->name, candidates[0][0] != '\0' ? candidates[0] : "postgres");
	agent->uid = user->pw_uid;
	agent->gid = user->pw_gid;
	return W_OK;
}

bool
dbt__agent_has_data(const struct dbt_agent *agent)
{
	W_AUTO(w_free) char *path = w_xasprintf("%s/PG_VERSION", agent->opt->data);

	return access(path, F_OK) == 0;
}

/* The mark that a rewind leaves until it is done. */
static char *
torn_path(const struct dbt_agent *agent)
{
	return w_xasprintf("%s.rewinding", agent->opt->data);
}

bool
dbt__agent_is_torn(const struct dbt_agent *agent)
{
	W_AUTO(w_free) char *path = torn_path(agent);

	return access(path, F_OK) == 0;
}

bool
dbt__agent_is_standby(const struct dbt_agent *agent)
{
	W_AUTO(w_free) char *path = w_xasprintf("%s/standby.signal", agent->opt->data);

	return access(path, F_OK) == 0;
}

void
dbt__agent_unlock(const struct dbt_agent *agent)
{
	W_AUTO(w_free) char *path = w_xasprintf("%s/postmaster.pid", agent->opt->data);

	unlink(path);
}

/* Write a file of PostgreSQL's user, mode 0600, atomically. */
static int
replace_file(const struct dbt_agent *agent, const char *path, struct w_view text, bool sync,
    struct w_fault *fault)
{
	W_AUTO(w_free) char *temp = w_xasprintf("%s.tmp", path);
	W_AUTO(w_close) int fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0 || fchown(fd, agent->uid, agent->gid) < 0 || fchmod(fd, 0600) < 0 ||
	    dbt__write_all(fd, text) < 0 || (sync && fsync(fd) < 0) || rename(temp, path) < 0)
		return w_fail(fault, -W_EIO, "%s: cannot write %s: %s", agent->name, path,
		    strerror(errno));
	return W_OK;
}

static int
put_file(const struct dbt_agent *agent, const char *path, struct w_view text, struct w_fault *fault)
{
	return replace_file(agent, path, text, true, fault);
}

int
dbt__agent_set_torn(const struct dbt_agent *agent, bool torn, struct w_fault *fault)
{
	W_AUTO(w_free) char *path = torn_path(agent);
	int rc = torn ? put_file(agent, path, W_VIEW(""), fault) : W_OK;

	if (rc < 0)
		return rc;
	if ((!torn && unlink(path) < 0 && errno != ENOENT) || dbt__sync_folder(path) < 0)
		return w_fail(fault, -W_EIO, "%s: cannot mark %s: %s", agent->name, path, strerror(errno));
	return W_OK;
}

static int
get_file(const struct dbt_agent *agent, const char *path, struct w_buf *text, struct w_fault *fault)
{
	W_AUTO(w_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *room = w_buf_room(text, AGENT_FILE_MAX);
	ssize_t got = fd < 0 ? -1 : read(fd, room, AGENT_FILE_MAX);

	if (got < 0)
		return w_fail(fault, -W_EIO, "%s: cannot read %s: %s", agent->name, path,
		    strerror(errno));
	w_buf_added(text, (size_t)got);
	return W_OK;
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	return remove(path);
}

int
dbt__agent_fresh(const struct dbt_agent *agent, struct w_fault *fault)
{
	W_AUTO(w_free) char *path = w_xasprintf("%s.new", agent->opt->data);

	nftw(path, remove_one, 32, FTW_DEPTH | FTW_PHYS);
	if (mkdir(path, 0700) < 0 || chown(path, agent->uid, agent->gid) < 0)
		return w_fail(fault, -W_EIO, "%s: cannot make the data directory %s: %s", agent->name,
		    path, strerror(errno));
	return W_OK;
}

int
dbt__agent_strip(const struct dbt_agent *agent, const char *conf, struct w_fault *fault)
{
	W_AUTO(w_buf_fini) struct w_buf text = { 0 }, out = { 0 };
	struct w_view lines, line;
	int rc = get_file(agent, conf, &text, fault);

	if (rc < 0)
		return rc;
	w_buf_text(&out, "# What initdb has set. weir.conf comes after it, and the cluster file's settings are there.\n"
			 "# PostgreSQL's share folder has a postgresql.conf.sample, which tells of all the others.\n");
	lines = w_buf_get(&text);
	while (w_view_split(&lines, '\n', &line)) {
		struct w_view told = w_view_trim(line);

		if (told.len > 0 && told.ptr[0] != '#')
			w_buf_printf(&out, "%.*s\n", (int)line.len, line.ptr);
	}
	return put_file(agent, conf, w_buf_get(&out), fault);
}

int
dbt__agent_include(const struct dbt_agent *agent, const char *conf, struct w_fault *fault)
{
	static const char line[] = "include_if_exists = 'weir.conf'";
	W_AUTO(w_buf_fini) struct w_buf text = { 0 };
	int rc = get_file(agent, conf, &text, fault);

	if (rc < 0)
		return rc;
	w_buf_char(&text, '\0');
	text.len--;
	if (strstr(text.ptr, line) != NULL)
		return W_OK;
	w_buf_printf(&text, "\n%s\n", line);
	return put_file(agent, conf, w_buf_get(&text), fault);
}

int
dbt__agent_commit(const struct dbt_agent *agent, struct w_fault *fault)
{
	const char *data = agent->opt->data;
	W_AUTO(w_free) char *path = w_xasprintf("%s.new", data);
	W_AUTO(w_free) char *old = w_xasprintf("%s.old", data);

	nftw(old, remove_one, 32, FTW_DEPTH | FTW_PHYS);
	if (rename(data, old) < 0 && errno != ENOENT)
		return w_fail(fault, -W_EIO, "%s: cannot rename %s to %s: %s", agent->name, data, old,
		    strerror(errno));
	if (rename(path, data) < 0 || dbt__sync_folder(data) < 0)
		return w_fail(fault, -W_EIO, "%s: cannot rename %s to %s: %s", agent->name, path, data,
		    strerror(errno));
	nftw(old, remove_one, 32, FTW_DEPTH | FTW_PHYS);
	return W_OK;
}

/* The first line of a password file. */
static int
get_password(const struct dbt_agent *agent, const char *path, struct w_buf *text, struct w_fault *fault)
{
	int rc;

	if (path[0] == '\0')
		return w_fail(fault, -W_EINVAL,
		    "%s: a data directory of our own needs the options rw_password, ro_password, "
		    "agent_password and admin_password",
		    agent->name);
	rc = get_file(agent, path, text, fault);
	if (rc < 0)
		return rc;
	text->len = w_view_find(w_buf_get(text), '\n');
	if (text->len == 0)
		return w_fail(fault, -W_EINVAL, "%s: %s is empty; it must hold a password", agent->name,
		    path);
	w_buf_char(text, '\0');
	text->len--;
	return W_OK;
}

static int
copy_file(const struct dbt_agent *agent, const char *from, const char *to, struct w_fault *fault)
{
	W_AUTO(w_buf_fini) struct w_buf text = { 0 };
	int rc = get_file(agent, from, &text, fault);

	return rc < 0 ? rc : put_file(agent, to, w_buf_get(&text), fault);
}

/* A string as PostgreSQL's configuration and SQL write it: quotes doubled. */
static void
add_quoted(struct w_buf *out, const char *text)
{
	w_buf_char(out, '\'');
	for (; *text != '\0'; text++) {
		if (*text == '\'')
			w_buf_char(out, '\'');
		w_buf_char(out, *text);
	}
	w_buf_char(out, '\'');
}

static void
add_setting(struct w_buf *out, const char *name, const char *value)
{
	w_buf_printf(out, "%s = ", name);
	add_quoted(out, value);
	w_buf_char(out, '\n');
}

/* ANY k of all names: the same list on every node, so that a new primary is born synchronous. */
char *
dbt__agent_quorum(const char *cohort)
{
	W_AUTO(w_buf_fini) struct w_buf names = { 0 };
	struct dbt_members members;

	/* what was promised, or configured, has been read before */
	if (dbt_cohort_parse(cohort, &members) < 0 || members.quorum == 0)
		return w_xstrdup("");
	w_buf_printf(&names, "ANY %u (", members.quorum);
	for (unsigned i = 0; i < members.count; i++)
		w_buf_printf(&names, "%s\"%s\"", i > 0 ? ", " : "", members.names[i]);
	w_buf_text(&names, ")");
	return w_view_dup(w_buf_get(&names));
}

/* clang-format off */
/* The cluster file's settings may say otherwise. */
static const char *const defaults[][2] = {
	{ "max_connections", "300" },
	{ "superuser_reserved_connections", "5" },
	{ "ssl_min_protocol_version", "TLSv1.2" },
	{ "max_wal_senders", "16" },
	{ "wal_buffers", "4MB" }, /* by itself it is at most a WAL segment, and those are small: agent_make.c */
	{ "wal_keep_size", "256MB" },
	{ "hot_standby_feedback", "on" },
	{ "tcp_keepalives_idle", "2" },
	{ "tcp_keepalives_interval", "1" },
	{ "tcp_keepalives_count", "3" },
	{ "tcp_user_timeout", "5s" },
	{ "log_line_prefix", "%m [%p] %q%a " },
	{ "log_timezone", "UTC" },
	{ "timezone", "UTC" },
};

/*
 * What the promises rest on, so it comes after the cluster file's. An idle upstream speaks only
 * when it is asked, which a walreceiver does after half its timeout: the silence that counts against
 * a leader is 700 ms. A backend that crashes ends PostgreSQL, which would otherwise recover and
 * take writes again by itself.
 */
static const char *const needed[][2] = {
	{ "unix_socket_directories", "" },
	{ "password_encryption", "scram-sha-256" },
	{ "wal_level", "replica" },
	{ "wal_log_hints", "on" },
	{ "hot_standby", "on" },
	{ "fsync", "on" },
	{ "full_page_writes", "on" },
	{ "synchronous_commit", "on" },
	{ "restart_after_crash", "off" },
	{ "recovery_target_timeline", "latest" },
	{ "restore_command", "" },
	{ "recovery_min_apply_delay", "0" },
	{ "wal_retrieve_retry_interval", "100ms" },
	{ "wal_receiver_status_interval", "1s" },
	{ "wal_receiver_timeout", "1s" },
	{ "wal_sender_timeout", "2s" },
};
/* clang-format on */

/*
 * Segments that a standby has in store are of the timeline that ends with a promotion: each of them is made
 * one of the new timeline before the first write, with four times fsync().
 */
static const char no_spare[] = "wal_recycle = off\n";

static int
add_addresses(const struct dbt_agent *agent, struct w_buf *out, struct w_fault *fault)
{
	char host[256];
	unsigned port;
	int rc = w_addr_split(agent->opt->address, host, sizeof(host), &port);

	if (rc < 0)
		return w_fail(fault, rc, "%s: address '%s' is not HOST:PORT", agent->name,
		    agent->opt->address);
	add_setting(out, "listen_addresses", host);
	w_buf_printf(out, "port = %u\n", port);
	return W_OK;
}

/* Whom it follows, and what it does for an election. */
static int
add_role_settings(const struct dbt_agent *agent, struct w_buf *out, const char *upstream, bool read_only,
    struct w_fault *fault)
{
	W_AUTO(w_free) char *conninfo = upstream[0] == '\0' ? w_xstrdup("") :
	    dbt__agent_upstream(agent, upstream, agent->name, fault);

	if (conninfo == NULL)
		return -W_EINVAL;
	add_setting(out, "primary_conninfo", conninfo);
	/* Fenced, it has to come to its end: no read may hold that up. */
	if (upstream[0] == '\0')
		w_buf_text(out, "max_standby_archive_delay = 0\nmax_standby_streaming_delay = 0\n");
	if (read_only)
		w_buf_text(out, "default_transaction_read_only = on\n");
	return W_OK;
}

/* The head of weir.conf: for whom, and in which term, its upstream is the right one. */
static char *
turned_text(const struct dbt_agent *agent, const char *upstream)
{
	return upstream[0] == '\0' ? w_xstrdup("# Follows nobody.\n") :
	    w_xasprintf("# Follows %s in term %u.\n", upstream, agent->promise.term);
}

bool
dbt__agent_has_turned(const struct dbt_agent *agent)
{
	W_AUTO(w_free) char *path = w_xasprintf("%s/weir.conf", agent->opt->data);
	W_AUTO(w_free) char *wanted = turned_text(agent, agent->promise.upstream);
	W_AUTO(w_buf_fini) struct w_buf text = { 0 };

	return agent->promise.upstream[0] != '\0' && get_file(agent, path, &text, NULL) == W_OK &&
	    w_view_starts(w_buf_get(&text), w_view_of(wanted));
}

int
dbt__agent_settings(const struct dbt_agent *agent, const char *dir, const struct agent_conf *conf,
    struct w_fault *fault)
{
	W_AUTO(w_buf_fini) struct w_buf out = { 0 };
	W_AUTO(w_free) char *path = w_xasprintf("%s/weir.conf", dir);
	W_AUTO(w_free) char *hba = w_xasprintf("%s/weir_hba.conf", agent->opt->data);
	W_AUTO(w_free) char *quorum = dbt__agent_quorum(conf->cohort);
	W_AUTO(w_free) char *turned = turned_text(agent, conf->upstream);
	int rc;

	w_buf_text(&out, turned);
	w_buf_text(&out, "# Written by weir-dbnode again and again; put changes into the cluster file.\n");
	for (size_t i = 0; i < W_NELEM(defaults); i++)
		add_setting(&out, defaults[i][0], defaults[i][1]);
	if (conf->upstream[0] != '\0')
		w_buf_text(&out, no_spare);
	for (size_t i = 0; i < agent->opt->settings.count; i++)
		w_buf_printf(&out, "%s\n", agent->opt->settings.items[i]);
	w_buf_text(&out, "# What the promises rest on.\n");
	rc = add_addresses(agent, &out, fault);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < W_NELEM(needed); i++)
		add_setting(&out, needed[i][0], needed[i][1]);
	add_setting(&out, "hba_file", hba);
	add_setting(&out, "cluster_name", agent->name);
	add_setting(&out, "synchronous_standby_names", quorum);
	if (agent->opt->certificate[0] != '\0')
		w_buf_text(&out, "ssl = on\nssl_cert_file = 'weir.crt'\nssl_key_file = 'weir.key'\n");
	rc = add_role_settings(agent, &out, conf->upstream, conf->read_only, fault);
	return rc < 0 ? rc : replace_file(agent, path, w_buf_get(&out), false, fault);
}

/* One line of access rules per database, user and peer. */
static void
add_rules(struct w_buf *out, const struct dbt_agent *agent, const char *host)
{
	const struct w_cluster_options *opt = &agent->cluster->opt;
	const char *type = agent->opt->certificate[0] != '\0' ? "hostssl" : "host";
	const char *bits = strchr(host, ':') != NULL ? "/128" : "/32";
	bool numeric = strspn(host, "0123456789.") == strlen(host) || strchr(host, ':') != NULL;

	if (!numeric)
		bits = "";
	w_buf_printf(out, "%s \"%s\" \"%s\",\"%s\",\"%s\",postgres %s%s scram-sha-256\n", type,
	    opt->database, opt->rw_user, opt->ro_user, opt->agent_user, host, bits);
	w_buf_printf(out, "%s postgres \"%s\",postgres %s%s scram-sha-256\n", type, opt->agent_user,
	    host, bits);
	w_buf_printf(out, "%s replication \"%s\" %s%s scram-sha-256\n", type, opt->agent_user, host,
	    bits);
}

/* Hosts of the nodes that speak to PostgreSQL: servers, databases, monitors. Each once. */
static int
write_hba(const struct dbt_agent *agent, const char *dir, struct w_fault *fault)
{
	const struct w_cluster *cluster = agent->cluster;
	W_AUTO(w_buf_fini) struct w_buf out = { 0 }, seen = { 0 };
	W_AUTO(w_free) char *path = w_xasprintf("%s/weir_hba.conf", dir);
	char host[256];
	unsigned port;

	w_buf_text(&out, "# Written by weir-dbnode at every start and reload from the cluster file's nodes.\n");
	w_buf_text(&seen, " ");
	for (size_t i = 0; i < cluster->member_count; i++) {
		const struct w_member *member = &cluster->members[i];
		const char *addr = member->role == W_SERVER ? member->opt.server.http :
		    member->role == W_DATABASE              ? member->opt.database.address :
		    member->role == W_MONITOR               ? member->opt.monitor.http :
								"";
		W_AUTO(w_free) char *word = NULL;

		if (addr[0] == '\0' || w_addr_split(addr, host, sizeof(host), &port) < 0)
			continue;
		word = w_xasprintf(" %s ", host);
		w_buf_char(&seen, '\0');
		seen.len--;
		if (strstr(seen.ptr, word) != NULL)
			continue;
		w_buf_printf(&seen, "%s ", host);
		add_rules(&out, agent, host);
	}
	return put_file(agent, path, w_buf_get(&out), fault);
}

int
dbt__agent_standby(const struct dbt_agent *agent, const char *dir, bool standby, struct w_fault *fault)
{
	W_AUTO(w_free) char *path = w_xasprintf("%s/standby.signal", dir);

	if (standby)
		return put_file(agent, path, W_VIEW(""), fault);
	if (unlink(path) < 0 && errno != ENOENT)
		return w_fail(fault, -W_EIO, "%s: cannot remove %s: %s", agent->name, path, strerror(errno));
	return W_OK;
}

int
dbt__agent_access(const struct dbt_agent *agent, const char *dir, struct w_fault *fault)
{
	W_AUTO(w_free) char *crt = w_xasprintf("%s/weir.crt", dir);
	W_AUTO(w_free) char *key = w_xasprintf("%s/weir.key", dir);
	int rc = write_hba(agent, dir, fault);

	if (rc == W_OK && agent->opt->certificate[0] != '\0')
		rc = copy_file(agent, agent->opt->certificate, crt, fault);
	if (rc == W_OK && agent->opt->certificate[0] != '\0')
		rc = copy_file(agent, agent->opt->certificate_key, key, fault);
	return rc;
}

int
dbt__agent_write(const struct dbt_agent *agent, const char *dir, const char *upstream, struct w_fault *fault)
{
	const struct agent_conf conf = { .upstream = upstream, .cohort = dbt__agent_cohort(agent) };
	int rc = dbt__agent_settings(agent, dir, &conf, fault);

	return rc < 0 ? rc : dbt__agent_access(agent, dir, fault);
}

bool
dbt__agent_knows(const struct dbt_agent *agent, const char *upstream)
{
	const struct w_member *member = w_cluster_find(agent->cluster, w_view_of(upstream));

	return member != NULL && member->role == W_DATABASE;
}

int
dbt__agent_secrets(const struct dbt_agent *agent, struct w_fault *fault)
{
	const struct w_cluster_options *opt = &agent->cluster->opt;
	W_AUTO(w_free) char *pw = w_xasprintf("%s.pw", agent->opt->data);
	W_AUTO(w_free) char *pgpass = w_xasprintf("%s.pgpass", agent->opt->data);
	W_AUTO(w_free) char *ca = w_xasprintf("%s.ca.pem", agent->opt->data);
	W_AUTO(w_buf_fini) struct w_buf admin = { 0 }, password = { 0 }, line = { 0 };
	int rc = get_password(agent, agent->opt->admin_password, &admin, fault);

	if (rc == W_OK)
		rc = put_file(agent, pw, w_buf_get(&admin), fault);
	if (rc == W_OK)
		rc = get_password(agent, opt->agent_password, &password, fault);
	if (rc < 0)
		return rc;
	w_buf_printf(&line, "*:*:*:%s:", opt->agent_user);
	for (size_t i = 0; i < password.len; i++) {
		if (password.ptr[i] == ':' || password.ptr[i] == '\\')
			w_buf_char(&line, '\\');
		w_buf_char(&line, password.ptr[i]);
	}
	w_buf_char(&line, '\n');
	rc = put_file(agent, pgpass, w_buf_get(&line), fault);
	if (rc == W_OK && opt->database_ca[0] != '\0')
		rc = copy_file(agent, opt->database_ca, ca, fault);
	return rc;
}

static int
make_verifier(const struct dbt_agent *agent, const char *file, struct w_view password, struct w_buf *out,
    struct w_fault *fault)
{
	unsigned char salt[DBT__SCRAM_SALT];
	struct w_fault why = { 0 };
	int rc;

	w_random_bytes(salt, sizeof(salt));
	rc = dbt__scram_verifier(password, agent->cluster->opt.scram_iterations, salt, out, &why);
	if (rc < 0)
		return w_fail(fault, rc, "%s: %s: %s", agent->name, file, why.text);
	w_buf_char(out, '\0');
	return W_OK;
}

static int
add_role(const struct dbt_agent *agent, struct w_buf *out, const char *role, const char *file,
    struct w_fault *fault)
{
	W_AUTO(w_buf_fini) struct w_buf password = { 0 }, verifier = { 0 };
	unsigned rounds = agent->cluster->opt.scram_iterations;
	int rc = get_password(agent, file, &password, fault);

	if (rc == W_OK && rounds != DBT__SCRAM_ROUNDS)
		rc = make_verifier(agent, file, w_buf_get(&password), &verifier, fault);
	if (rc < 0)
		return rc;
	w_buf_printf(out, "create role \"%s\" login password ", role);
	add_quoted(out, verifier.ptr != NULL ? verifier.ptr : password.ptr);
	w_buf_text(out, ";\n\n");
	return W_OK;
}

char *
dbt__agent_bootstrap(const struct dbt_agent *agent, struct w_fault *fault)
{
	const struct w_cluster_options *opt = &agent->cluster->opt;
	struct w_buf out = { 0 };
	int rc = add_role(agent, &out, opt->rw_user, opt->rw_password, fault);

	if (rc == W_OK)
		rc = add_role(agent, &out, opt->ro_user, opt->ro_password, fault);
	if (rc == W_OK)
		rc = add_role(agent, &out, opt->agent_user, opt->agent_password, fault);
	if (rc < 0) {
		w_buf_fini(&out);
		return NULL;
	}
	w_buf_printf(&out, "alter role \"%s\" replication;\n\n", opt->agent_user);
	w_buf_printf(&out, "grant pg_monitor to \"%s\";\n\n", opt->agent_user);
	w_buf_printf(&out, "create database \"%s\";\n\n", opt->database);
	w_buf_char(&out, '\0');
	return out.ptr;
}

/* As sql/006-failover.sql says for clusters that are there already: what pg_rewind needs, and the promotion. */
char *
dbt__agent_grants(const struct dbt_agent *agent)
{
	static const char *const functions[] = { "pg_promote(boolean, integer)",
		"pg_ls_dir(text, boolean, boolean)", "pg_stat_file(text, boolean)",
		"pg_read_binary_file(text)", "pg_read_binary_file(text, bigint, bigint, boolean)" };
	const char *user = agent->cluster->opt.agent_user;
	struct w_buf out = { 0 };

	for (size_t i = 0; i < W_NELEM(functions); i++)
		w_buf_printf(&out, "grant execute on function pg_catalog.%s to \"%s\";\n\n", functions[i], user);
	w_buf_printf(&out, "grant pg_checkpoint to \"%s\";\n\n", user);
	w_buf_char(&out, '\0');
	return out.ptr;
}

/* A value of a connection string: quoted, backslash and quote escaped. */
static void
add_word(struct w_buf *out, const char *key, const char *value)
{
	w_buf_printf(out, "%s='", key);
	for (; *value != '\0'; value++) {
		if (*value == '\'' || *value == '\\')
			w_buf_char(out, '\\');
		w_buf_char(out, *value);
	}
	w_buf_text(out, "' ");
}

char *
dbt__agent_upstream(const struct dbt_agent *agent, const char *upstream, const char *application,
    struct w_fault *fault)
{
	const struct w_cluster *cluster = agent->cluster;
	const struct w_member *member = w_cluster_find(cluster, w_view_of(upstream));
	W_AUTO(w_free) char *pgpass = w_xasprintf("%s.pgpass", agent->opt->data);
	W_AUTO(w_free) char *ca = w_xasprintf("%s.ca.pem", agent->opt->data);
	W_AUTO(w_free) char *number = NULL;
	struct w_buf out = { 0 };
	char host[256];
	unsigned port;

	if (member == NULL || member->role != W_DATABASE ||
	    w_addr_split(member->opt.database.address, host, sizeof(host), &port) < 0) {
		w_fail(fault, -W_EINVAL, "%s: no database node '%s' with an address to follow", agent->name,
		    upstream);
		return NULL;
	}
	number = w_xasprintf("%u", port);
	add_word(&out, "host", host);
	add_word(&out, "port", number);
	add_word(&out, "user", cluster->opt.agent_user);
	add_word(&out, "dbname", cluster->opt.database);
	add_word(&out, "passfile", pgpass);
	add_word(&out, "application_name", application);
	w_buf_text(&out, "connect_timeout=2 keepalives_idle=2 keepalives_interval=1 keepalives_count=3 tcp_user_timeout=4000 "
			 "tcp_user_timeout=2000 gssencmode=disable ");
	if (cluster->opt.database_ca[0] != '\0') {
		add_word(&out, "sslmode", "verify-full");
		add_word(&out, "sslrootcert", ca);
	}
	w_buf_char(&out, '\0');
	return out.ptr;
}

/* ---- the control file: the head of its layout, the same from 13 on. Source: PostgreSQL, pg_control.h ---- */

struct control_file {
	uint64_t system;
	uint32_t version, catalog;
	uint32_t state;
	int64_t time;
	uint64_t checkpoint;
	struct {
		uint64_t redo;
		uint32_t timeline, previous;
		bool full_page_writes;
		uint64_t next_xid;
		uint32_t next[3], oldest[4];
		int64_t time;
		uint32_t xids[3];
	} copy; /* of that checkpoint */
	uint64_t unlogged;
	uint64_t least;         /* recovery must come so far */
	uint32_t least_timeline; /* written at the end of a promotion, when its checkpoint is still to come */
};

#define CONTROL_VERSION 1300

int
dbt__agent_control_file(const struct dbt_agent *agent, uint32_t *ret_timeline, char ret_system[32],
    struct w_fault *fault)
{
	W_AUTO(w_free) char *path = w_xasprintf("%s/global/pg_control", agent->opt->data);
	W_AUTO(w_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct control_file control;

	if (fd < 0 || read(fd, &control, sizeof(control)) != sizeof(control))
		return w_fail(fault, -W_EIO, "%s: cannot read %s: %s", agent->name, path, strerror(errno));
	if (control.version != CONTROL_VERSION)
		return w_fail(fault, -W_EINVAL, "%s: %s is of the version %u, and only %u is known", agent->name,
		    path, control.version, CONTROL_VERSION);
	*ret_timeline = W_MAX(control.copy.timeline, control.least_timeline);
	snprintf(ret_system, 32, "%llu", (unsigned long long)control.system);
	return W_OK;
}

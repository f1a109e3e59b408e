/*
 * Connection parameters: from the cluster file to what libpq wants, and to text.
 * Source: libpq, "Database Connection Control Functions"
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>

#include "common/buf.h"
#include "dbtier/dbtier.h"
#include "dbtier/dial.h"

#define HOST_MAX 256
#define PASSWORD_MAX 1024

static void
wipe(char *text)
{
	if (text != NULL)
		explicit_bzero(text, strlen(text));
	free(text);
}

void
dbt__login_fini(struct dbt__login *login)
{
	free(login->host);
	free(login->port);
	free(login->dbname);
	free(login->user);
	wipe(login->password);
	free(login->ca);
	*login = (struct dbt__login){ 0 };
}

static void
close_file(FILE **file)
{
	if (*file != NULL)
		fclose(*file);
}

/* The first line of a password file. */
static int
read_password(const char *path, char **ret, struct w_fault *fault)
{
	W_AUTO(close_file) FILE *file = NULL;
	char line[PASSWORD_MAX];

	file = fopen(path, "re");
	if (file == NULL)
		return w_fail(fault, -W_EIO, "%s: cannot read the password file: %s",
		    path, strerror(errno));
	setvbuf(file, NULL, _IONBF, 0);
	if (fgets(line, sizeof(line), file) == NULL)
		line[0] = '\0';
	line[strcspn(line, "\r\n")] = '\0';
	if (line[0] == '\0')
		return w_fail(fault, -W_EIO, "%s: no password on the first line of the file", path);
	*ret = w_xstrdup(line);
	explicit_bzero(line, sizeof(line));
	return W_OK;
}

static bool
is_numeric(const char *host)
{
	unsigned char addr[sizeof(struct in6_addr)];

	return inet_pton(AF_INET, host, addr) == 1 || inet_pton(AF_INET6, host, addr) == 1;
}

struct who {
	const char *role, *user, *password;
};

static int
find_who(const struct w_cluster_options *opt, const char *role, struct who *ret,
    struct w_fault *fault)
{
	const struct who all[] = {
		{ "rw", opt->rw_user, opt->rw_password },
		{ "ro", opt->ro_user, opt->ro_password },
		{ "agent", opt->agent_user, opt->agent_password },
	};

	for (unsigned i = 0; i < W_NELEM(all); i++) {
		if (strcmp(all[i].role, role) == 0) {
			*ret = all[i];
			return W_OK;
		}
	}
	return w_fail(fault, -W_EINVAL, "database role '%s': rw, ro or agent is wanted", role);
}

int
dbt__login_make(const struct w_cluster *cluster, const struct w_member *node, const char *role,
    struct dbt__login *ret, struct w_fault *fault)
{
	W_AUTO(dbt__login_fini) struct dbt__login login = { 0 };
	char host[HOST_MAX];
	unsigned port;
	struct who who = { 0 };
	int rc;

	rc = find_who(&cluster->opt, role, &who, fault);
	if (rc < 0)
		return rc;
	rc = w_addr_split(node->opt.database.address, host, sizeof(host), &port);
	if (rc < 0)
		return w_fail(fault, rc, "%s: address '%s' of database %s: HOST:PORT is wanted",
		    cluster->path, node->opt.database.address, node->name);
	if (who.password != NULL && who.password[0] != '\0') {
		rc = read_password(who.password, &login.password, fault);
		if (rc < 0)
			return rc;
	}
	login.host = w_xstrdup(host);
	login.port = w_xasprintf("%u", port);
	login.dbname = w_xstrdup(cluster->opt.database);
	login.user = w_xstrdup(who.user);
	if (cluster->opt.database_ca != NULL && cluster->opt.database_ca[0] != '\0')
		login.ca = w_xstrdup(cluster->opt.database_ca);
	login.numeric = is_numeric(host);
	*ret = login;
	login = (struct dbt__login){ 0 };
	return W_OK;
}

static void
param(struct dbt__params *params, const char *key, const char *value)
{
	if (value == NULL)
		return;
	W_ASSERT(params->count + 1 < DBT__PARAMS_MAX);
	params->keys[params->count] = key;
	params->values[params->count++] = value;
}

void
dbt__params_of(struct dbt__params *params, const struct dbt__login *login, const char *hostaddr,
    const char *application, const char *options)
{
	*params = (struct dbt__params){ 0 };
	param(params, "host", login->host);
	param(params, "hostaddr", hostaddr);
	param(params, "port", login->port);
	param(params, "dbname", login->dbname);
	param(params, "user", login->user);
	param(params, "password", login->password);
	param(params, "sslmode", login->ca != NULL ? "verify-full" : "prefer");
	param(params, "sslrootcert", login->ca);
	/* Looking for Kerberos tickets reads files and may ask the network. */
	param(params, "gssencmode", "disable");
	param(params, "connect_timeout", "2");
	/* A peer that is cut off is noticed in seconds, whoever waits for whom. */
	param(params, "tcp_user_timeout", "1000");
	param(params, "keepalives_idle", "1");
	param(params, "keepalives_interval", "1");
	param(params, "keepalives_count", "2");
	param(params, "client_encoding", "UTF8");
	param(params, "application_name", application);
	param(params, "options", options);
}

char *
dbt__params_text(const struct dbt__params *params)
{
	struct w_buf out = { 0 };
	char *text;

	for (unsigned i = 0; i < params->count; i++) {
		w_buf_printf(&out, "%s%s='", i > 0 ? " " : "", params->keys[i]);
		for (const char *at = params->values[i]; *at != '\0'; at++) {
			if (*at == '\'' || *at == '\\')
				w_buf_char(&out, '\\');
			w_buf_char(&out, *at);
		}
		w_buf_char(&out, '\'');
	}
	text = w_view_dup(w_buf_get(&out));
	if (out.ptr != NULL)
		explicit_bzero(out.ptr, out.len);
	w_buf_fini(&out);
	return text;
}

char *
dbt_conninfo(const struct w_cluster *cluster, const struct w_member *node, const char *role,
    struct w_fault *fault)
{
	W_AUTO(dbt__login_fini) struct dbt__login login = { 0 };
	struct dbt__params params;

	if (dbt__login_make(cluster, node, role, &login, fault) < 0)
		return NULL;
	dbt__params_of(&params, &login, login.numeric ? login.host : NULL, "weir", NULL);
	return dbt__params_text(&params);
}

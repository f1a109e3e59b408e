/* The administrator's way to PostgreSQL: connection strings, and weir schema. */
#include <stdio.h>

#include "cli/cli.h"
#include "dbtier/dbtier.h"

/* A value of a connection string: quoted, with backslash and quote escaped. */
static void
add_word(struct w_buf *out, const char *key, const char *value)
{
	w_buf_printf(out, "%s%s='", out->len > 0 ? " " : "", key);
	for (; *value != '\0'; value++) {
		if (*value == '\'' || *value == '\\')
			w_buf_char(out, '\\');
		w_buf_char(out, *value);
	}
	w_buf_char(out, '\'');
}

/* Who, to which database, with which password file; the host comes from the caller. */
static char *
admin_words(const struct w_cluster *cluster, const char *hosts, const char *ports)
{
	W_AUTO(w_free) char *pgpass = w_xasprintf("%s/secrets/pgpass", cluster->dir);
	struct w_buf out = { 0 };

	add_word(&out, "host", hosts);
	add_word(&out, "port", ports);
	add_word(&out, "dbname", cluster->opt.database);
	add_word(&out, "user", "postgres");
	add_word(&out, "passfile", pgpass);
	add_word(&out, "connect_timeout", "3");
	if (cluster->opt.database_ca[0] != '\0') {
		add_word(&out, "sslmode", "verify-full");
		add_word(&out, "sslrootcert", cluster->opt.database_ca);
	}
	w_buf_char(&out, '\0');
	return out.ptr;
}

char *
cli_admin_dsn(const struct w_cluster *cluster, const struct w_member *node)
{
	char host[256], number[16];
	unsigned port;

	if (w_addr_split(node->opt.database.address, host, sizeof(host), &port) < 0)
		return w_xstrdup("");
	snprintf(number, sizeof(number), "%u", port);
	return admin_words(cluster, host, number);
}

char *
cli_admin_primary(const struct w_cluster *cluster)
{
	W_AUTO(w_buf_fini) struct w_buf hosts = { 0 }, ports = { 0 };
	W_AUTO(w_free) char *words = NULL;
	const struct w_member *member;
	char host[256];
	unsigned port;

	for (unsigned i = 0; (member = w_cluster_nth(cluster, W_DATABASE, i)) != NULL; i++) {
		if (w_addr_split(member->opt.database.address, host, sizeof(host), &port) < 0)
			continue;
		w_buf_printf(&hosts, "%s%s", hosts.len > 0 ? "," : "", host);
		w_buf_printf(&ports, "%s%u", ports.len > 0 ? "," : "", port);
	}
	w_buf_char(&hosts, '\0');
	w_buf_char(&ports, '\0');
	words = admin_words(cluster, hosts.ptr, ports.ptr);
	return w_xasprintf("%s target_session_attrs='primary'", words);
}

static int
schema_status(const char *dsn, const char *sql, struct w_fault *fault)
{
	W_AUTO(w_free) struct dbt_schema_file *files = NULL;
	size_t count = 0;

	if (dbt_schema_status(dsn, sql, &files, &count, fault) < 0)
		return cli_fail("schema", "%s", fault->text);
	for (size_t i = 0; i < count; i++)
		printf("%-10s %s\n",
		    files[i].changed ? "changed" : files[i].applied ? "applied" : "missing",
		    files[i].name);
	return CLI_DONE;
}

int
cli_schema(int argc, char **argv)
{
	const char *dir = NULL, *config = NULL, *sql_given = NULL, *dsn_given = NULL;
	const struct cli_arg table[] = {
		{ "dir", CLI_TEXT, &dir, 0, 0, "DIR", "Folder of weir up (default ./weir-data).", NULL },
		{ "config", CLI_TEXT, &config, 0, 0, "FILE", "Cluster file.", NULL },
		{ "sql", CLI_TEXT, &sql_given, 0, 0, "DIR", "Folder of the SQL files (default: Weir's own).", NULL },
		{ "dsn", CLI_TEXT, &dsn_given, 0, 0, "DSN", "Connection string of an owner, instead of the cluster's administrator.", NULL },
	};
	W_AUTO(w_cluster_free) struct w_cluster *cluster = NULL;
	W_AUTO(w_free) char *dsn = NULL;
	W_AUTO(w_free) char *sql = NULL;
	struct w_fault fault = { 0 };
	unsigned applied = 0;
	int rc = cli_args(cli_command_find("schema"), table, W_NELEM(table), &argc, argv);

	if (rc != CLI_DONE)
		return rc;
	if (argc != 2 || (strcmp(argv[1], "apply") != 0 && strcmp(argv[1], "status") != 0))
		return cli_usage("schema", "say apply or status");
	if (dsn_given == NULL && (rc = cli_cluster_load("schema", dir, config, &cluster)) != CLI_DONE)
		return rc;
	dsn = dsn_given != NULL ? w_xstrdup(dsn_given) : cli_admin_primary(cluster);
	sql = sql_given != NULL ? w_xstrdup(sql_given) : cli_find_sql();
	if (sql == NULL)
		return cli_fail("schema", "the SQL files are not found; name their folder with --sql");
	if (strcmp(argv[1], "status") == 0)
		return schema_status(dsn, sql, &fault);
	if (dbt_schema_apply(dsn, sql, &applied, &fault) < 0)
		return cli_fail("schema", "%s", fault.text);
	printf("%u file%s applied\n", applied, applied == 1 ? "" : "s");
	return CLI_DONE;
}

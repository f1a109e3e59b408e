/*
 * The schema: SQL files of a folder, applied in the order of their names, each in one
 * transaction together with the row of weir.schema_version that remembers it.
 *
 * Two appliers at once are serialised by an advisory lock held for the transaction.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libpq-fe.h>
#include <sodium.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/buf.h"
#include "dbtier/dbtier.h"

#define SCHEMA_FILE_MAX (16 * 1024 * 1024)
#define SCHEMA_LOCK "select pg_advisory_xact_lock(hashtext('weir.schema'))"
#define SHA_HEX (crypto_hash_sha256_BYTES * 2 + 1)

static void
conn_close(PGconn **conn)
{
	if (*conn != NULL)
		PQfinish(*conn);
	*conn = NULL;
}

static void
result_clear(PGresult **result)
{
	if (*result != NULL)
		PQclear(*result);
	*result = NULL;
}

static void
quiet(void *arg, const char *message)
{
	(void)arg;
	(void)message;
}

static int
schema_connect(const char *conninfo, PGconn **ret, struct w_fault *fault)
{
	W_AUTO(conn_close) PGconn *conn = PQconnectdb(conninfo);

	if (PQstatus(conn) != CONNECTION_OK)
		return w_fail(fault, -W_EDOWN, "schema: no connection to the primary: %s",
		    PQerrorMessage(conn));
	PQsetNoticeProcessor(conn, quiet, NULL);
	*ret = w_steal(&conn);
	return W_OK;
}

static int
by_name(const void *a, const void *b)
{
	const struct dbt_schema_file *left = a, *right = b;

	return strcmp(left->name, right->name);
}

/* The *.sql files of a folder, sorted. */
static int
schema_list(const char *dir, struct dbt_schema_file **ret, size_t *ret_count, struct w_fault *fault)
{
	struct dbt_schema_file *files = NULL;
	size_t count = 0;
	struct dirent *entry;
	DIR *handle = opendir(dir);

	if (handle == NULL)
		return w_fail(fault, -W_EIO, "schema: %s: %s; name the folder of the SQL files",
		    dir, strerror(errno));
	while ((entry = readdir(handle)) != NULL) {
		size_t len = strlen(entry->d_name);

		if (entry->d_name[0] == '.' || len < 5 || len >= sizeof(files->name) ||
		    strcmp(entry->d_name + len - 4, ".sql") != 0)
			continue;
		files = w_xrealloc(files, (count + 1) * sizeof(*files));
		files[count] = (struct dbt_schema_file){ 0 };
		memcpy(files[count++].name, entry->d_name, len + 1);
	}
	closedir(handle);
	if (count > 0)
		qsort(files, count, sizeof(*files), by_name);
	*ret = files;
	*ret_count = count;
	return W_OK;
}

static int
schema_read(const char *dir, const char *name, struct w_buf *text, struct w_fault *fault)
{
	W_AUTO(w_free) char *path = w_xasprintf("%s/%s", dir, name);
	W_AUTO(w_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return w_fail(fault, -W_EIO, "schema: %s: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode) || st.st_size > SCHEMA_FILE_MAX)
		return w_fail(fault, -W_EIO, "schema: %s: not a file of at most 16 MiB", path);
	while (text->len < (size_t)st.st_size) {
		ssize_t got = read(fd, w_buf_room(text, 65536), 65536);

		if (got < 0)
			return w_fail(fault, -W_EIO, "schema: %s: %s", path, strerror(errno));
		if (got == 0)
			break;
		w_buf_added(text, (size_t)got);
	}
	w_buf_char(text, '\0');
	text->len--;
	return W_OK;
}

static void
schema_sha(const struct w_buf *text, char hex[SHA_HEX])
{
	unsigned char sum[crypto_hash_sha256_BYTES];

	crypto_hash_sha256(sum, (const unsigned char *)text->ptr, text->len);
	sodium_bin2hex(hex, SHA_HEX, sum, sizeof(sum));
}

/* What the database remembers of a file: sha256 in hex, or "" when nothing. */
static int
schema_known(PGconn *conn, const char *name, char hex[SHA_HEX], struct w_fault *fault)
{
	W_AUTO(result_clear) PGresult *result = NULL;

	hex[0] = '\0';
	result = PQexec(conn, "select to_regclass('weir.schema_version') is not null");
	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		return w_fail(fault, -W_ESQL, "schema: %s", PQerrorMessage(conn));
	if (strcmp(PQgetvalue(result, 0, 0), "t") != 0)
		return W_OK;
	result_clear(&result);
	result = PQexecParams(conn, "select sha256 from weir.schema_version where name = $1", 1,
	    NULL, &name, NULL, NULL, 0);
	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		return w_fail(fault, -W_ESQL, "schema: %s", PQerrorMessage(conn));
	if (PQntuples(result) > 0)
		snprintf(hex, SHA_HEX, "%s", PQgetvalue(result, 0, 0));
	return W_OK;
}

static int
schema_compare(PGconn *conn, const char *dir, struct dbt_schema_file *file, struct w_fault *fault)
{
	W_AUTO(w_buf_fini) struct w_buf text = { 0 };
	char known[SHA_HEX], sum[SHA_HEX];
	int rc;

	rc = schema_read(dir, file->name, &text, fault);
	if (rc < 0)
		return rc;
	rc = schema_known(conn, file->name, known, fault);
	if (rc < 0)
		return rc;
	schema_sha(&text, sum);
	file->applied = known[0] != '\0';
	file->changed = file->applied && strcmp(known, sum) != 0;
	return W_OK;
}

int
dbt_schema_status(const char *conninfo, const char *dir, struct dbt_schema_file **ret,
    size_t *ret_count, struct w_fault *fault)
{
	W_AUTO(conn_close) PGconn *conn = NULL;
	W_AUTO(w_free) struct dbt_schema_file *files = NULL;
	size_t count = 0;
	int rc;

	rc = schema_list(dir, &files, &count, fault);
	if (rc < 0)
		return rc;
	rc = schema_connect(conninfo, &conn, fault);
	for (size_t i = 0; rc == W_OK && i < count; i++)
		rc = schema_compare(conn, dir, &files[i], fault);
	if (rc < 0)
		return rc;
	*ret = w_steal(&files);
	*ret_count = count;
	return W_OK;
}

static int
schema_exec(PGconn *conn, const char *name, const char *sql, struct w_fault *fault)
{
	W_AUTO(result_clear) PGresult *result = PQexec(conn, sql);
	ExecStatusType status = PQresultStatus(result);

	if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK || status == PGRES_EMPTY_QUERY)
		return W_OK;
	return w_fail(fault, -W_ESQL, "schema: %s: %s", name, PQerrorMessage(conn));
}

static int
schema_remember(PGconn *conn, const char *name, const char *sum, struct w_fault *fault)
{
	const char *values[] = { name, sum };
	W_AUTO(result_clear) PGresult *result = PQexecParams(conn,
	    "insert into weir.schema_version (name, sha256) values ($1, $2)", 2, NULL, values, NULL,
	    NULL, 0);

	if (PQresultStatus(result) != PGRES_COMMAND_OK)
		return w_fail(fault, -W_ESQL, "schema: %s: %s", name, PQerrorMessage(conn));
	return W_OK;
}

/* One file in one transaction; *ret_applied grows when it was not there before. */
static int
schema_apply_one(PGconn *conn, const char *dir, const char *name, unsigned *ret_applied,
    struct w_fault *fault)
{
	W_AUTO(w_buf_fini) struct w_buf text = { 0 };
	char known[SHA_HEX], sum[SHA_HEX];
	int rc;

	rc = schema_read(dir, name, &text, fault);
	if (rc < 0)
		return rc;
	schema_sha(&text, sum);
	rc = schema_exec(conn, name, "begin", fault);
	if (rc == W_OK)
		rc = schema_exec(conn, name, SCHEMA_LOCK, fault);
	if (rc == W_OK)
		rc = schema_known(conn, name, known, fault);
	if (rc == W_OK && known[0] != '\0')
		return schema_exec(conn, name, "rollback", fault);
	if (rc == W_OK)
		rc = schema_exec(conn, name, text.ptr, fault);
	if (rc == W_OK)
		rc = schema_remember(conn, name, sum, fault);
	if (rc == W_OK)
		rc = schema_exec(conn, name, "commit", fault);
	if (rc == W_OK)
		++*ret_applied;
	else
		schema_exec(conn, name, "rollback", NULL);
	return rc;
}

int
dbt_schema_apply(const char *conninfo, const char *dir, unsigned *ret_applied, struct w_fault *fault)
{
	W_AUTO(conn_close) PGconn *conn = NULL;
	W_AUTO(w_free) struct dbt_schema_file *files = NULL;
	unsigned applied = 0;
	size_t count = 0;
	int rc;

	rc = dbt_schema_status(conninfo, dir, &files, &count, fault);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < count; i++)
		if (files[i].changed)
			return w_fail(fault, -W_ECONFLICT,
			    "schema: %s/%s has changed since it was applied; restore it and put the "
			    "change into a new file",
			    dir, files[i].name);
	rc = schema_connect(conninfo, &conn, fault);
	for (size_t i = 0; rc == W_OK && i < count; i++)
		if (!files[i].applied)
			rc = schema_apply_one(conn, dir, files[i].name, &applied, fault);
	*ret_applied = applied;
	return rc;
}

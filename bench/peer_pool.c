/*
 * The peer of Weir's read endpoint in bench/db: what most people would write. A pool of threads,
 * each with its own epoll and its own PostgreSQL connection; a request is one prepared one-row
 * SELECT, and the thread blocks until the answer is there.
 *
 *     GET /messages/{id}   ->   {"id":..,"author":..,"body":..,"created":..}
 */
#include "bench/peer.h"

#include <getopt.h>
#include <libpq-fe.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A body over this size is answered 500: the peer is for one small row. */
enum { ANSWER_MAX = 64 * 1024 };

static const char *conninfo = "";
static const char *statement = "SELECT id, author, body, created FROM messages WHERE id = $1";

/* Each thread of the pool owns one; the key closes it when the thread ends. */
static __thread PGconn *database;
static pthread_key_t closer;

static bool
database_open(void)
{
	PGresult *result;
	bool fine;

	database = PQconnectdb(conninfo);
	if (PQstatus(database) != CONNECTION_OK) {
		fprintf(stderr, "peer_pool: %s", PQerrorMessage(database));
		return false;
	}

	result = PQprepare(database, "one", statement, 1, NULL);
	fine = PQresultStatus(result) == PGRES_COMMAND_OK;
	if (!fine)
		fprintf(stderr, "peer_pool: %s", PQerrorMessage(database));
	PQclear(result);
	return fine;
}

static void
database_close(void *connection)
{
	PQfinish(connection);
	database = NULL;
}

static bool
database_ready(void)
{
	if (database != NULL && PQstatus(database) == CONNECTION_OK)
		return true;
	database_close(database);
	if (!database_open())
		database_close(database);
	pthread_setspecific(closer, database);
	return database != NULL;
}

struct text {
	char *ptr;
	size_t len;
	size_t size;
};

static void
text_byte(struct text *text, char byte)
{
	if (text->len < text->size)
		text->ptr[text->len] = byte;
	text->len++; /* past the size: the caller sees that it did not fit */
}

static void
text_raw(struct text *text, const char *raw)
{
	while (*raw != '\0')
		text_byte(text, *raw++);
}

static void
text_json(struct text *text, const char *value)
{
	static const char hex[] = "0123456789abcdef";

	text_byte(text, '"');
	for (; *value != '\0'; value++) {
		unsigned char byte = (unsigned char)*value;

		if (byte < 0x20) {
			text_raw(text, "\\u00");
			text_byte(text, hex[byte >> 4]);
			text_byte(text, hex[byte & 15]);
			continue;
		}
		if (byte == '"' || byte == '\\')
			text_byte(text, '\\');
		text_byte(text, (char)byte);
	}
	text_byte(text, '"');
}

static bool
row_format(const PGresult *row, struct text *text)
{
	text_raw(text, "{\"id\":");
	text_raw(text, PQgetvalue(row, 0, 0));
	text_raw(text, ",\"author\":");
	text_json(text, PQgetvalue(row, 0, 1));
	text_raw(text, ",\"body\":");
	text_json(text, PQgetvalue(row, 0, 2));
	text_raw(text, ",\"created\":");
	text_json(text, PQgetvalue(row, 0, 3));
	text_byte(text, '}');
	return text->len <= text->size;
}

static enum MHD_Result
answer_row(struct MHD_Connection *connection, const PGresult *row)
{
	char buffer[ANSWER_MAX];
	struct text text = { buffer, 0, sizeof(buffer) };
	struct MHD_Response *response;
	bool fits = row_format(row, &text);

	if (!fits)
		text = (struct text){ buffer, 0, sizeof(buffer) };
	response = MHD_create_response_from_buffer(text.len, buffer, MHD_RESPMEM_MUST_COPY);
	if (response == NULL)
		return MHD_NO;
	MHD_add_response_header(response, "Content-Type", "application/json");
	return peer_answer(connection, fits ? MHD_HTTP_OK : MHD_HTTP_INTERNAL_SERVER_ERROR,
	    response);
}

static enum MHD_Result
answer_nothing(struct MHD_Connection *connection, unsigned status)
{
	return peer_answer(connection, status,
	    MHD_create_response_from_buffer(0, "", MHD_RESPMEM_PERSISTENT));
}

static enum MHD_Result
answer_message(struct MHD_Connection *connection, const char *id)
{
	const char *values[] = { id };
	enum MHD_Result queued;
	PGresult *row;

	if (!database_ready())
		return answer_nothing(connection, MHD_HTTP_SERVICE_UNAVAILABLE);

	row = PQexecPrepared(database, "one", 1, values, NULL, NULL, 0);
	if (PQresultStatus(row) != PGRES_TUPLES_OK || PQnfields(row) < 4) {
		fprintf(stderr, "peer_pool: %s", PQerrorMessage(database));
		queued = answer_nothing(connection, MHD_HTTP_INTERNAL_SERVER_ERROR);
	} else if (PQntuples(row) == 0)
		queued = answer_nothing(connection, MHD_HTTP_NOT_FOUND);
	else
		queued = answer_row(connection, row);
	PQclear(row);
	return queued;
}

/* Up to 18 digits: what always fits into a bigint. */
static bool
is_number(const char *text)
{
	size_t digits = strspn(text, "0123456789");

	return digits >= 1 && digits <= 18 && text[digits] == '\0';
}

static enum MHD_Result
handle(void *cls, struct MHD_Connection *connection, const char *url, const char *method,
    const char *version, const char *data, size_t *size, void **state)
{
	static const char prefix[] = "/messages/";
	static char seen;
	const char *id = url + strlen(prefix);

	(void)cls, (void)method, (void)version, (void)data;

	/* libmicrohttpd closes a connection that is answered in the first call */
	if (*state == NULL) {
		*state = &seen;
		return MHD_YES;
	}
	if (*size != 0) { /* a body is read and dropped before the answer */
		*size = 0;
		return MHD_YES;
	}
	if (strncmp(url, prefix, strlen(prefix)) != 0 ||
	    !is_number(id))
		return answer_nothing(connection, MHD_HTTP_NOT_FOUND);
	return answer_message(connection, id);
}

static const char usage[] =
    "usage: peer_pool [--port N] [--threads N] [--conninfo TEXT] [--sql TEXT]\n"
    "Answer GET /messages/{id} on 127.0.0.1 from PostgreSQL; print \"listening PORT\".\n"
    "  --port N         port, 0 for any free one (default 0)\n"
    "  --threads N      threads, each with a connection of its own (default 16)\n"
    "  --conninfo TEXT  where PostgreSQL is, as libpq takes it (default: its environment)\n"
    "  --sql TEXT       the statement: $1 is the id, four columns come back\n";

static bool
reachable(void)
{
	bool ready = database_ready();

	if (!ready)
		fputs("peer_pool: check --conninfo and --sql\n", stderr);
	database_close(database);
	pthread_setspecific(closer, NULL);
	return ready;
}

int
main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "port", required_argument, NULL, 'p' },
		{ "threads", required_argument, NULL, 't' },
		{ "conninfo", required_argument, NULL, 'c' },
		{ "sql", required_argument, NULL, 's' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	unsigned port = 0, threads = 16;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'p')
			port = peer_number("port", optarg, 0, 65535);
		else if (option == 't')
			threads = peer_number("threads", optarg, 1, 256);
		else if (option == 'c')
			conninfo = optarg;
		else if (option == 's')
			statement = optarg;
		else
			return fputs(usage, option == 'h' ? stdout : stderr), option == 'h' ? 0 : 2;
	}
	if (optind < argc)
		return fputs(usage, stderr), 2;
	if (pthread_key_create(&closer, database_close) != 0 || !reachable())
		return 1;
	return peer_serve(port, threads, handle);
}

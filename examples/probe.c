/*
 * The probe: small handlers that show where a request went and how the server carries bodies.
 *
 *	GET  /whoami       {"server":"server-1","database":"db-2","role":"replica"}
 *	GET  /slow/{ms}    a replica's statement takes so many milliseconds
 *	GET  /divide/{n}   100 / n by the database; by 0 its statement fails
 *	POST /plain        {"author","body"}: as the guestbook's POST /messages, into its table, but
 *	                   without a key: what exactly-once costs is measured beside it
 *	POST /single       the same in a transaction of its own, where POST /plain shares it
 *	POST /echo         its body, as it comes
 *	GET  /bytes/{n}    n bytes: byte number i, from 0, is i mod 251
 *	GET  /sleep/{ms}   answers after so many milliseconds
 *	POST /sleep/{ms}   as GET, though nobody may repeat it; PUT, which may be repeated
 */
#include <string.h>
#include <weir.h>

#define PRIME 251
#define PIECE ((size_t)PRIME * 256)

static const struct weir_stmt select_one = { "probe_select_one", "select 1", 0 };
static const struct weir_stmt slow_stmt = { "probe_slow",
	"select pg_sleep($1::int / 1000.0)", 1 };
static const struct weir_stmt divide_stmt = { "probe_divide",
	"select 100 / $1::int as quotient", 1 };
/* The guestbook's own statement, so that the two cost the same. */
static const struct weir_stmt plain_stmt = { "probe_plain",
	"insert into guestbook.messages (author, body) values ($1, $2) returning id, author, body, "
	"to_char(created at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') as created", 2 };

static int
whoami(struct weir_request *req)
{
	struct weir_rows *rows = NULL;
	const char *node;
	int rc;

	rc = weir_db_read(req, &select_one, NULL, &rows);
	if (rc < 0)
		return rc;
	node = weir_node(req);
	weir_out_open(req, '{');
	weir_out_key(req, "server");
	weir_out_text(req, (struct weir_view){ node, strlen(node) });
	weir_out_key(req, "database");
	node = weir_rows_node(rows);
	weir_out_text(req, (struct weir_view){ node, strlen(node) });
	weir_out_key(req, "role");
	node = weir_rows_role(rows);
	weir_out_text(req, (struct weir_view){ node, strlen(node) });
	weir_out_close(req, '}');
	return weir_out_send(req, 200);
}

/* The content type goes back as it came. */
static int
echo(struct weir_request *req)
{
	struct weir_view type = weir_header(req, "content-type");
	char piece[16384];
	int64_t got;
	int rc;

	rc = weir_begin(req, 200, type.ptr != NULL ? type.ptr : "application/octet-stream",
	    weir_body_length(req));
	while (rc == WEIR_OK && (got = weir_read(req, piece, sizeof(piece))) != 0)
		rc = got < 0 ? (int)got : weir_write(req, piece, (size_t)got);
	return rc;
}

static unsigned char pattern[PIECE];

static int
bytes(struct weir_request *req)
{
	int64_t left = 0;
	int rc;

	rc = weir_param_int(req, "n", 0, (int64_t)1 << 40, &left);
	if (rc == WEIR_OK)
		rc = weir_begin(req, 200, "application/octet-stream", left);
	/* a piece is a multiple of the period, so each starts with a 0 */
	while (rc == WEIR_OK && left > 0) {
		size_t len = left < (int64_t)PIECE ? (size_t)left : PIECE;

		rc = weir_write(req, pattern, len);
		left -= (int64_t)len;
	}
	return rc;
}

static int
sleep_for(struct weir_request *req)
{
	int64_t ms = 0;
	int rc;

	rc = weir_param_int(req, "ms", 0, 60000, &ms);
	if (rc == WEIR_OK)
		rc = weir_sleep(req, ms * 1000);
	if (rc < 0)
		return rc;
	return weir_text(req, 200, "slept\n");
}

/* A parameter of the path, checked to be a number, as a statement's parameter. */
static int
number(struct weir_request *req, const char *name, int64_t max, struct weir_view *ret)
{
	int64_t value = 0;
	int rc;

	rc = weir_param_int(req, name, 0, max, &value);
	if (rc == WEIR_OK)
		*ret = weir_param(req, name);
	return rc;
}

static int
slow(struct weir_request *req)
{
	struct weir_rows *rows = NULL;
	struct weir_view ms;
	int rc;

	rc = number(req, "ms", 60000, &ms);
	if (rc == WEIR_OK)
		rc = weir_db_read(req, &slow_stmt, &ms, &rows);
	return rc < 0 ? rc : weir_text(req, 200, "slept\n");
}

static int
divide(struct weir_request *req)
{
	struct weir_rows *rows = NULL;
	struct weir_view n;
	int rc;

	rc = number(req, "n", INT32_MAX, &n);
	if (rc == WEIR_OK)
		rc = weir_db_read(req, &divide_stmt, &n, &rows);
	if (rc < 0)
		return rc;
	weir_out_row(req, rows, 0);
	return weir_out_send(req, 200);
}

static int
plain(struct weir_request *req)
{
	struct weir_rows *rows = NULL;
	struct weir_view params[2];
	int rc;

	rc = weir_json_text(req, "author", 1, 100, &params[0]);
	if (rc == WEIR_OK)
		rc = weir_json_text(req, "body", 1, 4000, &params[1]);
	if (rc == WEIR_OK)
		rc = weir_db_write(req, &plain_stmt, params, &rows);
	if (rc < 0)
		return rc;
	weir_out_row(req, rows, 0);
	return weir_out_send(req, 201);
}

static int
start(void)
{
	for (size_t i = 0; i < PIECE; i++)
		pattern[i] = (unsigned char)(i % PRIME);
	return 0;
}

static const struct weir_route routes[] = {
	{ "GET", "/whoami", whoami, 0 },
	{ "GET", "/slow/{ms}", slow, 0 },
	{ "GET", "/divide/{n}", divide, 0 },
	{ "POST", "/plain", plain, WEIR_GROUPED },
	{ "POST", "/single", plain, 0 },
	{ "POST", "/echo", echo, 0 },
	{ "GET", "/bytes/{n}", bytes, 0 },
	{ "GET", "/sleep/{ms}", sleep_for, 0 },
	{ "POST", "/sleep/{ms}", sleep_for, 0 },
	{ "PUT", "/sleep/{ms}", sleep_for, 0 },
	{ 0 },
};

WEIR_MODULE("probe", routes, start, NULL);

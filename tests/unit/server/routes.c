/* The handlers that the tests ask: each shows one thing of weir.h. */
#include <semaphore.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "server/request.h"
#include "tests/unit/server/routes.h"

atomic_int routes_ended;      /* handlers that came to their end after a wait */
atomic_int routes_last_error; /* what the last of them got */
sem_t routes_gate;            /* a blocking function waits for it */

static int
hello(struct weir_request *req)
{
	struct weir_view name = weir_param(req, "name");

	return weir_text(req, 200, weir_printf(req, "hello %.*s", (int)name.len, name.ptr));
}

static int
nothing(struct weir_request *req)
{
	(void)req;
	return WEIR_OK;
}

static int
twice(struct weir_request *req)
{
	int rc = weir_text(req, 200, "one");

	return rc < 0 ? rc : weir_text(req, 200, "two");
}

static int
number(struct weir_request *req)
{
	int64_t value = 7;
	int rc = weir_query_int(req, "n", 1, 100, &value);

	if (rc < 0)
		return rc;
	weir_out_open(req, '{');
	weir_out_key(req, "n");
	weir_out_int(req, value);
	weir_out_close(req, '}');
	return weir_out_send(req, 200);
}

static int
json(struct weir_request *req)
{
	struct weir_view text;
	int64_t count = 0;
	int rc = weir_json_text(req, "text", 1, 10, &text);

	if (rc == WEIR_OK && weir_json_has(req, "count"))
		rc = weir_json_int(req, "count", 0, 9, &count);
	if (rc < 0)
		return rc;
	weir_out_open(req, '[');
	weir_out_text(req, text);
	weir_out_int(req, count);
	weir_out_close(req, ']');
	return weir_out_send(req, 201);
}

static int
echo(struct weir_request *req)
{
	char piece[4096];
	int64_t got;
	int rc = weir_begin(req, 200, "application/octet-stream", weir_body_length(req));

	while (rc == WEIR_OK && (got = weir_read(req, piece, sizeof(piece))) != 0)
		rc = got < 0 ? (int)got : weir_write(req, piece, (size_t)got);
	return rc;
}

/* Reads all, then answers with the number of bytes. */
static int
measure(struct weir_request *req)
{
	char piece[4096];
	int64_t got, all = 0;

	while ((got = weir_read(req, piece, sizeof(piece))) > 0)
		all += got;
	return got < 0 ? (int)got : weir_text(req, 200, weir_printf(req, "%lld", (long long)all));
}

static int
bytes(struct weir_request *req)
{
	char piece[1000];
	int64_t left = 0, length = -1;
	int rc = weir_param_int(req, "n", 0, 1 << 30, &left);

	if (rc == WEIR_OK && weir_query(req, "sized").ptr != NULL)
		length = left;
	memset(piece, 'x', sizeof(piece));
	rc = rc < 0 ? rc : weir_begin(req, 200, "text/plain", length);
	while (rc == WEIR_OK && left > 0) {
		size_t len = left < 1000 ? (size_t)left : 1000;

		rc = weir_write(req, piece, len);
		left -= (int64_t)len;
	}
	atomic_store(&routes_last_error, rc);
	atomic_fetch_add(&routes_ended, 1);
	return rc;
}

/* Promises twice what it sends. */
static int
broken(struct weir_request *req)
{
	static const char piece[1000];
	int64_t count = 0;
	int rc = weir_param_int(req, "count", 0, 1000, &count);

	rc = rc < 0 ? rc : weir_begin(req, 200, "text/plain", 2000 * count);
	for (; rc == WEIR_OK && count > 0; count--)
		rc = weir_write(req, piece, sizeof(piece));
	return rc;
}

static int
sleepy(struct weir_request *req)
{
	int64_t ms = 0;
	int rc = weir_param_int(req, "ms", 0, 60000, &ms);

	rc = rc < 0 ? rc : weir_sleep(req, ms * 1000);
	atomic_store(&routes_last_error, rc);
	atomic_fetch_add(&routes_ended, 1);
	return rc < 0 ? rc : weir_text(req, 200, "slept");
}

static void
wait_for_gate(void *arg)
{
	(void)arg;
	sem_wait(&routes_gate);
}

static int
offload(struct weir_request *req)
{
	int rc = weir_offload(req, wait_for_gate, NULL);

	return rc < 0 ? rc : weir_text(req, 200, "gate passed");
}

/* On a thread of the pool: reads, sleeps and streams as a fiber would. */
static int
blocking(struct weir_request *req)
{
	char piece[64];
	int64_t got = weir_read(req, piece, sizeof(piece));
	int rc = got < 0 ? (int)got : weir_sleep(req, 1000);

	usleep(1000);
	rc = rc < 0 ? rc : weir_begin(req, 200, "text/plain", got * 100);
	for (int i = 0; rc == WEIR_OK && i < 100; i++)
		rc = weir_write(req, piece, (size_t)got);
	return rc;
}

static int
headers(struct weir_request *req)
{
	struct weir_view value = weir_header(req, "X-Thing");

	if (weir_set_header(req, "X-Bad", "a\nb") != WEIR_EINVAL ||
	    weir_set_header(req, "Content-Length", "1") != WEIR_EINVAL ||
	    weir_set_header(req, "a b", "x") != WEIR_EINVAL)
		return WEIR_EUSAGE;
	weir_set_header(req, "X-Thing-Back", value.ptr != NULL ? value.ptr : "none");
	return weir_text(req, 200, "");
}

static int
problem(struct weir_request *req)
{
	return weir_problem(req, 422, "what \"%s\" means", "this");
}

static int
database(struct weir_request *req)
{
	static const struct weir_stmt stmt = { "unit_one", "select 1", 0 };
	struct weir_rows *rows;

	return weir_db_read(req, &stmt, NULL, &rows);
}

static int
down(struct weir_request *req)
{
	(void)req;
	return WEIR_EDOWN;
}

static int
mismatch(struct weir_request *req)
{
	(void)req;
	return WEIR_EMISMATCH;
}

/* The key is copied: what it was made of changes afterwards. */
static int
shard(struct weir_request *req)
{
	char key[] = "tenant-1";
	struct w_view kept;

	weir_shard(req, (struct weir_view){ key, sizeof(key) - 1 });
	memset(key, 'x', sizeof(key));
	kept = srv__of(req)->shard;
	weir_text(req, 200, weir_printf(req, "shard %.*s", (int)kept.len, kept.ptr));
	weir_shard(req, (struct weir_view){ NULL, 0 });
	return srv__of(req)->shard.len == 0 ? WEIR_OK : WEIR_EUSAGE;
}

static int
memory(struct weir_request *req)
{
	return weir_alloc(req, 100 << 20) == NULL ? WEIR_ENOMEM : WEIR_OK;
}

const struct weir_route stage_routes[] = {
	{ "GET", "/hello/{name}", hello, 0 },
	{ "GET", "/nothing", nothing, 0 },
	{ "GET", "/twice", twice, 0 },
	{ "GET", "/number", number, 0 },
	{ "POST", "/json", json, 0 },
	{ "POST", "/echo", echo, 0 },
	{ "POST", "/measure", measure, 0 },
	{ "POST", "/unread", nothing, 0 },
	{ "GET", "/bytes/{n}", bytes, 0 },
	{ "GET", "/broken/{count}", broken, 0 },
	{ "GET", "/sleep/{ms}", sleepy, 0 },
	{ "GET", "/offload", offload, 0 },
	{ "POST", "/blocking", blocking, WEIR_BLOCKING },
	{ "GET", "/headers", headers, 0 },
	{ "GET", "/problem", problem, 0 },
	{ "GET", "/database", database, 0 },
	{ "GET", "/memory", memory, 0 },
	{ "GET", "/shard", shard, 0 },
	{ "POST", "/once", nothing, WEIR_ONCE },
	{ "POST", "/plain", nothing, 0 },
	{ "PUT", "/plain", nothing, 0 },
	{ "DELETE", "/plain", nothing, 0 },
	{ "POST", "/down", down, WEIR_ONCE | WEIR_BLOCKING },
	{ "PUT", "/down", down, WEIR_ONCE },
	{ "POST", "/mismatch", mismatch, WEIR_ONCE },
	{ 0 },
};

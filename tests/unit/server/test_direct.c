/* A worker with its direct front, asked over real sockets. */
#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/server/routes.h"
#include "tests/unit/server/stage.h"
#include "tests/unit/server/suites.h"

#define CLOSE "Host: h\r\nConnection: close\r\n"

static struct stage stage;

static int
set_up(void)
{
	return sem_init(&routes_gate, 0, 0) == 0 && stage_init(&stage) && stage_start(&stage) ? 0 : 1;
}

static int
tear_down(void)
{
	stage_fini(&stage);
	sem_destroy(&routes_gate);
	return 0;
}

/* Until a counter of another thread has the value; false after far too long. */
static bool
reaches(atomic_int *counter, int value)
{
	for (int i = 0; i < 20000; i++) {
		if (atomic_load(counter) >= value)
			return true;
		usleep(1000);
	}
	return false;
}

static bool
get_is(const char *path, unsigned status, const char *text)
{
	struct reply reply = stage_get(&stage, path);
	bool ok = reply.status == status && (text == NULL || reply_has(&reply, text));

	if (!ok)
		fprintf(stderr, "GET %s: %s\n", path, reply.text);
	reply_free(&reply);
	return ok;
}

static bool
ask_is(const char *request, unsigned status, const char *text)
{
	struct reply reply = stage_ask(&stage, request);
	bool ok = reply.status == status && (text == NULL || reply_has(&reply, text));

	if (!ok)
		fprintf(stderr, "%s -> %s\n", request, reply.text);
	reply_free(&reply);
	return ok;
}

/* ---- answers ---- */

static void
handlers_answer(void)
{
	CU_ASSERT(get_is("/hello/w%C3%B6rld", 200, "\r\n\r\nhello w\xc3\xb6rld"));
	CU_ASSERT(get_is("/hello/x", 200, "server-timing: queue;dur="));
	CU_ASSERT(get_is("/hello/x", 200, "date: "));
	CU_ASSERT(get_is("/nothing", 204, NULL));
	CU_ASSERT(get_is("/number?n=50", 200, "{\"n\":50}"));
	CU_ASSERT(get_is("/number", 200, "{\"n\":7}"));
	CU_ASSERT(ask_is("GET /headers HTTP/1.1\r\n" CLOSE "x-tHing: v\r\n\r\n", 200,
	    "x-thing-back: v"));
	CU_ASSERT(ask_is("GET /hello/x HTTP/1.1\r\n" CLOSE "X-Request-Id: my-id\r\n\r\n", 200,
	    "x-request-id: my-id"));
}

static void
errors_are_problems(void)
{
	CU_ASSERT(get_is("/nope", 404, "application/problem+json"));
	CU_ASSERT(get_is("/nope", 404, "\"title\":\"Not Found\",\"status\":404"));
	CU_ASSERT(get_is("/number?n=101", 400, "query parameter n"));
	CU_ASSERT(get_is("/number?n=", 400, "query parameter n"));
	CU_ASSERT(get_is("/hello/%00", 400, "percent escape"));
	CU_ASSERT(get_is("/twice", 500, "the handler failed"));
	CU_ASSERT(get_is("/memory", 500, "memory limit"));
	CU_ASSERT(get_is("/problem", 422, "what \\\"this\\\" means"));
	CU_ASSERT(get_is("/database", 503, "retry-after: 1"));
	CU_ASSERT(ask_is("POST /mismatch HTTP/1.1\r\n" CLOSE "Content-Length: 0\r\n\r\n", 422,
	    "used for another request"));
	CU_ASSERT(get_is("/shard", 200, "shard tenant-1"));
	CU_ASSERT(ask_is("GET /nope HTTP/1.1\r\n" CLOSE "X-Request-Id: my-id\r\n\r\n", 404,
	    "\"instance\":\"my-id\""));
}

static void
methods_are_told(void)
{
	CU_ASSERT(ask_is("DELETE /nothing HTTP/1.1\r\n" CLOSE "\r\n", 405, "allow: GET, HEAD, OPTIONS"));
	CU_ASSERT(ask_is("OPTIONS /json HTTP/1.1\r\n" CLOSE "\r\n", 204, "allow: POST, OPTIONS"));
	CU_ASSERT(ask_is("OPTIONS * HTTP/1.1\r\n" CLOSE "\r\n", 204, "allow: "));
	CU_ASSERT(ask_is("GET * HTTP/1.1\r\n" CLOSE "\r\n", 400, NULL));
}

static void
head_has_the_header_only(void)
{
	struct reply reply = stage_ask(&stage, "HEAD /hello/x HTTP/1.1\r\n" CLOSE "\r\n");

	CU_ASSERT_EQUAL(reply.status, 200);
	CU_ASSERT(reply_has(&reply, "Content-Length: 7"));
	CU_ASSERT_EQUAL(reply.body_len, 0);
	reply_free(&reply);
	reply = stage_ask(&stage, "HEAD /bytes/5000?sized HTTP/1.1\r\n" CLOSE "\r\n");
	CU_ASSERT(reply_has(&reply, "Content-Length: 5000"));
	CU_ASSERT_EQUAL(reply.body_len, 0);
	reply_free(&reply);
}

/* ---- bodies ---- */

static bool
post_json(const char *type, const char *body, unsigned status, const char *text)
{
	W_AUTO(w_free) char *request = w_xasprintf("POST /json HTTP/1.1\r\n" CLOSE
	    "%s%sContent-Length: %zu\r\n\r\n%s", type, type[0] != '\0' ? "\r\n" : "", strlen(body), body);

	return ask_is(request, status, text);
}

static void
json_bodies_are_checked(void)
{
	static const char type[] = "Content-Type: application/json; charset=utf-8";

	CU_ASSERT(post_json(type, "{\"text\":\"a\\u00e9\",\"count\":3}", 201, "[\"a\xc3\xa9\",3]"));
	CU_ASSERT(post_json("", "{\"text\":\"a\"}", 201, "[\"a\",0]"));
	CU_ASSERT(post_json("Content-Type: application/x+json", "{\"text\":\"a\"}", 201, NULL));
	CU_ASSERT(post_json("Content-Type: text/plain", "{\"text\":\"a\"}", 415, "media type"));
	CU_ASSERT(post_json(type, "{\"text\":1}", 400, "member text: a text"));
	CU_ASSERT(post_json(type, "{\"count\":1}", 400, "member text is missing"));
	CU_ASSERT(post_json(type, "{\"text\":\"\"}", 400, "from 1 to 10 bytes"));
	CU_ASSERT(post_json(type, "{\"text\":\"a\",\"count\":1.5}", 400, "member count"));
	CU_ASSERT(post_json(type, "{\"text\":\"a\",\"count\":10}", 400, "member count"));
	CU_ASSERT(post_json(type, "{\"text\":", 400, "at byte 8"));
	CU_ASSERT(post_json(type, "", 400, NULL));
}

static void
a_json_body_over_the_limit_is_413(void)
{
	W_AUTO(w_free) char *body = w_xcalloc(1, 5000);

	memset(body, ' ', 4999);
	CU_ASSERT(post_json("", body, 413, "longer than 4096"));
}

/* Send a body by length or in chunks while the answer is read. */
static struct reply
post_body(const char *path, const char *body, size_t len, bool chunked)
{
	W_AUTO(w_close) int fd = stage_connect(&stage);
	char head[200];
	size_t at = 0, piece;

	if (chunked)
		snprintf(head, sizeof(head), "POST %s HTTP/1.1\r\n" CLOSE
		    "Transfer-Encoding: chunked\r\n\r\n", path);
	else
		snprintf(head, sizeof(head), "POST %s HTTP/1.1\r\n" CLOSE
		    "Content-Length: %zu\r\n\r\n", path, len);
	stage_send(fd, head, strlen(head));
	for (; chunked && at < len; at += piece) {
		piece = W_MIN(len - at, (size_t)10007);
		snprintf(head, sizeof(head), "%zx\r\n", piece);
		stage_send(fd, head, strlen(head));
		stage_send(fd, body + at, piece);
		stage_send(fd, "\r\n", 2);
	}
	stage_send(fd, chunked ? "0\r\n\r\n" : body, chunked ? 5 : len);
	return stage_read(fd);
}

static char *
make_body(size_t len)
{
	char *body = w_xcalloc(1, len + 1);

	for (size_t i = 0; i < len; i++)
		body[i] = (char)('a' + i % 23);
	return body;
}

static void
bodies_of_any_framing_come_whole(void)
{
	static const size_t sizes[] = { 1, 1000, 65536, 65537, 200000, 900000 };

	for (unsigned i = 0; i < 2 * W_NELEM(sizes); i++) {
		size_t len = sizes[i / 2];
		W_AUTO(w_free) char *body = make_body(len);
		struct reply reply = post_body("/echo", body, len, i % 2 == 1);

		CU_ASSERT_EQUAL(reply.status, 200);
		if (i % 2 == 0) {
			CU_ASSERT_EQUAL(reply.body_len, len);
			CU_ASSERT(reply.body_len == len && memcmp(reply.body, body, len) == 0);
		}
		reply_free(&reply);
	}
}

static void
a_long_body_is_read_at_the_handler_s_pace(void)
{
	size_t len = 20 << 20;
	W_AUTO(w_free) char *body = make_body(len);
	struct reply reply = post_body("/measure", body, len, false);

	CU_ASSERT(reply_has(&reply, "20971520"));
	reply_free(&reply);
	reply = post_body("/measure", body, len, true);
	CU_ASSERT(reply_has(&reply, "20971520"));
	reply_free(&reply);
}

static void
an_unread_body_is_thrown_away(void)
{
	W_AUTO(w_free) char *body = make_body(3 << 20);
	struct reply reply = post_body("/unread", body, 100000, false);

	CU_ASSERT_EQUAL(reply.status, 204);
	reply_free(&reply);
	reply = post_body("/unread", body, 3 << 20, true);
	CU_ASSERT_EQUAL(reply.status, 204);
	reply_free(&reply);
	reply = post_body("/nope", body, 100000, true);
	CU_ASSERT_EQUAL(reply.status, 404);
	reply_free(&reply);
}

static void
an_answer_that_cannot_wait_is_413(void)
{
	W_AUTO(w_free) char *body = make_body(3 << 20);
	struct reply reply = post_body("/echo", body, 3 << 20, false);

	CU_ASSERT_EQUAL(reply.status, 413);
	reply_free(&reply);
}

static void
who_expects_to_be_told_is_told(void)
{
	W_AUTO(w_close) int fd = stage_connect(&stage);
	static const char head[] = "POST /measure HTTP/1.1\r\n" CLOSE
	    "Content-Length: 4\r\nExpect: 100-continue\r\n\r\n";
	char line[64] = "";
	struct reply reply;

	stage_send(fd, head, strlen(head));
	CU_ASSERT(recv(fd, line, sizeof(line) - 1, 0) > 0);
	CU_ASSERT_PTR_NOT_NULL(strstr(line, "100 Continue"));
	stage_send(fd, "abcd", 4);
	reply = stage_read(fd);
	CU_ASSERT_STRING_EQUAL(reply.body, "4");
	reply_free(&reply);
}

/* ---- streams ---- */

static void
streams_come_whole(void)
{
	struct reply reply = stage_get(&stage, "/bytes/3000000?sized");

	CU_ASSERT_EQUAL(reply.body_len, 3000000);
	reply_free(&reply);
	reply = stage_get(&stage, "/bytes/3000000");
	CU_ASSERT(reply_has(&reply, "chunked"));
	CU_ASSERT(reply.body_len > 3000000);
	CU_ASSERT(reply.len > 5 && strcmp(reply.text + reply.len - 5, "0\r\n\r\n") == 0);
	reply_free(&reply);
	reply = stage_get(&stage, "/bytes/0?sized");
	CU_ASSERT_EQUAL(reply.status, 200);
	CU_ASSERT_EQUAL(reply.body_len, 0);
	reply_free(&reply);
}

static void
a_broken_stream_looks_broken(void)
{
	struct reply reply = stage_get(&stage, "/broken/1000");

	CU_ASSERT_EQUAL(reply.status, 200);
	CU_ASSERT(reply_has(&reply, "Content-Length: 2000000"));
	CU_ASSERT(reply.body_len <= 1000000);
	reply_free(&reply);
	/* short enough to be held back: the client learns of it */
	CU_ASSERT(get_is("/broken/1", 500, "the handler failed"));
}

static void
a_client_that_leaves_ends_its_handler(void)
{
	int before = atomic_load(&routes_ended);
	static const char head[] = "GET /bytes/1000000000 HTTP/1.1\r\nHost: h\r\n\r\n";
	int fd = stage_connect(&stage);
	char some[1000];

	stage_send(fd, head, strlen(head));
	CU_ASSERT(recv(fd, some, sizeof(some), 0) > 0);
	w_close(&fd);
	CU_ASSERT(reaches(&routes_ended, before + 1));
	CU_ASSERT_EQUAL(atomic_load(&routes_last_error), WEIR_EGONE);
}

/* ---- connections ---- */

static void
a_connection_carries_many_requests(void)
{
	W_AUTO(w_close) int fd = stage_connect(&stage);
	static const char all[] = "GET /hello/1 HTTP/1.1\r\nHost: h\r\n\r\n"
	    "GET /sleep/5 HTTP/1.1\r\nHost: h\r\n\r\n"
	    "POST /measure HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"
	    "GET /sleep/1 HTTP/1.1\r\nHost: h\r\n\r\n"
	    "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nxy\r\n0\r\n\r\n"
	    "GET /bytes/3000 HTTP/1.1\r\nHost: h\r\n\r\n"
	    "GET /hello/last HTTP/1.1\r\n" CLOSE "\r\n";
	struct reply reply;
	unsigned answers = 0;

	stage_send(fd, all, strlen(all));
	reply = stage_read(fd);
	for (const char *at = reply.text; (at = strstr(at, "HTTP/1.1 200")) != NULL; at++)
		answers++;
	CU_ASSERT_EQUAL(answers, 7);
	CU_ASSERT(reply_has(&reply, "hello last"));
	reply_free(&reply);
}

static void
framing_attacks_are_refused(void)
{
	CU_ASSERT(ask_is("POST /measure HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n"
	    "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "Transfer-Encoding with"));
	CU_ASSERT(ask_is("POST /measure HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n"
	    "Content-Length: 4\r\n\r\nabcd", 400, "Content-Length comes twice"));
	CU_ASSERT(ask_is("POST /measure HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: xchunked\r\n\r\nabc",
	    400, "anything but chunked"));
	CU_ASSERT(ask_is("GET /nothing HTTP/1.1\r\nHost: h\r\nHost: g\r\n\r\n", 400, "Host comes twice"));
	CU_ASSERT(ask_is("POST /measure HTTP/1.1\r\nHost: h\r\nContent-Length : 3\r\n\r\nabc", 400, NULL));
	CU_ASSERT(ask_is("GET /nothing HTTP/1.1\r\n\r\n", 400, "Host is missing"));
}

static void
the_fiber_limit_is_503(void)
{
	int fds[64];
	static const char head[] = "GET /sleep/60000 HTTP/1.1\r\nHost: h\r\n\r\n";

	for (size_t i = 0; i < W_NELEM(fds); i++) {
		fds[i] = stage_connect(&stage);
		stage_send(fds[i], head, strlen(head));
	}
	/* accepted in order on one worker, but read as they come: ask until all are in */
	for (int i = 0; i < 1000 && stage_metric(&stage, SRV_REFUSED) == 0; i++) {
		struct reply reply = stage_get(&stage, "/hello/x");

		CU_ASSERT(reply.status == 200 || reply.status == 503);
		CU_ASSERT(reply.status == 200 || reply_has(&reply, "retry-after: 1"));
		reply_free(&reply);
	}
	CU_ASSERT(stage_metric(&stage, SRV_REFUSED) > 0);
	for (size_t i = 0; i < W_NELEM(fds); i++)
		w_close(&fds[i]);
}

static CU_TestInfo tests[] = {
	{ "handlers answer", handlers_answer },
	{ "errors are problems", errors_are_problems },
	{ "methods are told", methods_are_told },
	{ "HEAD has the header only", head_has_the_header_only },
	{ "JSON bodies are checked", json_bodies_are_checked },
	{ "a JSON body over the limit is 413", a_json_body_over_the_limit_is_413 },
	{ "bodies of any framing come whole", bodies_of_any_framing_come_whole },
	{ "a long body is read at the handler's pace", a_long_body_is_read_at_the_handler_s_pace },
	{ "an unread body is thrown away", an_unread_body_is_thrown_away },
	{ "an answer that cannot wait for the body is 413", an_answer_that_cannot_wait_is_413 },
	{ "who expects to be told is told", who_expects_to_be_told_is_told },
	{ "streams come whole", streams_come_whole },
	{ "a broken stream looks broken", a_broken_stream_looks_broken },
	{ "a client that leaves ends its handler", a_client_that_leaves_ends_its_handler },
	{ "a connection carries many requests", a_connection_carries_many_requests },
	{ "framing attacks are refused", framing_attacks_are_refused },
	CU_TEST_INFO_NULL
};

/* ---- waiting: a worker with few fibers and short deadlines ---- */

static int
set_up_short(void)
{
	if (sem_init(&routes_gate, 0, 0) < 0 || !stage_init(&stage))
		return 1;
	stage.options.request_timeout = 200 * W_MSEC;
	stage.options.stall_timeout = 300 * W_MSEC;
	return stage_start(&stage) ? 0 : 1;
}

static void
a_deadline_is_504(void)
{
	CU_ASSERT(get_is("/sleep/60000", 504, "deadline"));
	CU_ASSERT(get_is("/sleep/1", 200, "slept"));
}

/* Nobody reads: the answer has begun, so what counts is that nothing moves. */
static void
a_client_that_stalls_is_cut_off(void)
{
	int before = atomic_load(&routes_ended);
	static const char head[] = "GET /bytes/1000000000 HTTP/1.1\r\nHost: h\r\n\r\n";
	W_AUTO(w_close) int fd = stage_connect(&stage);

	stage_send(fd, head, strlen(head));
	CU_ASSERT(reaches(&routes_ended, before + 1));
	CU_ASSERT_EQUAL(atomic_load(&routes_last_error), WEIR_ETIMEOUT);
}

static void
offloaded_work_lets_others_run(void)
{
	W_AUTO(w_close) int fd = stage_connect(&stage);
	static const char head[] = "GET /offload HTTP/1.1\r\n" CLOSE "\r\n";
	struct reply reply;

	stage_send(fd, head, strlen(head));
	CU_ASSERT(get_is("/hello/x", 200, NULL));
	sem_post(&routes_gate);
	reply = stage_read(fd);
	CU_ASSERT(reply_has(&reply, "gate passed"));
	reply_free(&reply);
}

static void
a_blocking_handler_has_the_same_calls(void)
{
	struct reply reply = post_body("/blocking", "0123456789", 10, false);

	CU_ASSERT_EQUAL(reply.status, 200);
	CU_ASSERT(reply_has(&reply, "01234567890123456789"));
	reply_free(&reply);
}

static CU_TestInfo short_tests[] = {
	{ "a deadline is 504", a_deadline_is_504 },
	{ "a client that stalls is cut off", a_client_that_stalls_is_cut_off },
	{ "offloaded work lets others run", offloaded_work_lets_others_run },
	{ "a blocking handler has the same calls", a_blocking_handler_has_the_same_calls },
	CU_TEST_INFO_NULL
};

static int
set_up_small(void)
{
	if (sem_init(&routes_gate, 0, 0) < 0 || !stage_init(&stage))
		return 1;
	stage.fibers = 64;
	stage.options.request_timeout = 3600 * W_SEC;
	return stage_start(&stage) ? 0 : 1;
}

static CU_TestInfo small_tests[] = {
	{ "the fiber limit is 503, and a stop ends all", the_fiber_limit_is_503 },
	CU_TEST_INFO_NULL
};

CU_SuiteInfo direct_suites[] = {
	{ .pName = "server/direct", .pInitFunc = set_up, .pCleanupFunc = tear_down, .pTests = tests },
	{ .pName = "server/wait", .pInitFunc = set_up_short, .pCleanupFunc = tear_down,
	  .pTests = short_tests },
	{ .pName = "server/limit", .pInitFunc = set_up_small, .pCleanupFunc = tear_down,
	  .pTests = small_tests },
	CU_SUITE_INFO_NULL
};

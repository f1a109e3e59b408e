/*
 * The codec against the examples of the specification, read from docs/protocol/01-link.md itself:
 * each is decoded to the fields that its comments tell, and made again byte for byte.
 */
#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>
#include <ctype.h>
#include <stdio.h>

#include "link/codec.h"
#include "tests/unit/link/suites.h"

#define SESSION 0x1122334455667788u

static char *spec;

static int
read_spec(void)
{
	const char *srcdir = getenv("srcdir");
	W_AUTO(w_free)
	char *path = w_xasprintf("%s/docs/protocol/01-link.md", srcdir != NULL ? srcdir : ".");
	FILE *file = fopen(path, "r");
	size_t len;

	if (file == NULL) {
		perror(path);
		return 1;
	}
	spec = w_xcalloc(1, 1 << 20);
	len = fread(spec, 1, (1 << 20) - 1, file);
	fclose(file);
	return len == 0;
}

static int
forget_spec(void)
{
	w_free(&spec);
	return 0;
}

static int
digit(char c)
{
	return isdigit((unsigned char)c) ? c - '0' : tolower((unsigned char)c) - 'a' + 10;
}

/* The bytes of the block "```hex NAME". */
static size_t
example(const char *name, uint8_t *to, size_t size)
{
	W_AUTO(w_free) char *fence = w_xasprintf("\n```hex %s\n", name);
	const char *at = strstr(spec, fence);
	size_t len = 0;

	CU_ASSERT_PTR_NOT_NULL_FATAL(at);
	for (at += strlen(fence); strncmp(at, "```", 3) != 0; at++) {
		if (*at == ';')
			at = strchr(at, '\n');
		if (!isxdigit((unsigned char)*at))
			continue;
		CU_ASSERT_FATAL(isxdigit((unsigned char)at[1]) && len < size);
		to[len++] = (uint8_t)(digit(at[0]) * 16 + digit(at[1]));
		at++;
	}
	return len;
}

/* ---- what the examples say ---- */

static const struct lnk_field get_fields[] = {
    {W_VIEW("accept"), W_VIEW("application/json")},
    {W_VIEW("cookie"), W_VIEW("a=b")},
};

static const struct lnk_request get_request = {.method = W_VIEW("GET"),
    .scheme = W_VIEW("https"),
    .authority = W_VIEW("example.org"),
    .target = W_VIEW("/messages?limit=3"),
    .client = W_VIEW("203.0.113.7:51234"),
    .id = W_VIEW("4f2a"),
    .traceparent = W_VIEW("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    .timeout = 30 * W_SEC,
    .end = true,
    .fields = get_fields,
    .field_count = 2};

static const struct lnk_field post_fields[] = {{W_VIEW("content-type"), W_VIEW("text/plain")}};

static const struct lnk_request post_request = {.method = W_VIEW("POST"),
    .scheme = W_VIEW("http"),
    .authority = W_VIEW("example.org"),
    .target = W_VIEW("/messages"),
    .client = W_VIEW("198.51.100.9:4711"),
    .id = W_VIEW("4f2b"),
    .position = W_VIEW("1/3000148"),
    .idempotency = W_VIEW("k-17"),
    .timeout = 1500 * W_MSEC,
    .length = 5,
    .attempt = 1,
    .fields = post_fields,
    .field_count = 1};

static const struct lnk_request doubt_request = {.method = W_VIEW("POST"),
    .scheme = W_VIEW("https"),
    .authority = W_VIEW("example.org"),
    .target = W_VIEW("/counters/a"),
    .client = W_VIEW("203.0.113.7:51234"),
    .id = W_VIEW("4f2c"),
    .position = W_VIEW("1-0/3000148"),
    .idempotency = W_VIEW("k-18"),
    .timeout = 29750 * W_MSEC,
    .attempt = 1,
    .end = true,
    .doubt = true};

static const struct lnk_field answer_fields[] = {
    {W_VIEW("content-type"), W_VIEW("application/json")}};

static const struct lnk_response responses[] = {
    {.status = 200,
	.length = 2,
	.started = true,
	.queue = 12,
	.handler = 340,
	.database = 250,
	.fields = answer_fields,
	.field_count = 1},
    {.status = 201, .length = -1, .started = true, .handler = 1},
    {.status = 200, .length = 1048576, .started = true, .end = true, .queue = 1, .handler = 2},
};

/* ---- made again ---- */

static void
put_request(struct w_buf *buf, uint64_t stream, const struct lnk_request *request)
{
	size_t size;

	CU_ASSERT_EQUAL(lnk__request_size(request, &size), W_OK);
	lnk__put_request(buf, stream, request, size);
}

static void
put_response(struct w_buf *buf, uint64_t stream, const struct lnk_response *response)
{
	size_t size;

	CU_ASSERT_EQUAL(lnk__response_size(response, &size), W_OK);
	lnk__put_response(buf, stream, response, size);
}

static void
make_hello(struct w_buf *buf)
{
	const struct lnk__greeting hello = {0, 2, 262144, 0x0102030405060708u, W_VIEW("server-1")};

	lnk__put_greeting(buf, LNK__HELLO, &hello);
}

static void
make_welcome(struct w_buf *buf)
{
	const struct lnk__greeting welcome = {
	    1, 2, 262144, 0x1112131415161718u, W_VIEW("balancer-1")};

	lnk__put_greeting(buf, LNK__WELCOME, &welcome);
}

static void
make_credit(struct w_buf *buf)
{
	lnk__put_number(buf, LNK__CREDIT, 0, 64);
}

static void
make_get(struct w_buf *buf)
{
	put_request(buf, 1, &get_request);
}

static void
make_post(struct w_buf *buf)
{
	put_request(buf, 2, &post_request);
	lnk__put_data(buf, 2, W_VIEW("hello"), true);
}

static void
make_doubt(struct w_buf *buf)
{
	put_request(buf, 3, &doubt_request);
}

static void
make_answer(struct w_buf *buf)
{
	put_response(buf, 1, &responses[0]);
	lnk__put_data(buf, 1, W_VIEW("[]"), true);
	put_response(buf, 2, &responses[1]);
	lnk__put_reset(buf, 3, -W_EREFUSED);
	lnk__put_number(buf, LNK__CREDIT, 0, 66);
}

static void
make_head(struct w_buf *buf)
{
	put_response(buf, 4, &responses[2]);
}

static void
make_window(struct w_buf *buf)
{
	lnk__put_number(buf, LNK__WINDOW, 2, 393216);
}

static void
make_beat(struct w_buf *buf)
{
	lnk__put_number(buf, LNK__PING, 0, 1000000);
	lnk__put_number(buf, LNK__PONG, 0, 999983);
}

static void
make_drain(struct w_buf *buf)
{
	const struct lnk__goaway goaway = {-W_ESHUTDOWN, 66, W_VIEW("draining")};

	lnk__put_number(buf, LNK__CREDIT, 0, 66);
	lnk__put_goaway(buf, false, &goaway);
}

static void
make_broken(struct w_buf *buf)
{
	const struct lnk__goaway goaway = {-W_EPROTO, 2, W_VIEW("batch 7 came where 5 was due")};

	lnk__put_goaway(buf, true, &goaway);
}

static const struct {
	const char *name;
	uint64_t number;
	void (*make)(struct w_buf *buf);
} made[] = {
    {"hello", 0, make_hello},
    {"welcome", 0, make_welcome},
    {"credit", 1, make_credit},
    {"get", 1, make_get},
    {"post", 2, make_post},
    {"doubt", 3, make_doubt},
    {"answer", 2, make_answer},
    {"head", 3, make_head},
    {"window", 7, make_window},
    {"beat", 8, make_beat},
    {"drain", 9, make_drain},
    {"broken", 4, make_broken},
};

static void
encodes(void)
{
	for (size_t i = 0; i < W_NELEM(made); i++) {
		W_AUTO(w_buf_fini) struct w_buf buf = {0};
		uint8_t want[2048];
		size_t len = example(made[i].name, want, sizeof(want));

		lnk__batch_begin(&buf);
		made[i].make(&buf);
		lnk__batch_seal(&buf, SESSION, made[i].number);
		CU_ASSERT_EQUAL(buf.len, len);
		if (buf.len != len || memcmp(buf.ptr, want, len) != 0) {
			fprintf(stderr, "example %s is made otherwise\n", made[i].name);
			CU_FAIL("an example of the specification is made otherwise");
		}
	}
}

/* ---- read ---- */

static uint8_t bytes[2048];
static struct w_view rest;
static struct lnk__record record;
static struct lnk_field fields[LNK_FIELDS_MAX];

/* Begin with an example: its header is right, its records are read by next(). */
static void
begin(const char *name, uint64_t number)
{
	struct lnk__batch batch;
	size_t len = example(name, bytes, sizeof(bytes));

	CU_ASSERT_EQUAL(lnk__batch_parse((struct w_view){(char *)bytes, len}, &batch, &rest), W_OK);
	CU_ASSERT_EQUAL(batch.major, 1);
	CU_ASSERT_EQUAL(batch.session, SESSION);
	CU_ASSERT_EQUAL(batch.number, number);
}

static void
next(unsigned type, unsigned flags, uint64_t stream)
{
	CU_ASSERT_EQUAL_FATAL(lnk__record_parse(&rest, &record), 1);
	CU_ASSERT_EQUAL(record.type, type);
	CU_ASSERT_EQUAL(record.flags, flags);
	CU_ASSERT_EQUAL(record.stream, stream);
}

static void
finish(void)
{
	CU_ASSERT_EQUAL(lnk__record_parse(&rest, &record), 0);
}

static void
number_is(uint64_t want)
{
	uint64_t number = 0;

	CU_ASSERT_EQUAL(lnk__number_parse(record.body, &number), W_OK);
	CU_ASSERT_EQUAL(number, want);
}

static void
decodes_greetings(void)
{
	struct lnk__greeting greeting;

	begin("hello", 0);
	next(LNK__HELLO, 0, 0);
	CU_ASSERT_EQUAL(lnk__greeting_parse(record.body, &greeting), W_OK);
	CU_ASSERT(w_view_eq(greeting.name, W_VIEW("server-1")));
	CU_ASSERT(greeting.worker == 0 && greeting.workers == 2 && greeting.window == 262144);
	CU_ASSERT_EQUAL(greeting.epoch, 0x0102030405060708u);
	finish();

	begin("welcome", 0);
	next(LNK__WELCOME, 0, 0);
	CU_ASSERT_EQUAL(lnk__greeting_parse(record.body, &greeting), W_OK);
	CU_ASSERT(w_view_eq(greeting.name, W_VIEW("balancer-1")));
	CU_ASSERT(greeting.worker == 1 && greeting.workers == 2);
	finish();
}

static void
fields_are(const struct lnk_field *got, size_t count, const struct lnk_field *want, size_t wanted)
{
	CU_ASSERT_EQUAL_FATAL(count, wanted);
	for (size_t i = 0; i < count; i++) {
		CU_ASSERT(w_view_eq(got[i].name, want[i].name));
		CU_ASSERT(w_view_eq(got[i].value, want[i].value));
	}
}

static void
request_is(const struct lnk_request *want)
{
	struct lnk_request got;

	CU_ASSERT_EQUAL_FATAL(lnk__request_parse(&record, fields, &got), W_OK);
	CU_ASSERT(w_view_eq(got.method, want->method));
	CU_ASSERT(w_view_eq(got.scheme, want->scheme));
	CU_ASSERT(w_view_eq(got.authority, want->authority));
	CU_ASSERT(w_view_eq(got.target, want->target));
	CU_ASSERT(w_view_eq(got.client, want->client));
	CU_ASSERT(w_view_eq(got.id, want->id));
	CU_ASSERT(w_view_eq(got.traceparent, want->traceparent));
	CU_ASSERT(w_view_eq(got.position, want->position));
	CU_ASSERT(w_view_eq(got.idempotency, want->idempotency));
	CU_ASSERT_EQUAL(got.timeout, want->timeout);
	CU_ASSERT_EQUAL(got.length, want->length);
	CU_ASSERT_EQUAL(got.attempt, want->attempt);
	CU_ASSERT_EQUAL(got.end, want->end);
	CU_ASSERT_EQUAL(got.doubt, want->doubt);
	fields_are(got.fields, got.field_count, want->fields, want->field_count);
}

static void
response_is(const struct lnk_response *want)
{
	struct lnk_response got;

	CU_ASSERT_EQUAL_FATAL(lnk__response_parse(&record, fields, &got), W_OK);
	CU_ASSERT_EQUAL(got.status, want->status);
	CU_ASSERT_EQUAL(got.length, want->length);
	CU_ASSERT_EQUAL(got.end, want->end);
	CU_ASSERT_EQUAL(got.started, want->started);
	CU_ASSERT_EQUAL(got.queue, want->queue);
	CU_ASSERT_EQUAL(got.handler, want->handler);
	CU_ASSERT_EQUAL(got.database, want->database);
	fields_are(got.fields, got.field_count, want->fields, want->field_count);
}

static void
decodes_messages(void)
{
	int err = 0;

	begin("get", 1);
	next(LNK__REQUEST, LNK__END, 1);
	request_is(&get_request);
	finish();

	begin("post", 2);
	next(LNK__REQUEST, 0, 2);
	request_is(&post_request);
	next(LNK__DATA, LNK__END, 2);
	CU_ASSERT(w_view_eq(record.body, W_VIEW("hello")));
	finish();

	begin("doubt", 3);
	next(LNK__REQUEST, LNK__END | LNK__DOUBT, 3);
	request_is(&doubt_request);
	finish();

	begin("answer", 2);
	next(LNK__RESPONSE, LNK__STARTED, 1);
	response_is(&responses[0]);
	next(LNK__DATA, LNK__END, 1);
	CU_ASSERT(w_view_eq(record.body, W_VIEW("[]")));
	next(LNK__RESPONSE, LNK__STARTED, 2);
	response_is(&responses[1]);
	next(LNK__RESET, 0, 3);
	CU_ASSERT_EQUAL(lnk__reset_parse(record.body, &err), W_OK);
	CU_ASSERT_EQUAL(err, -W_EREFUSED);
	next(LNK__CREDIT, 0, 0);
	number_is(66);
	finish();

	begin("head", 3);
	next(LNK__RESPONSE, LNK__END | LNK__STARTED, 4);
	response_is(&responses[2]);
	finish();
}

static void
decodes_the_rest(void)
{
	struct lnk__goaway goaway;

	begin("window", 7);
	next(LNK__WINDOW, 0, 2);
	number_is(393216);
	finish();

	begin("beat", 8);
	next(LNK__PING, 0, 0);
	number_is(1000000);
	next(LNK__PONG, 0, 0);
	number_is(999983);
	finish();

	begin("drain", 9);
	next(LNK__CREDIT, 0, 0);
	next(LNK__GOAWAY, 0, 0);
	CU_ASSERT_EQUAL(lnk__goaway_parse(record.body, &goaway), W_OK);
	CU_ASSERT(goaway.err == -W_ESHUTDOWN && goaway.last == 66);
	CU_ASSERT(w_view_eq(goaway.text, W_VIEW("draining")));
	finish();

	begin("broken", 4);
	next(LNK__GOAWAY, LNK__NOW, 0);
	CU_ASSERT_EQUAL(lnk__goaway_parse(record.body, &goaway), W_OK);
	CU_ASSERT(goaway.err == -W_EPROTO && goaway.last == 2);
	finish();

	begin("later", 1);
	next(99, 1, 5);
	next(LNK__CREDIT, 0, 0);
	number_is(64);
	finish();
}

/* Every example cut short anywhere is refused or is a batch with fewer records, never more. */
static void
cut_short(void)
{
	for (size_t i = 0; i < W_NELEM(made); i++) {
		size_t len = example(made[i].name, bytes, sizeof(bytes));

		for (size_t cut = 0; cut < len; cut++) {
			W_AUTO(w_free) char *exact = w_xcalloc(1, cut + (cut == 0));
			struct lnk__batch batch;
			int rc = 1;

			memcpy(exact, bytes, cut);
			if (lnk__batch_parse((struct w_view){exact, cut}, &batch, &rest) < 0)
				continue;
			while (rc > 0)
				rc = lnk__record_parse(&rest, &record);
			CU_ASSERT(rc == 0 || rc == -W_EPROTO);
		}
	}
}

/* A body whose inner lengths reach beyond it. */
static void
lengths_that_lie(void)
{
	struct lnk_request request;
	struct lnk__greeting greeting;

	begin("get", 1);
	next(LNK__REQUEST, LNK__END, 1);
	for (size_t i = 0; i < record.body.len; i++) {
		struct lnk__record shorter = record;

		shorter.body.len = i;
		CU_ASSERT_EQUAL(lnk__request_parse(&shorter, fields, &request), -W_EPROTO);
	}
	((char *)record.body.ptr)[15] = 0x7f; /* the target's length */
	CU_ASSERT_EQUAL(lnk__request_parse(&record, fields, &request), -W_EPROTO);

	begin("hello", 0);
	next(LNK__HELLO, 0, 0);
	record.body.len--;
	CU_ASSERT_EQUAL(lnk__greeting_parse(record.body, &greeting), -W_EPROTO);
}

static int
try_field(struct w_view name, struct w_view value)
{
	W_AUTO(w_buf_fini) struct w_buf buf = {0};
	const struct lnk_field field = {name, value};
	struct lnk_request request = post_request, got;
	struct w_view from;

	request.fields = &field;
	request.field_count = 1;
	put_request(&buf, 1, &request);
	from = w_buf_get(&buf);
	CU_ASSERT_EQUAL(lnk__record_parse(&from, &record), 1);
	return lnk__request_parse(&record, fields, &got);
}

static void
texts_that_smuggle(void)
{
	CU_ASSERT_EQUAL(try_field(W_VIEW("x-a"), W_VIEW("b")), W_OK);
	CU_ASSERT_EQUAL(try_field(W_VIEW("x-a"), W_VIEW("")), W_OK);
	CU_ASSERT_EQUAL(try_field(W_VIEW("x-a"), W_VIEW("b\r\nc: d")), -W_EINVAL);
	CU_ASSERT_EQUAL(try_field(W_VIEW("x-a"), W_VIEW("b\nc")), -W_EINVAL);
	CU_ASSERT_EQUAL(try_field(W_VIEW("x-a"), W_VIEW("b\0c")), -W_EINVAL);
	CU_ASSERT_EQUAL(try_field(W_VIEW("x a"), W_VIEW("b")), -W_EINVAL);
	CU_ASSERT_EQUAL(try_field(W_VIEW("x:a"), W_VIEW("b")), -W_EINVAL);
	CU_ASSERT_EQUAL(try_field(W_VIEW("X-A"), W_VIEW("b")), -W_EINVAL);
	CU_ASSERT_EQUAL(try_field(W_VIEW(""), W_VIEW("b")), -W_EINVAL);
}

static void
too_much(void)
{
	static char big[LNK__BODY_MAX + 1];
	static struct lnk_field many[LNK_FIELDS_MAX + 1];
	struct lnk_request request = post_request;
	struct lnk_response response = responses[0];
	struct lnk_field field = {W_VIEW("a"), {big, sizeof(big)}};
	size_t size = 0;

	request.field_count = response.field_count = 1;
	request.fields = response.fields = &field;
	CU_ASSERT_EQUAL(lnk__request_size(&request, &size), -W_ETOOBIG);
	CU_ASSERT_EQUAL(lnk__response_size(&response, &size), -W_ETOOBIG);
	field.value.len = LNK__BODY_MAX - 40 - 6 - 1;
	CU_ASSERT_EQUAL(lnk__response_size(&response, &size), W_OK);
	CU_ASSERT_EQUAL(size, LNK__BODY_MAX + LNK__RECORD_HEADER);
	request.fields = response.fields = many;
	request.field_count = response.field_count = LNK_FIELDS_MAX + 1;
	CU_ASSERT_EQUAL(lnk__request_size(&request, &size), -W_ETOOBIG);
	CU_ASSERT_EQUAL(lnk__response_size(&response, &size), -W_ETOOBIG);
	request = post_request;
	request.id = (struct w_view){big, 65536};
	CU_ASSERT_EQUAL(lnk__request_size(&request, &size), -W_ETOOBIG);
}

/* The table of section 8 names every error of Weir's list, with the number that is sent. */
static void
codes(void)
{
	const char *at = strstr(spec, "\n## 8. Codes");
	const char *stop = at != NULL ? strstr(at, "\n## 9.") : NULL;
	unsigned found = 0;

	CU_ASSERT_PTR_NOT_NULL_FATAL(stop);
	while ((at = strstr(at, "\n| ")) != NULL && at < stop) {
		unsigned code;
		char name[32];

		at += 1;
		if (sscanf(at, "| %u | %31[A-Z]", &code, name) != 2 || code == 0)
			continue;
		CU_ASSERT_STRING_EQUAL(w_err_name(lnk__code_err(code)), name);
		CU_ASSERT_EQUAL(lnk__code_of(lnk__code_err(code)), code);
		found++;
	}
	CU_ASSERT_EQUAL(found, W_ERR_COUNT - 1);
	CU_ASSERT_EQUAL(lnk__code_of(W_OK), 0);
	CU_ASSERT_EQUAL(lnk__code_err(0), W_OK);
	CU_ASSERT_EQUAL(lnk__code_err(4711), -W_EINTERNAL);
	CU_ASSERT_EQUAL(lnk__code_of(-4711), lnk__code_of(-W_EINTERNAL));
}

static CU_TestInfo codec_tests[] = {
    {"the specification's examples are made byte for byte", encodes},
    {"HELLO and WELCOME are read as the specification says", decodes_greetings},
    {"REQUEST, RESPONSE, DATA and RESET are read as the specification says", decodes_messages},
    {"the other records are read as the specification says", decodes_the_rest},
    {"an example cut short is refused", cut_short},
    {"a length that reaches beyond its record is refused", lengths_that_lie},
    {"a text that could end a line is refused", texts_that_smuggle},
    {"a header over the limits is not made", too_much},
    {"every error has its code", codes},
    CU_TEST_INFO_NULL,
};

CU_SuiteInfo codec_suites[] = {
    {.pName = "link/codec",
	.pInitFunc = read_spec,
	.pCleanupFunc = forget_spec,
	.pTests = codec_tests},
    CU_SUITE_INFO_NULL,
};

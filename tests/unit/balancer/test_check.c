/*
 * Ambiguous and malformed requests: each reason for refusing its own case.
 */
#include "balancer/text.h"
#include "tests/unit/balancer/fake.h"
#include "tests/unit/unit.h"

#define H "Host: a.example\r\n"
#define K51 "012345678901234567890123456789012345678901234567890"
#define K255 K51 K51 K51 K51 K51

/* kind NULL: the request is good. */
struct verdict {
	unsigned status;
	const char *kind;
	const char *bytes;
};

/* clang-format off */
static const struct verdict verdicts[] = {
	{ 200, NULL, "GET / HTTP/1.1\r\n" H "\r\n" },
	{ 200, NULL, "\r\nGET / HTTP/1.1\r\n" H "\r\n" },
	{ 200, NULL, "GET / HTTP/1.0\r\n\r\n" },
	{ 200, NULL, "GET / HTTP/1.1\r\nHost:a.example:80\r\n\r\n" },
	{ 200, NULL, "GET / HTTP/1.1\r\nhOST: \t [2001:db8::1]:8443 \t \r\n\r\n" },
	{ 200, NULL, "GET http://a.example/x?y HTTP/1.1\r\n" H "\r\n" },
	{ 200, NULL, "GET HTTP://A.example HTTP/1.1\r\n" H "\r\n" },
	{ 200, NULL, "OPTIONS * HTTP/1.1\r\n" H "\r\n" },
	{ 200, NULL, "PROPFIND /dav HTTP/1.1\r\n" H "\r\n" },
	{ 200, NULL, "GET /a|b{c}?\"d\" HTTP/1.1\r\n" H "\r\n" },
	{ 200, NULL, "GET / HTTP/1.1\r\n" H "X: \xc3\xa9\r\nEmpty:\r\n\r\n" },
	{ 200, NULL, "POST / HTTP/1.1\r\n" H "Content-Length: 3\r\n\r\nabc" },
	{ 200, NULL, "POST / HTTP/1.1\r\n" H "Content-Length: 0\r\n\r\n" },
	{ 200, NULL, "POST / HTTP/1.1\r\n" H "Transfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n" },
	{ 200, NULL, "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\nA;x=\"y\"\r\n0123456789\r\n00\r\nT: v\r\n\r\n" },
	{ 200, NULL, "GET / HTTP/1.1\r\n" H "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n" },
	{ 200, NULL, "POST / HTTP/1.0\r\nExpect: 200-ok\r\nContent-Length: 1\r\n\r\nx" },

	{ 400, "bare_lf", "GET / HTTP/1.1\n" H "\r\n" },
	{ 400, "bare_lf", "GET / HTTP/1.1\r\nHost: a\n\r\n" },
	{ 400, "bare_lf", "GET / HTTP/1.1\r\n" H "\n" },
	{ 400, "bare_lf", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n" },
	{ 400, "bare_lf", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\n" },
	{ 400, "bare_cr", "GET / HTTP/1.1\rX: y\r\n" H "\r\n" },
	{ 400, "bare_cr", "GET / HTTP/1.1\r\n" H "X: a\rY: b\r\n\r\n" },
	{ 400, "bare_cr", "GET / HTTP/1.1\r\n" H "X\r: a\r\n\r\n" },
	{ 400, "bare_cr", "GET / HTTP/1.1\r\n" H "X: a\r\r\n\r\n" },
	{ 400, "control", "GET / HTTP/1.1\r\n" H "X: a\x01" "b\r\n\r\n" },
	{ 400, "control", "GET / HTTP/1.1\r\n" H "X: a\x7f\r\n\r\n" },
	{ 400, "control", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: \x0b" "chunked\r\n\r\n0\r\n\r\n" },
	{ 400, "obs_fold", "GET / HTTP/1.1\r\n" H "X: a\r\n b\r\n\r\n" },
	{ 400, "obs_fold", "GET / HTTP/1.1\r\n" H "X: a\r\n\tb\r\n\r\n" },
	{ 400, "obs_fold", "GET / HTTP/1.1\r\n Host: a\r\n\r\n" },
	{ 400, "field_name", "GET / HTTP/1.1\r\n" H "no colon\r\n\r\n" },
	{ 400, "field_name", "GET / HTTP/1.1\r\n" H "nocolon\r\n\r\n" },
	{ 400, "field_name", "GET / HTTP/1.1\r\n" H ": empty\r\n\r\n" },
	{ 400, "field_name", "GET / HTTP/1.1\r\n" H "X(y): z\r\n\r\n" },
	{ 400, "space_colon", "GET / HTTP/1.1\r\nHost : a\r\n\r\n" },
	{ 400, "space_colon", "POST / HTTP/1.1\r\n" H "Content-Length\t: 3\r\n\r\nabc" },
	{ 400, "request_line", "GET  / HTTP/1.1\r\n" H "\r\n" },
	{ 400, "request_line", "GET /  HTTP/1.1\r\n" H "\r\n" },
	{ 400, "request_line", "GET / HTTP/1.1 \r\n" H "\r\n" },
	{ 400, "request_line", "GET / http/1.1\r\n" H "\r\n" },
	{ 400, "request_line", "GET / HTTP/1.1x\r\n" H "\r\n" },
	{ 400, "request_line", "GET /a b HTTP/1.1\r\n" H "\r\n" },
	{ 400, "request_line", "GET / HTTP/01.1\r\n" H "\r\n" },
	{ 400, "method", "G@T / HTTP/1.1\r\n" H "\r\n" },
	{ 400, "method", "\x16\x03\x01\x02" },
	{ 400, "method", " GET / HTTP/1.1\r\n" H "\r\n" },
	{ 400, "method", "\r\n\r\nGET / HTTP/1.1\r\n" H "\r\n" },
	{ 400, "method", "GET\r\n" H "\r\n" },
	{ 501, "method_unknown", "BREW / HTTP/1.1\r\n" H "\r\n" },
	{ 501, "method_unknown", "get / HTTP/1.1\r\n" H "\r\n" },
	{ 501, "method_unknown", "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFGHIJKLMN" },
	{ 501, "connect", "CONNECT a.example:443 HTTP/1.1\r\n" H "\r\n" },
	{ 405, "trace", "TRACE / HTTP/1.1\r\n" H "\r\n" },
	{ 400, "target", "GET /a#b HTTP/1.1\r\n" H "\r\n" },
	{ 400, "target", "GET /\xc3\xa9 HTTP/1.1\r\n" H "\r\n" },
	{ 400, "target", "GET /\x01 HTTP/1.1\r\n" H "\r\n" },
	{ 400, "target", "GET a.example HTTP/1.1\r\n" H "\r\n" },
	{ 400, "target", "GET ftp://a.example/ HTTP/1.1\r\n" H "\r\n" },
	{ 400, "target", "GET http:/// HTTP/1.1\r\n" H "\r\n" },
	{ 400, "target", "GET http://u@a.example/ HTTP/1.1\r\n" H "\r\n" },
	{ 400, "target", "GET * HTTP/1.1\r\n" H "\r\n" },
	{ 505, "version", "GET / HTTP/2.0\r\n" H "\r\n" },
	{ 505, "version", "GET / HTTP/0.9\r\n\r\n" },
	{ 505, "version", "GET / HTTP/1.2\r\n" H "\r\n" },
	{ 505, "version", "GET /\r\n\r\n" },
	{ 505, "version", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" },
	{ 400, "host_missing", "GET / HTTP/1.1\r\n\r\n" },
	{ 400, "host_missing", "GET http://a.example/ HTTP/1.1\r\n\r\n" },
	{ 400, "host_repeated", "GET / HTTP/1.1\r\n" H H "\r\n" },
	{ 400, "host_repeated", "GET / HTTP/1.1\r\n" H "hOsT: b.example\r\n\r\n" },
	{ 400, "host_invalid", "GET / HTTP/1.1\r\nHost:\r\n\r\n" },
	{ 400, "host_invalid", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n" },
	{ 400, "host_invalid", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n" },
	{ 400, "host_invalid", "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n" },
	{ 400, "host_invalid", "GET / HTTP/1.1\r\nHost: a:b\r\n\r\n" },
	{ 400, "host_invalid", "GET / HTTP/1.1\r\nHost: a:70000\r\n\r\n" },
	{ 400, "host_invalid", "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n" },
	{ 400, "host_invalid", "GET / HTTP/1.1\r\nHost: [::1]x\r\n\r\n" },
	{ 400, "host_invalid", "GET / HTTP/1.1\r\nHost: :80\r\n\r\n" },
	{ 400, "host_mismatch", "GET http://b.example/ HTTP/1.1\r\n" H "\r\n" },
	{ 400, "length_invalid", "POST / HTTP/1.1\r\n" H "Content-Length: +3\r\n\r\nabc" },
	{ 400, "length_invalid", "POST / HTTP/1.1\r\n" H "Content-Length: -3\r\n\r\nabc" },
	{ 400, "length_invalid", "POST / HTTP/1.1\r\n" H "Content-Length: 0x3\r\n\r\nabc" },
	{ 400, "length_invalid", "POST / HTTP/1.1\r\n" H "Content-Length: 3, 3\r\n\r\nabc" },
	{ 400, "length_invalid", "POST / HTTP/1.1\r\n" H "Content-Length: 3 3\r\n\r\nabc" },
	{ 400, "length_invalid", "POST / HTTP/1.1\r\n" H "Content-Length:\r\n\r\nabc" },
	{ 400, "length_invalid", "POST / HTTP/1.1\r\n" H "Content-Length: 99999999999999999999\r\n\r\n" },
	{ 400, "length_invalid", "POST / HTTP/1.1\r\n" H "Content-Length: 18446744073709551615\r\n\r\n" },
	{ 400, "length_repeated", "POST / HTTP/1.1\r\n" H "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc" },
	{ 400, "length_repeated", "POST / HTTP/1.1\r\n" H "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc" },
	{ 400, "length_and_coding", "POST / HTTP/1.1\r\n" H "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" },
	{ 400, "length_and_coding", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n" },
	{ 400, "coding_repeated", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" },
	{ 400, "coding_repeated", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" },
	{ 400, "coding_invalid", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" },
	{ 400, "coding_invalid", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" },
	{ 400, "coding_invalid", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: identity\r\n\r\n" },
	{ 400, "coding_invalid", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n" },
	{ 400, "coding_invalid", "POST / HTTP/1.1\r\n" H "Transfer-Encoding:\r\n\r\n" },
	{ 501, "coding_unknown", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" },
	{ 400, "coding_old", "POST / HTTP/1.0\r\n" H "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" },
	{ 200, NULL, "POST / HTTP/1.1\r\n" H "Idempotency-Key: \"!~\"\r\n\r\n" },
	{ 200, NULL, "POST / HTTP/1.1\r\n" H "Idempotency-Key: " K255 "\r\n\r\n" },
	{ 400, "idempotency_key", "POST / HTTP/1.1\r\n" H "Idempotency-Key: " K255 "x\r\n\r\n" },
	{ 400, "idempotency_key", "POST / HTTP/1.1\r\n" H "Idempotency-Key:\r\n\r\n" },
	{ 400, "idempotency_key", "POST / HTTP/1.1\r\n" H "Idempotency-Key: a b\r\n\r\n" },
	{ 400, "idempotency_key", "GET / HTTP/1.1\r\n" H "Idempotency-Key: \xc3\xa9\r\n\r\n" },
	{ 400, "idempotency_key_repeated", "POST / HTTP/1.1\r\n" H "Idempotency-Key: a\r\nidempotency-key: a\r\n\r\n" },
	{ 417, "expect", "POST / HTTP/1.1\r\n" H "Expect: the-moon\r\nContent-Length: 1\r\n\r\nx" },
	{ 431, "fields_many", "GET / HTTP/1.1\r\n" H "A:\r\nB:\r\nC:\r\nD:\r\n\r\n" },
	{ 413, "body_large", "POST / HTTP/1.1\r\n" H "Content-Length: 1001\r\n\r\n" },
	{ 413, "body_large", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n3e9\r\n" "x" },
	{ 400, "chunk", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n\r\n" },
	{ 400, "chunk", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n" },
	{ 400, "chunk", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n-3\r\nabc\r\n0\r\n\r\n" },
	{ 400, "chunk", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n3 \r\nabc\r\n0\r\n\r\n" },
	{ 400, "chunk", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n3;a\rb\r\nabc\r\n0\r\n\r\n" },
	{ 400, "chunk", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n" },
	{ 400, "chunk", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\rx0\r\n\r\n" },
	{ 400, "chunk", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nabc" },
	{ 400, "chunk", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n0000000000000000000003\r\nabc" },
	{ 400, "trailer", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n0\r\nT : v\r\n\r\n" },
	{ 400, "trailer", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n0\r\nT: a\r\n b\r\n\r\n" },
	{ 400, "cut", "GET / HTTP/1.1\r\nHo" },
	{ 400, "cut", "POST / HTTP/1.1\r\n" H "Content-Length: 4\r\n\r\nabc" },
	{ 400, "cut", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n3\r\nab" },
};
/* clang-format on */

static int64_t
counted(const char *kind)
{
	for (unsigned i = 0; i < BAL_H1_ERROR_COUNT; i++)
		if (strcmp(bal_h1_error_info((enum bal_h1_error)i)->kind, kind) == 0)
			return w_metrics_value(fake.metrics, fake.edge.parse_metrics + i);
	return -1;
}

static void
begin(struct fake_client *client)
{
	fake_start();
	fake.opt.max_body = 1000;
	fake.opt.max_fields = 4;
	fake_peer(0, "a", 0, 100);
	client_open(client);
}

/* step 0: all at once. The client says goodbye at the end. */
static void
play(struct fake_client *client, struct w_view bytes, size_t step)
{
	size_t part;

	for (size_t at = 0; at < bytes.len; at += part) {
		part = step == 0 ? bytes.len : W_MIN(step, bytes.len - at);
		client_send(client, w_view_sub(bytes, at, part));
		while (fake_answer_all() > 0)
			client_take_output(client);
	}
	bal_h1_eof(&client->h1);
	while (fake_answer_all() > 0)
		client_take_output(client);
	client_take_output(client);
}

static bool
answered(struct fake_client *client, unsigned status)
{
	char start[40];

	snprintf(start, sizeof(start), "HTTP/1.1 %u ", status);
	return strncmp(client_text(client), start, strlen(start)) == 0;
}

static void
each_reason(void)
{
	struct fake_client client;

	for (size_t i = 0; i < W_NELEM(verdicts); i++) {
		const struct verdict *v = &verdicts[i];
		bool good;

		begin(&client);
		play(&client, w_view_of(v->bytes), 0);
		good = answered(&client, v->status) &&
		    (v->kind == NULL || counted(v->kind) == 1) &&
		    (v->kind == NULL || strstr(client_text(&client), "connection: close") != NULL) &&
		    client.h1.state == BAL_H1_CLOSE;
		if (!good)
			printf("\nverdict %zu, wanted %u %s:\n%s\ngot:\n%s\n", i, v->status,
			    v->kind != NULL ? v->kind : "", v->bytes, client_text(&client));
		CU_ASSERT(good);
		client_close(&client);
		fake_stop();
	}
}

static void
every_split_gives_the_same(void)
{
	struct fake_client whole, split;

	for (size_t i = 0; i < W_NELEM(verdicts); i++) {
		begin(&whole);
		play(&whole, w_view_of(verdicts[i].bytes), 0);
		client_text(&whole);
		bal_h1_fini(&whole.h1);
		fake_stop();
		for (size_t step = 1; step < 8; step++) {
			begin(&split);
			play(&split, w_view_of(verdicts[i].bytes), step);
			if (strcmp(client_text(&split), client_text(&whole)) != 0)
				printf("\nverdict %zu, step %zu:\n%s\nnot:\n%s\n", i, step,
				    split.output.ptr, whole.output.ptr);
			CU_ASSERT(w_view_eq(w_buf_get(&split.output), w_buf_get(&whole.output)));
			client_close(&split);
			fake_stop();
		}
		w_buf_fini(&whole.output);
	}
}

static void
no_refused_request_reaches_a_server(void)
{
	struct fake_client client;

	for (size_t i = 0; i < W_NELEM(verdicts); i++) {
		const char *end = strstr(verdicts[i].bytes, "\r\n\r\n");

		/* Faults of the header, that is; a body's are found while it is on its way. */
		if (verdicts[i].kind == NULL || (end != NULL && end[4] != '\0'))
			continue;
		if (strcmp(verdicts[i].kind, "chunk") == 0 || strcmp(verdicts[i].kind, "cut") == 0)
			continue;
		begin(&client);
		play(&client, w_view_of(verdicts[i].bytes), 0);
		CU_ASSERT(fake.opened == 0);
		client_close(&client);
		fake_stop();
	}
}

static void
sizes_are_limited(void)
{
	static char long_target[9000], long_header[20000];
	struct fake_client client;
	int len;

	len = snprintf(long_target, sizeof(long_target), "GET /%0*d", 8200, 0);
	begin(&client);
	play(&client, (struct w_view){ long_target, (size_t)len }, 1000);
	CU_ASSERT(answered(&client, 414) && counted("target_long") == 1);
	client_close(&client);
	fake_stop();

	len = snprintf(long_header, sizeof(long_header), "GET / HTTP/1.1\r\nHost: a\r\nX: %0*d",
	    16500, 0);
	for (size_t step = 0; step < 20000; step += 999) {
		begin(&client);
		play(&client, (struct w_view){ long_header, (size_t)len }, step);
		CU_ASSERT(answered(&client, 431) && counted("header_large") == 1);
		client_close(&client);
		fake_stop();
	}
}

static void
big_headers_fit_when_allowed(void)
{
	static char bytes[200000];
	struct fake_client client;
	int len = snprintf(bytes, sizeof(bytes),
	    "POST /big HTTP/1.1\r\nHost: a\r\nX: %0*d\r\nContent-Length: 5\r\n\r\nhello"
	    "GET /two HTTP/1.1\r\nHost: a\r\n\r\n", 100000, 0);

	for (size_t step = 0; step < 100000; step = step * 3 + 777) {
		begin(&client);
		fake.opt.max_header = 128 * 1024;
		play(&client, (struct w_view){ bytes, (size_t)len }, step);
		CU_ASSERT(answered(&client, 200));
		CU_ASSERT(strstr(client_text(&client), "\r\n\r\nPOST /big 5 ") != NULL);
		CU_ASSERT(strstr(client_text(&client), "\r\n\r\nGET /two 0 ") != NULL);
		client_close(&client);
		fake_stop();
	}
}

static void
trace_context_is_checked(void)
{
	static const struct { bool valid; const char *text; } cases[] = {
		{ true, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01" },
		{ true, "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more" },
		{ false, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more" },
		{ false, "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01" },
		{ false, "00-00000000000000000000000000000000-00f067aa0ba902b7-01" },
		{ false, "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01" },
		{ false, "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01" },
		{ false, "00-4bf92f3577b34da6a3ce929d0e0e4736" },
		{ false, "" },
	};
	char made[BAL_TRACE_LEN + 1];

	for (size_t i = 0; i < W_NELEM(cases); i++)
		CU_ASSERT(bal_trace_valid(w_view_of(cases[i].text)) == cases[i].valid);
	for (unsigned i = 0; i < 100; i++) {
		bal_trace_make(made);
		CU_ASSERT(bal_trace_valid(w_view_of(made)));
	}
}

static CU_TestInfo check_tests[] = {
	{ "each ambiguous request gets its status and reason", each_reason },
	{ "any split of the bytes gives the same answers", every_split_gives_the_same },
	{ "no refused header reaches a server", no_refused_request_reaches_a_server },
	{ "targets and headers are limited, wherever the bytes are split", sizes_are_limited },
	{ "a header bigger than a block fits when it may", big_headers_fit_when_allowed },
	{ "a trace context is checked, and made", trace_context_is_checked },
	CU_TEST_INFO_NULL
};

CU_SuiteInfo check_suites[] = {
	{ .pName = "balancer/check", .pTests = check_tests },
	CU_SUITE_INFO_NULL
};

/*
 * Fuzz target: bytes of a client against the balancer's HTTP/1 front.
 *
 * 1. The same bytes, whole and split at random, get the same answers.
 * 2. With servers that answer early, late, half, or die, nothing leaks and nothing breaks.
 */
#include "common/log.h"
#include "tests/unit/balancer/fake.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t state;

static size_t
below(size_t limit)
{
	state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (size_t)(state >> 33) % limit;
}

static void
begin(struct fake_client *client)
{
	w_log_init("fuzz", W_ERROR, false);
	fake_start();
	fake.opt.max_header = 2000;
	fake.opt.max_target = 600;
	fake.opt.max_fields = 20;
	fake.opt.max_body = 5000;
	fake_peer(0, "a", 0, 100);
	fake_peer(1, "b", 0, 100);
	client_open(client);
}

static void
settle(struct fake_client *client)
{
	do
		client_take_output(client);
	while (fake_answer_all() > 0);
	client_take_output(client);
	bal_h1_trim(&client->h1);
}

/* most 0: all at once. */
static void
play(struct fake_client *client, struct w_view bytes, size_t most)
{
	size_t part;

	begin(client);
	while (bytes.len > 0) {
		part = most == 0 ? bytes.len : W_MIN(1 + below(most), bytes.len);
		part = client_send(client, w_view_sub(bytes, 0, part));
		bytes = w_view_sub(bytes, part, SIZE_MAX);
		settle(client);
		if (part == 0 && !bal_h1_wants_input(&client->h1))
			break;
	}
	bal_h1_eof(&client->h1);
	settle(client);
}

/* 100 Continue is sent only when no byte of the body has come yet: that may differ. */
static void
drop_interim(struct w_buf *text)
{
	static const char interim[] = "HTTP/1.1 100 Continue\r\n\r\n";
	size_t len = sizeof(interim) - 1;
	char *at;

	while (text->len >= len && (at = memmem(text->ptr, text->len, interim, len)) != NULL) {
		memmove(at, at + len, (size_t)(text->ptr + text->len - at) - len);
		text->len -= len;
	}
}

static void
compare_splits(struct w_view bytes)
{
	struct fake_client whole, split;

	play(&whole, bytes, 0);
	drop_interim(&whole.output);
	bal_h1_fini(&whole.h1);
	fake_stop();
	for (size_t most = 1; most < 200; most = most * 5 + 1) {
		play(&split, bytes, most);
		drop_interim(&split.output);
		W_ASSERT(w_view_eq(w_buf_get(&whole.output), w_buf_get(&split.output)));
		client_close(&split);
		fake_stop();
	}
	w_buf_fini(&whole.output);
}

static void
answer_half(struct lnk_stream *s)
{
	struct lnk_field field = { W_VIEW("x"), W_VIEW("y") };
	struct lnk_response response = { .status = (unsigned)(below(500) + 100),
		.length = (int64_t)below(5) - 1, .end = below(4) == 0, .fields = &field,
		.field_count = below(2) };

	s->answered = true;
	bal_exchange_on_response(s, &response, s->arg);
}

static void
server_acts(void)
{
	static const int errors[] = { W_OK, -W_ELOST, -W_EREFUSED, -W_ESHUTDOWN, -W_EINTERNAL };
	struct lnk_stream *s = fake_nth((unsigned)below(3));

	if (s == NULL)
		return;
	switch (below(6)) {
	case 0:
		fake_answer_all();
		break;
	case 1:
		fake_close(s, errors[below(W_NELEM(errors))]);
		break;
	case 2:
		s->window += below(1000);
		bal_exchange_on_writable(s, s->arg);
		break;
	case 3:
		answer_half(s);
		break;
	case 4:
		if (s->answered)
			bal_exchange_on_data(s, w_view_sub(W_VIEW("xyz"), 0, below(4)), below(2), s->arg);
		break;
	default:
		fake_advance((w_usec)below(4 * W_SEC));
	}
}

static void
misbehave(struct w_view bytes)
{
	struct fake_client client;

	begin(&client);
	fake.window = below(300);
	fake.opt.retry_buffer = below(2) * 100;
	fake.opt.queue_max = below(2);
	fake.peers[0].credit = below(3) ? 100 : 0;
	fake.peers[1].refuses = below(4) == 0;
	while (bytes.len > 0 && client.h1.state != BAL_H1_CLOSE) {
		size_t part = client_send(&client, w_view_sub(bytes, 0, 1 + below(100)));

		bytes = w_view_sub(bytes, part, SIZE_MAX);
		server_acts();
		if (below(50) == 0 || (part == 0 && below(10) == 0))
			break;
		if (below(3) == 0)
			client_take_output(&client);
	}
	if (below(2))
		bal_h1_eof(&client.h1);
	else if (below(2))
		bal_h1_timeout(&client.h1);
	server_acts();
	client_close(&client);
	fake_stop();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct w_view bytes = { (const char *)data, size };

	if (size > 20000)
		return 0;
	state = w_view_hash(bytes);
	compare_splits(bytes);
	for (unsigned i = 0; i < 4; i++)
		misbehave(bytes);
	return 0;
}

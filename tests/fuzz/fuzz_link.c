/*
 * Fuzz the link: the codec's parsers, then a session of each end that gets the input as a batch.
 *
 * The input goes in twice: as it is, to an end that nobody has greeted; and with its header mended
 * (session and number), to ends in the middle of their work. What callbacks do there is drawn from
 * the input, so every call of link.h is made in every state.
 */
#include <stdint.h>

#include "link/peer.h"

#define SESSION 7

static struct lnk__end hub, spoke;
static struct lnk_field fields[LNK_FIELDS_MAX];
static uint64_t dice;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned
roll(unsigned sides)
{
	dice = dice * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(dice >> 33) % sides;
}

/* ---- the parsers ---- */

static void
parse_all(const uint8_t *data, size_t size)
{
	struct w_view rest;
	struct lnk__batch batch;
	struct lnk__record record;

	if (lnk__batch_parse((struct w_view){(const char *)data, size}, &batch, &rest) == -W_EPROTO)
		return;
	while (lnk__record_parse(&rest, &record) > 0) {
		struct lnk_request request;
		struct lnk_response response;
		struct lnk__greeting greeting;
		struct lnk__goaway goaway;
		uint64_t number;
		int err;

		lnk__request_parse(&record, fields, &request);
		lnk__response_parse(&record, fields, &response);
		lnk__greeting_parse(record.body, &greeting);
		lnk__goaway_parse(record.body, &goaway);
		lnk__number_parse(record.body, &number);
		lnk__reset_parse(record.body, &err);
	}
}

/* ---- users that do anything they may ---- */

static void
send_some(struct lnk_stream *stream)
{
	static const char bytes[100000];

	lnk_stream_send(stream, (struct w_view){bytes, roll(sizeof(bytes))}, roll(3) == 0);
}

static void
respond_somehow(struct lnk_stream *stream)
{
	const struct lnk_field field = {W_VIEW("server"), W_VIEW("weir")};
	const struct lnk_response response = {.status = 200,
	    .length = -1,
	    .end = roll(2) == 0,
	    .fields = &field,
	    .field_count = roll(2)};

	lnk_stream_respond(stream, &response);
	if (!response.end)
		send_some(stream);
}

static void
open_some(struct lnk_peer *peer)
{
	const struct lnk_request request = {
	    .method = W_VIEW("PUT"), .target = W_VIEW("/"), .length = -1, .end = roll(2) == 0};
	struct lnk_stream *stream;

	if (lnk_hub_open(peer, &request, NULL, &stream) == W_OK && !request.end)
		send_some(stream);
}

static void
on_data(struct lnk_stream *stream, struct w_view bytes, bool end W_UNUSED, void *arg W_UNUSED)
{
	unsigned what = roll(8);

	if (what == 0) {
		lnk_stream_reset(stream, -(int)roll(W_ERR_COUNT));
		return;
	}
	lnk_stream_consumed(stream, what < 3 ? bytes.len / 2 : bytes.len);
	if (what == 3 && lnk_stream_arg(stream) != NULL)
		send_some(stream);
}

static void
on_writable(struct lnk_stream *stream, void *arg W_UNUSED)
{
	if (roll(2) == 0)
		send_some(stream);
}

static void
on_closed(struct lnk_stream *stream, int err W_UNUSED, void *arg)
{
	struct lnk_peer *peer = lnk_stream_peer(stream);

	/* Not again and again: what is opened while the session ends is closed as well. */
	if (arg == &hub && roll(4) == 0)
		open_some(peer);
}

static void
on_response(
    struct lnk_stream *stream, const struct lnk_response *response W_UNUSED, void *arg W_UNUSED)
{
	if (roll(8) == 0)
		lnk_stream_reset(stream, -W_ECANCELED);
}

static void
on_request(
    struct lnk_stream *stream, const struct lnk_request *request W_UNUSED, void *arg W_UNUSED)
{
	unsigned what = roll(4);

	if (what == 0) {
		lnk_stream_reset(stream, -W_EREFUSED);
		return;
	}
	if (what == 1)
		return;
	lnk_stream_set_arg(stream, &spoke); /* has responded */
	respond_somehow(stream);
}

static void
on_peer(struct lnk_peer *peer W_UNUSED, void *arg W_UNUSED)
{
}

static void
on_down(struct lnk_peer *peer W_UNUSED, int err W_UNUSED, void *arg W_UNUSED)
{
}

static const struct lnk_hub_ops hub_ops = {
    {on_data, on_writable, on_closed}, on_peer, on_down, on_peer, on_response};
static const struct lnk_spoke_ops spoke_ops = {
    {on_data, on_writable, on_closed}, on_request, on_peer, on_down};

/* ---- sessions ---- */

static int
transmit(struct lnk_peer *peer W_UNUSED, struct w_view batch W_UNUSED)
{
	unsigned what = roll(16);

	return what == 0 ? -W_EAGAIN : what == 1 && roll(8) == 0 ? -W_ELOST : W_OK;
}

static void
bury(struct lnk_peer *peer)
{
	lnk__peer_down(peer, peer->doom, -W_ELOST);
}

static void
begin(struct lnk__end *end, struct lnk_peer *peer, bool is_hub)
{
	*end = (struct lnk__end){.hub = is_hub,
	    .name = "me",
	    .workers = 1,
	    .capacity = 8,
	    .stream_ops = is_hub ? &hub_ops.stream : &spoke_ops.stream,
	    .hub_ops = &hub_ops,
	    .spoke_ops = &spoke_ops,
	    .arg = end,
	    .transmit = transmit,
	    .bury = bury};
	lnk__end_init(end);
	lnk__peer_init(peer, end, is_hub ? 0 : SESSION);
}

static void
finish(struct lnk__end *end, struct lnk_peer *peer)
{
	lnk__end_turn(end);
	if (peer->state != LNK__DOWN)
		lnk__peer_down(peer, -W_ESHUTDOWN, -W_ECANCELED);
	lnk__peer_fini(peer);
	lnk__end_fini(end);
}

static void
give(struct lnk__end *end, struct lnk_peer *peer, struct w_buf *batch)
{
	lnk__batch_seal(batch, SESSION, peer->in_number);
	if (peer->state != LNK__DOWN)
		lnk__peer_receive(peer, batch->ptr, batch->len);
	lnk__end_sweep(end);
	lnk__end_turn(end);
}

/* The greeting of the other end; for a spoke also requests, for a hub credit to make some. */
static void
warm_up(struct lnk__end *end, struct lnk_peer *peer)
{
	const struct lnk__greeting greeting = {0, 1, 100000, 5, W_VIEW("you")};
	const struct lnk_request request = {
	    .method = W_VIEW("PUT"), .target = W_VIEW("/"), .length = -1};
	W_AUTO(w_buf_fini) struct w_buf batch = {0};
	size_t size;

	peer->share = 6;
	lnk__batch_begin(&batch);
	lnk__put_greeting(&batch, end->hub ? LNK__HELLO : LNK__WELCOME, &greeting);
	give(end, peer, &batch);

	w_buf_clear(&batch);
	lnk__batch_begin(&batch);
	if (end->hub)
		lnk__put_number(&batch, LNK__CREDIT, 0, 20);
	for (uint64_t i = 1; !end->hub && i <= 4; i++) {
		lnk__request_size(&request, &size);
		lnk__put_request(&batch, i, &request, size);
	}
	give(end, peer, &batch);
	for (int i = 0; end->hub && i < 4; i++)
		open_some(peer);
	lnk__end_turn(end);
}

static void
session(struct lnk__end *end, bool is_hub, bool warm, const uint8_t *data, size_t size)
{
	struct lnk_peer peer;
	W_AUTO(w_buf_fini) struct w_buf batch = {0};

	begin(end, &peer, is_hub);
	if (!warm) {
		lnk__peer_receive(&peer, data, size);
		lnk__end_sweep(end);
		finish(end, &peer);
		return;
	}
	warm_up(end, &peer);
	w_buf_add(&batch, data, size);
	if (size >= LNK__BATCH_HEADER)
		for (int i = 0; i < 2; i++)
			give(end, &peer, &batch);
	finish(end, &peer);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	dice = w_view_hash((struct w_view){(const char *)data, size});
	parse_all(data, size);
	session(&hub, true, false, data, size);
	session(&spoke, false, false, data, size);
	session(&hub, true, true, data, size);
	session(&spoke, false, true, data, size);
	return 0;
}

/*
 * Responses as HTTP/1.1 text: see h1.h.
 */
#include "balancer/h1.h"
#include "balancer/problem.h"

/* All that the balancer itself puts into a header fits into this. */
#define OWN_HEADER 1024

static char *
put(char *to, struct w_view text)
{
	memcpy(to, text.ptr, text.len);
	return to + text.len;
}

static char *
put_u64(char *to, uint64_t value)
{
	char digits[20];
	size_t n = 0;

	do
		digits[n++] = (char)('0' + value % 10);
	while ((value /= 10) != 0);
	while (n > 0)
		*to++ = digits[--n];
	return to;
}

static char *
put_hex(char *to, uint64_t value)
{
	static const char hex[] = "0123456789abcdef";
	char digits[16];
	size_t n = 0;

	do
		digits[n++] = hex[value & 15];
	while ((value >>= 4) != 0);
	while (n > 0)
		*to++ = digits[--n];
	return to;
}

/* ", name;dur=1.234": milliseconds. */
static char *
put_timing(char *to, struct w_view name, w_usec took, bool *first)
{
	uint64_t usec = (uint64_t)W_MIN(took, 1000 * 3600 * W_SEC);

	if (took < 0)
		return to;
	to = put(to, *first ? W_VIEW("server-timing: ") : W_VIEW(", "));
	*first = false;
	to = put(to, name);
	to = put(to, W_VIEW(";dur="));
	to = put_u64(to, usec / 1000);
	*to++ = '.';
	*to++ = (char)('0' + usec / 100 % 10);
	*to++ = (char)('0' + usec / 10 % 10);
	*to++ = (char)('0' + usec % 10);
	return to;
}

static char *
put_timings(char *to, const struct bal_head *head)
{
	bool first = true;

	to = put_timing(to, W_VIEW("edge"), head->waited, &first);
	to = put_timing(to, W_VIEW("link"), head->link, &first);
	to = put_timing(to, W_VIEW("queue"), head->queue, &first);
	to = put_timing(to, W_VIEW("app"), head->handler, &first);
	to = put_timing(to, W_VIEW("db"), head->database, &first);
	return first ? to : put(to, W_VIEW("\r\n"));
}

static char *
put_status(char *to, unsigned status)
{
	to = put(to, W_VIEW("HTTP/1.1 "));
	to = put_u64(to, status);
	*to++ = ' ';
	return put(to, w_view_of(bal_reason(status)));
}

/* Which bytes end the body: a length, chunks, or the end of the connection. */
static char *
put_framing(struct bal_h1 *h1, const struct bal_head *head, char *to)
{
	int64_t length = head->end && head->length < 0 ? 0 : head->length;
	bool bare = head->status == 204 || (head->status == 304 && length <= 0);

	h1->no_body = h1->head_only || head->status == 204 || head->status == 304;
	h1->chunked = false;
	h1->res_left = length;
	if (bare || (h1->head_only && head->length < 0))
		return to;
	if (length >= 0) {
		to = put(to, W_VIEW("content-length: "));
		to = put_u64(to, (uint64_t)length);
		return put(to, W_VIEW("\r\n"));
	}
	if (h1->minor == 0) {
		h1->keep_alive = false;
		return to;
	}
	h1->chunked = true;
	return put(to, W_VIEW("transfer-encoding: chunked\r\n"));
}

/* Fields that belong to one hop, or that are written by ourselves. */
static bool
is_ours(struct w_view name)
{
	static const struct w_view ours[] = {
#define V(text) { text, sizeof(text) - 1 }
		V("connection"), V("keep-alive"), V("proxy-connection"), V("transfer-encoding"),
		V("upgrade"), V("trailer"), V("te"), V("content-length"), V("date"),
		V("x-request-id"),
#undef V
	};

	for (size_t i = 0; i < W_NELEM(ours); i++)
		if (ours[i].len == name.len && ours[i].ptr[0] == name.ptr[0] &&
		    w_view_eq(ours[i], name))
			return true;
	return false;
}

/* *ret_hsts: a server sent Strict-Transport-Security by itself. */
static void
write_fields(struct bal_h1 *h1, const struct bal_head *head, bool *ret_hsts)
{
	for (size_t i = 0; i < head->field_count; i++) {
		struct w_view name = head->fields[i].name, value = head->fields[i].value;
		size_t len = name.len + value.len + 4;
		char *to;

		if (is_ours(name))
			continue;
		if (w_view_eq(name, W_VIEW("strict-transport-security")))
			*ret_hsts = true;
		if (len <= BAL_BLOCK / 8 && (to = bal_out_room(&h1->out, len)) != NULL) {
			to = put(put(to, name), W_VIEW(": "));
			put(value.len > 0 ? put(to, value) : to, W_VIEW("\r\n"));
			bal_out_added(&h1->out, len);
			continue;
		}
		bal_out_add(&h1->out, name.ptr, name.len);
		bal_out_add(&h1->out, ": ", 2);
		bal_out_add(&h1->out, value.ptr, value.len);
		bal_out_add(&h1->out, "\r\n", 2);
	}
}

void
bal_h1_write_head(struct bal_h1 *h1, const struct bal_head *head, struct w_view id)
{
	char *start = bal_out_room(&h1->out, OWN_HEADER), *to = start;
	bool hsts = false;

	if (start == NULL)
		return;
	to = put_status(to, head->status);
	to = put(to, W_VIEW("\r\ndate: "));
	to = put(to, (struct w_view){ bal_date(h1->edge), 29 });
	to = put(to, W_VIEW("\r\n"));
	to = put_framing(h1, head, to);
	if (!h1->keep_alive)
		to = put(to, W_VIEW("connection: close\r\n"));
	else if (h1->minor == 0)
		to = put(to, W_VIEW("connection: keep-alive\r\n"));
	to = put(to, W_VIEW("x-request-id: "));
	to = put(to, id);
	to = put(to, W_VIEW("\r\n"));
	to = put_timings(to, head);
	bal_out_added(&h1->out, (size_t)(to - start));

	write_fields(h1, head, &hsts);
	if (h1->tls && !hsts)
		bal_out_add(&h1->out, "strict-transport-security: max-age=63072000\r\n", 45);
	bal_out_add(&h1->out, "\r\n", 2);
}

void
bal_h1_write_body(struct bal_h1 *h1, struct w_view bytes, bool end)
{
	char size[20], *to;

	if (h1->no_body)
		return;
	if (!h1->chunked) {
		bal_out_add(&h1->out, bytes.ptr, bytes.len);
		return;
	}
	if (bytes.len > 0) {
		to = put(put_hex(size, bytes.len), W_VIEW("\r\n"));
		bal_out_add(&h1->out, size, (size_t)(to - size));
		bal_out_add(&h1->out, bytes.ptr, bytes.len);
		bal_out_add(&h1->out, "\r\n", 2);
	}
	if (end)
		bal_out_add(&h1->out, "0\r\n\r\n", 5);
}

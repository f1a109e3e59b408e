/*
 * The JSON writer. Text goes out in runs: bytes that need nothing are copied at once,
 * only quotes, control bytes and what is not UTF-8 are looked at singly.
 */
#include <math.h>
#include <stdio.h>

#include "common/buf.h"

#define JSON_DEPTH 32

void
w_json_init(struct w_json *json, struct w_buf *out)
{
	*json = (struct w_json){ .out = out };
}

/* What comes before every value: a comma, unless it is the first or follows its key. */
static void
before_value(struct w_json *json)
{
	uint32_t bit;

	if (json->after_key) {
		json->after_key = false;
		return;
	}
	/* depth 0 holds one value only and needs no bit */
	if (json->depth == 0)
		return;
	bit = UINT32_C(1) << (json->depth - 1);
	if (json->comma & bit)
		w_buf_char(json->out, ',');
	json->comma |= bit;
}

void
w_json_open(struct w_json *json, char bracket)
{
	before_value(json);
	if (json->depth == JSON_DEPTH) {
		json->out->broken = true;
		return;
	}
	json->depth++;
	json->comma &= ~(UINT32_C(1) << (json->depth - 1));
	w_buf_char(json->out, bracket);
}

void
w_json_close(struct w_json *json, char bracket)
{
	if (json->depth == 0 || json->after_key) {
		json->out->broken = true;
		return;
	}
	json->depth--;
	w_buf_char(json->out, bracket);
}

/* Length of the well-formed UTF-8 sequence at ptr (RFC 3629), 0 when it is none. */
static size_t
utf8_len(const unsigned char *ptr, size_t left)
{
	static const struct {
		unsigned char from, to, second_from, second_to, len;
	} forms[] = {
		{ 0xc2, 0xdf, 0x80, 0xbf, 2 },
		{ 0xe0, 0xe0, 0xa0, 0xbf, 3 },
		{ 0xe1, 0xec, 0x80, 0xbf, 3 },
		{ 0xed, 0xed, 0x80, 0x9f, 3 },
		{ 0xee, 0xef, 0x80, 0xbf, 3 },
		{ 0xf0, 0xf0, 0x90, 0xbf, 4 },
		{ 0xf1, 0xf3, 0x80, 0xbf, 4 },
		{ 0xf4, 0xf4, 0x80, 0x8f, 4 },
	};

	for (size_t i = 0; i < W_NELEM(forms); i++) {
		if (ptr[0] < forms[i].from || ptr[0] > forms[i].to)
			continue;
		if (left < forms[i].len || ptr[1] < forms[i].second_from ||
		    ptr[1] > forms[i].second_to)
			return 0;
		for (size_t j = 2; j < forms[i].len; j++)
			if (ptr[j] < 0x80 || ptr[j] > 0xbf)
				return 0;
		return forms[i].len;
	}
	return 0;
}

/* Write what stands for the one byte (or broken sequence) at which a run ended. */
static void
add_special(struct w_buf *out, unsigned char c)
{
	static const char hex[] = "0123456789abcdef";
	static const char shorts[] = { ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f',
		['\r'] = 'r' };
	char escape[6] = { '\\', 'u', '0', '0', hex[c >> 4], hex[c & 15] };

	if (c >= 0x80) {
		w_buf_add(out, "\xef\xbf\xbd", 3);
	} else if (c == '"' || c == '\\' || (c < sizeof(shorts) && shorts[c] != 0)) {
		escape[1] = c < sizeof(shorts) ? shorts[c] : (char)c;
		w_buf_add(out, escape, 2);
	} else {
		w_buf_add(out, escape, 6);
	}
}

/* True when all eight bytes are plain: no control byte, quote, backslash, none over 0x7f. */
static bool
plain_word(const unsigned char *at)
{
	static const uint64_t ones = UINT64_C(0x0101010101010101), highs = ones * 0x80;
	uint64_t word, quote, slash;

	memcpy(&word, at, sizeof(word));
	quote = word ^ ones * '"';
	slash = word ^ ones * '\\';
	/* a byte less than n borrows from its high bit; bytes over 0x7f are caught by word */
	return ((word | (word - ones * 0x20) | (quote - ones) | (slash - ones)) & highs) == 0;
}

static void
add_string(struct w_buf *out, struct w_view text)
{
	const unsigned char *at = (const unsigned char *)text.ptr, *end, *run;
	size_t len;

	w_buf_char(out, '"');
	for (end = at + text.len, run = at; at < end;) {
		if (end - at >= 8 && plain_word(at)) {
			at += 8;
			continue;
		}
		if (*at >= 0x20 && *at < 0x80 && *at != '"' && *at != '\\') {
			at++;
			continue;
		}
		len = *at >= 0x80 ? utf8_len(at, (size_t)(end - at)) : 0;
		if (len != 0) {
			at += len;
			continue;
		}
		w_buf_add(out, run, (size_t)(at - run));
		add_special(out, *at);
		run = ++at;
	}
	w_buf_add(out, run, (size_t)(at - run));
	w_buf_char(out, '"');
}

void
w_json_key(struct w_json *json, const char *key)
{
	/* a key without a value before it would make text that no parser takes */
	if (json->after_key) {
		json->out->broken = true;
		return;
	}
	before_value(json);
	add_string(json->out, w_view_of(key));
	w_buf_char(json->out, ':');
	json->after_key = true;
}

void
w_json_view(struct w_json *json, struct w_view text)
{
	if (text.ptr == NULL) {
		w_json_null(json);
		return;
	}
	before_value(json);
	add_string(json->out, text);
}

void
w_json_text(struct w_json *json, const char *text)
{
	w_json_view(json, w_view_of(text));
}

void
w_json_int(struct w_json *json, int64_t value)
{
	before_value(json);
	if (value < 0)
		w_buf_char(json->out, '-');
	/* 0 - value in unsigned arithmetic: the least number has no positive twin */
	w_buf_u64(json->out, value < 0 ? UINT64_C(0) - (uint64_t)value : (uint64_t)value);
}

/*
 * The shortest of 15 to 17 digits that reads back as the same number. The decimal
 * point is made a point whatever the locale says.
 */
void
w_json_real(struct w_json *json, double value)
{
	char text[40];
	size_t len = 0;

	if (!isfinite(value)) {
		w_json_null(json);
		return;
	}
	if (fabs(value) < 1e15 && value == (double)(int64_t)value) {
		w_json_int(json, (int64_t)value);
		return;
	}
	for (int digits = 15; digits <= 17; digits++) {
		len = (size_t)snprintf(text, sizeof(text), "%.*g", digits, value);
		if (strtod(text, NULL) == value)
			break;
	}
	for (size_t i = 0; i < len; i++)
		if (text[i] == ',')
			text[i] = '.';
	before_value(json);
	w_buf_add(json->out, text, len);
}

void
w_json_bool(struct w_json *json, bool value)
{
	before_value(json);
	w_buf_text(json->out, value ? "true" : "false");
}

void
w_json_null(struct w_json *json)
{
	before_value(json);
	w_buf_text(json->out, "null");
}

void
w_json_raw(struct w_json *json, struct w_view text)
{
	before_value(json);
	w_buf_view(json->out, text);
}

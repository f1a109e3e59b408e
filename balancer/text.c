/*
 * Bytes of HTTP: see text.h.
 */
#include "balancer/text.h"

/* Sums of enum bal_char, by byte. */
/* clang-format off */
const uint8_t bal_chars[256] = {
	 0,  0,  0,  0,  0,  0,  0,  0,  0,  2,  0,  0,  0,  0,  0,  0, /* 00 */
	 0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0, /* 10 */
	 2, 15,  6,  3, 15, 15, 15, 15, 14, 14, 15, 15, 14, 15, 15,  6, /* 20 */
	15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 14, 14,  6, 14,  6,  6, /* 30 */
	 6, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, /* 40 */
	15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 14,  6, 14,  7, 15, /* 50 */
	 7, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, /* 60 */
	15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15,  6,  7,  6, 15,  0, /* 70 */
	 2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2, /* 80 */
	 2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2, /* 90 */
	 2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2, /* a0 */
	 2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2, /* b0 */
	 2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2, /* c0 */
	 2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2, /* d0 */
	 2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2, /* e0 */
	 2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2, /* f0 */
};
/* clang-format on */

bool
bal_text_all(struct w_view text, enum bal_char kind)
{
	for (size_t i = 0; i < text.len; i++)
		if (!bal_is(text.ptr[i], kind))
			return false;
	return true;
}

bool
bal_text_token(struct w_view text)
{
	return text.len > 0 && bal_text_all(text, BAL_C_TOKEN);
}

bool
bal_text_value(struct w_view text)
{
	return bal_text_all(text, BAL_C_VALUE);
}

static bool
is_hex(struct w_view text, bool *ret_zero)
{
	bool zero = true;

	for (size_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];

		if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
			return false;
		zero &= c == '0';
	}
	*ret_zero = zero;
	return true;
}

/* version "-" trace-id "-" parent-id "-" flags; later versions may append more. */
bool
bal_trace_valid(struct w_view text)
{
	bool zero;

	if (text.len < BAL_TRACE_LEN || text.len > 255 || !is_hex(w_view_sub(text, 0, 2), &zero))
		return false;
	if (zero ? text.len != BAL_TRACE_LEN : memcmp(text.ptr, "ff", 2) == 0)
		return false;
	if (text.len > BAL_TRACE_LEN && text.ptr[BAL_TRACE_LEN] != '-')
		return false;
	if (text.ptr[2] != '-' || text.ptr[35] != '-' || text.ptr[52] != '-')
		return false;
	if (!is_hex(w_view_sub(text, 3, 32), &zero) || zero)
		return false;
	if (!is_hex(w_view_sub(text, 36, 16), &zero) || zero)
		return false;
	return is_hex(w_view_sub(text, 53, 2), &zero) && bal_text_value(text);
}

static char *
put_hex(char *to, uint64_t value)
{
	static const char digits[] = "0123456789abcdef";

	for (int shift = 60; shift >= 0; shift -= 4)
		*to++ = digits[(value >> shift) & 15];
	return to;
}

void
bal_trace_make(char to[BAL_TRACE_LEN + 1])
{
	memcpy(to, "00-", 3);
	to = put_hex(to + 3, w_random());
	to = put_hex(to, w_random() | 1);
	*to++ = '-';
	to = put_hex(to, w_random() | 1);
	memcpy(to, "-00", 4);
}

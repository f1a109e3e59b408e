/*
 * Views: see the header for the contract.
 */
#include "common/error.h"
#include "common/view.h"

static unsigned char
lower(char c)
{
	return (unsigned char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
}

struct w_view
w_view_of(const char *text)
{
	return (struct w_view){ text, text != NULL ? strlen(text) : 0 };
}

bool
w_view_eq(struct w_view a, struct w_view b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

bool
w_view_ieq(struct w_view a, struct w_view b)
{
	if (a.len != b.len)
		return false;
	for (size_t i = 0; i < a.len; i++)
		if (lower(a.ptr[i]) != lower(b.ptr[i]))
			return false;
	return true;
}

bool
w_view_starts(struct w_view text, struct w_view prefix)
{
	return text.len >= prefix.len &&
	    w_view_eq((struct w_view){ text.ptr, prefix.len }, prefix);
}

bool
w_view_ends(struct w_view text, struct w_view suffix)
{
	return text.len >= suffix.len &&
	    w_view_eq(w_view_sub(text, text.len - suffix.len, suffix.len), suffix);
}

struct w_view
w_view_sub(struct w_view text, size_t from, size_t len)
{
	if (from > text.len)
		from = text.len;
	if (len > text.len - from)
		len = text.len - from;
	return (struct w_view){ text.ptr != NULL ? text.ptr + from : NULL, len };
}

static bool
is_ows(char c)
{
	return c == ' ' || c == '\t';
}

struct w_view
w_view_trim(struct w_view text)
{
	while (text.len > 0 && is_ows(text.ptr[0])) {
		text.ptr++;
		text.len--;
	}
	while (text.len > 0 && is_ows(text.ptr[text.len - 1]))
		text.len--;
	return text;
}

size_t
w_view_find(struct w_view text, char c)
{
	const char *at = text.len > 0 ? memchr(text.ptr, c, text.len) : NULL;

	return at != NULL ? (size_t)(at - text.ptr) : text.len;
}

bool
w_view_split(struct w_view *text, char sep, struct w_view *ret)
{
	size_t at;

	if (text->ptr == NULL)
		return false;
	at = w_view_find(*text, sep);
	*ret = (struct w_view){ text->ptr, at };
	if (at == text->len)
		*text = (struct w_view){ NULL, 0 };
	else
		*text = (struct w_view){ text->ptr + at + 1, text->len - at - 1 };
	return true;
}

/* Eight bytes a step, mixed by multiplication; the last step takes the rest and the length. */
uint64_t
w_view_hash(struct w_view text)
{
	uint64_t hash = UINT64_C(0x9e3779b97f4a7c15) ^ text.len, word;

	for (; text.len >= sizeof(word); text.ptr += sizeof(word), text.len -= sizeof(word)) {
		memcpy(&word, text.ptr, sizeof(word));
		hash = (hash ^ word) * UINT64_C(0xff51afd7ed558ccd);
		hash ^= hash >> 32;
	}
	word = 0;
	if (text.len > 0)
		memcpy(&word, text.ptr, text.len);
	hash = (hash ^ word) * UINT64_C(0xc4ceb9fe1a85ec53);
	hash ^= hash >> 29;
	hash *= UINT64_C(0xff51afd7ed558ccd);
	return hash ^ (hash >> 32);
}

int
w_view_u64(struct w_view text, uint64_t max, uint64_t *ret)
{
	uint64_t value = 0;
	bool over = false;
	unsigned digit;

	if (text.len == 0)
		return -W_EINVAL;
	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] < '0' || text.ptr[i] > '9')
			return -W_EINVAL;
		digit = (unsigned)(text.ptr[i] - '0');
		if (value > (UINT64_MAX - digit) / 10)
			over = true;
		else
			value = value * 10 + digit;
	}
	if (over || value > max)
		return -W_ERANGE;
	*ret = value;
	return W_OK;
}

int
w_view_i64(struct w_view text, int64_t *ret)
{
	bool minus = text.len > 0 && text.ptr[0] == '-';
	uint64_t value;
	int rc;

	if (minus)
		text = w_view_sub(text, 1, text.len - 1);
	rc = w_view_u64(text, (uint64_t)INT64_MAX + minus, &value);
	if (rc < 0)
		return rc;
	/* 0 - value in unsigned arithmetic: the least number has no positive twin */
	*ret = minus ? (int64_t)(UINT64_C(0) - value) : (int64_t)value;
	return W_OK;
}

int
w_view_copy(struct w_view text, char *to, size_t size)
{
	if (text.len >= size)
		return -W_ERANGE;
	if (text.len > 0)
		memcpy(to, text.ptr, text.len);
	to[text.len] = '\0';
	return W_OK;
}

char *
w_view_dup(struct w_view text)
{
	char *copy = w_xcalloc(1, text.len + 1);

	if (text.len > 0)
		memcpy(copy, text.ptr, text.len);
	return copy;
}

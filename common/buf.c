/*
 * The growing buffer. It doubles, so appending n bytes costs O(n) copies in all.
 */
#include <stdarg.h>
#include <stdio.h>

#include "common/buf.h"

#define BUF_FIRST 256 /* bytes of the first allocation */

void
w_buf_fini(struct w_buf *buf)
{
	free(buf->ptr);
	buf->ptr = NULL;
	buf->len = buf->cap = 0;
	buf->broken = false;
}

void
w_buf_clear(struct w_buf *buf)
{
	buf->len = 0;
	buf->broken = false;
}

static char *
buf_grow(struct w_buf *buf, size_t len)
{
	size_t want, cap;
	char *ptr;

	if (buf->broken)
		return NULL;
	if (__builtin_add_overflow(buf->len, len, &want) ||
	    (buf->limit != 0 && want > buf->limit))
		goto broken;
	cap = W_MAX(buf->cap, (size_t)BUF_FIRST);
	while (cap < want && cap <= SIZE_MAX / 2)
		cap *= 2;
	if (buf->limit != 0)
		cap = W_MIN(cap, buf->limit);
	/* a request for nothing still gets a place to point to */
	cap = W_MAX(cap, W_MAX(want, (size_t)1));
	ptr = realloc(buf->ptr, cap);
	if (ptr == NULL)
		goto broken;
	buf->ptr = ptr;
	buf->cap = cap;
	return buf->ptr + buf->len;
broken:
	buf->broken = true;
	return NULL;
}

char *
w_buf_room(struct w_buf *buf, size_t len)
{
	if (!buf->broken && buf->ptr != NULL && len <= buf->cap - buf->len &&
	    (buf->limit == 0 || len <= buf->limit - buf->len))
		return buf->ptr + buf->len;
	return buf_grow(buf, len);
}

void
w_buf_added(struct w_buf *buf, size_t len)
{
	if (buf->broken)
		return;
	W_ASSERT(len <= buf->cap - buf->len);
	buf->len += len;
}

void
w_buf_add(struct w_buf *buf, const void *ptr, size_t len)
{
	char *to;

	if (len == 0)
		return;
	to = w_buf_room(buf, len);
	if (to == NULL)
		return;
	memcpy(to, ptr, len);
	buf->len += len;
}

void
w_buf_view(struct w_buf *buf, struct w_view text)
{
	w_buf_add(buf, text.ptr, text.len);
}

void
w_buf_text(struct w_buf *buf, const char *text)
{
	w_buf_add(buf, text, strlen(text));
}

void
w_buf_char(struct w_buf *buf, char c)
{
	char *to = w_buf_room(buf, 1);

	if (to == NULL)
		return;
	*to = c;
	buf->len++;
}

void
w_buf_u64(struct w_buf *buf, uint64_t value)
{
	char digits[20];
	size_t at = sizeof(digits);

	do {
		digits[--at] = (char)('0' + value % 10);
		value /= 10;
	} while (value != 0);
	w_buf_add(buf, digits + at, sizeof(digits) - at);
}

void
w_buf_printf(struct w_buf *buf, const char *fmt, ...)
{
	/* a short text is made on the stack: vsnprintf's NUL must not count against the limit */
	char small[256], *text = small;
	W_AUTO(w_free) char *large = NULL;
	va_list ap;
	int len;

	if (buf->broken)
		return;
	va_start(ap, fmt);
	len = vsnprintf(small, sizeof(small), fmt, ap);
	va_end(ap);
	if (len >= (int)sizeof(small)) {
		va_start(ap, fmt);
		len = vasprintf(&large, fmt, ap);
		va_end(ap);
		/* vasprintf leaves the pointer undefined when it fails */
		if (len < 0)
			large = NULL;
		text = large;
	}
	if (len < 0)
		buf->broken = true;
	else
		w_buf_add(buf, text, (size_t)len);
}

void
w_buf_drop(struct w_buf *buf, size_t len)
{
	W_ASSERT(len <= buf->len);
	buf->len -= len;
	if (buf->len > 0)
		memmove(buf->ptr, buf->ptr + len, buf->len);
}

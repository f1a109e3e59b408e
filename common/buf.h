/*
 * A growing byte buffer with a limit. All-zero is a valid empty buffer without limit.
 *
 * Once an append fails the buffer is "broken": later appends do nothing, so a
 * writer checks w_buf_broken() once, at the end.
 */
#ifndef WEIR_COMMON_BUF_H
#define WEIR_COMMON_BUF_H

#include "common/view.h"

struct w_buf {
	char *ptr;
	size_t len, cap;
	size_t limit; /* bytes; 0 is no limit */
	bool broken;
};

void w_buf_fini(struct w_buf *buf);
void w_buf_clear(struct w_buf *buf); /* keeps the memory, mends broken */
/* Room for len more bytes, or NULL (broken). The caller writes, then w_buf_added. */
char *w_buf_room(struct w_buf *buf, size_t len);
void w_buf_added(struct w_buf *buf, size_t len);
void w_buf_add(struct w_buf *buf, const void *ptr, size_t len);
void w_buf_view(struct w_buf *buf, struct w_view text);
void w_buf_text(struct w_buf *buf, const char *text);
void w_buf_char(struct w_buf *buf, char c);
void w_buf_u64(struct w_buf *buf, uint64_t value);
void w_buf_printf(struct w_buf *buf, const char *fmt, ...) W_PRINTF(2, 3);
/* Drop len bytes from the front. */
void w_buf_drop(struct w_buf *buf, size_t len);
static inline bool
w_buf_broken(const struct w_buf *buf)
{
	return buf->broken;
}
static inline struct w_view
w_buf_get(const struct w_buf *buf)
{
	return (struct w_view){ buf->ptr, buf->len };
}

/*
 * JSON text without trees: the writer places commas. Values of objects follow
 * their key:
 *	w_json_open(&j, '{'); w_json_key(&j, "id"); w_json_int(&j, 7); w_json_close(&j, '}');
 * Bytes that are not UTF-8 are written as U+FFFD. Depth is at most 32 (else broken).
 */
struct w_json {
	struct w_buf *out;
	uint32_t comma; /* bit per depth: a value stands before the next one */
	unsigned depth;
	bool after_key;
};

void w_json_init(struct w_json *json, struct w_buf *out);
void w_json_open(struct w_json *json, char bracket);  /* '{' or '[' */
void w_json_close(struct w_json *json, char bracket); /* '}' or ']' */
void w_json_key(struct w_json *json, const char *key);
void w_json_view(struct w_json *json, struct w_view text); /* a string; ptr NULL is null */
void w_json_text(struct w_json *json, const char *text);   /* a string; NULL is null */
void w_json_int(struct w_json *json, int64_t value);
void w_json_real(struct w_json *json, double value); /* NaN and infinity are null */
void w_json_bool(struct w_json *json, bool value);
void w_json_null(struct w_json *json);
void w_json_raw(struct w_json *json, struct w_view text); /* text is JSON already */

#endif

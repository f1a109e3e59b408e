/*
 * Text is a view: a pointer and a length into memory that somebody else owns.
 * Functions here never allocate, never write, and accept an empty view {NULL, 0}.
 */
#ifndef WEIR_COMMON_VIEW_H
#define WEIR_COMMON_VIEW_H

#include "common/base.h"

struct w_view {
	const char *ptr;
	size_t len;
};

#define W_VIEW(literal) ((struct w_view){ "" literal, sizeof(literal) - 1 })
/* For printf("%.*s"): W_VIEW_ARG(view) */
#define W_VIEW_ARG(v) (int)(v).len, (v).ptr != NULL ? (v).ptr : ""

struct w_view w_view_of(const char *text); /* NULL gives the empty view */
bool w_view_eq(struct w_view a, struct w_view b);
bool w_view_ieq(struct w_view a, struct w_view b); /* ASCII case-insensitive */
bool w_view_starts(struct w_view text, struct w_view prefix);
bool w_view_ends(struct w_view text, struct w_view suffix);
struct w_view w_view_sub(struct w_view text, size_t from, size_t len); /* clamped */
struct w_view w_view_trim(struct w_view text);                         /* SP and HTAB, RFC 9110 OWS */
/* First index of byte c, or text.len. */
size_t w_view_find(struct w_view text, char c);
/*
 * Cut text at the first sep: *ret is what stands before it (all of it when there
 * is no sep), *text becomes the rest. False when *text was empty (ptr NULL).
 */
bool w_view_split(struct w_view *text, char sep, struct w_view *ret);
uint64_t w_view_hash(struct w_view text);
/*
 * Decimal digits only, no sign, no space, no overflow.
 * Errors: -W_EINVAL not a number, -W_ERANGE over max.
 */
int w_view_u64(struct w_view text, uint64_t max, uint64_t *ret);
/* As above with an optional leading '-'. */
int w_view_i64(struct w_view text, int64_t *ret);
/* Copy with a NUL at the end. Errors: -W_ERANGE it does not fit in size bytes. */
int w_view_copy(struct w_view text, char *to, size_t size);
char *w_view_dup(struct w_view text); /* NUL-ended heap copy; caller frees */

#endif

/*
 * The log: one line an event on standard error, object first, then the event,
 * then key=value:
 *
 *	2026-11-23T10:00:00.123456Z WARN server-1 req=4f2a retry node=db-2 rc=LOST
 *
 * or the same as one JSON object a line. A value with a space, quote or control
 * byte is quoted and escaped by the caller's format through w_log_quote(). No
 * passwords, no SQL parameters.
 *
 * Threads: any. A line is one write(2), so lines of threads never mix.
 */
#ifndef WEIR_COMMON_LOG_H
#define WEIR_COMMON_LOG_H

#include "common/view.h"

enum w_level { W_DEBUG, W_INFO, W_WARN, W_ERROR };

/* Set once, before threads start. node is copied. */
void w_log_init(const char *node, enum w_level least, bool json);
bool w_log_wants(enum w_level level);
/*
 * object: "req=4f2a", "db=db-2", "link=balancer-1" or "" for the node itself;
 * event: one word or words joined by '-'; fmt: "key=value key=value".
 */
void w_log(enum w_level level, const char *object, const char *event, const char *fmt, ...)
    W_PRINTF(4, 5);
/* Lines written since start, by level; for the metrics. */
uint64_t w_log_count(enum w_level level);
/* Writes text quoted for a log value into to (cut to size, always NUL-ended); returns to. */
const char *w_log_quote(struct w_view text, char *to, size_t size);

#endif

/*
 * Small checks of bytes that HTTP is made of, and the trace context.
 * Source: RFC 9110 5.5, 5.6.2; W3C Trace Context
 */
#ifndef WEIR_BALANCER_TEXT_H
#define WEIR_BALANCER_TEXT_H

#include "common/view.h"

enum bal_char {
	BAL_C_TOKEN = 1,  /* tchar */
	BAL_C_VALUE = 2,  /* may stand in a field value: no control byte but HTAB */
	BAL_C_TARGET = 4, /* may stand in a request target */
	BAL_C_HOST = 8,   /* may stand in a Host field */
};

extern const uint8_t bal_chars[256];

static inline bool
bal_is(char c, enum bal_char kind)
{
	return (bal_chars[(unsigned char)c] & kind) != 0;
}

/* All bytes are of that kind. */
bool bal_text_all(struct w_view text, enum bal_char kind);
bool bal_text_token(struct w_view text); /* not empty */
bool bal_text_value(struct w_view text);

#define BAL_TRACE_LEN 55
bool bal_trace_valid(struct w_view text);
/* A new traceparent, not sampled; NUL-ended. */
void bal_trace_make(char to[BAL_TRACE_LEN + 1]);

#endif

/*
 * The bytes of the link: batches and records, to and from memory. No I/O, no state.
 *
 * Parsing gives views into the input. Every length is checked before it is believed.
 * Formatting appends to a buffer that the caller keeps, so the hot path allocates nothing.
 *
 * Errors of all parsers
 *	-W_EPROTO   the bytes do not have the form of the specification: the session is broken
 *	-W_EINVAL   the form is right, what a text or number says is not: the stream is broken
 * Source   docs/protocol/01-link.md, sections 4, 5 and 8
 */
#ifndef WEIR_LINK_CODEC_H
#define WEIR_LINK_CODEC_H

#include "common/buf.h"
#include "link/link.h"

#define LNK__MAJOR 1
#define LNK__MINOR 0
#define LNK__BATCH_HEADER 24
#define LNK__RECORD_HEADER 16
#define LNK__BODY_MAX (256 * 1024) /* bytes in one record's body */
#define LNK__REASON_MAX 200	   /* bytes of GOAWAY's text */
#define LNK__WORKERS_MAX 256

enum lnk__type {
	LNK__HELLO = 1,
	LNK__WELCOME,
	LNK__CREDIT,
	LNK__REQUEST,
	LNK__DATA,
	LNK__WINDOW,
	LNK__RESPONSE,
	LNK__PROGRESS,
	LNK__RESET,
	LNK__PING,
	LNK__PONG,
	LNK__GOAWAY,
	LNK__TYPES
};

enum { LNK__END = 1 };	   /* REQUEST, RESPONSE, DATA */
enum { LNK__DOUBT = 2 };   /* REQUEST */
enum { LNK__STARTED = 2 }; /* RESPONSE */
enum { LNK__NOW = 1 };	   /* GOAWAY */

struct lnk__batch {
	uint8_t major, minor;
	uint64_t session, number;
};

struct lnk__record {
	uint8_t type, flags;
	uint64_t stream;
	struct w_view body;
};

/* HELLO and WELCOME. */
struct lnk__greeting {
	uint32_t worker, workers;
	uint32_t window; /* bytes */
	uint64_t epoch;
	struct w_view name;
};

struct lnk__goaway {
	int err; /* negative, or W_OK */
	uint64_t last;
	struct w_view text;
};

/* --- batches --- */

/* Room for the header at the start of an empty buffer; what it says comes when it is sealed. */
void lnk__batch_begin(struct w_buf *buf);
void lnk__batch_seal(struct w_buf *buf, uint64_t session, uint64_t number);
/*
 * The header; *rest is what follows it. Errors: -W_EPROTO no batch; -W_EVERSION another major
 * version, *ret is filled then.
 */
int lnk__batch_parse(struct w_view bytes, struct lnk__batch *ret, struct w_view *rest);
/* Cut the first record from *rest. Returns 1, 0 when there is none left, or -W_EPROTO. */
int lnk__record_parse(struct w_view *rest, struct lnk__record *ret);

/* --- formatting: one record each --- */

/* Bytes of the whole record, its header included. Errors: -W_ETOOBIG body over the limits. */
int lnk__request_size(const struct lnk_request *request, size_t *ret);
int lnk__response_size(const struct lnk_response *response, size_t *ret);
/* size: what lnk__request_size() or lnk__response_size() said. */
void lnk__put_request(
    struct w_buf *buf, uint64_t stream, const struct lnk_request *request, size_t size);
void lnk__put_response(
    struct w_buf *buf, uint64_t stream, const struct lnk_response *response, size_t size);
void lnk__put_greeting(
    struct w_buf *buf, enum lnk__type type, const struct lnk__greeting *greeting);
void lnk__put_data(struct w_buf *buf, uint64_t stream, struct w_view bytes, bool end);
/* CREDIT, WINDOW, PING, PONG: one number. */
void lnk__put_number(struct w_buf *buf, enum lnk__type type, uint64_t stream, uint64_t number);
void lnk__put_reset(struct w_buf *buf, uint64_t stream, int err);
/* A text that is too long is cut. */
void lnk__put_goaway(struct w_buf *buf, bool now, const struct lnk__goaway *goaway);

/* --- parsing: a record's body --- */

int lnk__greeting_parse(struct w_view body, struct lnk__greeting *ret);
/* fields: room for LNK_FIELDS_MAX; ret->fields points there. */
int lnk__request_parse(
    const struct lnk__record *record, struct lnk_field *fields, struct lnk_request *ret);
int lnk__response_parse(
    const struct lnk__record *record, struct lnk_field *fields, struct lnk_response *ret);
int lnk__number_parse(struct w_view body, uint64_t *ret);
int lnk__reset_parse(struct w_view body, int *ret_err);
int lnk__goaway_parse(struct w_view body, struct lnk__goaway *ret);

/* Numbers of errors on the wire; both ways unknown ones are INTERNAL. Errors are negative or W_OK.
 */
uint32_t lnk__code_of(int err);
int lnk__code_err(uint32_t code);

#endif

/*
 * The bytes of the link; see codec.h. Source: docs/protocol/01-link.md
 *
 * 1. Numbers are little-endian and unaligned, so they are copied in and out.
 * 2. A parser cuts what it reads from the front of a view, and a view never grows.
 */
#include <endian.h>

#include "link/codec.h"

#define GREETING_FIXED 24
#define REQUEST_FIXED 44
#define RESPONSE_FIXED 40
#define GOAWAY_FIXED 16
#define FIELD_FIXED 6

static const char magic[4] = {'W', 'L', 'N', 'K'};

/* ---- numbers ---- */

static inline uint16_t
get16(const char *at)
{
	uint16_t value;

	memcpy(&value, at, sizeof(value));
	return le16toh(value);
}

static inline uint32_t
get32(const char *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return le32toh(value);
}

static inline uint64_t
get64(const char *at)
{
	uint64_t value;

	memcpy(&value, at, sizeof(value));
	return le64toh(value);
}

static inline void
set16(char *at, size_t value)
{
	uint16_t le = htole16((uint16_t)value);

	memcpy(at, &le, sizeof(le));
}

static inline void
set32(char *at, size_t value)
{
	uint32_t le = htole32((uint32_t)value);

	memcpy(at, &le, sizeof(le));
}

static inline void
set64(char *at, uint64_t value)
{
	uint64_t le = htole64(value);

	memcpy(at, &le, sizeof(le));
}

static inline char *
put_text(char *at, struct w_view text)
{
	if (text.len > 0)
		memcpy(at, text.ptr, text.len);
	return at + text.len;
}

/* Cut len bytes from the front. False when there are not as many. */
static inline bool
cut(struct w_view *from, size_t len, struct w_view *ret)
{
	if (len > from->len)
		return false;
	*ret = (struct w_view){from->ptr, len};
	from->ptr += len;
	from->len -= len;
	return true;
}

/*
 * Cut the fixed part from a body with texts. It says its own size, and may be longer than
 * what this version knows.
 */
static const char *
cut_fixed(struct w_view *body, size_t least)
{
	struct w_view fixed;

	if (body->len < least || get16(body->ptr) < least || !cut(body, get16(body->ptr), &fixed))
		return NULL;
	return fixed.ptr;
}

/* ---- codes ---- */

/* The numbers are the wire's; they stay when the list of errors changes. */
static const uint8_t code_of[W_ERR_COUNT] = {
    [W_OK] = 0,
    [W_ECANCELED] = 1,
    [W_EREFUSED] = 2,
    [W_ETIMEOUT] = 3,
    [W_ELOST] = 4,
    [W_EPROTO] = 5,
    [W_EVERSION] = 6,
    [W_EDENIED] = 7,
    [W_ESHUTDOWN] = 8,
    [W_EINTERNAL] = 9,
    [W_ENOMEM] = 10,
    [W_ETOOBIG] = 11,
    [W_EBUSY] = 12,
    [W_EDOWN] = 13,
    [W_EHANDLER] = 14,
    [W_ESQL] = 15,
    [W_ESERIAL] = 16,
    [W_EINDOUBT] = 17,
    [W_EINVAL] = 18,
    [W_ERANGE] = 19,
    [W_EFRAMING] = 20,
    [W_EJSON] = 21,
    [W_ENOROUTE] = 22,
    [W_ENOTFOUND] = 23,
    [W_EMETHOD] = 24,
    [W_ESLOW] = 25,
    [W_ECONFLICT] = 26,
    [W_ELENGTH] = 27,
    [W_EURILONG] = 28,
    [W_ETYPE] = 29,
    [W_EEXPECT] = 30,
    [W_EMISMATCH] = 31,
    [W_EHEADERS] = 32,
    [W_ENOTIMPL] = 33,
    [W_EAGAIN] = 34,
    [W_EIO] = 35,
};

uint32_t
lnk__code_of(int err)
{
	unsigned index = err < 0 ? 0u - (unsigned)err : (unsigned)err;

	if (index == W_OK)
		return 0;
	return index < W_ERR_COUNT && code_of[index] != 0 ? code_of[index] : code_of[W_EINTERNAL];
}

int
lnk__code_err(uint32_t code)
{
	for (int err = 0; err < W_ERR_COUNT; err++)
		if (code_of[err] == code && (err == 0 || code != 0))
			return -err;
	return -W_EINTERNAL;
}

/* ---- batches and records ---- */

void
lnk__batch_begin(struct w_buf *buf)
{
	if (w_buf_room(buf, LNK__BATCH_HEADER) == NULL)
		return;
	memset(buf->ptr, 0, LNK__BATCH_HEADER);
	w_buf_added(buf, LNK__BATCH_HEADER);
}

void
lnk__batch_seal(struct w_buf *buf, uint64_t session, uint64_t number)
{
	memcpy(buf->ptr, magic, sizeof(magic));
	buf->ptr[4] = LNK__MAJOR;
	buf->ptr[5] = LNK__MINOR;
	set16(buf->ptr + 6, 0);
	set64(buf->ptr + 8, session);
	set64(buf->ptr + 16, number);
}

int
lnk__batch_parse(struct w_view bytes, struct lnk__batch *ret, struct w_view *rest)
{
	struct w_view head;

	if (!cut(&bytes, LNK__BATCH_HEADER, &head) || memcmp(head.ptr, magic, sizeof(magic)) != 0)
		return -W_EPROTO;
	ret->major = (uint8_t)head.ptr[4];
	ret->minor = (uint8_t)head.ptr[5];
	ret->session = get64(head.ptr + 8);
	ret->number = get64(head.ptr + 16);
	*rest = bytes;
	return ret->major == LNK__MAJOR ? W_OK : -W_EVERSION;
}

int
lnk__record_parse(struct w_view *rest, struct lnk__record *ret)
{
	struct w_view head;
	uint32_t len;

	if (rest->len == 0)
		return 0;
	if (!cut(rest, LNK__RECORD_HEADER, &head))
		return -W_EPROTO;
	len = get32(head.ptr);
	ret->type = (uint8_t)head.ptr[4];
	ret->flags = (uint8_t)head.ptr[5];
	ret->stream = get64(head.ptr + 8);
	if (len > LNK__BODY_MAX || !cut(rest, len, &ret->body))
		return -W_EPROTO;
	return 1;
}

/* Write a record's header, give back where its body goes; NULL when there is no memory. */
static char *
put_record(struct w_buf *buf, enum lnk__type type, unsigned flags, uint64_t stream, size_t body)
{
	char *at = w_buf_room(buf, LNK__RECORD_HEADER + body);

	if (at == NULL)
		return NULL;
	set32(at, body);
	at[4] = (char)type;
	at[5] = (char)flags;
	set16(at + 6, 0);
	set64(at + 8, stream);
	w_buf_added(buf, LNK__RECORD_HEADER + body);
	return at + LNK__RECORD_HEADER;
}

/* ---- small records ---- */

void
lnk__put_number(struct w_buf *buf, enum lnk__type type, uint64_t stream, uint64_t number)
{
	char *at = put_record(buf, type, 0, stream, sizeof(number));

	if (at != NULL)
		set64(at, number);
}

int
lnk__number_parse(struct w_view body, uint64_t *ret)
{
	if (body.len < sizeof(*ret))
		return -W_EPROTO;
	*ret = get64(body.ptr);
	return W_OK;
}

void
lnk__put_reset(struct w_buf *buf, uint64_t stream, int err)
{
	char *at = put_record(buf, LNK__RESET, 0, stream, sizeof(uint32_t));

	if (at != NULL)
		set32(at, lnk__code_of(err));
}

int
lnk__reset_parse(struct w_view body, int *ret_err)
{
	if (body.len < sizeof(uint32_t))
		return -W_EPROTO;
	*ret_err = lnk__code_err(get32(body.ptr));
	return W_OK;
}

void
lnk__put_data(struct w_buf *buf, uint64_t stream, struct w_view bytes, bool end)
{
	char *at = put_record(buf, LNK__DATA, end ? LNK__END : 0, stream, bytes.len);

	if (at != NULL)
		put_text(at, bytes);
}

void
lnk__put_greeting(struct w_buf *buf, enum lnk__type type, const struct lnk__greeting *greeting)
{
	char *at = put_record(buf, type, 0, 0, GREETING_FIXED + greeting->name.len);

	if (at == NULL)
		return;
	set16(at, GREETING_FIXED);
	set16(at + 2, greeting->name.len);
	set32(at + 4, greeting->worker);
	set32(at + 8, greeting->workers);
	set32(at + 12, greeting->window);
	set64(at + 16, greeting->epoch);
	put_text(at + GREETING_FIXED, greeting->name);
}

static bool
is_node_name(struct w_view name)
{
	if (name.len == 0 || name.len > 63)
		return false;
	for (size_t i = 0; i < name.len; i++) {
		char c = name.ptr[i];

		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-')
			return false;
	}
	return true;
}

int
lnk__greeting_parse(struct w_view body, struct lnk__greeting *ret)
{
	const char *fixed = cut_fixed(&body, GREETING_FIXED);

	if (fixed == NULL || !cut(&body, get16(fixed + 2), &ret->name))
		return -W_EPROTO;
	ret->worker = get32(fixed + 4);
	ret->workers = get32(fixed + 8);
	ret->window = get32(fixed + 12);
	ret->epoch = get64(fixed + 16);
	if (!is_node_name(ret->name) || ret->workers > LNK__WORKERS_MAX ||
	    ret->worker >= ret->workers || ret->window == 0)
		return -W_EPROTO;
	return W_OK;
}

void
lnk__put_goaway(struct w_buf *buf, bool now, const struct lnk__goaway *goaway)
{
	struct w_view text = w_view_sub(goaway->text, 0, LNK__REASON_MAX);
	char *at = put_record(buf, LNK__GOAWAY, now ? LNK__NOW : 0, 0, GOAWAY_FIXED + text.len);

	if (at == NULL)
		return;
	set16(at, GOAWAY_FIXED);
	set16(at + 2, text.len);
	set32(at + 4, lnk__code_of(goaway->err));
	set64(at + 8, goaway->last);
	put_text(at + GOAWAY_FIXED, text);
}

int
lnk__goaway_parse(struct w_view body, struct lnk__goaway *ret)
{
	const char *fixed = cut_fixed(&body, GOAWAY_FIXED);

	if (fixed == NULL || get16(fixed + 2) > LNK__REASON_MAX ||
	    !cut(&body, get16(fixed + 2), &ret->text))
		return -W_EPROTO;
	ret->err = lnk__code_err(get32(fixed + 4));
	ret->last = get64(fixed + 8);
	return W_OK;
}

/* ---- texts and header fields ---- */

/* Nothing that could end a line or a string where the text goes next. */
static bool
is_clean(struct w_view text)
{
	unsigned bad = 0;

	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.ptr[i];

		bad |= (unsigned)(c == '\0') | (unsigned)(c == '\r') | (unsigned)(c == '\n');
	}
	return bad == 0;
}

/* A token of RFC 9110, 5.6.2, in lower case. */
static bool
is_field_name(struct w_view name)
{
	static const bool token[256] = {
	    ['!'] = 1,
	    ['#'] = 1,
	    ['$'] = 1,
	    ['%'] = 1,
	    ['&'] = 1,
	    ['\''] = 1,
	    ['*'] = 1,
	    ['+'] = 1,
	    ['-'] = 1,
	    ['.'] = 1,
	    ['^'] = 1,
	    ['_'] = 1,
	    ['`'] = 1,
	    ['|'] = 1,
	    ['~'] = 1,
	    ['0' ... '9'] = 1,
	    ['a' ... 'z'] = 1,
	};

	for (size_t i = 0; i < name.len; i++)
		if (!token[(unsigned char)name.ptr[i]])
			return false;
	return name.len > 0;
}

static int
fields_size(const struct lnk_field *fields, size_t count, size_t *size)
{
	if (count > LNK_FIELDS_MAX)
		return -W_ETOOBIG;
	for (size_t i = 0; i < count; i++) {
		if (fields[i].name.len > UINT16_MAX || fields[i].value.len > LNK__BODY_MAX)
			return -W_ETOOBIG;
		*size += FIELD_FIXED + fields[i].name.len + fields[i].value.len;
	}
	return *size > LNK__BODY_MAX ? -W_ETOOBIG : W_OK;
}

static void
put_fields(char *at, const struct lnk_field *fields, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		set16(at, fields[i].name.len);
		set32(at + 2, fields[i].value.len);
		at = put_text(at + FIELD_FIXED, fields[i].name);
		at = put_text(at, fields[i].value);
	}
}

/* -W_EINVAL comes last: bytes that do not add up are the worse fault. */
static int
fields_parse(struct w_view body, struct lnk_field *fields, size_t count)
{
	bool clean = true;

	for (size_t i = 0; i < count; i++) {
		struct w_view head;

		if (!cut(&body, FIELD_FIXED, &head) ||
		    !cut(&body, get16(head.ptr), &fields[i].name) ||
		    !cut(&body, get32(head.ptr + 2), &fields[i].value))
			return -W_EPROTO;
		clean = clean && is_field_name(fields[i].name) && is_clean(fields[i].value);
	}
	return clean ? W_OK : -W_EINVAL;
}

/* ---- REQUEST ---- */

/* The texts of a request in the order of the wire; where their length stands, and its size. */
static const struct request_text {
	uint16_t member; /* offset in struct lnk_request */
	uint8_t at;	 /* offset in the fixed part */
	bool wide;	 /* four bytes, not two */
	bool needed;
} request_texts[] = {
    {offsetof(struct lnk_request, method), 6, false, true},
    {offsetof(struct lnk_request, scheme), 8, false, false},
    {offsetof(struct lnk_request, authority), 10, false, false},
    {offsetof(struct lnk_request, target), 12, true, true},
    {offsetof(struct lnk_request, client), 16, false, false},
    {offsetof(struct lnk_request, id), 18, false, false},
    {offsetof(struct lnk_request, traceparent), 20, false, false},
    {offsetof(struct lnk_request, position), 22, false, false},
    {offsetof(struct lnk_request, idempotency), 24, false, false},
};

static inline struct w_view *
text_of(struct lnk_request *request, const struct request_text *text)
{
	return (struct w_view *)(void *)((char *)request + text->member);
}

static inline const struct w_view *
text_in(const struct lnk_request *request, const struct request_text *text)
{
	return (const struct w_view *)(const void *)((const char *)request + text->member);
}

int
lnk__request_size(const struct lnk_request *request, size_t *ret)
{
	size_t size = REQUEST_FIXED;
	int rc;

	for (size_t i = 0; i < W_NELEM(request_texts); i++) {
		size_t len = text_in(request, &request_texts[i])->len;

		if (len > (request_texts[i].wide ? (size_t)LNK__BODY_MAX : UINT16_MAX))
			return -W_ETOOBIG;
		size += len;
	}
	rc = fields_size(request->fields, request->field_count, &size);
	if (rc < 0)
		return rc;
	*ret = LNK__RECORD_HEADER + size;
	return W_OK;
}

void
lnk__put_request(struct w_buf *buf, uint64_t stream, const struct lnk_request *request, size_t size)
{
	unsigned flags = (request->end ? LNK__END : 0) | (request->doubt ? LNK__DOUBT : 0);
	char *fixed = put_record(buf, LNK__REQUEST, flags, stream, size - LNK__RECORD_HEADER);
	char *at;

	if (fixed == NULL)
		return;
	set16(fixed, REQUEST_FIXED);
	set16(fixed + 2, W_MIN(request->attempt, (unsigned)UINT16_MAX));
	set16(fixed + 4, request->field_count);
	set16(fixed + 26, 0);
	set64(fixed + 28, request->timeout > 0 ? (uint64_t)request->timeout : 0);
	set64(fixed + 36, (uint64_t)request->length);
	at = fixed + REQUEST_FIXED;
	for (size_t i = 0; i < W_NELEM(request_texts); i++) {
		const struct w_view *text = text_in(request, &request_texts[i]);

		if (request_texts[i].wide)
			set32(fixed + request_texts[i].at, text->len);
		else
			set16(fixed + request_texts[i].at, text->len);
		at = put_text(at, *text);
	}
	put_fields(at, request->fields, request->field_count);
}

/* The texts after the fixed part. */
static int
request_texts_parse(const char *fixed, struct w_view *body, struct lnk_request *ret)
{
	bool clean = true;

	for (size_t i = 0; i < W_NELEM(request_texts); i++) {
		const char *at = fixed + request_texts[i].at;
		struct w_view *text = text_of(ret, &request_texts[i]);

		if (!cut(body, request_texts[i].wide ? get32(at) : get16(at), text))
			return -W_EPROTO;
		clean = clean && is_clean(*text) && (text->len > 0 || !request_texts[i].needed);
	}
	return clean ? W_OK : -W_EINVAL;
}

int
lnk__request_parse(
    const struct lnk__record *record, struct lnk_field *fields, struct lnk_request *ret)
{
	struct w_view body = record->body;
	const char *fixed = cut_fixed(&body, REQUEST_FIXED);
	int texts, rest;

	if (fixed == NULL || get16(fixed + 4) > LNK_FIELDS_MAX)
		return -W_EPROTO;
	ret->attempt = get16(fixed + 2);
	ret->field_count = get16(fixed + 4);
	ret->fields = fields;
	ret->timeout = (w_usec)W_MIN(get64(fixed + 28), (uint64_t)W_NEVER);
	ret->length = (int64_t)get64(fixed + 36);
	ret->end = (record->flags & LNK__END) != 0;
	ret->doubt = (record->flags & LNK__DOUBT) != 0;

	texts = request_texts_parse(fixed, &body, ret);
	if (texts == -W_EPROTO)
		return texts;
	rest = fields_parse(body, fields, ret->field_count);
	if (rest < 0)
		return rest;
	return ret->length < -1 || (ret->end && ret->length > 0) ? -W_EINVAL : texts;
}

/* ---- RESPONSE ---- */

int
lnk__response_size(const struct lnk_response *response, size_t *ret)
{
	size_t size = RESPONSE_FIXED;
	int rc = fields_size(response->fields, response->field_count, &size);

	if (rc < 0)
		return rc;
	*ret = LNK__RECORD_HEADER + size;
	return W_OK;
}

static uint64_t
at_least_0(w_usec time)
{
	return time > 0 ? (uint64_t)time : 0;
}

void
lnk__put_response(
    struct w_buf *buf, uint64_t stream, const struct lnk_response *response, size_t size)
{
	unsigned flags = (response->end ? LNK__END : 0) | (response->started ? LNK__STARTED : 0);
	char *at = put_record(buf, LNK__RESPONSE, flags, stream, size - LNK__RECORD_HEADER);

	if (at == NULL)
		return;
	set16(at, RESPONSE_FIXED);
	set16(at + 2, response->status);
	set16(at + 4, response->field_count);
	set16(at + 6, 0);
	set64(at + 8, (uint64_t)response->length);
	set64(at + 16, at_least_0(response->queue));
	set64(at + 24, at_least_0(response->handler));
	set64(at + 32, at_least_0(response->database));
	put_fields(at + RESPONSE_FIXED, response->fields, response->field_count);
}

int
lnk__response_parse(
    const struct lnk__record *record, struct lnk_field *fields, struct lnk_response *ret)
{
	struct w_view body = record->body;
	const char *fixed = cut_fixed(&body, RESPONSE_FIXED);
	int rc;

	if (fixed == NULL || get16(fixed + 4) > LNK_FIELDS_MAX)
		return -W_EPROTO;
	ret->status = get16(fixed + 2);
	ret->field_count = get16(fixed + 4);
	ret->fields = fields;
	ret->length = (int64_t)get64(fixed + 8);
	ret->queue = (w_usec)W_MIN(get64(fixed + 16), (uint64_t)W_NEVER);
	ret->handler = (w_usec)W_MIN(get64(fixed + 24), (uint64_t)W_NEVER);
	ret->database = (w_usec)W_MIN(get64(fixed + 32), (uint64_t)W_NEVER);
	ret->end = (record->flags & LNK__END) != 0;
	ret->started = (record->flags & LNK__STARTED) != 0;
	rc = fields_parse(body, fields, ret->field_count);
	if (rc < 0)
		return rc;
	return ret->status < 200 || ret->status > 599 || ret->length < -1 ? -W_EINVAL : W_OK;
}

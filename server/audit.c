/* Header checks of the direct front. See audit.h. */
#include "server/audit.h"

#include "server/target.h"

#define KEY_MAX 255 /* docs/protocol/03-promises.md, 2 */

struct audit {
	struct srv_audit out;
	unsigned lengths, codings, hosts, keys;
	const char *why;
};

static int
refuse(struct audit *audit, int err, const char *why)
{
	audit->why = why;
	return err;
}

static int
on_length(struct audit *audit, struct w_view value)
{
	uint64_t length;

	if (++audit->lengths > 1)
		return refuse(audit, -W_EFRAMING, "Content-Length comes twice");
	if (w_view_u64(value, INT64_MAX, &length) < 0)
		return refuse(audit, -W_EFRAMING, "Content-Length is not a decimal number");
	audit->out.length = (int64_t)length;
	return W_OK;
}

static int
on_coding(struct audit *audit, struct w_view value)
{
	if (++audit->codings > 1 || !w_view_ieq(value, W_VIEW("chunked")))
		return refuse(audit, -W_EFRAMING, "Transfer-Encoding is anything but chunked");
	return W_OK;
}

static int
on_host(struct audit *audit, struct w_view value)
{
	if (++audit->hosts > 1)
		return refuse(audit, -W_EINVAL, "Host comes twice");
	audit->out.host = value;
	return W_OK;
}

static int
on_expect(struct audit *audit, struct w_view value)
{
	if (!w_view_ieq(value, W_VIEW("100-continue")))
		return refuse(audit, -W_EEXPECT, "only 100-continue may be expected");
	audit->out.expects = true;
	return W_OK;
}

static int
on_traceparent(struct audit *audit, struct w_view value)
{
	audit->out.traceparent = value;
	return W_OK;
}

static int
on_position(struct audit *audit, struct w_view value)
{
	audit->out.position = value;
	return W_OK;
}

/* Browsers give it back so; the field wins. */
static int
on_cookie(struct audit *audit, struct w_view value)
{
	struct w_view pair, name = W_VIEW("weir-position=");

	while (audit->out.position.len == 0 && w_view_split(&value, ';', &pair)) {
		pair = w_view_trim(pair);
		if (w_view_starts(pair, name))
			audit->out.position = w_view_sub(pair, name.len, SIZE_MAX);
	}
	return W_OK;
}

static int
on_idempotency(struct audit *audit, struct w_view value)
{
	bool visible = value.len > 0 && value.len <= KEY_MAX;

	if (++audit->keys > 1)
		return refuse(audit, -W_EINVAL, "Idempotency-Key comes twice");
	for (size_t i = 0; i < value.len && visible; i++)
		visible = value.ptr[i] >= 0x21 && value.ptr[i] <= 0x7e;
	if (!visible)
		return refuse(audit, -W_EINVAL,
		    "Idempotency-Key is not 1 to 255 visible ASCII characters");
	audit->out.idempotency = value;
	return W_OK;
}

/* An id that is no plain word is not taken over: it goes to logs. */
static int
on_id(struct audit *audit, struct w_view value)
{
	if (value.len <= 128 && srv__is_token(value))
		audit->out.id = value;
	return W_OK;
}

static const struct {
	struct w_view name;
	int (*check)(struct audit *audit, struct w_view value);
} known[] = {
	{ { "host", 4 }, on_host },
	{ { "content-length", 14 }, on_length },
	{ { "transfer-encoding", 17 }, on_coding },
	{ { "expect", 6 }, on_expect },
	{ { "traceparent", 11 }, on_traceparent },
	{ { "weir-position", 13 }, on_position },
	{ { "cookie", 6 }, on_cookie },
	{ { "idempotency-key", 15 }, on_idempotency },
	{ { "x-request-id", 12 }, on_id },
};

static bool
is_clean(struct w_view value)
{
	for (size_t i = 0; i < value.len; i++) {
		unsigned char c = (unsigned char)value.ptr[i];

		if ((c < ' ' && c != '\t') || c == 0x7f)
			return false;
	}
	return true;
}

static int
check_field(struct audit *audit, const struct lnk_field *field)
{
	if (!srv__is_token(field->name))
		return refuse(audit, -W_EFRAMING, "a field's name holds a forbidden byte");
	if (!is_clean(field->value))
		return refuse(audit, -W_EFRAMING, "a field's value holds a control byte");
	for (size_t i = 0; i < W_NELEM(known); i++)
		if (w_view_ieq(field->name, known[i].name))
			return known[i].check(audit, w_view_trim(field->value));
	return W_OK;
}

static int
check_whole(struct audit *audit, struct w_view version)
{
	bool new = w_view_eq(version, W_VIEW("HTTP/1.1"));

	if (!new && !w_view_eq(version, W_VIEW("HTTP/1.0")))
		return refuse(audit, -W_EVERSION, "only HTTP/1.1 and HTTP/1.0 are spoken here");
	if (audit->codings > 0 && (audit->lengths > 0 || !new))
		return refuse(audit, -W_EFRAMING,
		    "Transfer-Encoding with Content-Length or HTTP/1.0");
	if (new && audit->hosts == 0)
		return refuse(audit, -W_EINVAL, "Host is missing");
	if (audit->codings > 0)
		audit->out.length = -1;
	return W_OK;
}

int
srv__audit(struct w_view method, struct w_view version, const struct lnk_field *fields,
    size_t count, struct srv_audit *ret, const char **ret_why)
{
	struct audit audit = { .why = NULL };
	int rc = W_OK;

	if (!srv__is_token(method))
		rc = refuse(&audit, -W_EINVAL, "the method is not a token");
	for (size_t i = 0; i < count && rc == W_OK; i++)
		rc = check_field(&audit, &fields[i]);
	if (rc == W_OK)
		rc = check_whole(&audit, version);
	*ret = audit.out;
	*ret_why = audit.why;
	return rc;
}

bool
srv__is_hop_field(struct w_view name)
{
	static const char *const names[] = { "connection", "content-length", "host", "keep-alive",
		"proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "expect" };

	for (size_t i = 0; i < W_NELEM(names); i++)
		if (w_view_ieq(name, w_view_of(names[i])))
			return true;
	return false;
}

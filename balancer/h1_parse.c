/*
 * llhttp takes a header apart, after bal_h1_scan() has found nothing strange in its lines. Its
 * callbacks see each part whole, since the header lies in one piece. It stops at the end of
 * the header: bodies are framed by h1_body.c and h1.c.
 */
#include <llhttp.h>

#include "balancer/h1.h"

struct parse {
	struct bal_h1_request *request;
	size_t room;
	bool too_many;
};

static int
on_url(llhttp_t *parser, const char *at, size_t len)
{
	struct parse *parse = parser->data;

	parse->request->url = (struct w_view){ at, len };
	return 0;
}

static int
on_field(llhttp_t *parser, const char *at, size_t len)
{
	struct parse *parse = parser->data;
	struct bal_h1_request *request = parse->request;

	if (request->field_count == parse->room) {
		parse->too_many = true;
		return -1;
	}
	request->fields[request->field_count++] =
	    (struct lnk_field){ { at, len }, { at + len, 0 } };
	return 0;
}

static int
on_value(llhttp_t *parser, const char *at, size_t len)
{
	struct parse *parse = parser->data;
	struct bal_h1_request *request = parse->request;

	if (request->field_count == 0)
		return -1;
	request->fields[request->field_count - 1].value =
	    w_view_trim((struct w_view){ at, len });
	return 0;
}

static int
on_headers_complete(llhttp_t *parser W_UNUSED)
{
	return HPE_PAUSED;
}

static enum bal_h1_error
error_of(llhttp_errno_t error)
{
	switch (error) {
	case HPE_UNEXPECTED_CONTENT_LENGTH:
		return BAL_H1_LENGTH_REPEATED;
	case HPE_INVALID_CONTENT_LENGTH:
		return BAL_H1_LENGTH_INVALID;
	case HPE_INVALID_URL:
		return BAL_H1_TARGET;
	default:
		return BAL_H1_PARSER;
	}
}

enum bal_h1_error
bal_h1_parse(const struct bal_h1_scan *scan, const char *data, struct lnk_field *fields,
    struct bal_h1_request *ret)
{
	static const llhttp_settings_t settings = {
		.on_url = on_url,
		.on_header_field = on_field,
		.on_header_value = on_value,
		.on_headers_complete = on_headers_complete,
	};
	struct parse parse = { .request = ret, .room = scan->fields };
	llhttp_t parser;
	llhttp_errno_t error;

	*ret = (struct bal_h1_request){ .fields = fields, .minor = scan->minor };
	ret->method = (struct w_view){ data, scan->method_len };
	llhttp_init(&parser, HTTP_REQUEST, &settings);
	/* Codings, alone or together with a length, are judged later, with their own reasons. */
	llhttp_set_lenient_chunked_length(&parser, 1);
	llhttp_set_lenient_transfer_encoding(&parser, 1);
	parser.data = &parse;

	error = llhttp_execute(&parser, data, scan->line);
	if (error != HPE_PAUSED)
		return error_of(error);
	/* Two readers, one meaning. */
	if (parse.too_many || ret->field_count != scan->fields ||
	    ret->url.ptr != data + scan->target || ret->url.len != scan->target_len)
		return BAL_H1_PARSER;
	return BAL_H1_OK;
}

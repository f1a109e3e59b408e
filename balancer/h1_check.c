/*
 * The raw lines of a request: see h1_check.h.
 */
#include "balancer/h1_check.h"
#include "balancer/text.h"

#define METHOD_MAX 32

static const struct bal_h1_error_info infos[] = {
#define X(id, status, kind, detail) [BAL_H1_##id] = { status, kind, detail },
	BAL_H1_ERRORS(X)
#undef X
};

const struct bal_h1_error_info *
bal_h1_error_info(enum bal_h1_error error)
{
	W_ASSERT(error < BAL_H1_ERROR_COUNT);
	return &infos[error];
}

/*
 * The request line as far as it is there, its CR included: so that garbage and endless targets
 * are refused at once, with the same verdict as when the line is complete.
 */
static enum bal_h1_error
check_prefix(struct bal_h1_scan *scan, const char *line, size_t len, size_t max_target)
{
	const char *space;
	size_t n = 0;

	while (n < len && bal_is(line[n], BAL_C_TOKEN))
		n++;
	if (n > METHOD_MAX)
		return BAL_H1_METHOD_UNKNOWN;
	if (n == len)
		return BAL_H1_MORE;
	if (line[n] != ' ' || n == 0)
		return BAL_H1_METHOD;
	scan->method_len = (uint32_t)n;
	scan->target = (uint32_t)n + 1;
	space = memchr(line + n + 1, ' ', len - n - 1);
	scan->target_len = (uint32_t)((space != NULL ? space : line + len) - (line + n + 1));
	return scan->target_len > max_target ? BAL_H1_TARGET_LONG : BAL_H1_MORE;
}

/* Methods that are passed on; extensions among them are WebDAV's and those of other RFCs. */
static enum bal_h1_error
check_method(struct w_view method)
{
	static const char *const known[] = { "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH",
		"OPTIONS", "PROPFIND", "PROPPATCH", "MKCOL", "COPY", "MOVE", "LOCK", "UNLOCK",
		"REPORT", "SEARCH", "MKCALENDAR", "ACL", "CHECKOUT", "MERGE", "MKACTIVITY", "BIND",
		"UNBIND", "REBIND", "LINK", "UNLINK", "PURGE" };

	for (size_t i = 0; i < W_NELEM(known); i++)
		if (w_view_eq(method, w_view_of(known[i])))
			return BAL_H1_OK;
	if (w_view_eq(method, W_VIEW("CONNECT")))
		return BAL_H1_CONNECT;
	/* HTTP/2's preface looks like a request of this version. */
	if (w_view_eq(method, W_VIEW("PRI")))
		return BAL_H1_VERSION;
	return w_view_eq(method, W_VIEW("TRACE")) ? BAL_H1_TRACE : BAL_H1_METHOD_UNKNOWN;
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static enum bal_h1_error
check_version(struct bal_h1_scan *scan, struct w_view text)
{
	if (text.len != 8 || memcmp(text.ptr, "HTTP/", 5) != 0 || !is_digit(text.ptr[5]) ||
	    text.ptr[6] != '.' || !is_digit(text.ptr[7]))
		return BAL_H1_REQUEST_LINE;
	if (text.ptr[5] != '1' || text.ptr[7] > '1')
		return BAL_H1_VERSION;
	scan->minor = (uint8_t)(text.ptr[7] - '0');
	return BAL_H1_OK;
}

/* line without CR LF; prefix has been checked. */
static enum bal_h1_error
check_request_line(struct bal_h1_scan *scan, const char *line, size_t len)
{
	size_t target = scan->target, version;
	enum bal_h1_error error;

	if (memchr(line, '\r', len) != NULL)
		return BAL_H1_BARE_CR;
	/* A line without target, or without version: HTTP/0.9. */
	if (scan->method_len == 0)
		return BAL_H1_REQUEST_LINE;
	if (target + scan->target_len >= len)
		return BAL_H1_VERSION;
	version = target + scan->target_len + 1;
	error = check_version(scan, (struct w_view){ line + version, len - version });
	if (error != BAL_H1_OK)
		return error;
	error = check_method((struct w_view){ line, scan->method_len });
	if (error != BAL_H1_OK)
		return error;
	if (scan->target_len == 0)
		return BAL_H1_REQUEST_LINE;
	return bal_text_all((struct w_view){ line + target, scan->target_len }, BAL_C_TARGET) ?
	    BAL_H1_OK : BAL_H1_TARGET;
}

static enum bal_h1_error
no_colon(const char *line, size_t len, size_t at)
{
	if (at > 0 && at < len && (line[at] == ' ' || line[at] == '\t')) {
		while (at < len && (line[at] == ' ' || line[at] == '\t'))
			at++;
		if (at < len && line[at] == ':')
			return BAL_H1_SPACE_COLON;
	}
	return memchr(line, '\r', len) != NULL ? BAL_H1_BARE_CR : BAL_H1_FIELD_NAME;
}

enum bal_h1_error
bal_h1_field_line(char *line, size_t len)
{
	size_t i = 0;

	if (line[0] == ' ' || line[0] == '\t')
		return BAL_H1_OBS_FOLD;
	for (; i < len && bal_is(line[i], BAL_C_TOKEN); i++)
		if (line[i] >= 'A' && line[i] <= 'Z')
			line[i] |= 0x20;
	if (i == 0 || i == len || line[i] != ':')
		return no_colon(line, len, i);
	for (i++; i < len; i++)
		if (!bal_is(line[i], BAL_C_VALUE))
			return line[i] == '\r' ? BAL_H1_BARE_CR : BAL_H1_CONTROL;
	return BAL_H1_OK;
}

/* One complete line of len bytes, LF included. BAL_H1_OK ends the header. */
static enum bal_h1_error
scan_line(struct bal_h1_scan *scan, char *line, size_t len, const struct w_balancer_options *opt)
{
	enum bal_h1_error error;

	if (len < 2 || line[len - 2] != '\r')
		return BAL_H1_BARE_LF;
	if (!scan->first_done) {
		scan->first_done = true;
		error = check_request_line(scan, line, len - 2);
		return error == BAL_H1_OK ? BAL_H1_MORE : error;
	}
	if (len == 2)
		return BAL_H1_OK;
	if (++scan->fields > opt->max_fields)
		return BAL_H1_FIELDS_MANY;
	error = bal_h1_field_line(line, len - 2);
	return error == BAL_H1_OK ? BAL_H1_MORE : error;
}

enum bal_h1_error
bal_h1_scan(struct bal_h1_scan *scan, char *data, size_t len, const struct w_balancer_options *opt)
{
	size_t most = W_MIN(len, (size_t)opt->max_header);
	enum bal_h1_error error;

	for (;;) {
		char *lf = most > scan->seek ? memchr(data + scan->seek, '\n', most - scan->seek) : NULL;
		size_t end = lf != NULL ? (size_t)(lf - data) + 1 : most;

		if (!scan->first_done) {
			error = check_prefix(scan, data, lf != NULL ? end - 1 : end, opt->max_target);
			if (error != BAL_H1_MORE)
				return error;
		}
		scan->seek = (uint32_t)end;
		if (lf == NULL)
			return len > opt->max_header ? BAL_H1_HEADER_LARGE : BAL_H1_MORE;
		error = scan_line(scan, data + scan->line, end - scan->line, opt);
		if (error != BAL_H1_MORE && error != BAL_H1_OK)
			return error;
		scan->line = (uint32_t)end;
		if (error == BAL_H1_OK)
			return BAL_H1_OK;
	}
}

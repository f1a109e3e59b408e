/*
 * Problem details: see problem.h. Texts are ours and ids are printable, so nothing is escaped.
 */
#include "balancer/problem.h"

#include <stdio.h>

/* Source: IANA HTTP Status Code Registry */
/* clang-format off */
static const struct { unsigned status; const char *reason; } reasons[] = {
	{ 200, "OK" }, { 201, "Created" }, { 202, "Accepted" },
	{ 203, "Non-Authoritative Information" }, { 204, "No Content" }, { 205, "Reset Content" },
	{ 206, "Partial Content" }, { 207, "Multi-Status" }, { 208, "Already Reported" },
	{ 226, "IM Used" },
	{ 300, "Multiple Choices" }, { 301, "Moved Permanently" }, { 302, "Found" },
	{ 303, "See Other" }, { 304, "Not Modified" }, { 307, "Temporary Redirect" },
	{ 308, "Permanent Redirect" },
	{ 400, "Bad Request" }, { 401, "Unauthorized" }, { 402, "Payment Required" },
	{ 403, "Forbidden" }, { 404, "Not Found" }, { 405, "Method Not Allowed" },
	{ 406, "Not Acceptable" }, { 407, "Proxy Authentication Required" },
	{ 408, "Request Timeout" }, { 409, "Conflict" }, { 410, "Gone" },
	{ 411, "Length Required" }, { 412, "Precondition Failed" }, { 413, "Content Too Large" },
	{ 414, "URI Too Long" }, { 415, "Unsupported Media Type" },
	{ 416, "Range Not Satisfiable" }, { 417, "Expectation Failed" },
	{ 421, "Misdirected Request" }, { 422, "Unprocessable Content" }, { 423, "Locked" },
	{ 424, "Failed Dependency" }, { 425, "Too Early" }, { 426, "Upgrade Required" },
	{ 428, "Precondition Required" }, { 429, "Too Many Requests" },
	{ 431, "Request Header Fields Too Large" }, { 451, "Unavailable For Legal Reasons" },
	{ 500, "Internal Server Error" }, { 501, "Not Implemented" }, { 502, "Bad Gateway" },
	{ 503, "Service Unavailable" }, { 504, "Gateway Timeout" },
	{ 505, "HTTP Version Not Supported" }, { 506, "Variant Also Negotiates" },
	{ 507, "Insufficient Storage" }, { 508, "Loop Detected" },
	{ 511, "Network Authentication Required" },
};
/* clang-format on */

const char *
bal_reason(unsigned status)
{
	for (size_t i = 0; i < W_NELEM(reasons); i++)
		if (reasons[i].status == status)
			return reasons[i].reason;
	return "Status";
}

static void
add_field(struct bal_problem *problem, const char *name, const char *value)
{
	problem->fields[problem->field_count++] =
	    (struct lnk_field){ w_view_of(name), w_view_of(value) };
}

void
bal_problem_make(struct bal_problem *problem, unsigned status, const char *detail,
    struct w_view id)
{
	int len;

	problem->status = status;
	problem->field_count = 0;
	add_field(problem, "content-type", "application/problem+json");
	add_field(problem, "cache-control", "no-store");
	if (status == 405)
		add_field(problem, "allow", "GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS");
	if (status == 503)
		add_field(problem, "retry-after", "1");

	len = snprintf(problem->body, sizeof(problem->body),
	    "{\"type\":\"about:blank\",\"title\":\"%s\",\"status\":%u,\"detail\":\"%s\","
	    "\"instance\":\"%.*s\"}\n",
	    bal_reason(status), status, detail, W_VIEW_ARG(id));
	problem->len = W_MIN((size_t)W_MAX(len, 0), sizeof(problem->body) - 1);
}

/*
 * What libmicrohttpd lets through and a server must not: two lengths, unknown codings, names with
 * spaces, no or two hosts. The header is checked whole before anything is done with it.
 * Source: RFC 9112 sections 3.2, 5.1, 6.1 to 6.3; RFC 9110 section 10.1.1
 */
#ifndef WEIR_SERVER_AUDIT_H
#define WEIR_SERVER_AUDIT_H

#include "common/error.h"
#include "link/link.h"

struct srv_audit {
	int64_t length; /* of the body; 0 none, -1 unknown (chunked) */
	struct w_view host, traceparent, position, idempotency, id;
	bool expects;   /* Expect: 100-continue */
};

/*
 * Errors   -W_EFRAMING, -W_EINVAL, -W_EEXPECT, -W_EVERSION with a reason in *ret_why (static text):
 *          answer, then close the connection
 */
int srv__audit(struct w_view method, struct w_view version, const struct lnk_field *fields,
    size_t count, struct srv_audit *ret, const char **ret_why);
/* Whether a field belongs to the connection and not to the request. */
bool srv__is_hop_field(struct w_view name);

#endif

/*
 * Error responses that the balancer makes itself: problem details for HTTP APIs.
 * Source: RFC 9457
 */
#ifndef WEIR_BALANCER_PROBLEM_H
#define WEIR_BALANCER_PROBLEM_H

#include "link/link.h"

#define BAL_PROBLEM_SIZE 768
#define BAL_PROBLEM_FIELDS 4

struct bal_problem {
	unsigned status;
	struct lnk_field fields[BAL_PROBLEM_FIELDS];
	size_t field_count;
	size_t len; /* of body */
	char body[BAL_PROBLEM_SIZE];
};

/* detail and id go into the body; id also may be empty. 405 gets Allow, 503 gets Retry-After. */
void bal_problem_make(struct bal_problem *problem, unsigned status, const char *detail,
    struct w_view id);

/* "Not Found"; "Status" for codes that nobody registered. */
const char *bal_reason(unsigned status);

#endif

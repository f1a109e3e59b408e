/*
 * TLS of the HTTPS listener: certificate, priorities and ticket key as one immutable snapshot.
 *
 * Threads: made by the control thread, then read by all workers; sessions refer to it until
 * they end, so a snapshot lives until all workers are gone.
 */
#ifndef WEIR_BALANCER_TLS_H
#define WEIR_BALANCER_TLS_H

#include <gnutls/gnutls.h>

#include "common/cluster.h"

struct bal_tls;

/*
 * Read the files that the options name. before: the snapshot to take the ticket key from when
 * the options name none; may be NULL.
 *
 * Errors   -W_EINVAL, -W_EIO; the fault says which file or option, and what is wrong
 */
int bal_tls_new(const struct w_balancer_options *opt, const struct bal_tls *before,
    struct bal_tls **ret, struct w_fault *fault);
void bal_tls_free(struct bal_tls **tls);

/* A server session that speaks HTTP/1.1 by ALPN and gives out tickets. Errors: -W_ENOMEM. */
int bal_tls_session(const struct bal_tls *tls, gnutls_session_t *ret);

#endif

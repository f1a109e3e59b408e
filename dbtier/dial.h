/*
 * Opening a connection without blocking a loop: name lookup, then libpq's asynchronous
 * connect. Used by the prober and by the lanes.
 */
#ifndef WEIR_DBTIER_DIAL_H
#define WEIR_DBTIER_DIAL_H

#include <libpq-fe.h>

#include "common/cluster.h"
#include "common/error.h"
#include "common/loop.h"

/* What one PostgreSQL role needs to open one node. Strings are owned. */
struct dbt__login {
	char *host, *port;
	char *dbname, *user, *password; /* password NULL: none */
	char *ca;                       /* CA certificate file; NULL: TLS without a check */
	bool numeric;                   /* host needs no lookup */
};

/* role: "rw", "ro" or "agent". Errors: -W_EINVAL address or role; -W_EIO password file. */
int dbt__login_make(const struct w_cluster *cluster, const struct w_member *node, const char *role,
    struct dbt__login *ret, struct w_fault *fault);
void dbt__login_fini(struct dbt__login *login); /* wipes the password */

/* libpq's parameters of a login; both arrays end with NULL. */
#define DBT__PARAMS_MAX 24
struct dbt__params {
	const char *keys[DBT__PARAMS_MAX], *values[DBT__PARAMS_MAX];
	unsigned count;
};
/* hostaddr: numeric address of the host, or NULL. options: session settings, or NULL. */
void dbt__params_of(struct dbt__params *params, const struct dbt__login *login,
    const char *hostaddr, const char *application, const char *options);
/* "key='value' ..." with libpq's quoting; caller frees. */
char *dbt__params_text(const struct dbt__params *params);

/*
 * A descriptor that libpq owns, watched on a loop. libpq closes and opens descriptors as it
 * likes, so the watch is stopped before libpq may do that.
 */
struct dbt__watch {
	struct w_loop *loop;
	uv_poll_t *poll;
	int fd, events;
	void (*ready)(void *arg, int events);
	void *arg;
};
void dbt__watch_set(struct dbt__watch *watch, int fd, int events); /* Errors show as readiness */
void dbt__watch_stop(struct dbt__watch *watch);

struct dbt__dial {
	struct w_loop *loop;
	const struct dbt__login *login;
	const char *application, *options;
	w_usec timeout;
	/*
	 * Called once, never from within dbt__dial_start. conn belongs to the callee, its notices go nowhere; NULL: it
	 * failed, and why says so (one line, valid during the call).
	 */
	void (*done)(void *arg, PGconn *conn, const char *why);
	void *arg;

	PGconn *conn;
	struct dbt__watch watch;
	uv_getaddrinfo_t *lookup;
	struct w_timer timer;
};

/* The members up to arg are set by the caller. */
void dbt__dial_start(struct dbt__dial *dial);
/* Gives up without calling done. Twice is harmless. */
void dbt__dial_stop(struct dbt__dial *dial);

/* First line of libpq's last error, for logs; to is returned. */
const char *dbt__conn_error(const PGconn *conn, char *to, size_t size);

#endif

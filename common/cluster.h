/*
 * The cluster file: one YAML document that describes every node. All nodes and
 * the weir command read the same file.
 *
 *	cluster:   { name: demo, keys: keys, database_ca: ca.pem, ... }
 *	balancers: [ { name: balancer-1, https: "0.0.0.0:443", link: "10.0.0.1:8200", ... } ]
 *	servers:   [ { name: server-1, http: "127.0.0.1:8101", modules: [guestbook], ... } ]
 *	databases: [ { name: db-1, address: "10.0.0.5:5432", ... } ]
 *	monitors:  [ { name: monitor-1, http: ..., feed: ..., collect: ... } ]
 *	alerts:    [ { name: replica-lag, value: lag_bytes, compare: ">", threshold: 1e6, ... } ]
 *
 * A cluster is immutable once loaded; a reload makes a new one.
 * Source: docs/man/weir-cluster.5
 */
#ifndef WEIR_COMMON_CLUSTER_H
#define WEIR_COMMON_CLUSTER_H

#include "common/error.h"
#include "common/options.h"
#include "common/view.h"

enum w_role { W_BALANCER, W_SERVER, W_DATABASE, W_MONITOR, W_ROLE_COUNT };

const char *w_role_name(enum w_role role); /* "balancer", "server", "database", "monitor" */

/* One node of the file. opt is the member of its role. */
struct w_member {
	const char *name;
	enum w_role role;
	unsigned index; /* position among the nodes of its role, from 0 */
	union {
		struct w_balancer_options balancer;
		struct w_server_options server;
		struct w_database_options database;
		struct w_monitor_options monitor;
	} opt;
};

struct w_alert {
	const char *name;
	struct w_alert_options opt;
};

struct w_cluster {
	const char *path; /* of the file, absolute */
	const char *dir;  /* its folder, absolute */
	struct w_cluster_options opt;
	struct w_member *members; /* balancers first, then servers, databases, monitors */
	size_t member_count;
	struct w_alert *alerts;
	size_t alert_count;
	void *memory; /* private */
};

/*
 * Read and check a cluster file. Checked: structure, unknown keys, types, units,
 * ranges, node names (1-63 of [a-z0-9-], unique, starting with a letter), address
 * syntax, alert comparisons and thresholds, at least one node.
 *
 * Owner    the caller owns *ret until w_cluster_free()
 * Errors   -W_EINVAL, -W_ERANGE, -W_EIO; the fault's text is "FILE:LINE: KEY: what was
 *          wrong, and what is wanted"
 */
int w_cluster_load(const char *path, struct w_cluster **ret, struct w_fault *fault);
void w_cluster_free(struct w_cluster **cluster);

/* NULL when there is no such node. */
const struct w_member *w_cluster_find(const struct w_cluster *cluster, struct w_view name);
size_t w_cluster_count(const struct w_cluster *cluster, enum w_role role);
/* The index-th node of a role, or NULL. */
const struct w_member *w_cluster_nth(const struct w_cluster *cluster, enum w_role role, unsigned index);

/* The options' table of a role, for --print-options and manual pages. */
struct w_option_info {
	const char *key, *type, *def, *when, *text;
	int64_t min, max;
};
/* section: "cluster", "balancer", "server", "database", "monitor", "alert". NULL if unknown. */
const struct w_option_info *w_options_of(const char *section, size_t *ret_count);
/* Print a section's options as roff for the manual pages; see tests/house/generated.sh. */
void w_options_print(const char *section);

/*
 * "HOST:PORT" or "[V6]:PORT" to its parts. host is NUL-ended, without brackets.
 * Errors: -W_EINVAL. *ret_port is untouched on failure.
 */
int w_addr_split(const char *addr, char *host, size_t size, unsigned *ret_port);
/* "tcp://HOST:(PORT+add)" for ZeroMQ, into to. Errors: -W_EINVAL, -W_ERANGE. */
int w_addr_zmq(const char *addr, unsigned add, char *to, size_t size);

#endif

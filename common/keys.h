/*
 * CURVE keys and who may speak to whom.
 *
 * The keys folder holds NAME.pub (Z85 public key, 40 characters and a newline) of every
 * node and of every subscriber to the feed, and NAME.key (Z85 secret key, mode 0600) of
 * the node itself. Who may enter which ZAP domain follows from the cluster file:
 *
 *	domain    bound by            admits
 *	link      balancers           servers
 *	collect   monitors            every node
 *	feed      monitors            every node, and every NAME.pub that is no node (subscribers)
 *	control   monitors            databases, and the subscriber "operator"
 *
 * libzmq 4.3.4 admits any CURVE client when no ZAP handler is bound, so: w_zap_start()
 * comes before any bind, and every server socket sets ZMQ_ZAP_ENFORCE_DOMAIN (93), which
 * refuses everybody when the handler is not there.
 * Source: RFC 26/CurveZMQ, RFC 27/ZAP, zmq_curve(7)
 */
#ifndef WEIR_COMMON_KEYS_H
#define WEIR_COMMON_KEYS_H

#include "common/cluster.h"
#include "common/loop.h"

#define W_KEY_SIZE 41 /* 40 characters of Z85 and a NUL */

enum w_domain { W_DOMAIN_LINK, W_DOMAIN_COLLECT, W_DOMAIN_FEED, W_DOMAIN_CONTROL, W_DOMAIN_COUNT };

/* One identity: a name and its key pair. */
struct w_keys {
	char name[64];
	char public_key[W_KEY_SIZE];
	char secret_key[W_KEY_SIZE]; /* wiped by w_keys_free */
	char *dir; /* the keys folder */
};

/* Make a pair. Errors: -W_EIO (libzmq without CURVE). */
int w_keys_make(char public_key[W_KEY_SIZE], char secret_key[W_KEY_SIZE]);
/* Make NAME.pub and NAME.key in dir unless both are there. Errors: -W_EIO, -W_EINVAL one is missing. */
int w_keys_ensure(const char *dir, const char *name, struct w_fault *fault);
/*
 * Load NAME.key and NAME.pub. Refuses a secret key file that group or others can read.
 * Errors: -W_EIO, -W_EINVAL, -W_EDENIED; the fault says which file and what to do.
 */
int w_keys_load(const char *dir, const char *name, struct w_keys **ret, struct w_fault *fault);
void w_keys_free(struct w_keys **keys);

/*
 * Prepare a ZeroMQ socket before bind or connect: CURVE, LINGER 0, MAXMSGSIZE 16 MiB (set a
 * smaller one after it), handshake 3 s, heartbeats (300 ms, 900 ms), IPv6 on; a client
 * reconnects after 100 ms, doubling up to 1 s.
 * Errors: -W_EIO; client also -W_EINVAL when peer has no NAME.pub.
 */
int w_keys_server(const struct w_keys *keys, void *socket, enum w_domain domain, struct w_fault *fault);
int w_keys_client(const struct w_keys *keys, void *socket, const char *peer, struct w_fault *fault);

/*
 * The ZAP handler of a ZeroMQ context, on the control thread's loop. Unknown or not
 * admitted keys are refused, logged ("zap-refused", at most once a second) and counted. The
 * user id of an admitted peer is its name. Files that hold no key are logged ("key-skipped")
 * at the start, when there is no other list, but make a reload fail.
 *
 * Threads: control. Errors: -W_EIO, -W_EINVAL two files hold the same key.
 */
struct w_zap;
int w_zap_start(void *context, struct w_loop *loop, const struct w_cluster *cluster,
    struct w_zap **ret, struct w_fault *fault);
/* Read the keys folder again. The old list stays in force when that fails. */
int w_zap_reload(struct w_zap *zap, const struct w_cluster *cluster, struct w_fault *fault);
void w_zap_stop(struct w_zap **zap);
uint64_t w_zap_accepted(const struct w_zap *zap);
uint64_t w_zap_refused(const struct w_zap *zap);

#endif

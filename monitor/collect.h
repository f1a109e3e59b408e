/*
 * The socket that all nodes publish to: messages in, parsed by nobody yet; and the end of
 * connections, which tells of a killed node sooner than its silence.
 *
 * Threads: control.
 */
#ifndef WEIR_MONITOR_COLLECT_H
#define WEIR_MONITOR_COLLECT_H

#include "common/keys.h"
#include "common/node.h"

/* Connections of a bound socket, as libzmq's socket monitor tells of them. */
struct mon_peers {
	void *socket; /* borrowed */
	void *events; /* a PAIR */
	struct w_zsock zsock;
	int *fds;      /* of connections that stand, those in their handshake included */
	unsigned open; /* how many */
	unsigned room;
	void (*disconnected)(void *arg, int fd); /* may be NULL */
	void *arg;
};

/* endpoint: "inproc://..." of its own. Errors: -W_EIO */
int mon_peers_open(struct mon_peers *peers, struct w_node *node, void *socket,
    const char *endpoint, struct w_fault *fault);
void mon_peers_close(struct mon_peers *peers); /* zeroed or closed: harmless */
/* Take what is there now, without waiting for the loop to say so. */
void mon_peers_drain(struct mon_peers *peers);
/*
 * Whether the connection that a message came over still stands, as far as libzmq has told: a message
 * may wait in a queue for longer than its connection lives. fd -1, not known, stands.
 */
bool mon_peers_stands(struct mon_peers *peers, int fd);

/*
 * Receive one message of any number of frames; the first two are kept, of which MIN(returned, 2) are
 * to be closed. Returns how many there were, 0: no message.
 */
struct zmq_msg_t;
unsigned mon_receive_two(struct w_zsock *zsock, struct zmq_msg_t *frames);

struct mon_message {
	struct w_view json;
	const char *user; /* of whose key it is; NULL: not known */
	int fd;           /* of the connection, -1: not known */
};

struct mon_collect;

struct mon_collect_ops {
	void (*message)(void *arg, const struct mon_message *message);
	void (*malformed)(void *arg); /* not two frames, or another topic */
	void (*disconnected)(void *arg, int fd);
	void *arg;
};

/* Bind `collect` of the node's member. Errors: -W_EIO; the fault says the address. */
int mon_collect_open(struct w_node *node, const struct mon_collect_ops *ops,
    struct mon_collect **ret, struct w_fault *fault);
void mon_collect_close(struct mon_collect **collect);

/* Bind a server socket. Errors: -W_EIO, -W_EINVAL; the fault says the address. */
struct mon_door {
	enum w_domain domain;
	const char *addr; /* HOST:PORT */
	int64_t most;     /* bytes of a message that comes in */
};
int mon_bind(struct w_node *node, void *socket, const struct mon_door *door,
    struct w_fault *fault);

#endif

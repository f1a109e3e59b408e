/*
 * What stands on both ends of the link in these tests: a client that opens requests at a hub, and
 * a server that answers them. Both count what happens to them.
 *
 * The server echoes: it sends the request's body back as it comes, as far as windows allow. A
 * target
 * "/hold" is answered only by server_answer().
 */
#ifndef WEIR_TESTS_LINK_APP_H
#define WEIR_TESTS_LINK_APP_H

#include "link/link.h"

#define APP_PEERS 8

struct client {
	struct lnk_peer *peers[APP_PEERS]; /* up and not draining */
	unsigned peer_count, ups, downs, credits;
	int down_err;
	unsigned responses, closed, ok, refused, lost, other;
	int last_err;
	unsigned status;
	char field[64]; /* the last response's first field, "name: value" */
	bool slow;	/* does not consume */
	bool reopen;	/* closed() opens the request again, somewhere else */
	bool reset_on_data;
};

/* One request. */
struct call {
	struct client *client;
	struct lnk_stream *stream; /* NULL when it is over */
	size_t body, sent, got;	   /* bytes: to send, sent, received */
	bool wrong;		   /* a byte came back as another */
	bool end;
};

struct server {
	struct lnk_spoke *spoke;
	const unsigned *active; /* streams open, where there is no spoke */
	unsigned requests, closed, ok, ups, downs, most;
	int last_err;
	struct lnk_stream *held[256];
	unsigned held_count;
	char target[128];
	bool slow;	/* neither consumes nor answers bodies */
	bool unchecked; /* does not look at them either */
	size_t got;
};

extern const struct lnk_hub_ops client_ops;
extern const struct lnk_spoke_ops server_ops;

/* body bytes follow the request's header. Returns lnk_hub_open()'s answer. */
int call_open(struct call *call, struct client *client, struct lnk_peer *peer, const char *target,
    size_t body);
/* Send what the window takes. */
void call_pump(struct call *call);
void server_answer_one(struct server *server, unsigned index);
/* Answer the requests that are held, 204 without a body. */
void server_answer(struct server *server);

/* Conditions for world_until(). */
bool client_is_up(void *client);    /* a peer with credit */
bool client_is_alone(void *client); /* no peer */
bool call_is_over(void *call);

#endif

/*
 * The ZAP handler: libzmq asks it, for every CURVE client, whether the key may enter.
 *
 * 1. The list of keys is made anew from the folder and swapped in whole, or not at all.
 * 2. A key that is not in the list, or whose name is not admitted to the domain, is refused;
 *    so is every request that is not understood.
 * 3. The handler lives on the control thread. Sockets of all threads ask it through the
 *    context, and wait in their handshake until it answers.
 *
 * Source: RFC 27/ZAP
 */
#include <dirent.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <zmq.h>

#include "common/keys_inner.h"
#include "common/log.h"

#define ZAP_ENDPOINT "inproc://zeromq.zap.01"

struct identity {
	uint8_t key[32];
	char name[64];
	unsigned domains; /* bit per enum w_domain */
};

struct identities {
	struct identity *items; /* sorted by key */
	size_t count, room;
};

struct w_zap {
	void *socket;
	struct w_zsock zsock;
	struct identities list;
	uint64_t accepted, refused;
	uint64_t unlogged; /* refusals since the last line */
	w_usec logged;
};

/* ---- who may enter where ---- */

#define BIT(domain) (1u << (domain))
#define ANY_NODE (BIT(W_DOMAIN_COLLECT) | BIT(W_DOMAIN_FEED))

static unsigned
domains_of(const struct w_cluster *cluster, const char *name)
{
	static const unsigned of_role[W_ROLE_COUNT] = {
	    [W_BALANCER] = ANY_NODE,
	    [W_SERVER] = ANY_NODE | BIT(W_DOMAIN_LINK),
	    [W_DATABASE] = ANY_NODE | BIT(W_DOMAIN_CONTROL),
	    [W_MONITOR] = ANY_NODE,
	};
	const struct w_member *member = w_cluster_find(cluster, w_view_of(name));

	if (member != NULL)
		return of_role[member->role];
	if (strcmp(name, "operator") == 0)
		return BIT(W_DOMAIN_FEED) | BIT(W_DOMAIN_CONTROL);
	return BIT(W_DOMAIN_FEED);
}

static int
compare_identities(const void *a, const void *b)
{
	const struct identity *one = a, *other = b;

	return memcmp(one->key, other->key, sizeof(one->key));
}

static const struct identity *
find_identity(const struct identities *list, const void *key)
{
	return list->count == 0 ? NULL
				: bsearch(key, list->items, list->count, sizeof(*list->items),
				      compare_identities);
}

/* NAME.pub to NAME; false for other files and for names that are too long. */
static bool
name_of_file(const char *file, char name[64])
{
	struct w_view text = w_view_of(file);

	if (text.len <= 4 || text.ptr[0] == '.' || !w_view_ends(text, W_VIEW(".pub")))
		return false;
	return w_view_copy(w_view_sub(text, 0, text.len - 4), name, 64) == W_OK;
}

static int
add_file(const struct w_cluster *cluster, const char *file, struct identities *list,
    struct w_fault *fault)
{
	W_AUTO(w_free) char *path = w_xasprintf("%s/%s", cluster->opt.keys, file);
	struct identity *who;
	char z85[W_KEY_SIZE];
	int rc;

	if (list->count == list->room) {
		list->room = W_MAX(16, list->room * 2);
		list->items = w_xrealloc(list->items, list->room * sizeof(*list->items));
	}
	who = &list->items[list->count];
	if (!name_of_file(file, who->name))
		return W_OK;
	rc = w__keys_read_public(path, z85, who->key, fault);
	if (rc < 0)
		return rc;
	who->domains = domains_of(cluster, who->name);
	list->count++;
	return W_OK;
}

static int
sort_identities(struct identities *list, struct w_fault *fault)
{
	if (list->count > 0)
		qsort(list->items, list->count, sizeof(*list->items), compare_identities);
	for (size_t i = 1; i < list->count; i++) {
		if (compare_identities(&list->items[i - 1], &list->items[i]) == 0)
			return w_fail(fault, -W_EINVAL,
			    "%s.pub and %s.pub hold the same key: every name needs a pair of its "
			    "own",
			    list->items[i - 1].name, list->items[i].name);
	}
	return W_OK;
}

static void
skip_file(const struct w_fault *fault)
{
	char quoted[600];

	w_log(W_WARN, "", "key-skipped", "why=%s",
	    w_log_quote(w_view_of(fault->text), quoted, sizeof(quoted)));
}

/* strict: a file that holds no key is an error, else it is logged and skipped. */
static int
read_folder(
    const struct w_cluster *cluster, bool strict, struct identities *list, struct w_fault *fault)
{
	struct dirent *entry;
	DIR *dir = opendir(cluster->opt.keys);
	int rc = W_OK;

	if (dir == NULL)
		return w_fail(fault, -W_EIO, "%s: the keys folder cannot be read: %s",
		    cluster->opt.keys, strerror(errno));
	while (rc == W_OK && (entry = readdir(dir)) != NULL) {
		struct w_fault bad = {0};

		if (add_file(cluster, entry->d_name, list, &bad) == W_OK)
			continue;
		if (strict)
			rc = w_fail(fault, bad.err, "%s", bad.text);
		else
			skip_file(&bad);
	}
	closedir(dir);
	return rc == W_OK ? sort_identities(list, fault) : rc;
}

/* ---- answering ---- */

enum {
	ZAP_VERSION,
	ZAP_REQUEST,
	ZAP_DOMAIN,
	ZAP_ADDRESS,
	ZAP_IDENTITY,
	ZAP_MECHANISM,
	ZAP_KEY,
	ZAP_FRAMES
};

struct zap_request {
	zmq_msg_t frames[ZAP_FRAMES];
	unsigned count; /* of frames that came; more than there are places are dropped */
};

static struct w_view
frame(const struct zap_request *req, unsigned i)
{
	/* zmq_msg_data() wants a pointer to non-const and changes nothing */
	zmq_msg_t *msg = (zmq_msg_t *)&req->frames[i];

	return (struct w_view){zmq_msg_data(msg), zmq_msg_size(msg)};
}

/* False when there is no request. */
static bool
receive(struct w_zsock *zsock, struct zap_request *req)
{
	zmq_msg_t msg;
	bool more = true;

	for (req->count = 0; more; req->count++) {
		zmq_msg_t *to = req->count < ZAP_FRAMES ? &req->frames[req->count] : &msg;

		zmq_msg_init(to);
		if (w_zsock_receive(zsock, to) < 0) {
			zmq_msg_close(to);
			return false;
		}
		more = zmq_msg_more(to) != 0;
		if (to == &msg)
			zmq_msg_close(&msg);
	}
	return true;
}

static void
release(struct zap_request *req)
{
	for (unsigned i = 0; i < W_MIN(req->count, (unsigned)ZAP_FRAMES); i++)
		zmq_msg_close(&req->frames[i]);
}

/* NULL when the request is admitted, else why not. */
static const char *
judge(const struct w_zap *zap, const struct zap_request *req, const struct identity **ret)
{
	const struct identity *who;
	int domain;

	if (req->count != ZAP_FRAMES || !w_view_eq(frame(req, ZAP_VERSION), W_VIEW("1.0")) ||
	    !w_view_eq(frame(req, ZAP_MECHANISM), W_VIEW("CURVE")) ||
	    frame(req, ZAP_KEY).len != sizeof(who->key))
		return "not-curve";
	domain = w__domain_find(frame(req, ZAP_DOMAIN));
	if (domain < 0)
		return "unknown-domain";
	who = find_identity(&zap->list, frame(req, ZAP_KEY).ptr);
	if (who == NULL)
		return "unknown-key";
	*ret = who;
	return (who->domains & BIT(domain)) != 0 ? NULL : "not-admitted-to-domain";
}

static void
log_refused(struct w_zap *zap, const struct zap_request *req, const char *name, const char *why)
{
	char z85[W_KEY_SIZE] = "-", address[64], domain[64];
	struct w_view key = {NULL, 0};
	w_usec now = w_now();

	if (zap->logged != 0 && now - zap->logged < W_SEC) {
		zap->unlogged++;
		return;
	}
	if (req->count >= ZAP_FRAMES)
		key = frame(req, ZAP_KEY);
	if (key.len == 32)
		zmq_z85_encode(z85, (const uint8_t *)key.ptr, 32);
	w_log(W_WARN, "", "zap-refused",
	    "key=%.8s name=%s address=%s domain=%s why=%s unlogged=%llu", z85, name,
	    req->count > ZAP_ADDRESS
		? w_log_quote(frame(req, ZAP_ADDRESS), address, sizeof(address))
		: "-",
	    req->count > ZAP_DOMAIN ? w_log_quote(frame(req, ZAP_DOMAIN), domain, sizeof(domain))
				    : "-",
	    why, (unsigned long long)zap->unlogged);
	zap->logged = now;
	zap->unlogged = 0;
}

static void
answer(struct w_zsock *zsock, const struct zap_request *req, bool ok, const char *user)
{
	struct w_view id = req->count > ZAP_REQUEST ? frame(req, ZAP_REQUEST) : W_VIEW("");
	/*
	 * Who is in no cluster file that was read here may be in the next one. 400 would be final: libzmq's client
	 * does not dial again after it.
	 */
	const struct w_view parts[] = {W_VIEW("1.0"), id, ok ? W_VIEW("200") : W_VIEW("300"),
	    ok ? W_VIEW("OK") : W_VIEW("refused"), w_view_of(user), W_VIEW("")};

	for (size_t i = 0; i < W_NELEM(parts); i++)
		w_zsock_send(zsock, parts[i], i + 1 < W_NELEM(parts));
}

static void
on_requests(void *arg)
{
	struct w_zap *zap = arg;
	struct zap_request req;

	while (receive(&zap->zsock, &req)) {
		const struct identity *who = NULL;
		const char *why = judge(zap, &req, &who);

		if (why == NULL) {
			zap->accepted++;
		} else {
			zap->refused++;
			log_refused(zap, &req, who != NULL ? who->name : "-", why);
		}
		answer(&zap->zsock, &req, why == NULL, why == NULL ? who->name : "");
		release(&req);
	}
}

/* ---- life ---- */

static int
open_socket(struct w_zap *zap, void *context, struct w_loop *loop, struct w_fault *fault)
{
	int linger = 0;

	zap->socket = zmq_socket(context, ZMQ_REP);
	if (zap->socket == NULL)
		return w_fail(
		    fault, -W_EIO, "no socket for the ZAP handler: %s", zmq_strerror(zmq_errno()));
	zmq_setsockopt(zap->socket, ZMQ_LINGER, &linger, sizeof(linger));
	if (zmq_bind(zap->socket, ZAP_ENDPOINT) < 0)
		return w_fail(fault, -W_EIO, "the ZAP handler cannot bind %s: %s", ZAP_ENDPOINT,
		    zmq_strerror(zmq_errno()));
	if (w_zsock_add(loop, &zap->zsock, zap->socket, on_requests, zap) < 0)
		return w_fail(fault, -W_EIO, "the ZAP handler cannot be watched by its loop");
	return W_OK;
}

int
w_zap_start(void *context, struct w_loop *loop, const struct w_cluster *cluster, struct w_zap **ret,
    struct w_fault *fault)
{
	W_AUTO(w_zap_stop) struct w_zap *zap = w_xcalloc(1, sizeof(*zap));
	int rc;

	rc = read_folder(cluster, false, &zap->list, fault);
	if (rc < 0)
		return rc;
	rc = open_socket(zap, context, loop, fault);
	if (rc < 0)
		return rc;
	*ret = w_steal(&zap);
	return W_OK;
}

int
w_zap_reload(struct w_zap *zap, const struct w_cluster *cluster, struct w_fault *fault)
{
	struct identities list = {0};
	int rc = read_folder(cluster, true, &list, fault);

	if (rc < 0) {
		free(list.items);
		return rc;
	}
	free(zap->list.items);
	zap->list = list;
	return W_OK;
}

void
w_zap_stop(struct w_zap **zap)
{
	struct w_zap *z = w_steal(zap);

	if (z == NULL)
		return;
	w_zsock_remove(&z->zsock);
	if (z->socket != NULL) {
		/* closing alone would free the address only some time later */
		zmq_unbind(z->socket, ZAP_ENDPOINT);
		zmq_close(z->socket);
	}
	free(z->list.items);
	free(z);
}

uint64_t
w_zap_accepted(const struct w_zap *zap)
{
	return zap->accepted;
}

uint64_t
w_zap_refused(const struct w_zap *zap)
{
	return zap->refused;
}

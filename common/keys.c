/*
 * CURVE keys: files, and the options of a socket that uses them.
 */
#include "common/keys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>

#include "common/keys_inner.h"

/* zmq.h hides it among the drafts; every 4.3 library knows it. */
#ifndef ZMQ_ZAP_ENFORCE_DOMAIN
#define ZMQ_ZAP_ENFORCE_DOMAIN 93
#endif

/* A room that knows its messages sets a smaller limit after w_keys_server or _client. */
#define MESSAGE_MAX ((int64_t)16 << 20)

static const char *const domain_names[W_DOMAIN_COUNT] = {
    [W_DOMAIN_LINK] = "link",
    [W_DOMAIN_COLLECT] = "collect",
    [W_DOMAIN_FEED] = "feed",
    [W_DOMAIN_CONTROL] = "control",
};

int
w__domain_find(struct w_view name)
{
	for (int i = 0; i < W_DOMAIN_COUNT; i++)
		if (w_view_eq(name, w_view_of(domain_names[i])))
			return i;
	return -1;
}

/* ---- making ---- */

int
w_keys_make(char public_key[W_KEY_SIZE], char secret_key[W_KEY_SIZE])
{
	return zmq_curve_keypair(public_key, secret_key) < 0 ? -W_EIO : W_OK;
}

static int
write_key(const char *path, const char *key, mode_t mode, struct w_fault *fault)
{
	W_AUTO(w_close) int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	char line[W_KEY_SIZE + 1];
	int len = snprintf(line, sizeof(line), "%s\n", key);
	bool bad;

	if (fd < 0)
		return w_fail(fault, -W_EIO, "%s: cannot be created: %s", path, strerror(errno));
	/* fchmod, because the umask may have taken more than it should or less */
	bad = fchmod(fd, mode) < 0 || write(fd, line, (size_t)len) != len || fsync(fd) < 0;
	explicit_bzero(line, sizeof(line));
	if (!bad)
		return W_OK;
	w_fail(fault, -W_EIO, "%s: cannot be written: %s", path, strerror(errno));
	unlink(path);
	return -W_EIO;
}

/* What goes into a path must not lead out of the keys folder. */
static int
check_name(const char *name, struct w_fault *fault)
{
	size_t len = strlen(name);

	if (len == 0 || len >= sizeof(((struct w_keys *)0)->name) || name[0] == '.' ||
	    strchr(name, '/') != NULL)
		return w_fail(fault, -W_EINVAL,
		    "'%s' is no name for a key: 1 to 63 characters are wanted, no '/', no '.' "
		    "first",
		    name);
	return W_OK;
}

int
w_keys_ensure(const char *dir, const char *name, struct w_fault *fault)
{
	W_AUTO(w_free) char *pub = w_xasprintf("%s/%s.pub", dir, name);
	W_AUTO(w_free) char *sec = w_xasprintf("%s/%s.key", dir, name);
	char public_key[W_KEY_SIZE], secret_key[W_KEY_SIZE];
	bool have_pub, have_sec;
	int rc;

	rc = check_name(name, fault);
	if (rc < 0)
		return rc;
	if (mkdir(dir, 0755) < 0 && errno != EEXIST)
		return w_fail(fault, -W_EIO, "%s: cannot be created: %s", dir, strerror(errno));
	have_pub = access(pub, F_OK) == 0;
	have_sec = access(sec, F_OK) == 0;
	if (have_pub && have_sec)
		return W_OK;
	if (have_pub || have_sec)
		return w_fail(fault, -W_EINVAL,
		    "%s is there but %s is not: put it back, or remove both to make a new pair",
		    have_pub ? pub : sec, have_pub ? sec : pub);

	rc = w_keys_make(public_key, secret_key);
	if (rc < 0)
		return w_fail(
		    fault, rc, "no key pair for %s: this libzmq is built without CURVE", name);
	rc = write_key(sec, secret_key, 0600, fault);
	if (rc == W_OK)
		rc = write_key(pub, public_key, 0644, fault);
	explicit_bzero(secret_key, sizeof(secret_key));
	return rc;
}

/* ---- loading ---- */

/* The first line of a key file: 40 characters of Z85. raw may be NULL. */
static int
parse_key(struct w_view text, char key[W_KEY_SIZE], uint8_t raw[32])
{
	uint8_t bytes[32];

	while (text.len > 0 && strchr("\r\n \t", text.ptr[text.len - 1]) != NULL)
		text.len--;
	if (text.len != W_KEY_SIZE - 1 || memchr(text.ptr, '\0', text.len) != NULL)
		return -W_EINVAL;
	memcpy(key, text.ptr, text.len);
	key[text.len] = '\0';
	if (zmq_z85_decode(bytes, key) == NULL)
		return -W_EINVAL;
	if (raw != NULL)
		memcpy(raw, bytes, sizeof(bytes));
	explicit_bzero(bytes, sizeof(bytes));
	return W_OK;
}

static int
read_key(int fd, const char *path, char key[W_KEY_SIZE], uint8_t raw[32], struct w_fault *fault)
{
	char text[128];
	ssize_t got = read(fd, text, sizeof(text));
	int rc;

	if (got < 0)
		return w_fail(fault, -W_EIO, "%s: cannot be read: %s", path, strerror(errno));
	rc = parse_key((struct w_view){text, (size_t)got}, key, raw);
	explicit_bzero(text, sizeof(text));
	if (rc < 0)
		return w_fail(fault, rc,
		    "%s: not a key: one line of 40 characters of Z85 is wanted, as 'weir keys' "
		    "writes it",
		    path);
	return W_OK;
}

int
w__keys_read_public(const char *path, char key[W_KEY_SIZE], uint8_t raw[32], struct w_fault *fault)
{
	W_AUTO(w_close) int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return w_fail(fault, errno == ENOENT ? -W_EINVAL : -W_EIO,
		    "%s: cannot be read: %s; 'weir keys' makes the keys of a cluster", path,
		    strerror(errno));
	return read_key(fd, path, key, raw, fault);
}

static int
read_secret(const char *path, char key[W_KEY_SIZE], struct w_fault *fault)
{
	W_AUTO(w_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return w_fail(fault, -W_EIO, "%s: cannot be read: %s; 'weir keys' makes it", path,
		    strerror(errno));
	if ((st.st_mode & 077) != 0)
		return w_fail(fault, -W_EDENIED,
		    "%s: others may read this secret key (mode %04o): chmod 600 it, and make a new "
		    "pair if "
		    "anybody did",
		    path, (unsigned)(st.st_mode & 07777));
	return read_key(fd, path, key, NULL, fault);
}

int
w_keys_load(const char *dir, const char *name, struct w_keys **ret, struct w_fault *fault)
{
	W_AUTO(w_free) char *pub = w_xasprintf("%s/%s.pub", dir, name);
	W_AUTO(w_free) char *sec = w_xasprintf("%s/%s.key", dir, name);
	W_AUTO(w_keys_free) struct w_keys *keys = w_xcalloc(1, sizeof(*keys));
	char derived[W_KEY_SIZE];
	int rc;

	rc = check_name(name, fault);
	if (rc < 0)
		return rc;
	rc = read_secret(sec, keys->secret_key, fault);
	if (rc < 0)
		return rc;
	rc = w__keys_read_public(pub, keys->public_key, NULL, fault);
	if (rc < 0)
		return rc;
	if (zmq_curve_public(derived, keys->secret_key) < 0)
		return w_fail(fault, -W_EIO, "this libzmq is built without CURVE");
	if (strcmp(derived, keys->public_key) != 0)
		return w_fail(fault, -W_EINVAL,
		    "%s is not the public key of %s: put the pair back that belongs together", pub,
		    sec);

	snprintf(keys->name, sizeof(keys->name), "%s", name);
	keys->dir = w_xstrdup(dir);
	*ret = w_steal(&keys);
	return W_OK;
}

void
w_keys_free(struct w_keys **keys)
{
	struct w_keys *k = w_steal(keys);

	if (k == NULL)
		return;
	free(k->dir);
	explicit_bzero(k, sizeof(*k));
	free(k);
}

/* ---- sockets ---- */

struct int_option {
	int option;
	int value;
	const char *name;
};

static int
set_options(void *socket, const struct int_option *options, size_t count, struct w_fault *fault)
{
	for (size_t i = 0; i < count; i++) {
		if (zmq_setsockopt(socket, options[i].option, &options[i].value, sizeof(int)) < 0)
			return w_fail(fault, -W_EIO, "ZeroMQ refuses the socket option %s: %s",
			    options[i].name, zmq_strerror(zmq_errno()));
	}
	return W_OK;
}

static int
set_text(void *socket, int option, const char *text, struct w_fault *fault)
{
	/* a Z85 key counts with its NUL or without; a domain without */
	if (zmq_setsockopt(socket, option, text, strlen(text)) < 0)
		return w_fail(fault, -W_EIO, "ZeroMQ refuses the socket option %d: %s", option,
		    zmq_strerror(zmq_errno()));
	return W_OK;
}

/* What both ends want. Times in milliseconds. */
static int
set_common(void *socket, struct w_fault *fault)
{
	static const struct int_option options[] = {
	    {ZMQ_LINGER, 0, "LINGER"},
	    {ZMQ_HANDSHAKE_IVL, 3000, "HANDSHAKE_IVL"},
	    {ZMQ_HEARTBEAT_IVL, 300, "HEARTBEAT_IVL"},
	    {ZMQ_HEARTBEAT_TIMEOUT, 900, "HEARTBEAT_TIMEOUT"},
	    {ZMQ_IPV6, 1, "IPV6"},
	};
	int64_t most = MESSAGE_MAX;

	if (zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &most, sizeof(most)) < 0)
		return w_fail(fault, -W_EIO, "ZeroMQ refuses the socket option MAXMSGSIZE: %s",
		    zmq_strerror(zmq_errno()));
	return set_options(socket, options, W_NELEM(options), fault);
}

int
w_keys_server(const struct w_keys *keys, void *socket, enum w_domain domain, struct w_fault *fault)
{
	static const struct int_option options[] = {
	    {ZMQ_CURVE_SERVER, 1, "CURVE_SERVER"},
	    {ZMQ_ZAP_ENFORCE_DOMAIN, 1, "ZAP_ENFORCE_DOMAIN"},
	};
	int rc;

	rc = set_common(socket, fault);
	if (rc == W_OK)
		rc = set_text(socket, ZMQ_ZAP_DOMAIN, domain_names[domain], fault);
	if (rc == W_OK)
		rc = set_options(socket, options, W_NELEM(options), fault);
	if (rc == W_OK)
		rc = set_text(socket, ZMQ_CURVE_SECRETKEY, keys->secret_key, fault);
	return rc;
}

int
w_keys_client(const struct w_keys *keys, void *socket, const char *peer, struct w_fault *fault)
{
	static const struct int_option options[] = {
	    {ZMQ_RECONNECT_IVL, 100, "RECONNECT_IVL"},
	    {ZMQ_RECONNECT_IVL_MAX, 1000, "RECONNECT_IVL_MAX"},
	    {ZMQ_CONNECT_TIMEOUT, 3000, "CONNECT_TIMEOUT"},
	};
	W_AUTO(w_free) char *path = w_xasprintf("%s/%s.pub", keys->dir, peer);
	char server_key[W_KEY_SIZE];
	int rc;

	rc = check_name(peer, fault);
	if (rc == W_OK)
		rc = w__keys_read_public(path, server_key, NULL, fault);
	if (rc == W_OK)
		rc = set_common(socket, fault);
	if (rc == W_OK)
		rc = set_options(socket, options, W_NELEM(options), fault);
	if (rc == W_OK)
		rc = set_text(socket, ZMQ_CURVE_SERVERKEY, server_key, fault);
	if (rc == W_OK)
		rc = set_text(socket, ZMQ_CURVE_PUBLICKEY, keys->public_key, fault);
	if (rc == W_OK)
		rc = set_text(socket, ZMQ_CURVE_SECRETKEY, keys->secret_key, fault);
	return rc;
}

/*
 * weir-relay PORT MS - a slow link for TCP, where the kernel cannot delay packets.
 *
 * Rules of the network send it connections that were meant for others (nft redirect, to 127.0.0.1:PORT).
 * It asks the kernel whom they were meant for, connects there, and passes bytes both ways, none of them
 * before it has been here for MS milliseconds. Its own connections bear RELAY_MARK, so that the rules
 * leave them alone. tests/story/net.sh has the rules.
 *
 * 1. Of each direction at most QUEUE bytes are on their way: who sends more has to wait.
 * 2. The end of a direction is passed on behind its bytes; a broken connection breaks the other one.
 * 3. Who is gone without a word is missed after four seconds, since the keepalives of those who are connected
 *    end here.
 * 4. When it dies, however it does, so do the connections: each is reset when it is closed, unless both
 *    of its directions have come to their ends.
 *
 * A connection stands before the one behind it does. There are at most PAIRS; more wait to be accepted.
 * poll() is enough for so few.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

/* it redefines what others of the system's have, unless it comes last */
#include <linux/netfilter_ipv4.h>

#include "common/base.h"

#define RELAY_MARK 0x77
#define PAIRS 256
#define QUEUE ((size_t)512 << 10)
#define DELAY_MAX 1000
/* Bytes that may leave in the same millisecond share an entry, so there cannot be more of them. */
#define ENTRIES (DELAY_MAX + 2)

/* From one socket to the other: a ring of bytes, and one of when how many of them may leave. */
struct way {
	char *bytes;
	size_t at, len, due; /* due: those whose time has come, at the front */
	struct {
		int64_t ms;
		size_t len;
	} entries[ENTRIES];
	unsigned first, count;
	bool ended, shut;
	int64_t end_ms;
};

/* way[i] leads from fd[i] to fd[1 - i]. 0 is who came, 1 who was meant. */
struct pair {
	int fd[2];
	struct way way[2];
	bool connecting;
};

static struct pair *pairs[PAIRS];
static int64_t delay;

static int64_t
now_ms(void)
{
	return w_now() / W_MSEC;
}

/* ---- one way ---- */

/* At least the delay, whatever was cut off of the time. */
static int64_t
leaves_at(void)
{
	return now_ms() + delay + 1;
}

static void
note_bytes(struct way *way, size_t len)
{
	int64_t ms = leaves_at();
	unsigned last = (way->first + way->count - 1) % ENTRIES;

	way->len += len;
	if (way->count == 0 || way->entries[last].ms != ms) {
		last = (way->first + way->count++) % ENTRIES;
		W_ASSERT(way->count <= ENTRIES);
		way->entries[last].ms = ms;
		way->entries[last].len = 0;
	}
	way->entries[last].len += len;
}

static void
see_what_is_due(struct way *way, int64_t now)
{
	for (; way->count > 0 && way->entries[way->first].ms <= now; way->count--) {
		way->due += way->entries[way->first].len;
		way->first = (way->first + 1) % ENTRIES;
	}
}

static bool
passes(ssize_t rc)
{
	return rc >= 0 || errno == EAGAIN || errno == EINTR;
}

static bool
read_more(struct way *way, int from)
{
	size_t to = (way->at + way->len) % QUEUE;
	ssize_t got = recv(from, way->bytes + to, W_MIN(QUEUE - way->len, QUEUE - to), 0);

	if (got > 0)
		note_bytes(way, (size_t)got);
	if (got == 0) {
		way->ended = true;
		way->end_ms = leaves_at();
	}
	return passes(got);
}

static bool
write_due(struct way *way, int to, int64_t now)
{
	ssize_t sent = 0;

	if (way->due > 0)
		sent = send(to, way->bytes + way->at, W_MIN(way->due, QUEUE - way->at), MSG_NOSIGNAL);
	if (sent > 0) {
		way->at = (way->at + (size_t)sent) % QUEUE;
		way->len -= (size_t)sent;
		way->due -= (size_t)sent;
	}
	if (way->ended && !way->shut && way->len == 0 && way->end_ms <= now)
		way->shut = shutdown(to, SHUT_WR) == 0;
	return passes(sent);
}

/* When to look at it again, if nothing happens: -1 never. */
static int64_t
next_of(const struct way *way)
{
	if (way->count > 0)
		return way->entries[way->first].ms;
	return way->ended && !way->shut && way->len == 0 ? way->end_ms : -1;
}

/* ---- a pair ---- */

static int
socket_with(int fd)
{
	const struct linger reset = { .l_onoff = 1 };
	const struct {
		int level, name, value;
	} options[] = {
		{ IPPROTO_TCP, TCP_NODELAY, 1 },
		{ SOL_SOCKET, SO_KEEPALIVE, 1 },
		{ IPPROTO_TCP, TCP_KEEPIDLE, 1 },
		{ IPPROTO_TCP, TCP_KEEPINTVL, 1 },
		{ IPPROTO_TCP, TCP_KEEPCNT, 3 },
		{ IPPROTO_TCP, TCP_USER_TIMEOUT, 4000 }, /* ms; keepalives hold only while nothing is on its way */
	};

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	for (size_t i = 0; i < W_NELEM(options); i++)
		setsockopt(fd, options[i].level, options[i].name, &options[i].value, sizeof(options[i].value));
	return fd;
}

/* Towards whom it was meant, or -1. */
static int
dial(int came)
{
	const int mark = RELAY_MARK;
	struct sockaddr_in meant;
	socklen_t len = sizeof(meant);
	int fd;

	if (getsockopt(came, SOL_IP, SO_ORIGINAL_DST, &meant, &len) < 0)
		return -1;
	fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	if (setsockopt(socket_with(fd), SOL_SOCKET, SO_MARK, &mark, sizeof(mark)) < 0 ||
	    (connect(fd, (struct sockaddr *)&meant, len) < 0 && errno != EINPROGRESS)) {
		close(fd);
		return -1;
	}
	return fd;
}

static struct pair *
pair_new(int came)
{
	struct pair *pair;
	int meant = dial(socket_with(came));

	if (meant < 0) {
		close(came);
		return NULL;
	}
	pair = w_xcalloc(1, sizeof(*pair));
	pair->fd[0] = came;
	pair->fd[1] = meant;
	pair->connecting = true;
	pair->way[0].bytes = w_xcalloc(1, QUEUE);
	pair->way[1].bytes = w_xcalloc(1, QUEUE);
	return pair;
}

static void
pair_free(struct pair **pp)
{
	const struct linger in_order = { 0 };
	struct pair *pair = w_steal(pp);
	bool over = pair->way[0].shut && pair->way[1].shut;

	for (int i = 0; i < 2; i++) {
		if (over)
			setsockopt(pair->fd[i], SOL_SOCKET, SO_LINGER, &in_order, sizeof(in_order));
		close(pair->fd[i]);
		free(pair->way[i].bytes);
	}
	free(pair);
}

static short
wanted(const struct pair *pair, int side)
{
	const struct way *in = &pair->way[side], *out = &pair->way[1 - side];
	short events = 0;

	if (pair->connecting)
		return side == 1 ? POLLOUT : 0;
	if (!in->ended && in->len < QUEUE)
		events |= POLLIN;
	if (out->due > 0)
		events |= POLLOUT;
	return events;
}

static bool
has_connected(struct pair *pair, short events)
{
	int error = 0;
	socklen_t len = sizeof(error);

	if (events == 0)
		return true;
	pair->connecting = false;
	return getsockopt(pair->fd[1], SOL_SOCKET, SO_ERROR, &error, &len) == 0 && error == 0;
}

/* Whether it lives on. */
static bool
pair_run(struct pair *pair, const struct pollfd *polled, int64_t now)
{
	if (pair->connecting)
		return has_connected(pair, polled[1].revents) && !(polled[0].revents & POLLERR);
	for (int i = 0; i < 2; i++) {
		struct way *way = &pair->way[i];

		if (polled[i].revents & POLLERR)
			return false;
		if (polled[i].events & polled[i].revents & POLLIN && !read_more(way, pair->fd[i]))
			return false;
		see_what_is_due(way, now);
		if (!write_due(way, pair->fd[1 - i], now))
			return false;
	}
	return !(pair->way[0].shut && pair->way[1].shut);
}

/* ---- all of them ---- */

static int
listen_at(uint16_t port)
{
	const struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	const int on = 1;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    bind(fd, (const struct sockaddr *)&at, sizeof(at)) < 0 || listen(fd, PAIRS) < 0) {
		perror("weir-relay");
		exit(1);
	}
	return fd;
}

static void
accept_some(int listener)
{
	for (unsigned i = 0; i < PAIRS; i++) {
		int fd;

		if (pairs[i] != NULL)
			continue;
		fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0)
			return;
		pairs[i] = pair_new(fd);
	}
}

/* What is polled of each pair, at 1 + 2 i; returns how long at most, -1 for ever. */
static int
prepare(struct pollfd *polled, int listener, int64_t now)
{
	int64_t next = -1;
	bool room = false;

	for (unsigned i = 0; i < PAIRS; i++) {
		room = room || pairs[i] == NULL;
		for (int side = 0; side < 2; side++) {
			struct pollfd *one = &polled[1 + 2 * i + (unsigned)side];
			int64_t at = pairs[i] != NULL ? next_of(&pairs[i]->way[side]) : -1;

			*one = (struct pollfd){ .fd = -1 };
			if (pairs[i] != NULL)
				*one = (struct pollfd){ .fd = pairs[i]->fd[side], .events = wanted(pairs[i], side) };
			if (at >= 0 && (next < 0 || at < next))
				next = at;
		}
	}
	polled[0] = (struct pollfd){ .fd = room ? listener : -1, .events = POLLIN };
	return next < 0 ? -1 : (int)W_MAX(next - now, 0);
}

static void
relay(int listener)
{
	static struct pollfd polled[1 + 2 * PAIRS];
	int64_t now = now_ms();

	while (poll(polled, W_NELEM(polled), prepare(polled, listener, now)) >= 0 || errno == EINTR) {
		now = now_ms();
		for (unsigned i = 0; i < PAIRS; i++)
			if (pairs[i] != NULL && !pair_run(pairs[i], &polled[1 + 2 * i], now))
				pair_free(&pairs[i]);
		if (polled[0].revents != 0)
			accept_some(listener);
	}
	perror("weir-relay: poll");
}

static bool
take_number(const char *text, int64_t max, int64_t *ret)
{
	char *end = NULL;

	*ret = strtoll(text, &end, 10);
	return *text >= '0' && *text <= '9' && *end == '\0' && *ret <= max;
}

int
main(int argc, char **argv)
{
	int64_t port;
	int listener;

	if (argc != 3 || !take_number(argv[1], UINT16_MAX, &port) || !take_number(argv[2], DELAY_MAX, &delay)) {
		fprintf(stderr, "usage: weir-relay PORT MS, at most %d ms\n", DELAY_MAX);
		return 2;
	}
	listener = listen_at((uint16_t)port);
	puts("ready");
	fflush(stdout);
	relay(listener);
	return 1;
}

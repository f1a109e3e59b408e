/*
 * Opening a connection without blocking. See dial.h.
 *
 *	start -> lookup (only names) -> PQconnectPoll, as often as libpq asks -> done
 *
 * 1. The watch is stopped before every PQconnectPoll: libpq may close the descriptor and open
 *    another with the same number (next address, or once more without TLS).
 * 2. done is the last thing that happens: the callee may free the dial.
 */
#include "dbtier/dial.h"

#include <netdb.h>
#include <stdio.h>

#include "common/buf.h"

#define ADDRESSES_MAX 8

/* ---- watch ---- */

static void
free_handle(uv_handle_t *handle)
{
	free(handle);
}

static void
on_poll(uv_poll_t *poll, int status, int events)
{
	struct dbt__watch *watch = poll->data;

	if (watch == NULL)
		return;
	w_loop_enter(watch->loop);
	if (status < 0) {
		/* libuv stopped the handle; libpq finds out what the matter is. */
		watch->events = 0;
		events = UV_READABLE | UV_WRITABLE;
	}
	watch->ready(watch->arg, events);
}

void
dbt__watch_stop(struct dbt__watch *watch)
{
	if (watch->poll == NULL)
		return;
	uv_poll_stop(watch->poll);
	watch->poll->data = NULL;
	uv_close((uv_handle_t *)watch->poll, free_handle);
	watch->poll = NULL;
	watch->events = 0;
}

void
dbt__watch_set(struct dbt__watch *watch, int fd, int events)
{
	if (watch->poll != NULL && watch->fd == fd && watch->events == events)
		return;
	if (watch->poll != NULL && watch->fd != fd)
		dbt__watch_stop(watch);
	if (watch->poll == NULL) {
		watch->poll = w_xcalloc(1, sizeof(*watch->poll));
		if (uv_poll_init(&watch->loop->uv, watch->poll, fd) < 0) {
			free(w_steal(&watch->poll));
			return;
		}
		watch->poll->data = watch;
	}
	watch->fd = fd;
	watch->events = events;
	uv_poll_start(watch->poll, events, on_poll);
}

/* ---- dial ---- */

const char *
dbt__conn_error(const PGconn *conn, char *to, size_t size)
{
	const char *text = PQerrorMessage(conn);
	const char *fatal = strstr(text, "FATAL:");
	size_t len;

	/* "connection to server at ..., port ... failed: FATAL:  what people want to know" */
	if (fatal != NULL)
		text = fatal + strlen("FATAL:");
	text += strspn(text, " \t");
	len = strcspn(text, "\n");
	len = W_MIN(len, size - 1);
	memcpy(to, text, len);
	to[len] = '\0';
	return to;
}

void
dbt__dial_stop(struct dbt__dial *dial)
{
	w_timer_fini(&dial->timer);
	dbt__watch_stop(&dial->watch);
	if (dial->lookup != NULL) {
		dial->lookup->data = NULL;
		uv_cancel((uv_req_t *)dial->lookup);
		dial->lookup = NULL;
	}
	if (dial->conn != NULL)
		PQfinish(w_steal(&dial->conn));
}

static void
finish(struct dbt__dial *dial, const char *why)
{
	char text[160];

	if (why == NULL) {
		PGconn *conn = w_steal(&dial->conn);

		dbt__dial_stop(dial);
		dial->done(dial->arg, conn, "");
		return;
	}
	snprintf(text, sizeof(text), "%s", why);
	dbt__dial_stop(dial);
	dial->done(dial->arg, NULL, text);
}

static void
step(void *arg, int events W_UNUSED)
{
	struct dbt__dial *dial = arg;
	char why[160];

	dbt__watch_stop(&dial->watch);
	switch (PQconnectPoll(dial->conn)) {
	case PGRES_POLLING_OK:
		finish(dial, NULL);
		return;
	case PGRES_POLLING_READING:
		dbt__watch_set(&dial->watch, PQsocket(dial->conn), UV_READABLE);
		break;
	case PGRES_POLLING_WRITING:
		dbt__watch_set(&dial->watch, PQsocket(dial->conn), UV_WRITABLE);
		break;
	default:
		finish(dial, dbt__conn_error(dial->conn, why, sizeof(why)));
		return;
	}
	if (dial->watch.poll == NULL)
		finish(dial, "the loop cannot watch the connection");
}

static void
on_timeout(void *arg)
{
	struct dbt__dial *dial = arg;

	if (dial->conn == NULL && dial->lookup == NULL)
		finish(dial, "cannot look up the host name");
	else if (dial->conn != NULL && PQstatus(dial->conn) == CONNECTION_BAD)
		step(dial, 0);
	else
		finish(dial, "no answer in time");
}

static void
quiet(void *arg W_UNUSED, const PGresult *notice W_UNUSED)
{
}

/* hosts: as many times the host's name as there are addresses; libpq wants pairs. */
static void
connect_to(struct dbt__dial *dial, const char *hosts, const char *addresses)
{
	struct dbt__params params;

	dbt__params_of(&params, dial->login, addresses, dial->application, dial->options);
	W_ASSERT(strcmp(params.keys[0], "host") == 0);
	params.values[0] = hosts;
	dial->conn = PQconnectStartParams(params.keys, params.values, 0);
	PQsetNoticeReceiver(dial->conn, quiet, NULL); /* libpq would print to standard error, even while it logs in */
	if (dial->conn == NULL || PQstatus(dial->conn) == CONNECTION_BAD) {
		/* done comes from the loop, never from within start */
		w_timer_start(dial->loop, &dial->timer, 0, 0);
		return;
	}
	dbt__watch_set(&dial->watch, PQsocket(dial->conn), UV_WRITABLE);
}

/* A name may have an address where nobody listens (localhost: ::1), so libpq gets them all. */
static void
connect_to_all(struct dbt__dial *dial, const struct addrinfo *found)
{
	struct w_buf hosts = { 0 }, addresses = { 0 };
	char address[NI_MAXHOST];
	unsigned count = 0;

	for (; found != NULL && count < ADDRESSES_MAX; found = found->ai_next) {
		if (getnameinfo(found->ai_addr, found->ai_addrlen, address, sizeof(address), NULL,
		    0, NI_NUMERICHOST) != 0)
			continue;
		w_buf_printf(&hosts, "%s%s", count > 0 ? "," : "", dial->login->host);
		w_buf_printf(&addresses, "%s%s", count > 0 ? "," : "", address);
		count++;
	}
	w_buf_char(&hosts, '\0');
	w_buf_char(&addresses, '\0');
	if (count > 0)
		connect_to(dial, hosts.ptr, addresses.ptr);
	else
		w_timer_start(dial->loop, &dial->timer, 0, 0);
	w_buf_fini(&hosts);
	w_buf_fini(&addresses);
}

static void
on_lookup(uv_getaddrinfo_t *lookup, int status, struct addrinfo *found)
{
	struct dbt__dial *dial = lookup->data;

	if (dial == NULL) {
		uv_freeaddrinfo(found);
		free(lookup);
		return;
	}
	w_loop_enter(dial->loop);
	dial->lookup = NULL;
	connect_to_all(dial, status == 0 ? found : NULL);
	uv_freeaddrinfo(found);
	free(lookup);
}

static void
look_up(struct dbt__dial *dial)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM };

	dial->lookup = w_xcalloc(1, sizeof(*dial->lookup));
	dial->lookup->data = dial;
	if (uv_getaddrinfo(&dial->loop->uv, dial->lookup, on_lookup, dial->login->host, NULL,
	    &hints) < 0) {
		free(w_steal(&dial->lookup));
		w_timer_start(dial->loop, &dial->timer, 0, 0);
	}
}

void
dbt__dial_start(struct dbt__dial *dial)
{
	dial->conn = NULL;
	dial->lookup = NULL;
	dial->watch = (struct dbt__watch){ .loop = dial->loop, .ready = step, .arg = dial };
	dial->timer.fire = on_timeout;
	dial->timer.arg = dial;
	w_timer_start(dial->loop, &dial->timer, dial->timeout, 0);
	if (dial->login->numeric)
		connect_to(dial, dial->login->host, dial->login->host);
	else
		look_up(dial);
}

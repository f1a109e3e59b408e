/*
 * What the connections of a worker share: see edge.h.
 */
#include "balancer/edge.h"

#include <stdio.h>
#include <time.h>

#include "balancer/exchange.h"

void
bal_edge_init(struct bal_edge *edge, const struct bal_backend *backend, const w_usec *clock,
    const char *node)
{
	uint32_t run;
	int len;

	memset(edge, 0, sizeof(*edge));
	edge->clock = clock;
	bal_wheel_init(&edge->wheel, bal_now(edge));
	bal_sched_init(&edge->sched, backend);

	edge->id_wall = w_wall() - bal_now(edge);
	w_random_bytes(&run, sizeof(run));
	len = snprintf(edge->id_prefix, sizeof(edge->id_prefix), "-%08x-%.32s-", run, node);
	edge->id_prefix_len = (size_t)len;
}

void
bal_edge_fini(struct bal_edge *edge)
{
	bal_sched_fini(&edge->sched);
	bal_exchanges_fini(edge);
	bal_pool_fini(&edge->pool);
}

const char *
bal_date(struct bal_edge *edge)
{
	w_usec wall;
	int64_t second;
	time_t time;
	struct tm tm;

	if (edge->date[0] != '\0' && bal_now(edge) < edge->date_due)
		return edge->date;
	wall = w_wall();
	second = wall / W_SEC;
	edge->date_due = bal_now(edge) + (second + 1) * W_SEC - wall;
	if (second == edge->date_second)
		return edge->date;
	edge->date_second = second;
	time = (time_t)second;
	gmtime_r(&time, &tm);
	/* No locale is ever set, so these are the English names that HTTP wants. */
	strftime(edge->date, sizeof(edge->date), "%a, %d %b %Y %H:%M:%S GMT", &tm);
	return edge->date;
}

#define TIME_DIGITS 13

/* Hexadecimal, at least so many digits. */
static char *
put_hex(char *to, uint64_t value, unsigned least)
{
	static const char digits[] = "0123456789abcdef";
	unsigned count = 1;

	while (count < 16 && value >> (4 * count) != 0)
		count++;
	count = W_MAX(count, least);
	while (count-- > 0)
		*to++ = digits[(value >> (4 * count)) & 15];
	return to;
}

size_t
bal_make_id(struct bal_edge *edge, char to[BAL_ID_SIZE])
{
	char *at = put_hex(to, (uint64_t)(bal_now(edge) + edge->id_wall), TIME_DIGITS);

	memcpy(at, edge->id_prefix, edge->id_prefix_len);
	at = put_hex(at + edge->id_prefix_len, ++edge->id_count, 1);
	*at = '\0';
	return (size_t)(at - to);
}

size_t
bal_make_key(struct w_view id, char to[BAL_ID_SIZE])
{
	memcpy(to, id.ptr, id.len);
	to[TIME_DIGITS] = ' ';
	return id.len;
}

static struct bal_board_slot *
find_slot(struct bal_board *board, const char *name, unsigned worker)
{
	unsigned count = atomic_load_explicit(&board->count, memory_order_relaxed);
	struct bal_board_slot *slot;

	for (unsigned i = 0; i < count; i++) {
		slot = &board->slots[i];
		if (slot->worker == worker && strcmp(slot->name, name) == 0)
			return slot;
	}
	if (count == BAL_BOARD_SLOTS)
		return NULL;
	slot = &board->slots[count];
	slot->worker = worker;
	w_view_copy(w_view_sub(w_view_of(name), 0, sizeof(slot->name) - 1), slot->name,
	    sizeof(slot->name));
	atomic_store_explicit(&board->count, count + 1, memory_order_release);
	return slot;
}

struct bal_peer *
bal_edge_peer_up(struct bal_edge *edge, struct lnk_peer *link, const char *name, unsigned worker)
{
	struct bal_peer *peer = bal_sched_up(&edge->sched, link, name, worker);

	w_meter_set(edge->meter, edge->metrics + BAL_M_SERVERS, edge->sched.server_count);
	if (edge->board != NULL)
		peer->slot = find_slot(edge->board, name, worker);
	if (peer->slot != NULL)
		atomic_store_explicit(&peer->slot->up, true, memory_order_relaxed);
	return peer;
}

void
bal_edge_peer_down(struct bal_edge *edge, struct bal_peer **peer)
{
	struct bal_board_slot *slot = *peer != NULL ? (*peer)->slot : NULL;

	if (slot != NULL) {
		atomic_store_explicit(&slot->up, false, memory_order_relaxed);
		atomic_store_explicit(&slot->credit, 0, memory_order_relaxed);
		atomic_store_explicit(&slot->streams, 0, memory_order_relaxed);
	}
	bal_sched_down(&edge->sched, peer);
	w_meter_set(edge->meter, edge->metrics + BAL_M_SERVERS, edge->sched.server_count);
}

void
bal_edge_board(struct bal_edge *edge)
{
	struct w_list *i, *j;

	w_list_each(i, &edge->sched.servers) {
		struct bal_server *server = w_list_entry(i, struct bal_server, node);

		w_list_each(j, &server->peers) {
			struct bal_peer *peer = w_list_entry(j, struct bal_peer, node);

			if (peer->slot == NULL)
				continue;
			atomic_store_explicit(&peer->slot->up, true, memory_order_relaxed);
			atomic_store_explicit(&peer->slot->credit,
			    edge->sched.backend->credit(peer->link), memory_order_relaxed);
			atomic_store_explicit(&peer->slot->streams,
			    edge->sched.backend->streams(peer->link), memory_order_relaxed);
		}
	}
}

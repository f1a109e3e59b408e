/*
 * fast: GETs at a constant rate, whatever becomes of those before (open loop).
 *
 * A request's time counts from the moment it should have begun, so one that had to wait because
 * the machine, the cluster or this program was late has waited.
 */
#include <inttypes.h>

#include "tests/load/load.h"

#define IN_FLIGHT_MAX 1000

struct fast {
	uint64_t begun, wanted, errors;
	w_usec interval_ns;
	w_usec start;
	w_usec *times; /* of those that have ended */
	size_t ended;
	uint64_t statuses[LOAD_STATUSES];
	struct load_client *idle[IN_FLIGHT_MAX];
	unsigned idle_count;
	w_usec due[IN_FLIGHT_MAX]; /* of each client's request */
};

/* When a request should begin: in nanoseconds, so that no rate is rounded. */
static w_usec
due_time(const struct fast *all, uint64_t number)
{
	return all->start + (w_usec)number * all->interval_ns / 1000;
}

static void
fast_done(struct load_client *client)
{
	struct fast *all = client->owner;

	all->statuses[client->status]++;
	if (client->status != 200) {
		all->errors++;
		fprintf(stderr, "after %.3f s: %ld %s\n", (double)(client->ended - all->start) / 1e6,
		    client->status, client->why != NULL ? client->why : "");
	}
	all->times[all->ended++] = client->ended - all->due[client->number];
	all->idle[all->idle_count++] = client;
}

static void
begin_due(struct fast *all, const char *path)
{
	while (all->begun < all->wanted && all->idle_count > 0 &&
	    due_time(all, all->begun) <= w_now()) {
		struct load_client *client = all->idle[--all->idle_count];

		all->due[client->number] = due_time(all, all->begun);
		load_send(client, &(struct load_request){ .base = (unsigned)all->begun, .path = path });
		all->begun++;
	}
}

static void
print_fast(struct fast *all)
{
	W_AUTO(w_buf_fini) struct w_buf out = { 0 };
	struct w_json json;
	static const struct {
		const char *name;
		double share;
	} columns[] = { { "p50_us", 0.5 }, { "p99_us", 0.99 }, { "max_us", 1 } };

	load_result(&json, &out, "fast");
	w_json_key(&json, "requests");
	w_json_int(&json, (int64_t)all->ended);
	w_json_key(&json, "errors");
	w_json_int(&json, (int64_t)all->errors);
	for (size_t i = 0; i < W_NELEM(columns); i++) {
		w_json_key(&json, columns[i].name);
		w_json_int(&json, load_percentile(all->times, all->ended, columns[i].share));
	}
	load_result_statuses(&json, all->statuses);
	load_print(&json);
}

static void
run_fast(struct load *load, struct fast *all, const char *path)
{
	all->start = w_now();
	while ((all->begun < all->wanted || load->flying > 0) && !load_over(load)) {
		bool may_begin;

		if (load_stopped())
			all->wanted = all->begun;
		may_begin = all->begun < all->wanted && all->idle_count > 0;
		load_turn(load, may_begin ? due_time(all, all->begun) : w_now() + W_SEC);
		begin_due(all, path);
	}
}

int
load_fast(const struct load_options *opt)
{
	struct load_client *clients;
	struct load load;
	struct fast *all;
	int status;

	if (opt->rate == 0 || opt->seconds == 0)
		load_wrong("fast wants --rate and --seconds");
	load_open(&load, opt);
	all = w_xcalloc(1, sizeof(*all));
	all->wanted = opt->rate * opt->seconds;
	all->interval_ns = (w_usec)(1000000000 / opt->rate);
	all->times = w_xcalloc(all->wanted, sizeof(*all->times));
	clients = load_clients_new(&load, IN_FLIGHT_MAX, fast_done, all);
	for (unsigned i = IN_FLIGHT_MAX; i > 0; i--)
		all->idle[all->idle_count++] = &clients[i - 1];
	run_fast(&load, all, opt->path != NULL ? opt->path : "/whoami");
	print_fast(all);
	status = all->ended == all->wanted ? 0 : 1;
	load_clients_free(&clients, IN_FLIGHT_MAX);
	w_free(&all->times);
	w_free(&all);
	load_close(&load);
	return status;
}

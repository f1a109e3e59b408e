/*
 * pairs: each client writes at one balancer and reads what it wrote at once at the other one.
 *
 *	WRITE -> READ -> WRITE -> ...       balancers change places with each pair
 *
 * With cookies a client keeps the position that its write came with, as a browser does.
 */
#include <inttypes.h>

#include "tests/load/load.h"

struct pairs {
	uint64_t begun, wanted;
	uint64_t pairs, fresh, stale, errors;
	uint64_t statuses[LOAD_STATUSES];
	struct pair {
		bool reading;
		uint64_t number;
		char body[64];
	} *now; /* one per client */
	const char *name;
};

static void
begin_write(struct load_client *client)
{
	struct pairs *all = client->owner;
	struct pair *pair = &all->now[client->number];
	char json[256];

	if (all->begun == all->wanted || load_over(client->load))
		return;
	pair->number = all->begun++;
	pair->reading = false;
	snprintf(pair->body, sizeof(pair->body), "pair %" PRIu64 " of %u", pair->number,
	    client->number);
	snprintf(json, sizeof(json), "{\"author\":\"%s\",\"body\":\"%s\"}", all->name, pair->body);
	load_send(client, &(struct load_request){ .base = (unsigned)pair->number,
	    .path = "/messages", .post = json });
}

static void
begin_read(struct load_client *client)
{
	struct pairs *all = client->owner;
	struct pair *pair = &all->now[client->number];
	char path[sizeof(client->location)];

	pair->reading = true;
	memcpy(path, client->location, sizeof(path));
	load_send(client,
	    &(struct load_request){ .base = (unsigned)pair->number + 1, .path = path });
}

static void
judge_read(struct pairs *all, const struct load_client *client)
{
	char body[sizeof(all->now->body) + 2];

	snprintf(body, sizeof(body), "\"%s\"", all->now[client->number].body);
	all->pairs++;
	if (client->status != 200 && client->status != 404)
		all->errors++;
	else if (client->status == 200 && load_answer_has(client, body))
		all->fresh++;
	else
		all->stale++;
}

static void
pair_done(struct load_client *client)
{
	struct pairs *all = client->owner;
	struct pair *pair = &all->now[client->number];

	all->statuses[client->status]++;
	if (client->why != NULL)
		fprintf(stderr, "pair %" PRIu64 ": %s\n", pair->number, client->why);
	if (!pair->reading && client->status == 201 && client->location[0] == '/') {
		begin_read(client);
		return;
	}
	if (pair->reading)
		judge_read(all, client);
	else
		all->errors++;
	begin_write(client);
}

static void
print_pairs(const struct pairs *all, w_usec took)
{
	W_AUTO(w_buf_fini) struct w_buf out = { 0 };
	struct w_json json;

	load_result(&json, &out, "pairs");
	w_json_key(&json, "pairs");
	w_json_int(&json, (int64_t)all->pairs);
	w_json_key(&json, "fresh");
	w_json_int(&json, (int64_t)all->fresh);
	w_json_key(&json, "stale");
	w_json_int(&json, (int64_t)all->stale);
	w_json_key(&json, "errors");
	w_json_int(&json, (int64_t)all->errors);
	w_json_key(&json, "pairs_per_second");
	w_json_int(&json, (int64_t)(all->pairs * W_SEC / (uint64_t)W_MAX(took, 1)));
	load_result_statuses(&json, all->statuses);
	load_print(&json);
}

int
load_pairs(const struct load_options *opt)
{
	struct pairs all = { .wanted = opt->count, .name = opt->name };
	struct load_client *clients;
	struct load load;

	if (opt->count == 0)
		load_wrong("pairs wants --count");
	load_open(&load, opt);
	load.cookies = strcmp(opt->cookies, "yes") == 0;
	all.now = w_xcalloc(opt->clients, sizeof(*all.now));
	clients = load_clients_new(&load, (unsigned)opt->clients, pair_done, &all);
	for (unsigned i = 0; i < opt->clients; i++)
		begin_write(&clients[i]);
	while (load.flying > 0)
		load_turn(&load, w_now() + W_SEC);
	print_pairs(&all, w_now() - load.began);
	load_clients_free(&clients, (unsigned)opt->clients);
	w_free(&all.now);
	load_close(&load);
	return all.begun == all.wanted ? 0 : 1;
}

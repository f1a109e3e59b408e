/*
 * mix: requests for rows of known ids, and between them some whose statement fails, on several
 * connections. A good one must bring its own row, a bad one an error: anything else is crossed.
 *
 *	good    GET /messages/{id}, id from --first, --rows of them in turn
 *	bad     GET --path (/divide/0)
 */
#include <inttypes.h>

#include "tests/load/load.h"

struct mix {
	uint64_t begun, wanted, bad;
	uint64_t first, rows;
	const char *bad_path;
	uint64_t good_ok, good_crossed, good_errors, bad_errors, bad_crossed;
	uint64_t statuses[LOAD_STATUSES];
	uint64_t *asked; /* by client: the id, 0 a bad one */
};

/* The bad ones are spread evenly. */
static bool
is_bad(const struct mix *all, uint64_t number)
{
	return (number + 1) * all->bad / all->wanted > number * all->bad / all->wanted;
}

static void
begin_next(struct load_client *client)
{
	struct mix *all = client->owner;
	uint64_t number = all->begun;
	char path[64];

	if (number == all->wanted || load_over(client->load))
		return;
	all->begun++;
	all->asked[client->number] = is_bad(all, number) ? 0 : all->first + number % all->rows;
	snprintf(path, sizeof(path), "/messages/%" PRIu64, all->asked[client->number]);
	load_send(client, &(struct load_request){ .base = client->number,
	    .path = all->asked[client->number] == 0 ? all->bad_path : path });
}

static void
judge_good(struct mix *all, const struct load_client *client, uint64_t id)
{
	if (client->status != 200)
		all->good_errors++;
	else if (load_answer_int(client, "id") == (int64_t)id)
		all->good_ok++;
	else
		all->good_crossed++;
}

static void
mix_done(struct load_client *client)
{
	struct mix *all = client->owner;
	uint64_t id = all->asked[client->number];

	all->statuses[client->status]++;
	if (id != 0)
		judge_good(all, client, id);
	else if (client->status >= 400 && load_answer_int(client, "id") < 0)
		all->bad_errors++;
	else
		all->bad_crossed++;
	begin_next(client);
}

static void
print_mix(const struct mix *all)
{
	W_AUTO(w_buf_fini) struct w_buf out = { 0 };
	struct w_json json;
	const struct {
		const char *name;
		uint64_t value;
	} columns[] = { { "good_ok", all->good_ok }, { "good_crossed", all->good_crossed },
		{ "good_errors", all->good_errors }, { "bad_errors", all->bad_errors },
		{ "bad_crossed", all->bad_crossed } };

	load_result(&json, &out, "mix");
	for (size_t i = 0; i < W_NELEM(columns); i++) {
		w_json_key(&json, columns[i].name);
		w_json_int(&json, (int64_t)columns[i].value);
	}
	load_result_statuses(&json, all->statuses);
	load_print(&json);
}

int
load_mix(const struct load_options *opt)
{
	struct mix all = { .wanted = opt->good + opt->bad, .bad = opt->bad, .first = opt->first,
		.rows = opt->rows, .bad_path = opt->path != NULL ? opt->path : "/divide/0" };
	struct load_client *clients;
	struct load load;

	if (opt->good == 0 || opt->bad == 0 || opt->first == 0 || opt->rows == 0)
		load_wrong("mix wants --good, --bad, --first and --rows");
	load_open(&load, opt);
	all.asked = w_xcalloc(opt->clients, sizeof(*all.asked));
	clients = load_clients_new(&load, (unsigned)opt->clients, mix_done, &all);
	for (unsigned i = 0; i < opt->clients; i++)
		begin_next(&clients[i]);
	while (load.flying > 0)
		load_turn(&load, w_now() + W_SEC);
	print_mix(&all);
	load_clients_free(&clients, (unsigned)opt->clients);
	w_free(&all.asked);
	load_close(&load);
	return all.begun == all.wanted ? 0 : 1;
}

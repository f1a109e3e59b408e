/*
 * writers: clients that write without a break, while others break things; and the history of it.
 *
 * Each client by turns leaves a message with a body of its own ("CLIENT/SEQ") and adds one to a
 * counter of its own ("NAME-CLIENT"). --keys tells who names a write: the client (an
 * Idempotency-Key for each), the balancer (no header), or, mixed, each for every other pair.
 *
 *	SEND --ok--> next; of each 8 the first two, if they have a key, once more: it must be the same
 *	     --fail, with a key--> a pause, then the same again, up to 3 times
 *	     --fail, without--> a pause, then the next: nobody could tell a repeat from another write
 *
 * A client sends its next write only when it is done with the last one.
 *
 * --log FILE gets a line for each request, what stands between blanks in this order:
 *	message|counter  client  seq  try  key|-  status  id|value|-  replayed|-  began-ms  us  why|-
 * where status 0 is no answer. tests/load/judge reads it.
 */
#include <errno.h>
#include <inttypes.h>

#include "tests/load/load.h"

#define REPEATS 3
#define PAUSE (100 * W_MSEC)
#define PATIENCE (2 * W_SEC) /* beyond the cluster's deadline, so that its answer is seen */

enum phase { SENDING, PAUSING, DONE };

struct writer {
	struct load_client *client;
	enum phase phase;
	bool counter; /* else a message */
	bool fresh;   /* the next request is a new write */
	bool acknowledged;
	unsigned seq, tries;
	w_usec due;
	char key[96]; /* empty: the balancer's */
};

struct writers {
	const struct load_options *opt;
	struct load load;
	struct writer *all;
	FILE *log;
	w_usec until, timeout;
	char run[24]; /* in every key, so that no two runs share one */
	uint64_t requests, ok, failed, unanswered, repeats, replayed;
	uint64_t statuses[LOAD_STATUSES];
	w_usec worst, last_ok, gap;
};

static bool
wants_key(const struct writers *all, unsigned seq)
{
	if (strcmp(all->opt->keys, "mixed") == 0)
		return seq / 2 % 2 == 0;
	return strcmp(all->opt->keys, "client") == 0;
}

static void
next_write(const struct writers *all, struct writer *writer)
{
	writer->seq++;
	writer->tries = 0;
	writer->fresh = false;
	writer->acknowledged = false;
	writer->counter = writer->seq % 2 == 0;
	writer->key[0] = '\0';
	if (wants_key(all, writer->seq))
		snprintf(writer->key, sizeof(writer->key), "%s-%u-%u", all->run,
		    writer->client->number, writer->seq);
}

static void
send_write(struct writers *all, struct writer *writer)
{
	struct load_request request = { .base = writer->client->number + writer->seq + writer->tries,
		.timeout = all->timeout, .key = writer->key[0] != '\0' ? writer->key : NULL };
	char path[160] = "/messages", body[256] = "{}";

	if (writer->counter)
		snprintf(path, sizeof(path), "/counters/%s-%u", all->opt->name,
		    writer->client->number);
	else
		snprintf(body, sizeof(body), "{\"author\":\"%s\",\"body\":\"%u/%u\"}", all->opt->name,
		    writer->client->number, writer->seq);
	request.path = path;
	/* A counter's body says nothing, but keeps libcurl from sending the request again by itself. */
	request.post = body;
	writer->phase = SENDING;
	load_send(writer->client, &request);
}

static void
log_request(const struct writers *all, const struct writer *writer, int64_t answer)
{
	const struct load_client *client = writer->client;

	fprintf(all->log, "%s %u %u %u %s %ld ", writer->counter ? "counter" : "message",
	    client->number, writer->seq, writer->tries, writer->key[0] != '\0' ? writer->key : "-",
	    client->status);
	if (answer >= 0)
		fprintf(all->log, "%" PRId64, answer);
	else
		fputc('-', all->log);
	fprintf(all->log, " %s %" PRId64 " %" PRId64 " %s\n", client->replayed ? "replayed" : "-",
	    (client->sent - all->load.began) / W_MSEC, client->ended - client->sent,
	    client->why != NULL ? client->why : "-");
}

static void
count_request(struct writers *all, const struct load_client *client, bool ok)
{
	all->requests++;
	all->statuses[client->status]++;
	all->worst = W_MAX(all->worst, client->ended - client->sent);
	all->unanswered += client->status == 0;
	all->replayed += client->replayed;
	if (!ok) {
		all->failed++;
		return;
	}
	all->ok++;
	all->gap = W_MAX(all->gap, client->ended - all->last_ok);
	all->last_ok = client->ended;
}

/* What a writer does after an answer: the same again, or the next one; now, or after a pause. */
static void
decide(struct writer *writer, bool ok)
{
	bool keyed = writer->key[0] != '\0';
	bool again = ok ? !writer->acknowledged && writer->seq % 8 < 2
			: writer->tries < REPEATS;

	writer->acknowledged = writer->acknowledged || ok;
	writer->fresh = !(keyed && again);
	writer->phase = PAUSING;
	writer->due = ok ? 0 : w_now() + PAUSE;
}

static void
write_done(struct load_client *client)
{
	struct writers *all = client->owner;
	struct writer *writer = &all->all[client->number];
	bool ok = client->status >= 200 && client->status < 300;
	int64_t answer = ok ? load_answer_int(client, writer->counter ? "value" : "id") : -1;

	log_request(all, writer, answer);
	count_request(all, client, ok);
	if (!ok)
		fprintf(stderr, "at %.3f s: %ld %s\n",
		    (double)(client->ended - all->load.began) / 1e6, client->status,
		    client->why != NULL ? client->why : "");
	decide(writer, ok);
}

/* Send whatever is due; the next moment when something will be. */
static w_usec
send_due(struct writers *all)
{
	w_usec now = w_now(), next = now + W_SEC;

	for (unsigned i = 0; i < all->opt->clients; i++) {
		struct writer *writer = &all->all[i];

		if (writer->phase != PAUSING)
			continue;
		/* Nothing new once the time is over; what was begun is brought to its end. */
		if (writer->fresh && (now >= all->until || load_over(&all->load))) {
			writer->phase = DONE;
		} else if (writer->due > now) {
			next = W_MIN(next, writer->due);
		} else {
			if (writer->fresh)
				next_write(all, writer);
			else
				writer->tries++;
			all->repeats += writer->tries > 0;
			send_write(all, writer);
			next = now;
		}
	}
	return next;
}

static bool
all_done(const struct writers *all)
{
	for (unsigned i = 0; i < all->opt->clients; i++)
		if (all->all[i].phase != DONE)
			return false;
	return true;
}

static void
print_writers(const struct writers *all)
{
	W_AUTO(w_buf_fini) struct w_buf out = { 0 };
	struct w_json json;
	const struct {
		const char *name;
		int64_t value;
	} columns[] = { { "requests", (int64_t)all->requests }, { "ok", (int64_t)all->ok },
		{ "failed", (int64_t)all->failed }, { "unanswered", (int64_t)all->unanswered },
		{ "repeats", (int64_t)all->repeats }, { "replayed", (int64_t)all->replayed },
		{ "worst_ms", all->worst / W_MSEC }, { "gap_ms", all->gap / W_MSEC },
		/* Since 1970, so that the log's times can be compared with those of other logs. */
		{ "began_ms", (w_wall() - (w_now() - all->load.began)) / W_MSEC } };

	load_result(&json, &out, "writers");
	for (size_t i = 0; i < W_NELEM(columns); i++) {
		w_json_key(&json, columns[i].name);
		w_json_int(&json, columns[i].value);
	}
	load_result_statuses(&json, all->statuses);
	load_print(&json);
}

static void
run_writers(struct writers *all)
{
	all->last_ok = all->load.began;
	all->until = all->load.began + (w_usec)all->opt->seconds * W_SEC;
	while (!all_done(all)) {
		if (load_stopped())
			all->until = W_MIN(all->until, w_now());
		load_turn(&all->load, send_due(all));
	}
	/* Nobody wrote any more: that is a gap, too, when the last success is long ago. */
	all->gap = W_MAX(all->gap, all->until - all->last_ok);
}

static void
check_options(const struct load_options *opt)
{
	if (opt->seconds == 0 || opt->log == NULL)
		load_wrong("writers wants --seconds and --log");
	if (strcmp(opt->keys, "client") != 0 && strcmp(opt->keys, "balancer") != 0 &&
	    strcmp(opt->keys, "mixed") != 0)
		load_wrong("--keys is client, balancer or mixed, not '%s'", opt->keys);
	if (strlen(opt->name) > 64)
		load_wrong("--name has more than 64 characters");
}

int
load_writers(const struct load_options *opt)
{
	struct writers all = { .opt = opt, .timeout = (w_usec)opt->deadline * W_SEC + PATIENCE };
	struct load_client *clients;
	int status;

	check_options(opt);
	load_open(&all.load, opt);
	all.log = fopen(opt->log, "we");
	if (all.log == NULL)
		load_die("%s: %s", opt->log, strerror(errno));
	/* So that others see the writes go on. */
	setvbuf(all.log, NULL, _IOLBF, 0);
	snprintf(all.run, sizeof(all.run), "%016" PRIx64, w_random());
	all.all = w_xcalloc(opt->clients, sizeof(*all.all));
	clients = load_clients_new(&all.load, (unsigned)opt->clients, write_done, &all);
	for (unsigned i = 0; i < opt->clients; i++)
		all.all[i] = (struct writer){ .client = &clients[i], .phase = PAUSING, .fresh = true };
	run_writers(&all);
	print_writers(&all);
	status = ferror(all.log) || fclose(all.log) != 0 || load_over(&all.load) ? 1 : 0;
	load_clients_free(&clients, (unsigned)opt->clients);
	w_free(&all.all);
	load_close(&all.load);
	return status;
}

/*
 * history: clients that write and read without a break while others break things; and the history of
 * it, for the judges and for tests/load/gaps.
 *
 * A client goes round and round: what it does is a row of the table of acts. It has a message to leave
 * ("CLIENT/SEQ"), a counter of its own ("NAME-CLIENT"), and a register of its own: a message by
 * "NAME-register" that only it changes ("rCLIENT/SEQ"), and all read. Clients of even numbers
 * keep cookies: a session. Every other round has an Idempotency-Key for each of its writes. Three of
 * eight clients only read, so that reads go on when every writer waits.
 *
 *	SEND --ok--> the next act
 *	     --fail, with a key--> a pause, then the same again, up to 10 times; once when the time is over
 *	     --fail, without--> a pause, then the next act
 *
 * --log FILE gets a line for each request, when it ends; what stands between blanks in this order:
 *	KIND  client  seq  try  key|-  status  answer|-  replayed|-  began-ms  us  why|-
 *
 *	KIND       seq                   answer
 *	message    of the write          id
 *	counter    of the write          value
 *	register   of the write          id
 *	read       whose register        what it holds, CLIENT/SEQ
 *	list       0                     the newest messages, CLIENT/SEQ,CLIENT/SEQ,...
 *	mark       0                     name: a line "mark NAME" came out of --marks FIFO
 *
 * where status 0 is no answer. Clients with cookies have an s before their number in KINDs read and list.
 * All times are of one monotonic clock, and count from the start.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <unistd.h>

#include "tests/load/load.h"

#define REPEATS 10
#define PAUSE (20 * W_MSEC)
#define PATIENCE (2 * W_SEC) /* beyond the cluster's deadline, so that its answer is seen */
#define INPUT_MAX 256

struct actor;

struct act {
	const char *name; /* in the log */
	bool write;
	/* Fill in what is sent; false: there is nothing to do yet. */
	bool (*ask)(struct actor *actor, struct load_request *request);
	/* What the log calls the answer. */
	void (*tell)(struct actor *actor, struct w_buf *out);
};

struct actor {
	struct history *all;
	struct load_client *client;
	const struct act *act;
	bool busy, done, reader;
	bool again; /* the next request is the last write once more */
	unsigned step, round, seq, tries, whose;
	int64_t register_id; /* 0: not there yet */
	w_usec due;
	char key[96], path[160], body[256];
};

struct history {
	const struct load_options *opt;
	struct load load;
	struct actor *actors;
	FILE *log;
	w_usec until, timeout;
	char run[24]; /* in every key, so that no two runs share one */
	char line[INPUT_MAX]; /* of the marks, so far */
	size_t line_len;
	uint64_t requests, failed, unanswered, replayed;
	uint64_t statuses[LOAD_STATUSES];
	struct span {
		uint64_t ok;
		w_usec last, gap, worst;
	} spans[2]; /* of reads, of writes */
};

/* ---- what is sent ---- */

static void
next_seq(struct actor *actor)
{
	struct history *all = actor->all;

	actor->tries = 0;
	actor->seq++;
	actor->key[0] = '\0';
	if (actor->round % 2 == 0)
		snprintf(actor->key, sizeof(actor->key), "%s-%u-%u", all->run, actor->client->number,
		    actor->seq);
}

static void
set_text(struct actor *actor, const char *author, const char *prefix)
{
	snprintf(actor->body, sizeof(actor->body), "{\"author\":\"%s%s\",\"body\":\"%s%u/%u\"}",
	    actor->all->opt->name, author, prefix, actor->client->number, actor->seq);
}

static bool
ask_message(struct actor *actor, struct load_request *request)
{
	snprintf(actor->path, sizeof(actor->path), "/messages");
	set_text(actor, "", "");
	request->post = actor->body;
	return true;
}

static bool
ask_counter(struct actor *actor, struct load_request *request)
{
	snprintf(actor->path, sizeof(actor->path), "/counters/%s-%u", actor->all->opt->name,
	    actor->client->number);
	/* A counter's body says nothing, but keeps libcurl from sending the request again by itself. */
	snprintf(actor->body, sizeof(actor->body), "{}");
	request->post = actor->body;
	return true;
}

/* The first write makes the register. */
static bool
ask_register(struct actor *actor, struct load_request *request)
{
	snprintf(actor->path, sizeof(actor->path), "/messages");
	if (actor->register_id > 0)
		snprintf(actor->path, sizeof(actor->path), "/messages/%" PRId64, actor->register_id);
	set_text(actor, "-register", "r");
	request->post = actor->body;
	request->put = actor->register_id > 0;
	return true;
}

static bool
ask_read(struct actor *actor, unsigned whose)
{
	int64_t id = actor->all->actors[whose].register_id;

	actor->whose = whose;
	snprintf(actor->path, sizeof(actor->path), "/messages/%" PRId64, id);
	return id > 0;
}

static bool
ask_own(struct actor *actor, struct load_request *request W_UNUSED)
{
	return ask_read(actor, actor->client->number);
}

/* Of the others one after the other. */
static bool
ask_other(struct actor *actor, struct load_request *request W_UNUSED)
{
	return ask_read(actor,
	    (actor->client->number + actor->round) % (unsigned)actor->all->opt->clients);
}

static bool
ask_list(struct actor *actor, struct load_request *request W_UNUSED)
{
	snprintf(actor->path, sizeof(actor->path), "/messages?limit=10");
	return true;
}

/* ---- what came ---- */

static void
tell_int(const struct actor *actor, const char *member, struct w_buf *out)
{
	int64_t value = load_answer_int(actor->client, member);

	if (value >= 0)
		w_buf_printf(out, "%" PRId64, value);
}

static void
tell_id(struct actor *actor, struct w_buf *out)
{
	tell_int(actor, "id", out);
}

static void
tell_value(struct actor *actor, struct w_buf *out)
{
	tell_int(actor, "value", out);
}

/* The id is known once, and never changes. */
static void
tell_register(struct actor *actor, struct w_buf *out)
{
	if (actor->register_id == 0)
		actor->register_id = W_MAX(load_answer_int(actor->client, "id"), 0);
	tell_id(actor, out);
}

/* Every "body":"PREFIXCLIENT/SEQ" of the answer. */
static void
tell_bodies(const struct actor *actor, const char *prefix, struct w_buf *out)
{
	W_AUTO(w_free) char *quoted = w_xasprintf("\"body\":\"%s", prefix);
	W_AUTO(w_free) char *text = w_xasprintf("%.*s", (int)actor->client->text.len,
	    actor->client->text.ptr != NULL ? actor->client->text.ptr : "");
	size_t skip = strlen(quoted);

	for (char *at = strstr(text, quoted); at != NULL; at = strstr(at, quoted)) {
		size_t len = strspn(at += skip, "0123456789/");

		if (len > 0)
			w_buf_printf(out, "%s%.*s", out->len > 0 ? "," : "", (int)len, at);
	}
}

static void
tell_read(struct actor *actor, struct w_buf *out)
{
	tell_bodies(actor, "r", out);
}

static void
tell_list(struct actor *actor, struct w_buf *out)
{
	tell_bodies(actor, "", out);
}

static const struct act acts[] = {
	{ "message", true, ask_message, tell_id },
	{ "list", false, ask_list, tell_list },
	{ "counter", true, ask_counter, tell_value },
	{ "read", false, ask_other, tell_read },
	{ "register", true, ask_register, tell_register },
	{ "read", false, ask_own, tell_read },
};

static void
log_request(const struct history *all, struct actor *actor)
{
	W_AUTO(w_buf_fini) struct w_buf answer = { 0 };
	const struct load_client *client = actor->client;
	bool read = !actor->act->write;

	if (client->status >= 200 && client->status < 300)
		actor->act->tell(actor, &answer);
	fprintf(all->log, "%s %s%u %u %u %s %ld ", actor->act->name,
	    read && client->number % 2 == 0 ? "s" : "", client->number,
	    actor->act->write                             ? actor->seq
		: strcmp(actor->act->name, "read") == 0 ? actor->whose
							: 0,
	    actor->tries, !read && actor->key[0] != '\0' ? actor->key : "-", client->status);
	fprintf(all->log, "%.*s %s %.3f %" PRId64 " %s\n", answer.len > 0 ? (int)answer.len : 1,
	    answer.len > 0 ? answer.ptr : "-", client->replayed ? "replayed" : "-",
	    (double)(client->sent - all->load.began) / W_MSEC, client->ended - client->sent,
	    client->why != NULL ? client->why : "-");
}

static void
count_request(struct history *all, const struct actor *actor, bool ok)
{
	const struct load_client *client = actor->client;
	struct span *span = &all->spans[actor->act->write];

	all->requests++;
	all->statuses[client->status]++;
	all->unanswered += client->status == 0;
	all->replayed += client->replayed;
	span->worst = W_MAX(span->worst, client->ended - client->sent);
	if (!ok) {
		all->failed++;
		return;
	}
	span->ok++;
	span->gap = W_MAX(span->gap, client->ended - span->last);
	span->last = client->ended;
}

/* A register that a node does not have yet is an answer, too: the judge decides. */
static bool
is_answer(const struct actor *actor)
{
	long status = actor->client->status;

	return (status >= 200 && status < 300) || (!actor->act->write && status == 404);
}

static void
act_done(struct load_client *client)
{
	struct history *all = client->owner;
	struct actor *actor = &all->actors[client->number];
	bool ok = is_answer(actor);

	log_request(all, actor);
	count_request(all, actor, ok);
	if (!ok)
		fprintf(stderr, "at %.3f s: %s %s: %ld %s\n",
		    (double)(client->ended - all->load.began) / 1e6, actor->act->name, actor->path,
		    client->status, client->why != NULL ? client->why : "");
	actor->busy = false;
	actor->again =
	    !ok && actor->act->write && actor->key[0] != '\0' &&
	    actor->tries < (client->sent < all->until ? REPEATS : 1);
	actor->due = ok ? client->ended + (w_usec)all->opt->pause * W_MSEC : w_now() + PAUSE;
}

/* ---- the loop ---- */

static bool
begin_act(struct actor *actor)
{
	struct history *all = actor->all;
	struct load_request request = { .timeout = all->timeout };

	if (actor->again) {
		actor->tries++;
	} else {
		actor->act = &acts[actor->step];
		if (++actor->step == W_NELEM(acts)) {
			actor->step = 0;
			actor->round++;
		}
		if (actor->act->write)
			next_seq(actor);
	}
	if ((actor->reader && actor->act->write) || !actor->act->ask(actor, &request))
		return false;
	request.path = actor->path;
	request.base = actor->client->number + actor->round + actor->step + actor->tries;
	if (actor->act->write && actor->key[0] != '\0')
		request.key = actor->key;
	actor->busy = true;
	load_send(actor->client, &request);
	return true;
}

/* Begin whatever is due; the next moment when something will be. */
static w_usec
begin_due(struct history *all)
{
	w_usec now = w_now(), next = now + W_SEC;

	for (unsigned i = 0; i < all->opt->clients; i++) {
		struct actor *actor = &all->actors[i];

		if (actor->busy || actor->done)
			continue;
		/* Nothing new once the time is over; what was begun is brought to its end. */
		if (load_over(&all->load) || (!actor->again && now >= all->until))
			actor->done = true;
		else if (actor->due > now)
			next = W_MIN(next, actor->due);
		else if (begin_act(actor))
			next = now;
		else
			next = W_MIN(next, actor->due = now + W_MSEC);
	}
	return next;
}

static bool
all_done(const struct history *all)
{
	for (unsigned i = 0; i < all->opt->clients; i++)
		if (!all->actors[i].done)
			return false;
	return true;
}

static void
take_line(struct history *all, const char *line)
{
	char name[64];

	if (sscanf(line, "mark %63s", name) == 1)
		fprintf(all->log, "mark 0 0 0 - 0 %s - %.3f 0 -\n", name,
		    (double)(w_now() - all->load.began) / W_MSEC);
	else if (line[0] != '\0')
		fprintf(stderr, "what is '%s'?\n", line);
}

/* Marks, as far as they are there. */
static void
take_input(struct history *all)
{
	char byte;

	while (all->load.input >= 0 && read(all->load.input, &byte, 1) == 1) {
		if (byte != '\n' && all->line_len < INPUT_MAX - 1) {
			all->line[all->line_len++] = byte;
			continue;
		}
		all->line[all->line_len] = '\0';
		all->line_len = 0;
		take_line(all, all->line);
	}
}

static void
run_history(struct history *all)
{
	all->spans[0].last = all->spans[1].last = all->load.began;
	all->until = all->load.began + (w_usec)all->opt->seconds * W_SEC;
	while (!all_done(all)) {
		take_input(all);
		if (load_stopped())
			all->until = W_MIN(all->until, w_now());
		load_turn(&all->load, begin_due(all));
	}
	/* Nobody succeeded any more: that is a gap, too, when the last success is long ago. */
	for (unsigned i = 0; i < W_NELEM(all->spans); i++)
		all->spans[i].gap = W_MAX(all->spans[i].gap, all->until - all->spans[i].last);
}

static void
print_history(const struct history *all)
{
	W_AUTO(w_buf_fini) struct w_buf out = { 0 };
	struct w_json json;
	const struct span *reads = &all->spans[0], *writes = &all->spans[1];
	const struct {
		const char *name;
		int64_t value;
	} columns[] = { { "requests", (int64_t)all->requests }, { "reads", (int64_t)reads->ok },
		{ "writes", (int64_t)writes->ok }, { "failed", (int64_t)all->failed },
		{ "unanswered", (int64_t)all->unanswered }, { "replayed", (int64_t)all->replayed },
		{ "read_worst_ms", reads->worst / W_MSEC }, { "write_worst_ms", writes->worst / W_MSEC },
		{ "read_gap_ms", reads->gap / W_MSEC }, { "write_gap_ms", writes->gap / W_MSEC } };

	load_result(&json, &out, "history");
	for (size_t i = 0; i < W_NELEM(columns); i++) {
		w_json_key(&json, columns[i].name);
		w_json_int(&json, columns[i].value);
	}
	load_result_statuses(&json, all->statuses);
	load_print(&json);
}

/* Sessions are the clients of even numbers; everybody begins the round somewhere else. */
static struct load_client *
make_actors(struct history *all)
{
	unsigned count = (unsigned)all->opt->clients;
	struct load_client *clients = load_clients_new(&all->load, count, act_done, all);

	all->actors = w_xcalloc(count, sizeof(*all->actors));
	for (unsigned i = 0; i < count; i++) {
		all->actors[i] = (struct actor){ .all = all, .client = &clients[i],
			.step = i % W_NELEM(acts), .round = i / 2,
			.reader = i % 4 == 3 || i % 8 == 6 };
		if (i % 2 == 0)
			curl_easy_setopt(clients[i].easy, CURLOPT_COOKIEFILE, "");
	}
	return clients;
}

int
load_history(const struct load_options *opt)
{
	struct history all = { .opt = opt, .timeout = (w_usec)opt->deadline * W_SEC + PATIENCE };
	struct load_client *clients;
	int status;

	if (opt->seconds == 0 || opt->log == NULL)
		load_wrong("history wants --seconds and --log");
	if (strlen(opt->name) > 64)
		load_wrong("--name has more than 64 characters");
	load_open(&all.load, opt);
	all.log = fopen(opt->log, "we");
	if (all.log == NULL)
		load_die("%s: %s", opt->log, strerror(errno));
	/* So that others see the load go on. */
	setvbuf(all.log, NULL, _IOLBF, 0);
	/* For writing too, so that it has no end when a writer leaves. */
	if (opt->marks != NULL)
		all.load.input = open(opt->marks, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	snprintf(all.run, sizeof(all.run), "%016" PRIx64, w_random());
	clients = make_actors(&all);
	run_history(&all);
	print_history(&all);
	status = ferror(all.log) || fclose(all.log) != 0 || load_over(&all.load) ? 1 : 0;
	load_clients_free(&clients, (unsigned)opt->clients);
	w_free(&all.actors);
	w_close(&all.load.input);
	load_close(&all.load);
	return status;
}

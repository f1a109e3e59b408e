/*
 * weir switchover, pause and resume: a command to a promoter, as the identity operator, and its answers.
 *
 * Monitors are asked in the order of the cluster file; the first that answers has the command, and no
 * other one gets it. A monitor answers at once that it has a command, so who is silent is not there.
 * Source: docs/protocol/04-failover.md, section 5.3
 */
#include <stdio.h>
#include <zmq.h>

#include "cli/cli.h"
#include "common/keys.h"
#include "dbtier/control.h"

#define FIRST_ANSWER (2 * W_SEC)
#define LAST_ANSWER (60 * W_SEC)

struct order {
	const char *name; /* of the command line */
	const char *dir, *config;
	bool json;
	struct dbt_command command;
	struct w_cluster *cluster;
	struct w_keys *keys;
	void *zmq, *socket;
};

static void
hang_up(struct order *order)
{
	if (order->socket != NULL)
		zmq_close(order->socket);
	order->socket = NULL;
}

static void
finish(struct order *order)
{
	hang_up(order);
	if (order->zmq != NULL)
		zmq_ctx_term(order->zmq);
	w_keys_free(&order->keys);
	w_cluster_free(&order->cluster);
}

static int
zmq_failed(const struct order *order, const char *what)
{
	return cli_fail(order->name, "%s: %s", what, zmq_strerror(zmq_errno()));
}

/* ---- one monitor ---- */

static int
dial(struct order *order, const struct w_member *monitor)
{
	struct w_fault fault = { 0 };
	char endpoint[320];

	order->socket = zmq_socket(order->zmq, ZMQ_DEALER);
	if (order->socket == NULL)
		return zmq_failed(order, "no ZeroMQ socket");
	if (w_keys_client(order->keys, order->socket, monitor->name, &fault) < 0)
		return cli_fail(order->name, "%s", fault.text);
	if (w_addr_zmq(monitor->opt.monitor.control, 0, endpoint, sizeof(endpoint)) < 0 ||
	    zmq_connect(order->socket, endpoint) < 0)
		return cli_fail(order->name, "cannot connect to %s at %s", monitor->name,
		    monitor->opt.monitor.control);
	return CLI_DONE;
}

static int
send_command(const struct order *order)
{
	W_AUTO(w_buf_fini) struct w_buf text = { 0 };

	dbt_command_format(&order->command, &text);
	if (zmq_send(order->socket, text.ptr, text.len, 0) < 0)
		return zmq_failed(order, "cannot send");
	return CLI_DONE;
}

/* The next answer to our command. Errors: -W_ETIMEOUT none until then; -W_EIO */
static int
take_answer(const struct order *order, w_usec until, struct dbt_answer *ret)
{
	zmq_pollitem_t item = { .socket = order->socket, .events = ZMQ_POLLIN };
	struct dbt_answer answer;
	zmq_msg_t frame;
	bool ours;

	for (w_usec now = w_now(); now < until; now = w_now()) {
		if (zmq_poll(&item, 1, (long)((until - now) / W_MSEC) + 1) <= 0)
			continue;
		zmq_msg_init(&frame);
		if (zmq_msg_recv(&frame, order->socket, 0) < 0) {
			zmq_msg_close(&frame);
			return -W_EIO;
		}
		ours = dbt_answer_parse((struct w_view){ zmq_msg_data(&frame), zmq_msg_size(&frame) },
			   &answer, NULL) == W_OK && answer.id == order->command.id;
		zmq_msg_close(&frame);
		if (!ours)
			continue;
		*ret = answer;
		return W_OK;
	}
	return -W_ETIMEOUT;
}

/* ---- telling ---- */

static void
print_answer(const struct order *order, const struct w_member *monitor,
    const struct dbt_answer *answer)
{
	W_AUTO(w_buf_fini) struct w_buf line = { 0 };
	struct w_json json;

	if (!order->json) {
		fprintf(answer->failed ? stderr : stdout, "weir %s: %s\n", order->name, answer->text);
		fflush(stdout);
		return;
	}
	w_json_init(&json, &line);
	w_json_open(&json, '{');
	w_json_key(&json, "monitor");
	w_json_text(&json, monitor->name);
	w_json_key(&json, "done");
	w_json_bool(&json, answer->done);
	w_json_key(&json, "failed");
	w_json_bool(&json, answer->failed);
	w_json_key(&json, "text");
	w_json_text(&json, answer->text);
	w_json_close(&json, '}');
	printf("%.*s\n", (int)line.len, line.ptr);
	fflush(stdout);
}

/* The first answer is here: those after it, until the end. */
static int
follow(const struct order *order, const struct w_member *monitor, struct dbt_answer *answer)
{
	w_usec until = w_now() + LAST_ANSWER;

	for (;;) {
		print_answer(order, monitor, answer);
		if (answer->failed)
			return CLI_FAILED;
		if (answer->done)
			return CLI_DONE;
		if (take_answer(order, until, answer) < 0)
			return cli_fail(order->name,
			    "%s has not said within %d s how it ended; weir status tells how things are",
			    monitor->name, (int)(LAST_ANSWER / W_SEC));
	}
}

/* *ret_answered: this monitor has the command, so no other one may get it. */
static int
ask(struct order *order, const struct w_member *monitor, bool *ret_answered)
{
	struct dbt_answer answer;
	int rc = dial(order, monitor);

	if (rc == CLI_DONE)
		rc = send_command(order);
	if (rc != CLI_DONE)
		return rc;
	if (take_answer(order, w_now() + FIRST_ANSWER, &answer) < 0) {
		fprintf(stderr,
		    "weir %s: %s (%s) does not answer: does it run, and has it operator.pub among its keys?\n",
		    order->name, monitor->name, monitor->opt.monitor.control);
		return CLI_FAILED;
	}
	*ret_answered = true;
	return follow(order, monitor, &answer);
}

static int
ask_all(struct order *order)
{
	const struct w_member *monitor;
	bool answered = false, any = false;
	int rc = CLI_FAILED;

	for (unsigned i = 0;
	     !answered && (monitor = w_cluster_nth(order->cluster, W_MONITOR, i)) != NULL; i++) {
		if (monitor->opt.monitor.control[0] == '\0')
			continue;
		any = true;
		rc = ask(order, monitor, &answered);
		hang_up(order);
	}
	if (!any)
		return cli_fail(order->name, "%s names no monitor with a control address",
		    order->cluster->path);
	return rc;
}

/* ---- commands ---- */

static int
check_node(const struct order *order)
{
	const struct w_member *node =
	    w_cluster_find(order->cluster, w_view_of(order->command.node));

	if (order->command.node[0] == '\0' || (node != NULL && node->role == W_DATABASE))
		return CLI_DONE;
	return cli_fail(order->name, "no database '%s' in %s", order->command.node,
	    order->cluster->path);
}

static int
run(struct order *order)
{
	struct w_fault fault = { 0 };
	int rc = cli_cluster_load(order->name, order->dir, order->config, &order->cluster);

	if (rc == CLI_DONE)
		rc = check_node(order);
	if (rc != CLI_DONE)
		return rc;
	if (w_keys_load(order->cluster->opt.keys, "operator", &order->keys, &fault) < 0)
		return cli_fail(order->name, "%s", fault.text);
	order->zmq = zmq_ctx_new();
	if (order->zmq == NULL)
		return zmq_failed(order, "no ZeroMQ context");
	/* another one each time, so that nobody takes an answer to an earlier command for one to this */
	order->command.id = w_wall();
	return ask_all(order);
}

static int
parse_and_run(struct order *order, int argc, char **argv)
{
	const struct cli_arg table[] = {
		{ "dir", CLI_TEXT, &order->dir, 0, 0, "DIR", "Folder of weir up (default ./weir-data).", NULL },
		{ "config", CLI_TEXT, &order->config, 0, 0, "FILE", "Cluster file.", NULL },
		{ "json", CLI_FLAG, &order->json, 0, 0, NULL, "Print the answers as JSON, one a line.", NULL },
	};
	int most = order->command.kind == DBT_SWITCHOVER ? 2 : 1;
	int rc = cli_args(cli_command_find(order->name), table, W_NELEM(table), &argc, argv);

	if (rc != CLI_DONE)
		return rc;
	if (argc > most)
		return cli_usage(order->name, "takes no argument '%s'", argv[most]);
	if (argc == 2 && snprintf(order->command.node, sizeof(order->command.node), "%s", argv[1]) >=
			     (int)sizeof(order->command.node))
		return cli_fail(order->name, "no database has a name as long as that");
	return run(order);
}

int
cli_switchover(int argc, char **argv)
{
	W_AUTO(finish) struct order order = { .name = "switchover", .command.kind = DBT_SWITCHOVER };

	return parse_and_run(&order, argc, argv);
}

int
cli_pause(int argc, char **argv)
{
	W_AUTO(finish) struct order order = { .name = "pause", .command.kind = DBT_CMD_PAUSE };

	return parse_and_run(&order, argc, argv);
}

int
cli_resume(int argc, char **argv)
{
	W_AUTO(finish) struct order order = { .name = "resume", .command.kind = DBT_CMD_RESUME };

	return parse_and_run(&order, argc, argv);
}

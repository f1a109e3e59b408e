/*
 * The balancer as a node: what the control thread does. See common/node.h for the order.
 *
 * Options and TLS are one snapshot behind an atomic pointer. A reload adds a new one; the old
 * ones stay until the end, since sessions refer to them.
 */
#include "balancer/balancer.h"

#include "balancer/tls.h"
#include "balancer/worker.h"
#include "common/log.h"

static int
check_options(const struct w_balancer_options *opt, struct w_fault *fault)
{
	if (opt->https[0] == '\0' && opt->http[0] == '\0')
		return w_fail(fault, -W_EINVAL, "a balancer needs https or http: set an address");
	if (opt->link[0] == '\0')
		return w_fail(fault, -W_EINVAL,
		    "a balancer needs link: set the address that servers dial");
	return W_OK;
}

static int
make_config(const struct w_node *node, struct bal_config *older, struct bal_config **ret,
    struct w_fault *fault)
{
	struct bal_config *config = w_xcalloc(1, sizeof(*config));
	const struct w_balancer_options *opt = &node->self->opt.balancer;
	int rc = check_options(opt, fault);

	config->opt = opt;
	config->older = older;
	if (rc == W_OK && opt->https[0] != '\0')
		rc = bal_tls_new(opt, older != NULL ? older->tls : NULL, &config->tls, fault);
	if (rc < 0) {
		free(config);
		return rc;
	}
	*ret = config;
	return W_OK;
}

static int
prepare(struct w_node *node, struct w_fault *fault)
{
	struct bal_node *bal;
	struct bal_config *config = NULL;
	int rc = make_config(node, NULL, &config, fault);

	if (rc < 0)
		return rc;
	bal = w_xcalloc(1, sizeof(*bal));
	atomic_init(&bal->config, config);
	bal->worker_count = W_MAX(node->worker_count, 1U);
	bal->boards = w_xcalloc(bal->worker_count, sizeof(*bal->boards));
	bal->metrics = bal_metrics_add(node->metrics, &bal->parse_metrics);
	bal->link_metrics = lnk_metrics(node->metrics);
	node->role = bal;
	return W_OK;
}

static int
worker_start(struct w_worker *worker, struct w_fault *fault)
{
	return bal_worker_start(worker, worker->node->role, fault);
}

static int
reload(struct w_node *node, struct w_fault *fault)
{
	struct bal_node *bal = node->role;
	struct bal_config *older = atomic_load(&bal->config), *config = NULL;
	int rc;

	rc = make_config(node, older, &config, fault);
	if (rc < 0)
		return rc;
	/* https cannot be switched on or off without a restart; keep a listener usable. */
	if (config->tls == NULL)
		config->tls = older->tls;
	atomic_store_explicit(&bal->config, config, memory_order_release);
	return W_OK;
}

static void
report_peer(struct w_json *json, unsigned worker, const struct bal_board_slot *slot)
{
	uint64_t responses = atomic_load_explicit(&slot->responses, memory_order_relaxed);
	uint64_t latency = atomic_load_explicit(&slot->latency, memory_order_relaxed);

	w_json_open(json, '{');
	w_json_key(json, "server");
	w_json_text(json, slot->name);
	w_json_key(json, "worker");
	w_json_int(json, slot->worker);
	w_json_key(json, "balancer_worker");
	w_json_int(json, worker);
	w_json_key(json, "up");
	w_json_bool(json, atomic_load_explicit(&slot->up, memory_order_relaxed));
	w_json_key(json, "credit");
	w_json_int(json, atomic_load_explicit(&slot->credit, memory_order_relaxed));
	w_json_key(json, "streams");
	w_json_int(json, atomic_load_explicit(&slot->streams, memory_order_relaxed));
	w_json_key(json, "responses");
	w_json_int(json, (int64_t)responses);
	w_json_key(json, "errors");
	w_json_int(json, (int64_t)atomic_load_explicit(&slot->errors, memory_order_relaxed));
	w_json_key(json, "lost");
	w_json_int(json, (int64_t)atomic_load_explicit(&slot->lost, memory_order_relaxed));
	w_json_key(json, "latency_us");
	w_json_int(json, (int64_t)latency);
	w_json_close(json, '}');
}

/* "peers": one object per connected worker of a server, as each of our workers sees it. */
static void
report(struct w_node *node, struct w_json *json)
{
	struct bal_node *bal = node->role;

	w_json_key(json, "peers");
	w_json_open(json, '[');
	for (unsigned i = 0; i < bal->worker_count; i++) {
		struct bal_board *board = &bal->boards[i];
		unsigned count = atomic_load_explicit(&board->count, memory_order_acquire);

		for (unsigned j = 0; j < count; j++)
			report_peer(json, i, &board->slots[j]);
	}
	w_json_close(json, ']');
}

static void
worker_drain(struct w_worker *worker)
{
	bal_worker_drain(worker->role);
}

static void
worker_stop(struct w_worker *worker)
{
	struct bal_worker *bal = worker->role;

	worker->role = NULL;
	bal_worker_stop(&bal);
}

static void
finish(struct w_node *node)
{
	struct bal_node *bal = node->role;
	struct bal_config *config, *older;

	if (bal == NULL)
		return;
	for (config = atomic_load(&bal->config); config != NULL; config = older) {
		older = config->older;
		if (older == NULL || older->tls != config->tls)
			bal_tls_free(&config->tls);
		free(config);
	}
	free(bal->boards);
	free(bal);
	node->role = NULL;
}

const struct w_role_ops bal_role = {
	.role = W_BALANCER,
	.program = "weir-balancer",
	.summary = "takes HTTP and HTTPS from clients and spreads requests over servers",
	.prepare = prepare,
	.worker_start = worker_start,
	.reload = reload,
	.report = report,
	.worker_drain = worker_drain,
	.worker_stop = worker_stop,
	.finish = finish,
};

#include "tests/unit/link/world.h"

#include "common/log.h"

#include <CUnit/CUnit.h>
#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zmq.h>

/* A port that is free, and so is the next one, as far as one can know. */
static unsigned
free_ports(void)
{
	for (int tries = 0; tries < 100; tries++) {
		struct sockaddr_in addr = {
		    .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
		socklen_t len = sizeof(addr);
		W_AUTO(w_close) int one = socket(AF_INET, SOCK_STREAM, 0);
		W_AUTO(w_close) int two = socket(AF_INET, SOCK_STREAM, 0);
		unsigned port;

		if (bind(one, (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
		    getsockname(one, (struct sockaddr *)&addr, &len) < 0)
			continue;
		port = ntohs(addr.sin_port);
		addr.sin_port = htons((uint16_t)(port + 1));
		if (port < 65535 && bind(two, (struct sockaddr *)&addr, sizeof(addr)) == 0)
			return port;
	}
	return 0;
}

void
world_move(struct world *world)
{
	for (int i = 0; i < 2; i++)
		snprintf(
		    world->address[i], sizeof(world->address[i]), "127.0.0.1:%u", free_ports());
}

static void
make_cluster(struct world *world)
{
	static const char *const names[] = {"balancer-1", "balancer-2", "server-1", "server-2"};

	for (unsigned i = 0; i < W_NELEM(names); i++) {
		struct w_member *member = &world->members[i];

		member->name = names[i];
		member->role = i < 2 ? W_BALANCER : W_SERVER;
		member->index = i % 2;
		if (i < 2)
			member->opt.balancer.link = world->address[i];
	}
	world_move(world);
	world->cluster.dir = world->dir;
	world->cluster.opt.keys = world->dir;
	world->cluster.members = world->members;
	world->cluster.member_count = W_NELEM(names);
}

static int
make_keys(struct world *world, struct w_fault *fault)
{
	int rc = W_OK;

	for (unsigned i = 0; rc == W_OK && i < W_NELEM(world->members); i++)
		rc = w_keys_ensure(world->dir, world->members[i].name, fault);
	if (rc == W_OK)
		rc = w_keys_load(world->dir, "balancer-1", &world->balancer[0], fault);
	if (rc == W_OK)
		rc = w_keys_load(world->dir, "balancer-2", &world->balancer[1], fault);
	if (rc == W_OK)
		rc = w_keys_load(world->dir, "server-1", &world->server[0], fault);
	if (rc == W_OK)
		rc = w_keys_load(world->dir, "server-2", &world->server[1], fault);
	return rc;
}

bool
world_open(struct world *world)
{
	struct w_fault fault = {0};
	int rc;

	*world = (struct world){0};
	snprintf(world->dir, sizeof(world->dir), "/tmp/weir-link-XXXXXX");
	if (mkdtemp(world->dir) == NULL)
		return false;
	w_log_init("unit", W_ERROR, false);
	make_cluster(world);
	world->zmq = zmq_ctx_new();
	world->metrics = w_metrics_new(1);
	world->base = lnk_metrics(world->metrics);
	world->meter = w_metrics_meter(world->metrics, 0);
	rc = w_loop_init(&world->loop);
	if (rc == W_OK)
		rc = make_keys(world, &fault);
	if (rc == W_OK)
		rc = w_zap_start(world->zmq, &world->loop, &world->cluster, &world->zap, &fault);
	if (rc < 0)
		fprintf(stderr, "world: %s\n", fault.text);
	return rc == W_OK;
}

static void
remove_folder(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;

	while (dir != NULL && (entry = readdir(dir)) != NULL) {
		char file[400];

		snprintf(file, sizeof(file), "%s/%s", path, entry->d_name);
		if (entry->d_name[0] != '.')
			unlink(file);
	}
	if (dir != NULL)
		closedir(dir);
	rmdir(path);
}

void
world_close(struct world *world)
{
	w_zap_stop(&world->zap);
	w_loop_fini(&world->loop);
	zmq_ctx_term(world->zmq);
	for (int i = 0; i < 2; i++) {
		w_keys_free(&world->balancer[i]);
		w_keys_free(&world->server[i]);
	}
	w_metrics_free(&world->metrics);
	remove_folder(world->dir);
}

/* ---- running ---- */

struct wait {
	struct w_loop *loop;
	struct w_turn turn;
	struct w_timer timer;
	bool (*condition)(void *arg);
	void *arg;
	bool met;
};

static void
look(void *arg)
{
	struct wait *wait = arg;

	if (wait->met || wait->condition == NULL || !wait->condition(wait->arg))
		return;
	wait->met = true;
	w_loop_stop(wait->loop);
}

static void
too_late(void *arg)
{
	struct wait *wait = arg;

	w_loop_stop(wait->loop);
}

static bool
run(struct world *world, bool (*condition)(void *arg), void *arg, w_usec limit)
{
	struct wait wait = {.loop = &world->loop, .condition = condition, .arg = arg};

	wait.timer = (struct w_timer){.fire = too_late, .arg = &wait};
	w_turn_add(&world->loop, &wait.turn, W_TURN_CLIENTS, look, &wait);
	w_timer_start(&world->loop, &wait.timer, limit, 0);
	w_loop_again(&world->loop);
	w_loop_run(&world->loop);
	w_timer_fini(&wait.timer);
	w_turn_remove(&wait.turn);
	return wait.met;
}

bool
world_until(struct world *world, bool (*condition)(void *arg), void *arg)
{
	return run(world, condition, arg, WORLD_LIMIT);
}

void
world_for(struct world *world, w_usec time)
{
	run(world, NULL, NULL, time);
}

/* ---- nodes ---- */

static int
open_hub(struct world *world, const struct lnk_hub_config *some, unsigned index,
    struct lnk_hub **ret, struct w_fault *fault)
{
	struct lnk_hub_config config = *some;

	config.zmq = world->zmq;
	config.loop = &world->loop;
	config.keys = world->balancer[index];
	config.address = world->address[index];
	config.meter = world->meter;
	config.metrics = world->base;
	return lnk_hub_new(&config, ret, fault);
}

struct lnk_hub *
world_hub(struct world *world, unsigned index, unsigned worker, unsigned workers,
    const struct lnk_hub_ops *ops, void *arg)
{
	const struct lnk_hub_config config = {
	    .worker = worker, .workers = workers, .ops = ops, .arg = arg};
	struct w_fault fault = {0};
	struct lnk_hub *hub = NULL;
	int rc = open_hub(world, &config, index, &hub, &fault);

	if (rc < 0)
		fprintf(stderr, "hub: %s\n", fault.text);
	CU_ASSERT_EQUAL(rc, W_OK);
	return hub;
}

struct lnk_hub *
world_hub_try(struct world *world, unsigned index, const struct lnk_hub_ops *ops, void *arg)
{
	const struct lnk_hub_config config = {.workers = 1, .ops = ops, .arg = arg};
	struct lnk_hub *hub = NULL;

	open_hub(world, &config, index, &hub, NULL);
	return hub;
}

struct lnk_spoke *
world_spoke(struct world *world, unsigned capacity, const struct lnk_spoke_ops *ops, void *arg)
{
	const struct lnk_spoke_config config = {.zmq = world->zmq,
	    .loop = &world->loop,
	    .keys = world->server[0],
	    .node = world->server[0]->name,
	    .worker = 0,
	    .workers = 1,
	    .cluster = &world->cluster,
	    .capacity = capacity,
	    .meter = world->meter,
	    .metrics = world->base,
	    .ops = ops,
	    .arg = arg};
	struct lnk_spoke *spoke = NULL;
	struct w_fault fault = {0};
	int rc = lnk_spoke_new(&config, &spoke, &fault);

	if (rc < 0)
		fprintf(stderr, "spoke: %s\n", fault.text);
	CU_ASSERT_EQUAL(rc, W_OK);
	return spoke;
}

void *
world_dealer(struct world *world, const struct w_keys *keys)
{
	void *socket = zmq_socket(world->zmq, ZMQ_DEALER);
	char endpoint[64];
	int one = 1;

	snprintf(endpoint, sizeof(endpoint), "tcp://%s", world->address[0]);
	zmq_setsockopt(socket, ZMQ_IMMEDIATE, &one, sizeof(one));
	CU_ASSERT_EQUAL(w_keys_client(keys, socket, "balancer-1", NULL), W_OK);
	CU_ASSERT_EQUAL(zmq_connect(socket, endpoint), 0);
	return socket;
}

void
world_mark(struct world *world)
{
	for (unsigned i = 0; i < LNK__METRIC_COUNT; i++)
		if (i != LNK__RTT)
			world->marks[i] = w_metrics_value(world->metrics, world->base + i);
}

int64_t
world_since(const struct world *world, enum lnk__metric id)
{
	return w_metrics_value(world->metrics, world->base + id) - world->marks[id];
}

#include <curl/curl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cli/up.h"

static void
say_where(const struct up *up)
{
	const struct w_member *balancer = w_cluster_nth(up->cluster, W_BALANCER, 0);
	const struct w_member *monitor = w_cluster_nth(up->cluster, W_MONITOR, 0);
	char host[256];
	unsigned port = 0;
	const char *addr = "";

	if (balancer != NULL)
		addr = balancer->opt.balancer.https[0] != '\0' ? balancer->opt.balancer.https
							       : balancer->opt.balancer.http;
	w_addr_split(addr, host, sizeof(host), &port);
	printf("weir is up: %s://%s:%u\n",
	    balancer != NULL && balancer->opt.balancer.https[0] != '\0' ? "https" : "http",
	    strcmp(host, "127.0.0.1") == 0 ? "localhost" : host, port);
	if (monitor != NULL)
		printf("  page   http://%s\n  feed   weir watch --dir %s\n", monitor->opt.monitor.http,
		    up->args.dir);
	printf("  try    curl --cacert %s/ca.pem https://localhost:%u/messages\n", up->args.dir, port);
	printf("  stop   Ctrl-C\n");
	fflush(stdout);
}

static void
on_serving(void *arg)
{
	struct up *up = w_typed(arg, UP_MAGIC);

	if (up->stopping)
		return;
	up->serves = true;
	w_timer_stop(&up->give_up);
	say_where(up);
}

static void
stop(struct up *up, int status)
{
	if (up->stopping)
		return;
	up->status = status;
	printf("weir: stopping\n");
	fflush(stdout);
	cli__up_procs_stop(up);
}

static void
on_give_up(void *arg)
{
	struct up *up = w_typed(arg, UP_MAGIC);

	pthread_mutex_lock(&up->lock);
	fprintf(stderr, "weir up: not everything serves after %d s; waiting for %s\n"
			"weir up: the nodes' logs are in %s/logs\n",
	    (int)(UP_START_TIMEOUT / W_SEC), up->waiting_for, up->dir);
	pthread_mutex_unlock(&up->lock);
	stop(up, CLI_FAILED);
}

static int
find_terminal(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (isatty(fd))
			return fd;
	return -1;
}

/* Who loses his terminal is sent SIGHUP, too; then it is none any more. */
static void
on_signal(uv_signal_t *handle, int number)
{
	struct up *up = w_typed(handle->data, UP_MAGIC);

	if (number == SIGHUP && (up->terminal < 0 || isatty(up->terminal)))
		cli__up_reload(up);
	else
		stop(up, CLI_DONE);
}

static void
watch_signals(struct up *up)
{
	static const int numbers[] = { SIGINT, SIGTERM, SIGHUP };

	for (size_t i = 0; i < W_NELEM(numbers); i++) {
		uv_signal_init(&up->loop.uv, &up->signals[i]);
		up->signals[i].data = up;
		uv_signal_start(&up->signals[i], on_signal, numbers[i]);
	}
}

static void
run(struct up *up)
{
	watch_signals(up);
	up->serving = on_serving;
	up->give_up = (struct w_timer){ .fire = on_give_up, .arg = up };
	w_timer_start(&up->loop, &up->give_up, UP_START_TIMEOUT, 0);
	printf("weir: starting %zu nodes in %s\n", up->cluster->member_count, up->dir);
	fflush(stdout);
	cli__up_procs_start(up);
	cli__up_wait_start(up);
	w_loop_run(&up->loop);
	cli__up_wait_stop(up);
}

static void
fini(struct up *up)
{
	for (size_t i = 0; i < W_NELEM(up->signals); i++)
		if (up->signals[i].data != NULL)
			uv_close((uv_handle_t *)&up->signals[i], NULL);
	cli__up_procs_fini(up);
	cli__up_reload_stop(up);
	w_timer_fini(&up->reload.timer);
	w_timer_fini(&up->give_up);
	cli__up_control_close(up);
	w_loop_fini(&up->loop);
	w_cluster_free(&up->cluster);
	for (size_t i = 0; i < up->old_count; i++)
		w_cluster_free(&up->old[i]);
	free(up->old);
	w_close(&up->lock_fd);
	free(up->dir);
}

static int
parse(int argc, char **argv, struct up_args *args)
{
	bool given[4] = { false, false, false, false };
	const struct cli_arg table[] = {
		{ "dir", CLI_TEXT, &args->dir, 0, 0, "DIR", "Folder of the cluster (default ./weir-data).", NULL },
		{ "port-base", CLI_UINT, &args->port_base, 1024, 64000, "N", "First port; HTTPS is N+443, HTTP N+80, the page N+90 (default 8000).", &given[0] },
		{ "balancers", CLI_UINT, &args->balancers, 1, 9, "N", "Balancer nodes (default 1).", &given[1] },
		{ "servers", CLI_UINT, &args->servers, 1, 99, "N", "Server nodes (default 2).", &given[2] },
		{ "replicas", CLI_UINT, &args->replicas, 0, 9, "N", "PostgreSQL replicas (default 2).", &given[3] },
		{ "app", CLI_TEXT, &args->app, 0, 0, "DIR", "Folder of your modules, *.so (default: the guestbook).", NULL },
	};
	int rc = cli_args(cli_command_find("up"), table, W_NELEM(table), &argc, argv);

	if (rc != CLI_DONE)
		return rc;
	if (argc != 1)
		return cli_usage("up", "takes no argument '%s'", argv[1]);
	args->layout_given = given[0] || given[1] || given[2] || given[3];
	return CLI_DONE;
}

int
cli_up(int argc, char **argv)
{
	struct up up = { .magic = UP_MAGIC, .lock_fd = -1, .lock = PTHREAD_MUTEX_INITIALIZER,
		.args = { .dir = "./weir-data", .port_base = 8000, .balancers = 1, .servers = 2,
		    .replicas = 2 } };
	struct w_fault fault = { 0 };
	int rc = parse(argc, argv, &up.args);

	if (rc != CLI_DONE)
		return rc;
	up.terminal = find_terminal();
	signal(SIGPIPE, SIG_IGN);
	setvbuf(stdout, NULL, _IOLBF, 0);
	curl_global_init(CURL_GLOBAL_DEFAULT);
	w_list_init(&up.clients);
	if (w_loop_init(&up.loop) < 0)
		return cli_fail("up", "no event loop to be had");
	rc = cli__up_procs_check(&fault);
	if (rc == W_OK)
		rc = cli__up_plan(&up, &fault);
	if (rc == W_OK)
		rc = cli__up_control_open(&up, &fault);
	if (rc < 0)
		up.status = cli_fail("up", "%s", fault.text);
	else
		run(&up);
	fini(&up);
	return up.status;
}

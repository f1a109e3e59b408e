/* endpoints.json: where a cluster answers, for programs and scripts. */
#include <stdio.h>

#include "cli/up.h"

/* SCHEME://HOST:PORT of an address; the first balancer is shown as localhost, as its certificate says. */
static void
add_url(struct w_json *json, const char *key, const char *scheme, const char *addr, bool localhost)
{
	char host[256], url[320];
	unsigned port;

	if (addr == NULL || addr[0] == '\0' || w_addr_split(addr, host, sizeof(host), &port) < 0)
		return;
	if (localhost && strcmp(host, "127.0.0.1") == 0)
		snprintf(host, sizeof(host), "localhost");
	snprintf(url, sizeof(url), strchr(host, ':') != NULL ? "%s://[%s]:%u" : "%s://%s:%u", scheme,
	    host, port);
	w_json_key(json, key);
	w_json_text(json, url);
}

static void
add_members(struct w_json *json, const struct w_cluster *cluster, enum w_role role)
{
	const struct w_member *member;

	w_json_open(json, '[');
	for (unsigned i = 0; (member = w_cluster_nth(cluster, role, i)) != NULL; i++) {
		w_json_open(json, '{');
		w_json_key(json, "name");
		w_json_text(json, member->name);
		if (role == W_BALANCER) {
			add_url(json, "https", "https", member->opt.balancer.https, true);
			add_url(json, "http", "http", member->opt.balancer.http, true);
		} else if (role == W_SERVER) {
			add_url(json, "http", "http", member->opt.server.http, false);
		} else {
			W_AUTO(w_free) char *dsn = cli_admin_dsn(cluster, member);

			w_json_key(json, "dsn");
			w_json_text(json, dsn);
		}
		w_json_close(json, '}');
	}
	w_json_close(json, ']');
}

int
cli__up_endpoints(const struct up *up, struct w_fault *fault)
{
	const struct w_cluster *cluster = up->cluster;
	const struct w_member *balancer = w_cluster_nth(cluster, W_BALANCER, 0);
	const struct w_member *monitor = w_cluster_nth(cluster, W_MONITOR, 0);
	W_AUTO(w_free) char *path = w_xasprintf("%s/endpoints.json", up->dir);
	W_AUTO(w_buf_fini) struct w_buf out = { 0 };
	struct w_json json;

	w_json_init(&json, &out);
	w_json_open(&json, '{');
	if (balancer != NULL) {
		add_url(&json, "https", "https", balancer->opt.balancer.https, true);
		add_url(&json, "http", "http", balancer->opt.balancer.http, true);
	}
	if (monitor != NULL) {
		add_url(&json, "monitor", "http", monitor->opt.monitor.http, true);
		add_url(&json, "feed", "tcp", monitor->opt.monitor.feed, false);
		add_url(&json, "control", "tcp", monitor->opt.monitor.control, false);
	}
	w_json_key(&json, "balancers");
	add_members(&json, cluster, W_BALANCER);
	w_json_key(&json, "servers");
	add_members(&json, cluster, W_SERVER);
	w_json_key(&json, "databases");
	add_members(&json, cluster, W_DATABASE);
	w_json_close(&json, '}');
	w_buf_char(&out, '\n');
	return cli_write_file(path, w_buf_get(&out), 0644, fault);
}

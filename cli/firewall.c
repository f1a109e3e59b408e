/*
 * weir firewall NODE: an nftables ruleset for the host of one node, from the cluster file.
 *
 * Default drop for what comes in; loopback, established connections and the ICMP that IP needs
 * pass; then one rule per address the node listens on, each with the peers that may reach it.
 * Source: nft(8); RFC 4890 for ICMPv6
 */
#include <arpa/inet.h>
#include <sys/wait.h>
#include <stdio.h>
#include <unistd.h>

#include "cli/cli.h"
#include "common/view.h"

/* Who may reach a port. */
enum reach { REACH_WORLD, REACH_BALANCERS, REACH_SERVERS, REACH_DATABASES, REACH_NODES, REACH_TIER };

struct opening {
	const char *name; /* for the comment */
	const char *addr; /* of the cluster file; "" is off */
	unsigned span;    /* ports from the address's on */
	enum reach reach;
};

/* Ports of the link: one per worker; 0 workers means one per core of a machine we cannot see. */
#define LINK_SPAN_UNKNOWN 64

static size_t
openings_of(const struct w_member *node, struct opening ret[4])
{
	const struct w_balancer_options *bal = &node->opt.balancer;
	const struct w_monitor_options *mon = &node->opt.monitor;
	unsigned span;

	switch (node->role) {
	case W_BALANCER:
		span = bal->workers > 0 ? (unsigned)bal->workers : LINK_SPAN_UNKNOWN;
		ret[0] = (struct opening){ "HTTPS", bal->https, 1, REACH_WORLD };
		ret[1] = (struct opening){ "HTTP", bal->http, 1, REACH_WORLD };
		ret[2] = (struct opening){ "link, from servers", bal->link, span, REACH_SERVERS };
		return 3;
	case W_SERVER:
		ret[0] = (struct opening){ "direct HTTP, from nodes of the cluster",
			node->opt.server.http, 1, REACH_NODES };
		return 1;
	case W_DATABASE:
		ret[0] = (struct opening){ "PostgreSQL, from servers, databases and monitors",
			node->opt.database.address, 1, REACH_TIER };
		return 1;
	default:
		ret[0] = (struct opening){ "reports, from nodes of the cluster", mon->collect, 1, REACH_NODES };
		/* Subscribers and readers are people: CURVE admits the first, the operator's set the others. */
		ret[1] = (struct opening){ "feed, keys decide who may subscribe", mon->feed, 1, REACH_WORLD };
		ret[2] = (struct opening){ "page and metrics, from nodes of the cluster and admin", mon->http, 1,
			REACH_NODES };
		ret[3] = (struct opening){ "promoter, from databases and admin", mon->control, 1, REACH_DATABASES };
		return 4;
	}
}

static const char *
address_of(const struct w_member *member)
{
	switch (member->role) {
	case W_BALANCER:
		return member->opt.balancer.link;
	case W_SERVER:
		return member->opt.server.http;
	case W_DATABASE:
		return member->opt.database.address;
	default:
		return member->opt.monitor.collect;
	}
}

static bool
reaches(enum reach reach, enum w_role role)
{
	switch (reach) {
	case REACH_BALANCERS:
		return role == W_BALANCER;
	case REACH_SERVERS:
		return role == W_SERVER;
	case REACH_DATABASES:
		return role == W_DATABASE;
	case REACH_TIER:
		return role == W_SERVER || role == W_DATABASE || role == W_MONITOR;
	default:
		return true;
	}
}

/* "127.0.0.1, 10.0.0.5": numeric hosts of one family that may reach it, each once. */
static void
add_sources(struct w_buf *out, const struct w_cluster *cluster, enum reach reach, int family)
{
	unsigned char bytes[16];
	char host[256];
	unsigned port;

	for (size_t i = 0; i < cluster->member_count; i++) {
		const struct w_member *member = &cluster->members[i];
		W_AUTO(w_free) char *word = NULL;

		if (!reaches(reach, member->role) || address_of(member)[0] == '\0' ||
		    w_addr_split(address_of(member), host, sizeof(host), &port) < 0)
			continue;
		if (strcmp(host, "localhost") == 0)
			snprintf(host, sizeof(host), family == AF_INET ? "127.0.0.1" : "::1");
		if (inet_pton(family, host, bytes) != 1)
			continue;
		word = w_xasprintf(" %s,", host);
		w_buf_char(out, '\0');
		out->len--;
		if (strstr(out->ptr, word) == NULL)
			w_buf_text(out, word);
	}
	if (out->len > 0)
		out->len--; /* the last comma */
}

static void
print_rule(struct w_buf *out, const char *match, const struct w_buf *sources, const struct opening *open,
    const char *ports)
{
	if (sources->len > 0)
		w_buf_printf(out, "\t\t%s saddr {%.*s } tcp dport %s accept comment \"%s\"\n", match,
		    (int)sources->len, sources->ptr, ports, open->name);
}

static int
print_opening(struct w_buf *out, const struct w_cluster *cluster, const struct opening *open)
{
	W_AUTO(w_buf_fini) struct w_buf v4 = { 0 }, v6 = { 0 };
	char host[256], ports[32];
	unsigned port;

	if (open->addr[0] == '\0')
		return CLI_DONE;
	if (w_addr_split(open->addr, host, sizeof(host), &port) < 0)
		return cli_fail("firewall", "'%s' is not HOST:PORT", open->addr);
	snprintf(ports, sizeof(ports), open->span > 1 ? "%u-%u" : "%u", port, port + open->span - 1);
	if (open->reach == REACH_WORLD) {
		/* A host that opens connections faster than people do is slowed, not shut out. */
		w_buf_printf(out,
		    "\t\ttcp dport %s ct state new add @busy4 { ip saddr limit rate over 500/second burst 1000 packets } drop\n"
		    "\t\ttcp dport %s ct state new add @busy6 { ip6 saddr and ffff:ffff:ffff:ffff:: limit rate over 500/second burst 1000 packets } drop\n"
		    "\t\ttcp dport %s accept comment \"%s\"\n",
		    ports, ports, ports, open->name);
		return CLI_DONE;
	}
	add_sources(&v4, cluster, open->reach, AF_INET);
	add_sources(&v6, cluster, open->reach, AF_INET6);
	print_rule(out, "ip", &v4, open, ports);
	print_rule(out, "ip6", &v6, open, ports);
	return CLI_DONE;
}

static const char rules_head[] =
    "# Firewall of %s (%s), made by weir firewall from %s.\n"
    "# Load: nft -f FILE. It replaces the table weir_%s and touches no other.\n"
    "table inet weir_%s\n"
    "delete table inet weir_%s\n"
    "table inet weir_%s {\n"
    "\tset admin4 { type ipv4_addr; flags interval; comment \"hosts of operators: SSH, page, metrics, promoter\"; }\n"
    "\tset admin6 { type ipv6_addr; flags interval; comment \"hosts of operators: SSH, page, metrics, promoter\"; }\n"
    "\tset busy4 { type ipv4_addr; flags dynamic; size 65535; timeout 1m; }\n"
    "\tset busy6 { type ipv6_addr; flags dynamic; size 65535; timeout 1m; }\n"
    "\tchain input {\n"
    "\t\ttype filter hook input priority filter; policy drop;\n"
    "\t\tct state invalid drop\n"
    "\t\tct state { established, related } accept\n"
    "\t\tiif \"lo\" accept\n"
    "\t\tip protocol icmp icmp type { destination-unreachable, time-exceeded, parameter-problem, echo-request } accept\n"
    "\t\tmeta l4proto ipv6-icmp icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem, echo-request, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert } accept\n"
    "\t\tip saddr @admin4 tcp dport 22 accept\n"
    "\t\tip6 saddr @admin6 tcp dport 22 accept\n";

static const char rules_tail[] =
    "\t}\n"
    "\tchain forward {\n"
    "\t\ttype filter hook forward priority filter; policy drop;\n"
    "\t}\n"
    "}\n";

/* A name that nobody resolves here would silently shut a node out. */
static int
check_numeric(const struct w_cluster *cluster)
{
	unsigned char bytes[16];
	char host[256];
	unsigned port;

	for (size_t i = 0; i < cluster->member_count; i++) {
		const struct w_member *member = &cluster->members[i];

		if (w_addr_split(address_of(member), host, sizeof(host), &port) < 0 ||
		    strcmp(host, "localhost") == 0 || inet_pton(AF_INET, host, bytes) == 1 ||
		    inet_pton(AF_INET6, host, bytes) == 1)
			continue;
		return cli_fail("firewall",
		    "%s: the address of %s is the name '%s'; a firewall needs the number",
		    cluster->path, member->name, host);
	}
	return CLI_DONE;
}

/* Operators come from hosts that no cluster file names. */
static void
print_admin(struct w_buf *out, const char *addr)
{
	char host[256];
	unsigned port;

	if (w_addr_split(addr, host, sizeof(host), &port) == W_OK)
		w_buf_printf(out,
		    "\t\tip saddr @admin4 tcp dport %u accept\n"
		    "\t\tip6 saddr @admin6 tcp dport %u accept\n",
		    port, port);
}

static int
make_rules(const struct w_cluster *cluster, const struct w_member *node, struct w_buf *out)
{
	W_AUTO(w_free) char *table = w_xstrdup(node->name);
	struct opening openings[4];
	size_t count = openings_of(node, openings);
	int rc = CLI_DONE;

	for (char *at = table; *at != '\0'; at++)
		if (*at == '-')
			*at = '_';
	w_buf_printf(out, rules_head, node->name, w_role_name(node->role), cluster->path, table, table,
	    table, table);
	for (size_t i = 0; rc == CLI_DONE && i < count; i++)
		rc = print_opening(out, cluster, &openings[i]);
	if (node->role == W_MONITOR) {
		print_admin(out, node->opt.monitor.http);
		print_admin(out, node->opt.monitor.control);
	}
	w_buf_text(out, rules_tail);
	return rc;
}

/* Hand the rules to nft on its standard input; its own words say what it did not like. */
static int
apply(const struct w_buf *rules)
{
	int pipes[2], status;
	pid_t child;
	ssize_t put;

	if (pipe(pipes) < 0 || (child = fork()) < 0)
		return cli_fail("firewall", "cannot start nft");
	if (child == 0) {
		dup2(pipes[0], 0);
		close(pipes[0]);
		close(pipes[1]);
		execlp("nft", "nft", "-f", "-", (char *)NULL);
		_exit(127);
	}
	close(pipes[0]);
	put = write(pipes[1], rules->ptr, rules->len);
	close(pipes[1]);
	if (waitpid(child, &status, 0) < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0 ||
	    put != (ssize_t)rules->len)
		return cli_fail("firewall", "nft did not load the rules%s",
		    WIFEXITED(status) && WEXITSTATUS(status) == 127 ? ": it is not installed" : "");
	return CLI_DONE;
}

int
cli_firewall(int argc, char **argv)
{
	const char *dir = NULL, *config = NULL;
	bool load = false;
	const struct cli_arg table[] = {
		{ "dir", CLI_TEXT, &dir, 0, 0, "DIR", "Folder of weir up (default ./weir-data).", NULL },
		{ "config", CLI_TEXT, &config, 0, 0, "FILE", "Cluster file.", NULL },
		{ "apply", CLI_FLAG, &load, 0, 0, NULL, "Load the rules with nft instead of printing them.", NULL },
	};
	W_AUTO(w_cluster_free) struct w_cluster *cluster = NULL;
	W_AUTO(w_buf_fini) struct w_buf rules = { 0 };
	const struct w_member *node;
	int rc = cli_args(cli_command_find("firewall"), table, W_NELEM(table), &argc, argv);

	if (rc != CLI_DONE)
		return rc;
	if (argc != 2)
		return cli_usage("firewall", "say which node");
	rc = cli_cluster_load("firewall", dir, config, &cluster);
	if (rc != CLI_DONE)
		return rc;
	node = w_cluster_find(cluster, w_view_of(argv[1]));
	if (node == NULL)
		return cli_fail("firewall", "no node '%s' in %s", argv[1], cluster->path);
	rc = check_numeric(cluster);
	if (rc == CLI_DONE)
		rc = make_rules(cluster, node, &rules);
	if (rc != CLI_DONE)
		return rc;
	if (load)
		return apply(&rules);
	fwrite(rules.ptr, 1, rules.len, stdout);
	return CLI_DONE;
}

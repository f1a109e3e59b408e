/*
 * Every option of every role, once. These lists make the structs, the defaults,
 * the YAML schema, the range checks, --print-options and the man pages.
 *
 * Columns: key, type, default, min, max, when it takes effect, text.
 * Types:   uint   decimal number
 *          usec   a time with unit: 250ms, 10s, 5min (stored in microseconds)
 *          bytes  a size with unit: 64KiB, 16MiB (stored in bytes)
 *          flag   true or false
 *          text   a string; default "" is "not set"
 *          file   a path, made absolute relative to the cluster file's folder
 *          addr   HOST:PORT, [V6]:PORT, or "" for "off"
 *          list   a list of strings
 * min/max: for uint, usec and bytes in the stored unit; 0, 0 elsewhere.
 */
#ifndef WEIR_COMMON_OPTIONS_H
#define WEIR_COMMON_OPTIONS_H

#include "common/base.h"

/* clang-format off */
#define W_CLUSTER_OPTIONS(X)                                                                            \
	X(name,           text,  "weir",    0, 0, RESTART, "Name of the cluster; a label of every metric.")  \
	X(keys,           file,  "keys",    0, 0, RELOAD,  "Folder of the CURVE keys: NAME.pub of every node and subscriber, NAME.key of the node itself.") \
	X(log_format,     text,  "text",    0, 0, RESTART, "Log lines as text or json.")                     \
	X(log_level,      text,  "info",    0, 0, RESTART, "Least level that is logged: debug, info, warn, error.") \
	X(database,       text,  "weir",    0, 0, RESTART, "Name of the PostgreSQL database that the servers use.") \
	X(database_ca,    file,  "",        0, 0, RESTART, "CA certificate that signs the PostgreSQL servers' certificates; empty turns certificate checks off and is for sockets on one host only.") \
	X(rw_user,        text,  "weir_rw", 0, 0, RESTART, "PostgreSQL role of the write lanes.")            \
	X(ro_user,        text,  "weir_ro", 0, 0, RESTART, "PostgreSQL role of the read lanes.")             \
	X(agent_user,     text,  "weir_agent", 0, 0, RESTART, "PostgreSQL role of the database agents and of probing.") \
	X(rw_password,    file,  "",        0, 0, RESTART, "File holding the password of rw_user.")          \
	X(ro_password,    file,  "",        0, 0, RESTART, "File holding the password of ro_user.")          \
	X(agent_password, file,  "",        0, 0, RESTART, "File holding the password of agent_user.")       \
	X(scram_iterations, uint, "4096",   1, 1000000, RESTART, "Rounds of hashing that a client pays for at each connection, of the roles that a new cluster gets; fewer than 4096 are for random passwords of 32 characters or more.") \
	X(quorum,         uint,  "1",       0, 16, RELOAD, "Standbys that must acknowledge a commit (ANY k of all names); 0 is asynchronous.") \
	X(failover,       text,  "builtin", 0, 0, RESTART, "Who decides which database is primary: builtin (the database agents and the monitors) or external (Patroni, a managed PostgreSQL: Weir follows).") \
	X(probe_interval, usec,  "100ms",   10000, 60000000, RESTART, "Time between two probes of a database node.") \
	X(probe_timeout,  usec,  "1s",      10000, 60000000, RESTART, "Longest time a probe may take.")      \
	X(lag_limit,      bytes, "16MiB",   0, 1099511627776, RELOAD, "A replica further behind than this serves no reads.") \
	X(lag_limit_time, usec,  "5s",      0, 86400000000, RELOAD, "A replica that is behind by more time than this serves no reads; 0 is no limit.") \
	X(drain_timeout,  usec,  "10s",     0, 3600000000, RELOAD, "Longest time a node that stops waits for its requests.")

#define W_BALANCER_OPTIONS(X)                                                                           \
	X(https,          addr,  "",        0, 0, RESTART, "Address of the HTTPS listener.")                 \
	X(http,           addr,  "",        0, 0, RESTART, "Address of the clear-text HTTP listener.")       \
	X(link,           addr,  "",        0, 0, RESTART, "Address that servers dial; worker i binds port + i.") \
	X(certificate,    file,  "",        0, 0, RELOAD,  "Certificate chain of the HTTPS listener, PEM.")  \
	X(certificate_key, file, "",        0, 0, RELOAD,  "Private key of the HTTPS listener, PEM.")        \
	X(ticket_key,     file,  "",        0, 0, RELOAD,  "Key of the TLS session tickets (64 bytes), shared by balancers; empty: one made at start.") \
	X(tls_priorities, text,  "",        0, 0, RELOAD,  "GnuTLS priority string; empty: TLS 1.2 and 1.3 with AEAD ciphers and forward secrecy only.") \
	X(workers,        uint,  "0",       0, 256, RESTART, "Worker threads; 0 is one per core.")           \
	X(max_connections, uint, "10000",   1, 1000000, RESTART, "Client connections open at once, all workers together.") \
	X(header_timeout, usec,  "10s",     1000, 3600000000, RELOAD, "Absolute time from the first byte of a request, or the start of the TLS handshake, to the end of its header.") \
	X(body_timeout,   usec,  "10min",   1000, 86400000000, RELOAD, "Absolute time from the end of the header to the end of the request body.") \
	X(idle_timeout,   usec,  "60s",     1000, 3600000000, RELOAD, "Time that a connection may stay open between two requests.") \
	X(write_timeout,  usec,  "60s",     1000, 3600000000, RELOAD, "Time without progress after which a client that does not read is cut off.") \
	X(request_timeout, usec, "30s",     1000, 86400000000, RELOAD, "Deadline of a request: from the end of its header to the start of the response.") \
	X(max_header,     bytes, "16KiB",   1024, 1048576, RELOAD, "Request line and header fields together.") \
	X(max_fields,     uint,  "100",     1, 1000, RELOAD, "Header fields in a request.")                  \
	X(max_target,     bytes, "8KiB",    64, 1048576, RELOAD, "Length of the request target.")            \
	X(max_body,       bytes, "0",       0, 1152921504606846976, RELOAD, "Length of a request body; 0 is no limit.") \
	X(queue_max,      uint,  "1024",    0, 1000000, RELOAD, "Requests that wait for credit, per worker.") \
	X(queue_timeout,  usec,  "5s",      0, 3600000000, RELOAD, "Longest wait for credit; then 503 with Retry-After.") \
	X(retry_budget,   uint,  "20",      0, 100, RELOAD, "Requests sent again, in percent of those of the last ten seconds; at least 3.") \
	X(retry_buffer,   bytes, "64KiB",   0, 16777216, RELOAD, "Request body kept for sending again; a longer one is sent once.")

#define W_SERVER_OPTIONS(X)                                                                             \
	X(http,           addr,  "",        0, 0, RESTART, "Address of the direct HTTP listener.")           \
	X(modules,        list,  "",        0, 0, RESTART, "C modules to load: a path, or a name looked up in the module folder.") \
	X(workers,        uint,  "0",       0, 256, RESTART, "Worker threads; 0 is one per core.")           \
	X(capacity,       uint,  "2048",    1, 1000000, RESTART, "Requests at once, all workers and balancers together.") \
	X(max_connections, uint, "10000",   1, 1000000, RESTART, "Direct HTTP connections open at once, all workers together.") \
	X(request_timeout, usec, "30s",     1000, 86400000000, RELOAD, "Deadline of a request that came without one.") \
	X(stall_timeout,  usec,  "60s",     1000, 86400000000, RELOAD, "Longest wait for a client that neither sends nor takes bytes, once its answer has begun; the deadline no longer counts then.") \
	X(request_memory, bytes, "4MiB",    65536, 1073741824, RELOAD, "Memory of one request beyond its stack.") \
	X(max_json,       bytes, "1MiB",    1024, 1073741824, RELOAD, "Length of a JSON body that a handler parses whole.") \
	X(fiber_stack,    bytes, "256KiB",  65536, 16777216, RESTART, "Stack of a fiber; only touched pages take memory.") \
	X(read_lanes,     uint,  "2",       1, 64, RESTART, "Pipelined read connections per worker and database node.") \
	X(read_depth,     uint,  "128",     1, 10000, RELOAD, "Reads in flight on one lane.")                \
	X(write_lanes,    uint,  "16",      1, 1000, RESTART, "Write connections per worker to the primary; one waits at each replica.")               \
	X(write_groups,   uint,  "2",       0, 1000, RELOAD,  "Transactions per worker that grouped writes share, under way at once; those that come then form the next. 0: each has its own.") \
	X(group_writes,   uint,  "64",      1, 64, RELOAD,  "Grouped writes in one transaction; fewer while transactions of them fail.") \
	X(query_timeout,  usec,  "10s",     1000, 86400000000, RELOAD, "Longest time of one statement; the request's deadline may be earlier.") \
	X(max_rows_bytes, bytes, "16MiB",   65536, 1073741824, RELOAD, "Size of one result kept in memory.") \
	X(db_queue,       uint,  "4096",    1, 1000000, RELOAD, "Statements that wait for a lane, per worker.") \
	X(positions,      flag,  "true",    0, 0, RELOAD, "Give clients the position of their writes, so that they read them from any replica.") \
	X(position_ttl,   usec,  "10s",     1000000, 86400000000, RELOAD, "How long a client's cookie keeps its read position; not shorter than lag_limit_time.") \
	X(reply_ttl,      usec,  "24h",     1000000, 31536000000000, RELOAD, "How long exactly-once keys and their answers are kept.") \
	X(tx_idle_timeout, usec, "60s",     1000, 86400000000, RESTART, "Longest time that a transaction may wait between two statements.") \
	X(tx_retries,     uint,  "5",       0, 100, RELOAD, "How often a transaction function is run again after a conflict.")

#define W_DATABASE_OPTIONS(X)                                                                           \
	X(address,        addr,  "",        0, 0, RESTART, "Address where this PostgreSQL listens.")         \
	X(shard,          text,  "",        0, 0, RESTART, "Shard that this PostgreSQL holds; this version runs one, so it is the same for all.") \
	X(data,           file,  "",        0, 0, RESTART, "Data directory of this PostgreSQL; empty: the agent only observes.") \
	X(initial,        text,  "replica", 0, 0, RESTART, "What an empty data directory becomes: primary (initdb) or replica (base backup).") \
	X(bin,            file,  "/usr/lib/postgresql/15/bin", 0, 0, RESTART, "Folder of PostgreSQL's programs.") \
	X(user,           text,  "",        0, 0, RESTART, "System user that runs PostgreSQL when the agent runs as root; empty: postgres, else nobody.") \
	X(certificate,    file,  "",        0, 0, RELOAD,  "Certificate of this PostgreSQL, PEM.")           \
	X(certificate_key, file, "",        0, 0, RELOAD,  "Private key of this PostgreSQL, PEM.")           \
	X(admin_password, file,  "",        0, 0, RESTART, "File holding the password of the superuser postgres.") \
	X(settings,       list,  "",        0, 0, RESTART, "Further lines for postgresql.conf, name=value.")

#define W_MONITOR_OPTIONS(X)                                                                            \
	X(http,           addr,  "",        0, 0, RESTART, "Address of the page, /metrics and /api.")        \
	X(feed,           addr,  "",        0, 0, RESTART, "Address where people subscribe to the feed.")    \
	X(collect,        addr,  "",        0, 0, RESTART, "Address that all nodes publish to.")             \
	X(control,        addr,  "",        0, 0, RESTART, "Address that database agents and operators' commands dial; the promoter works behind it. Empty: no promoter here.") \
	X(webhooks,       list,  "",        0, 0, RELOAD,  "URLs that get every alert, firing and resolved.") \
	X(gone_after,     usec,  "2s",      100000, 3600000000, RELOAD, "A node that is silent for this long is gone.") \
	X(feed_queue,     uint,  "50",      1, 100000, RESTART, "Messages kept for a slow subscriber; then it misses some.")

/* Alert rules of the cluster file: alerts: [ {name, value, ...} ] */
#define W_ALERT_OPTIONS(X)                                                                              \
	X(value,          text,  "",        0, 0, RELOAD, "What is compared: see weir-monitor(8), alert values.") \
	X(compare,        text,  ">",       0, 0, RELOAD, "One of > >= < <= == !=.")                         \
	X(threshold,      text,  "0",       0, 0, RELOAD, "Decimal number that value is compared with.")     \
	X(hold,           usec,  "0s",      0, 86400000000, RELOAD, "Time that the comparison must hold before the alert fires (Prometheus' for).") \
	X(severity,       text,  "warning", 0, 0, RELOAD, "info, warning or critical.")
/* clang-format on */

/* YAML type name -> C type of the struct's member. */
#define W_OPT_C_uint uint64_t
#define W_OPT_C_usec w_usec
#define W_OPT_C_bytes uint64_t
#define W_OPT_C_flag bool
#define W_OPT_C_text const char *
#define W_OPT_C_file const char *
#define W_OPT_C_addr const char *
#define W_OPT_C_list struct w_strings

struct w_strings {
	const char **items;
	size_t count;
};

#define W_OPT_MEMBER(key, type, def, min, max, when, text) W_OPT_C_##type key;

struct w_cluster_options { W_CLUSTER_OPTIONS(W_OPT_MEMBER) };
struct w_balancer_options { W_BALANCER_OPTIONS(W_OPT_MEMBER) };
struct w_server_options { W_SERVER_OPTIONS(W_OPT_MEMBER) };
struct w_database_options { W_DATABASE_OPTIONS(W_OPT_MEMBER) };
struct w_monitor_options { W_MONITOR_OPTIONS(W_OPT_MEMBER) };
struct w_alert_options { W_ALERT_OPTIONS(W_OPT_MEMBER) };

#endif

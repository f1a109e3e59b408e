# shellcheck shell=bash
# Patroni and etcd decide which database is primary; Weir only looks, and follows at once.
# shellcheck source=tests/story/external.sh
. "$srcdir/tests/story/external.sh"
command -v patroni >/dev/null || skip_all "Patroni is not installed"
command -v etcd >/dev/null || skip_all "etcd is not installed"
external_begin
nodes=(db-1 db-2 db-3)
etcd_port=$((port_base + 320))

rest_port() {
	echo $((port_base + 310 + ${1#db-}))
}

start_etcd() {
	local client=http://127.0.0.1:$etcd_port peer=http://127.0.0.1:$((etcd_port + 1))

	# PostgreSQL's user may not get to where it was unpacked.
	cp "$(command -v etcd)" "$ext/etcd-program"
	start_external etcd "$ext/etcd-program" --name story --data-dir "$ext/etcd" --listen-client-urls "$client" \
	    --advertise-client-urls "$client" --listen-peer-urls "$peer" \
	    --initial-advertise-peer-urls "$peer" --initial-cluster "story=$peer"
}

# The shortest times that leave Patroni room for a turn of its loop and a retry.
member_file() {
	local node=$1

	cat <<EOF
scope: story
name: $node
restapi: {listen: "127.0.0.1:$(rest_port "$node")", connect_address: "127.0.0.1:$(rest_port "$node")"}
etcd3: {host: "127.0.0.1:$etcd_port"}
bootstrap:
  dcs:
    ttl: 5
    loop_wait: 1
    retry_timeout: 2
    primary_start_timeout: 0
    synchronous_mode: true
    postgresql:
      use_pg_rewind: true
      parameters: {max_connections: 200, wal_keep_size: 128MB, wal_log_hints: "on"}
  initdb: [{encoding: UTF8}, {locale: C.UTF-8}, data-checksums]
postgresql:
  listen: "127.0.0.1:$(node_port "$node")"
  connect_address: "127.0.0.1:$(node_port "$node")"
  data_dir: "$ext/$node"
  bin_dir: "$(dirname "$(command -v pg_controldata)")"
  pgpass: "$ext/$node.pgpass"
  basebackup: [{checkpoint: fast}]
  authentication:
    superuser: {username: postgres, password: "$(secret admin)"}
    replication: {username: replicator, password: "$(secret admin)"}
  pg_hba: ["host all all 127.0.0.1/32 scram-sha-256", "host replication all 127.0.0.1/32 scram-sha-256"]
  parameters:
    unix_socket_directories: "$ext/sockets"
    logging_collector: "on"
    log_directory: "$ext"
    log_filename: "$node.pglog"
    log_line_prefix: "%m [%p] "
    log_timezone: UTC
    wal_retrieve_retry_interval: 100ms
EOF
}

start_member() {
	start_external "$1" patroni "$ext/$1.yaml"
}

ask_member() {
	curl -sS --noproxy '*' --max-time 2 "http://127.0.0.1:$(rest_port "$1")$2"
}

leader_of() {
	ask_member "$1" /cluster | jq -r '.members[] | select(.role == "leader") | .name'
}

# NODE N: for NODE's Patroni N members run, one leads, one acknowledges, all on one timeline.
settled() {
	# jq is content with no input at all.
	ask_member "$1" /cluster | jq -es --argjson n "$2" '.[0].members
		| map(select(.state == "running" or .state == "streaming")) | length == $n
		and ([.[] | select(.role == "leader")] | length == 1)
		and ([.[] | select(.role == "sync_standby")] | length == 1)
		and ([.[].timeline] | unique | length == 1)' >/dev/null
}

start_etcd
for node in "${nodes[@]}"; do
	member_file "$node" >"$ext/$node.yaml"
	chmod 644 "$ext/$node.yaml"
done
start_member db-1
need "Patroni makes a primary" eventually 30 external_sql_is db-1 "select pg_is_in_recovery()" f
need "Weir's roles are there" external_roles db-1
need "and its database" external_sql db-1 <<<"create database weir"
start_member db-2
start_member db-3
need "Patroni has three members, one of them synchronous" eventually 30 settled db-1 3
external_weir "${nodes[@]}"
start_writers

# --- planned ---

switchover() {
	"${as_postgres[@]}" patronictl -c "$ext/db-1.yaml" switchover --force story
}

for i in 1 2; do
	check "patronictl switches over" switchover
	expect_promotion $i
	check "all are back" eventually 30 settled db-1 3
done

# --- not planned ---

leader=$(leader_of db-1)
need "somebody leads" [ -n "$leader" ]
note "killed: $leader with its Patroni"
kill_external "$leader"
expect_promotion 3
for node in "${nodes[@]}"; do
	[ "$node" = "$leader" ] || alive=$node
done
start_member "$leader"
check "the killed one is back as a standby" eventually 60 settled "$alive" 3

check "the writers come to their end" end_load
leader=$(leader_of "$alive")
judge_following 300 "$leader"
judge_writes "$leader"

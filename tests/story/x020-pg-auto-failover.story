# shellcheck shell=bash
# pg_auto_failover's monitor decides which of two databases is primary; Weir only looks, and follows.
# shellcheck source=tests/story/external.sh
. "$srcdir/tests/story/external.sh"
command -v pg_autoctl >/dev/null || skip_all "pg_auto_failover is not installed"
bin=$(dirname "$(command -v pg_controldata)")
[ -e "$bin/../lib/pgautofailover.so" ] || skip_all "pg_auto_failover's extension is not installed"
external_begin
monitor_port=$((port_base + 320))
pgctl=$bin/pg_ctl
# pg_autoctl reaches its own PostgreSQL by socket.
as_postgres+=("PGHOST=$ext/sockets")

# A data directory whose settings pg_autoctl keeps: it adds its own before them. It adds whom it wants to
# let in after what is there.
make_data() {
	"${as_postgres[@]}" initdb -D "$ext/$1" --username=postgres --auth=trust --encoding=UTF8 \
	    --locale=C.UTF-8 --data-checksums --no-sync >/dev/null
	cat >>"$ext/$1/postgresql.conf"
	cat >"$ext/$1/pg_hba.conf" <<-EOF
		local all all trust
		local replication all trust
		host all postgres,weir_rw,weir_ro,weir_agent 127.0.0.1/32 scram-sha-256
		host all,replication pgautofailover_replicator 127.0.0.1/32 trust
	EOF
}

# Noticing takes half a minute by default; here it is about two seconds.
make_monitor() {
	make_data monitor <<-EOF
		unix_socket_directories = '$ext/sockets'
		shared_buffers = 32MB
		pgautofailover.health_check_period = 500
		pgautofailover.health_check_timeout = 500
		pgautofailover.health_check_max_retries = 1
		pgautofailover.health_check_retry_delay = 200
		pgautofailover.node_considered_unhealthy_timeout = 2000
		pgautofailover.startup_grace_period = 1000
		pgautofailover.primary_demote_timeout = 2000
	EOF
	"${as_postgres[@]}" pg_autoctl create monitor --pgdata "$ext/monitor" --pgport "$monitor_port" \
	    --pgctl "$pgctl" --hostname 127.0.0.1 --auth trust --no-ssl &&
	    "${as_postgres[@]}" pg_autoctl config set --pgdata "$ext/monitor" \
	    postgresql.listen_addresses 127.0.0.1
}

# The second node copies it all; so both log to one file, and PostgreSQL's logs take turns in it.
make_first_node() {
	make_data db-1 <<-EOF
		unix_socket_directories = '$ext/sockets'
		shared_buffers = 32MB
		max_connections = 200
		wal_keep_size = 128MB
		wal_retrieve_retry_interval = 100ms
		checkpoint_completion_target = 0
		log_directory = '$ext'
		log_filename = 'nodes.pglog'
		log_line_prefix = '%m [%p] '
		log_timezone = UTC
	EOF
}

create_node() {
	"${as_postgres[@]}" timeout 60 pg_autoctl create postgres --name "$1" --pgdata "$ext/$1" \
	    --pgport "$(node_port "$1")" --pghost "$ext/sockets" --listen 127.0.0.1 --hostname 127.0.0.1 \
	    --pgctl "$pgctl" --username postgres --dbname weir --auth trust --no-ssl \
	    --monitor "postgres://autoctl_node@127.0.0.1:$monitor_port/pg_auto_failover"
}

run_keeper() {
	start_external "$1" pg_autoctl run --pgdata "$ext/$1"
}

node_sql() {
	"${as_postgres[@]}" psql -XAtq "host=$ext/sockets port=$1 user=postgres dbname=$2 connect_timeout=3" -c "$3"
}

node_answers() {
	node_sql "$(node_port "$1")" weir 'select' 2>/dev/null
}

# What the monitor has heard: NODE STATE, of those whose state is the one that it wants.
settled_nodes() {
	node_sql "$monitor_port" pg_auto_failover "select nodename || ' ' || reportedstate
		from pgautofailover.node where reportedstate = goalstate order by 1" 2>/dev/null
}

settled() {
	[ "$(settled_nodes | cut -d ' ' -f 2 | sort | xargs)" = "primary secondary" ]
}

primary_node() {
	settled_nodes | sed -n 's/ primary$//p'
}

need "pg_auto_failover's monitor is made" make_monitor
run_keeper monitor
make_first_node
need "the first node is made" create_node db-1
run_keeper db-1
need "it is a primary" eventually 20 node_answers db-1
set_passwords() {
	node_sql "$(node_port db-1)" weir "alter role postgres password '$(secret admin)'" && external_roles db-1
}
need "Weir's roles are there" set_passwords
need "the second node is made" create_node db-2
run_keeper db-2
need "the monitor has a primary and a synchronous standby" eventually 30 settled
external_weir db-1 db-2
start_writers

# --- planned ---

failover() {
	"${as_postgres[@]}" timeout 60 pg_autoctl perform failover --pgdata "$ext/monitor" --wait 30
}

check "pg_autoctl performs a failover" failover
expect_promotion 1
check "both are back" eventually 30 settled

# --- not planned ---

killed=$(primary_node)
need "somebody leads" [ -n "$killed" ]
note "killed: $killed with its keeper"
kill_external "$killed"
expect_promotion 2

check "the writers come to their end" end_load
[ "$killed" = db-1 ] && left=db-2 || left=db-1
judge_following 300 "$left"
judge_writes "$left"

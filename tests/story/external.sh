# shellcheck shell=bash
# tests/story/external.sh - words for stories where somebody else decides which database is primary.
#
#	external_begin                       ports, passwords, and $ext, a folder for PostgreSQL's user
#	"${as_postgres[@]}" COMMAND...       as an unprivileged user, whatever the story runs as
#	start_external NAME COMMAND...       the same in the background; its output goes to NAME.log
#	kill_external NAME                   it, what it started, and the PostgreSQL in $ext/NAME: at once
#	external_roles NODE                  what Weir logs in as, at that primary
#	external_weir NODE...                a Weir that follows the databases NODE...
#	need "sentence" COMMAND...           check, without which the story has no sense: it ends there
#	start_writers                        load; expect_promotion N: it goes on after the N-th promotion
#	judge_following MS NODE              was the first write done that soon after each promotion?
#
# A database node has its data in $ext/NODE and the port of node_port. The superuser is postgres, its
# password in the cluster's secrets/admin. PostgreSQL logs to $ext/*.pglog, with %m first.

external_begin() {
	local name

	command -v initdb >/dev/null || skip_all "PostgreSQL's programs are not installed"
	pick_ports
	until external_ports_free; do
		pick_ports
	done
	ext=$story_dir/ext
	mkdir -p "$ext/sockets" "$data/secrets"
	chmod 700 "$data/secrets" "$ext"
	for name in rw ro agent admin; do
		(umask 077 && openssl rand -hex 24 >"$data/secrets/$name")
	done
	# Folders and logs of the orchestrators' own land in $ext as well.
	as_postgres=(env -C "$ext" "HOME=$ext" "XDG_CONFIG_HOME=$ext/config" "XDG_DATA_HOME=$ext/share"
	    "XDG_RUNTIME_DIR=$ext" LC_ALL=C.UTF-8)
	if [ "$(id -u)" -eq 0 ]; then
		as_postgres=(setpriv --reuid=postgres --regid=postgres --clear-groups "${as_postgres[@]}")
		chown -R postgres: "$ext"
	fi
	declare -gA external_pids=()
	trap 'external_clean; story_clean' EXIT
}

# Those besides the cluster's own: a third database, members' own interfaces, and what they ask.
external_ports_free() {
	local port

	for port in 303 311 312 313 320 321; do
		port_free $((port_base + port)) || return 1
	done
}

need() {
	check "$@"
	[ "$tap_failed" -eq 0 ] && return
	tail -n 15 "$story_dir"/*.log | sed 's/^/# /'
	story_end
}

node_port() {
	echo $((port_base + 300 + ${1#db-}))
}

secret() {
	cat "$data/secrets/$1"
}

start_external() {
	local name=$1

	shift
	"${as_postgres[@]}" "$@" >>"$story_dir/$name.log" 2>&1 </dev/null &
	external_pids[$name]=$!
	disown
}

postmaster_of() {
	head -n 1 "$ext/$1/postmaster.pid" 2>/dev/null
}

tree_of() {
	local pid

	for pid; do
		echo "$pid"
		# shellcheck disable=SC2046  # pids are words
		tree_of $(pgrep -P "$pid")
	done
}

# As when a machine goes down: nobody gets to say goodbye.
kill_external() {
	local name=$1 pids

	# The orchestrator is stopped first, so that it starts nothing while its children are counted.
	[ -z "${external_pids[$name]-}" ] || kill -STOP "${external_pids[$name]}" 2>/dev/null
	# shellcheck disable=SC2046
	pids=$(tree_of ${external_pids[$name]-} $(postmaster_of "$name"))
	unset "external_pids[$name]"
	# shellcheck disable=SC2086
	[ -z "$pids" ] || kill -9 $pids 2>/dev/null
	for name in $pids; do
		eventually 5 gone "$name"
	done
}

external_clean() {
	local name

	for name in "${!external_pids[@]}"; do
		kill_external "$name"
	done
	# Some outlive the process that started them.
	for name in "$ext"/*/postmaster.pid; do
		name=${name%/postmaster.pid}
		kill_external "${name##*/}"
	done
}

# NODE [DATABASE]: SQL from standard input, as the superuser.
external_sql() {
	PGPASSWORD=$(secret admin) psql -XAtq -v ON_ERROR_STOP=1 \
	    "host=127.0.0.1 port=$(node_port "$1") user=postgres dbname=${2-postgres} connect_timeout=3"
}

external_sql_is() {
	[ "$(external_sql "$1" <<<"$2" 2>/dev/null)" = "$3" ]
}

external_roles() {
	local role

	for role in rw ro agent; do
		echo "create role weir_$role login password '$(secret $role)';"
	done | external_sql "$1"
}

external_databases() {
	local node

	for node; do
		echo "  - name: $node"
		echo "    address: \"127.0.0.1:$(node_port "$node")\""
	done
}

external_weir() {
	cat >"$data/cluster.yaml" <<EOF
cluster:
  name: external
  keys: keys
  database: weir
  rw_password: secrets/rw
  ro_password: secrets/ro
  agent_password: secrets/agent
  failover: external
balancers:
  - name: balancer-1
    https: "127.0.0.1:$((port_base + 443))"
    link: "127.0.0.1:$((port_base + 600))"
    workers: 1
    certificate: tls/balancer.pem
    certificate_key: tls/balancer.key
    request_timeout: 30s
servers:
  - name: server-1
    http: "127.0.0.1:$((port_base + 101))"
    workers: 1
    modules: [guestbook, probe]
databases:
$(external_databases "$@")
monitors:
  - name: monitor-1
    http: "127.0.0.1:$((port_base + 90))"
    feed: "127.0.0.1:$((port_base + 91))"
    collect: "127.0.0.1:$((port_base + 92))"
EOF
	weir up --dir "$data" >"$story_dir/up.log" 2>&1 &
	story_up=$!
	eventually 30 is_up
	need "Weir is up, and runs no PostgreSQL itself" grep -q '^weir is up: ' "$story_dir/up.log"
	https=$(endpoint .https)
}

# --- writes while they promote ---

start_writers() {
	history=$story_dir/history
	start_load writers writers --clients 4 --seconds 400 --keys mixed --deadline 30 --log "$history"
	check "the writers write" eventually 10 test -s "$history"
}

successes() {
	awk '$6 ~ /^2/ { n++ } END { print n + 0 }' "$history"
}

went_on() {
	[ "$(successes)" -ge "$1" ]
}

epoch_ms() {
	date -ud "$1" +%s%3N
}

# Of each promotion in the logs: LOG TIMELINE, and in ms since 1970 when it began and when writes were
# let in: PostgreSQL takes connections as primary, and transactions are not read-only by default.
promotions() {
	local log timeline began open

	awk 'FNR == 1 { timeline = closed = 0 }
		/"default_transaction_read_only" changed to/ { closed = $NF == "\"on\"" }
		/selected new timeline ID: / { timeline = $NF; began = $1 " " $2 " " $3; ready = 0 }
		/ready to accept connections$/ { ready = 1 }
		timeline && ready && !closed {
			print FILENAME "|" timeline "|" began "|" $1 " " $2 " " $3
			timeline = 0
		}' "$ext"/*.pglog |
	    while IFS='|' read -r log timeline began open; do
		log=${log##*/}
		echo "${log%.pglog} $timeline $(epoch_ms "$began") $(epoch_ms "$open")"
	done | sort -n -k 3
}

has_promoted() {
	[ "$(promotions | wc -l)" -ge "$1" ]
}

# The N-th promotion since the start is made, and writes go on.
expect_promotion() {
	check "promotion $1 is made" eventually 30 has_promoted "$1"
	check "writes go on" eventually 20 went_on $(($(successes) + 40))
}

# Of each acknowledged message that was written once: when it was answered, and when its transaction
# began; in ms since 1970. An answer alone tells little: the last ones of a primary that is gone may come
# later than the first of the next one.
written() {
	external_sql "$1" weir <<<"select 'row', id, (extract(epoch from created) * 1000)::bigint
		from guestbook.messages where author = 'load'" | tr '|' ' ' |
	    awk -v zero="$(load_value writers .began_ms)" '
		$1 == "row" { created[$2] = $3; next }
		$1 == "message" && $6 ~ /^2/ && $8 != "replayed" {
			printf "%.0f %s\n", zero + $9 + $10 / 1000, created[$7]
		}' - "$history" | sort -n
}

# BEGAN OPEN: of the first write that was begun after the promotion began and is answered, the ms from
# OPEN to its answer and to its begin; and ms without an answer.
first_after() {
	awk -v began="$1" -v open="$2" '
		$1 < began { last = $1 }
		$2 >= began { print $1 - open, $2 - open, $1 - last; exit }' "$story_dir/written"
}

# PostgreSQL logs what it has done, on a busy machine some time after.
not_before() {
	[ "$1" -ge -100 ]
}

# LIMIT NODE: by the rows of NODE. Other processes of a busy machine may delay one, not most.
judge_following() {
	local limit=$1 log timeline began open after begun gap

	written "$2" >"$story_dir/written"
	while read -r log timeline began open; do
		read -r after begun gap < <(first_after "$began" "$open")
		note "$log, timeline $timeline: open for writes $((open - began)) ms after its promotion began;" \
		    "first write done ${after:-none} ms after it was open, begun ${begun:-none} ms after;" \
		    "no answer for ${gap:-none} ms"
		echo "${after:-9999}" >>"$story_dir/afters"
		check "no write was begun before timeline $timeline was open for writes" not_before "${begun:--1000}"
	done < <(promotions)
	check "writes are done within $limit ms of a promotion, in the median" median_below "$limit"
	check "and always within a second" all_below 1000
}

# The lower one of two.
median_below() {
	sort -n "$story_dir/afters" | awk -v limit="$1" '{ all[NR] = $1 } END {
		median = all[int((NR + 1) / 2)]
		print median " ms of " NR
		exit !(NR > 0 && median < limit)
	}'
}

all_below() {
	! awk -v limit="$1" '$1 >= limit' "$story_dir/afters" | grep .
}

dump_rows() {
	external_sql "$1" weir >"$story_dir/rows" <<-EOF
		select 'message', id::text, body from guestbook.messages where author = 'load'
		union all select 'counter', name, value::text from guestbook.counters where name like 'load-%';
	EOF
}

# The primary, as they see it, has each write once.
judge_writes() {
	check "the rows can be read" dump_rows "$1"
	check "every acknowledged write is there once, and no other twice" \
	    "$srcdir/tests/load/judge" "$history" "$story_dir/rows"
	note "$(tail -n 1 "$story_dir/check.out")"
	note "$(cat "$story_dir/writers.json")"
}

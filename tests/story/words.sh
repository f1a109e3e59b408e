# shellcheck shell=bash
# tests/story/words.sh - the words that stories are told in; those for several hosts are in net.sh.
#
#	given cluster [balancers=N] [servers=N] [replicas=N] [alerts=YAML]   run one until it serves
#	given hosts ...                      the same on several hosts, and what befalls hosts: net.sh
#	when  kill NODE | stop NODE | start NODE | kill-postgres NODE | immediate-postgres NODE
#	when  delay NODE TIME                a replica replays so much later (500ms; 0 as it comes)
#	set_option NODE KEY VALUE            an option that can change while the node runs
#	run_load NAME MODE ...               weir-load; load_is NAME JQ asks what it found
#	start_load NAME MODE ... | end_load  the same beside what comes between
#	expect METHOD PATH [key=value ...]   one request; see expect_request
#	expect node NODE state=STATE [within=SECONDS]
#	check "sentence" COMMAND...          ok when the command succeeds
#	eventually SECONDS COMMAND...        succeeds as soon as the command does
#
# Nothing here sleeps for a result: eventually asks again every 50 ms, since another process'
# state has nothing to wait on.

story_begin() {
	local program

	tap_count=0
	tap_failed=0
	story_up=
	story_pids=()
	story_dir=${WEIR_STORY_INSIDE:-$(mktemp -d "${TMPDIR:-/tmp}/weir-story.XXXXXX")}
	[ -d "$story_dir" ] || exit 99
	# PostgreSQL's user must pass through.
	chmod 755 "$story_dir"
	data=$story_dir/cluster
	trap story_clean EXIT
	trap 'exit 130' INT TERM
	for program in curl jq openssl socat; do
		command -v "$program" >/dev/null || skip_all "$program is not installed"
	done
}

story_clean() {
	local pid

	for pid in "${story_pids[@]}"; do
		kill "$pid" 2>/dev/null
	done
	# A load would bring to an end what it began, in a cluster that may be none any more.
	[ -z "${load-}" ] || kill -9 "$load" 2>/dev/null
	if [ -n "$story_up" ] && kill -0 "$story_up" 2>/dev/null; then
		weir down --dir "$data" >/dev/null 2>&1
		eventually 30 gone "$story_up" || kill -9 "$story_up"
	fi
	wait 2>/dev/null
	hosts_clean
	if [ -n "${WEIR_STORY_KEEP-}" ]; then
		echo "# kept: $story_dir"
	else
		rm -rf "$story_dir"
	fi
}

story_end() {
	local pid status=0

	if [ -n "$story_up" ]; then
		check "the cluster stops in order" stop_cluster
		check "no node told of a mistake of our own" no_mistakes
	fi
	echo "1..$tap_count"
	if [ "$tap_failed" -gt 0 ] && [ -d "$data/logs" ]; then
		tail -n 25 "$data"/logs/*.log "$story_dir"/up.log | sed 's/^/# /'
	fi
	[ "$tap_failed" -eq 0 ] || status=1
	exit $status
}

# --- TAP ---

ok() {
	tap_count=$((tap_count + 1))
	echo "ok $tap_count - $*"
}

not_ok() {
	tap_count=$((tap_count + 1))
	tap_failed=$((tap_failed + 1))
	echo "not ok $tap_count - $*"
}

skip() { # "sentence" WHY
	tap_count=$((tap_count + 1))
	echo "ok $tap_count - $1 # SKIP $2"
}

note() {
	# shellcheck disable=SC2001
	echo "$*" | sed 's/^/# /'
}

check() {
	local sentence=$1

	shift
	if "$@" >"$story_dir/check.out" 2>&1; then
		ok "$sentence"
	else
		not_ok "$sentence"
		note "command: $*"
		head -c 2000 "$story_dir/check.out" | sed 's/^/# /'
	fi
}

skip_all() {
	echo "1..0 # SKIP $*"
	trap - EXIT
	rm -rf "$story_dir"
	exit 0
}

# --- time ---

now_ms() {
	echo $((${EPOCHREALTIME/[.,]/} / 1000))
}

eventually() {
	local until

	until=$(($(now_ms) + $1 * 1000))
	shift
	until "$@"; do
		[ "$(now_ms)" -lt "$until" ] || return 1
		read -rt 0.05 <> <(:) || :
	done
}

gone() {
	! kill -0 "$1" 2>/dev/null
}

# --- the cluster ---

# The value of key=... among the arguments, or a default.
value_of() {
	local key=$1 default=$2 word

	shift 2
	for word; do
		if [ "${word%%=*}" = "$key" ]; then
			echo "${word#*=}"
			return
		fi
	done
	echo "$default"
}

has_key() {
	local key=$1 word

	shift
	for word; do
		[ "${word%%=*}" = "$key" ] && return 0
	done
	return 1
}

port_free() {
	! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# A range of ports where nobody listens, below the ephemeral ones; drawn at random, so that two
# runs at once rarely meet, and checked, so that they never collide for long.
pick_ports() {
	local try port

	for try in $(seq 50); do
		port_base=$((10000 + (RANDOM % 44) * 500))
		for port in 443 80 90 91 92 93 101 102 301 302 303 600 601; do
			port_free $((port_base + port)) || continue 2
		done
		return 0
	done
	echo "Bail out! no free ports found in $try tries"
	exit 99
}

start_up() {
	weir up --dir "$data" --port-base "$port_base" "$@" >"$story_dir/up.log" 2>&1 &
	story_up=$!
}

is_up() {
	grep -q '^weir is up: ' "$story_dir/up.log" || gone "$story_up"
}

given() {
	case $1 in
	cluster) given_cluster "${@:2}" ;;
	hosts) given_hosts "${@:2}" ;;
	*) echo "Bail out! given what? $*"; exit 99 ;;
	esac
}

given_cluster() {
	command -v initdb >/dev/null || skip_all "PostgreSQL's programs are not installed"
	pick_ports
	start_up --balancers "$(value_of balancers 1 "$@")" --servers "$(value_of servers 2 "$@")" \
	    --replicas "$(value_of replicas 2 "$@")"
	eventually 120 is_up
	check "a cluster is up" grep -q '^weir is up: https://localhost:' "$story_dir/up.log"
	if ! grep -q '^weir is up: ' "$story_dir/up.log"; then
		story_end
	fi
	https=$(endpoint .https)
	http=$(endpoint .http)
	monitor=$(endpoint .monitor)
	promoters=("$monitor")
	databases=$((1 + $(value_of replicas 2 "$@")))
}

endpoint() {
	jq -r "$1" "$data/endpoints.json"
}

stop_cluster() {
	local up=$story_up

	weir down --dir "$data" && eventually 60 gone "$up" && story_up= && wait "$up"
}

# Sanitizers and our own assertions speak on standard error, which is in the logs.
no_mistakes() {
	! grep -hE 'AddressSanitizer|LeakSanitizer|ThreadSanitizer|runtime error:|assertion|worker-stuck' \
	    "$data"/logs/*.log "$story_dir"/up.log
}

status_json() {
	weir status --json --dir "$data"
}

node_field() {
	status_json | jq -r --arg node "$1" ".nodes[] | select(.name == \$node) | $2"
}

node_is() {
	[ "$(node_field "$1" "$2")" = "$3" ]
}

pid_is_another() {
	local pid

	pid=$(node_field "$1" .pid)
	[ "$pid" -gt 0 ] && [ "$pid" != "$2" ]
}

# PostgreSQL's process, as the agent's last report knows it.
postgres_is_another() {
	local pid

	pid=$(node_field "$1" .postgres_pid)
	[ "$pid" -gt 0 ] && [ "$pid" != "$2" ]
}

has_reloaded() {
	[ "$(grep -c reloaded "$data/logs/$1.log")" -gt "$2" ]
}

set_option() {
	local before

	before=$(grep -c reloaded "$data/logs/$1.log")
	sed -i "/^  - name: $1\$/a\\    $2: $3" "$data/cluster.yaml"
	kill -HUP "$(node_field "$1" .pid)"
	check "$1 has read its $2, $3" eventually 5 has_reloaded "$1" "$before"
}

when() {
	case $1 in
	kill) kill -9 "$(node_field "$2" .pid)" ;;
	stop) check "$2 is stopped" weir stop-node "$2" --dir "$data" ;;
	start) check "$2 is started" weir start-node "$2" --dir "$data" ;;
	kill-postgres) kill -9 "$(node_field "$2" .postgres_pid)" ;;
	immediate-postgres) kill -QUIT "$(node_field "$2" .postgres_pid)" ;;
	delay) check "$2 replays $3 later" delay_replay "$2" "$3" ;;
	*) when_on_host "$@" ;;
	esac
}

# --- SQL, as the administrator ---

sql() {
	local dsn

	dsn=$(jq -r --arg node "$1" '.databases[] | select(.name == $node) | .dsn' "$data/endpoints.json")
	timeout 20 psql -XAtq "$dsn" -c "$2"
}

sql_is() {
	[ "$(sql "$1" "$2")" = "$3" ]
}

delay_replay() {
	sql "$1" "alter system set recovery_min_apply_delay = '$2'" &&
	    sql "$1" 'select pg_reload_conf()' && eventually 5 sql_is "$1" 'show recovery_min_apply_delay' "$2"
}

# How many statements a database has answered, says the last report of each server.
queries_of() {
	fetch "$monitor/metrics" | awk -v label="database=\"$1\"" \
	    '/^weir_db_node_queries_total/ && index($0, label) { sum += $NF } END { print sum + 0 }'
}

# --- who leads ---

# A member of /api/failover, of the first monitor that answers.
failover() {
	local url

	for url in "${promoters[@]}"; do
		curl -sS --noproxy '*' --max-time 1 "$url/api/failover" 2>/dev/null |
		    jq -r "(.failover // .) | $1 // \"\"" && return
	done
}

# Empty when nobody does, or nobody knows.
leader() {
	failover .leader
}

term() {
	local number

	number=$(failover .term)
	echo "${number:-0}"
}

leads_another() { # OLD TERM
	local now

	now=$(failover .leader)
	[ -n "$now" ] && [ "$now" != "$1" ] && [ "$(term)" -gt "$2" ]
}

somebody_leads() {
	old=$(leader)
	[ -n "$old" ]
}

remember_leader() {
	eventually 20 somebody_leads
	old_term=$(term)
}

# Someone else than the one remembered.
new_leader() { # [SECONDS]
	check "another database leads than $old" eventually "${1:-20}" leads_another "$old" "$old_term"
	note "term $old_term to $(term), $old to $(leader)"
}

same_leader() {
	[ "$(leader)" = "$old" ] && [ "$(term)" = "$old_term" ]
}

# Nobody else, in no other term, for so many seconds.
nothing_moves() { # [SECONDS]
	let_pass "${1:-4}"
	check "$old leads as before, in term $old_term" same_leader
}

# It follows the leader, and has all of its WAL that there was when it was asked.
follows() {
	local now end

	now=$(leader)
	[ -n "$now" ] && [ "$now" != "$1" ] && [ "$(sql "$1" 'select pg_is_in_recovery()')" = t ] &&
	    end=$(sql "$now" 'select pg_current_wal_flush_lsn()') &&
	    sql_is "$now" "select count(*) from pg_stat_replication where application_name = '$1' and state = 'streaming'" 1 &&
	    eventually 2 sql_is "$1" "select pg_last_wal_replay_lsn() >= '$end'" t
}

rejoins() { # NODE [SECONDS]
	check "$1 follows the leader" eventually "${2:-30}" follows "$1"
}

leads_or_follows() {
	[ "$(leader)" = "$1" ] || follows "$1"
}

# One database leads, the others follow, so the next fault meets a whole cluster.
whole() { # [SECONDS]
	local name

	for name in $(list_names db "$databases"); do
		check "$name leads or follows" eventually "${1:-30}" leads_or_follows "$name"
	done
}

# --- load ---

# NAME MODE OPTION...: through every balancer, unless --urls says otherwise.
start_load() {
	local name=$1 mode=$2 urls

	shift 2
	urls=$(endpoint '[.balancers[].https] | join(",")')
	"$builddir/tests/load/weir-load" "$mode" --urls "$urls" --ca "$data/ca.pem" "$@" \
	    >"$story_dir/$name.json" 2>"$story_dir/$name.err" &
	load=$!
	story_pids+=("$load")
}

run_load() {
	start_load "$@"
	wait "$load"
}

load_runs() {
	kill -0 "$load" 2>/dev/null
}

# Before its time, but in order: what is under way comes to its end.
end_load() {
	kill -TERM "$load" && wait "$load"
}

# What a load found, by jq; and whether it is so.
load_value() {
	jq -r "$2" "$story_dir/$1.json"
}

load_is() {
	local status=0

	# jq is content with no input at all.
	[ -s "$story_dir/$1.json" ] && jq -e "$2" "$story_dir/$1.json" >/dev/null || status=1
	cat "$story_dir/$1.json"
	[ $status -eq 0 ] || tail -n 20 "$story_dir/$1.err"
	return $status
}

# What the loads have written, for the judge.
dump_rows() {
	sql "$(leader)" "select 'message', id::text, body from guestbook.messages where author = 'load'
		union all select 'register', id::text, body from guestbook.messages where author = 'load-register'
		union all select 'counter', name, value::text from guestbook.counters where name like 'load-%'" >"$story_dir/rows"
}

# --- requests ---

# The base URL of via=...: https (default), http, a balancer or a server by name.
base_of() {
	case $1 in
	https) echo "$https" ;;
	http) echo "$http" ;;
	balancer-*) jq -r --arg n "$1" '.balancers[] | select(.name == $n) | .https' "$data/endpoints.json" ;;
	server-*) jq -r --arg n "$1" '.servers[] | select(.name == $n) | .http' "$data/endpoints.json" ;;
	*) echo "$1" ;;
	esac
}

fetch() {
	curl -sS --noproxy '*' --max-time 30 --cacert "$data/ca.pem" "$@"
}

# One request by the words of expect; leaves $got_status, $got_body, $got_head.
request() {
	local method=$1 path=$2 base args=()

	shift 2
	base=$(base_of "$(value_of via https "$@")")
	args=(-X "$method" -D "$story_dir/head" -o "$story_dir/body" -w '%{http_code}')
	[ "$method" = HEAD ] && args=(-I -D "$story_dir/head" -o "$story_dir/body" -w '%{http_code}')
	if has_key body "$@"; then
		args+=(-H "Content-Type: $(value_of type application/json "$@")" --data-binary "$(value_of body '' "$@")")
	fi
	has_key header "$@" && args+=(-H "$(value_of header '' "$@")")
	: >"$story_dir/body"
	got_status=$(fetch "${args[@]}" "$base$path" 2>"$story_dir/curl.err") || got_status="curl: $(cat "$story_dir/curl.err")"
	got_body=$(tr -d '\0' <"$story_dir/body")
	got_head=$(tr -d '\r\0' <"$story_dir/head" 2>/dev/null)
}

# Whether what came back is what the words want; says what is not.
as_wanted() {
	local word want

	for word; do
		want=${word#*=}
		case ${word%%=*} in
		status) [ "$got_status" = "$want" ] || { echo "status $got_status"; return 1; } ;;
		contains) [[ $got_body == *"$want"* ]] || { echo "body $got_body"; return 1; } ;;
		json) jq -e "$want" >/dev/null <<<"$got_body" || { echo "body $got_body"; return 1; } ;;
		head) grep -qi "^$want" <<<"$got_head" || { echo "head $got_head"; return 1; } ;;
		esac
	done
}

try_request() {
	request "$@" && as_wanted "${@:3}" >"$story_dir/why"
}

# expect METHOD PATH [status=N] [json=JQ] [contains=TEXT] [head=REGEX] [via=WHERE] [body=TEXT]
#        [type=MEDIA] [header=NAME: VALUE] [within=SECONDS]
expect_request() {
	local words=() word

	for word; do
		[ "${word%%=*}" = body ] || words+=("$word")
	done
	if eventually "$(value_of within 0 "$@")" try_request "$@"; then
		ok "${words[*]}"
	else
		not_ok "${words[*]}"
		note "got $(cat "$story_dir/why") $got_status"
		note "$got_body"
	fi
}

expect() {
	case $1 in
	GET | HEAD | POST | PUT | DELETE | PATCH | OPTIONS | TRACE) expect_request "$@" ;;
	node)
		check "$2 is $(value_of state up "${@:3}")" eventually "$(value_of within 10 "${@:3}")" \
		    node_is "$2" .state "$(value_of state up "${@:3}")"
		;;
	*) echo "Bail out! expect what? $*"; exit 99 ;;
	esac
}

# Bytes on a plain connection to HOST:PORT, and what comes back until the other end closes.
raw() {
	local where=$1

	shift
	printf '%b' "$*" | timeout 10 socat -t 5 - "TCP:$where"
}

raw_status() {
	local got

	got=$(raw "$1" "$3" | head -n 1 | tr -d '\r\0')
	echo "$got"
	[[ $got == "HTTP/1.1 $2 "* ]]
}

rss_kib() {
	awk '/^VmHWM/ { print $2 }' "/proc/$1/status"
}

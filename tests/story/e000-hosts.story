# shellcheck shell=bash
# The words of net.sh do what they say; and nothing that they do leaves an acknowledged write lost, or a
# session with a stale read. Nobody is promoted here.
given hosts disk=400

# Whether one host's packets reach another: a name, not a connection, so each way is seen alone.
reaches() { # FROM TO
	local port=$((20000 + RANDOM % 10000)) got=$story_dir/got listener

	: >"$got"
	host_run "$(host_of "$2")" timeout 1 socat -u "UDP-RECV:$port" "OPEN:$got,append" &
	listener=$!
	for _ in 1 2 3 4 5 6 7 8; do
		echo x | host_run "$(host_of "$1")" socat -u - "UDP-SENDTO:$(address_of "$2"):$port" 2>/dev/null
		[ -s "$got" ] && break
		let_pass 0.1
	done
	kill $listener 2>/dev/null
	wait $listener 2>/dev/null
	[ -s "$got" ]
}

reaches_not() {
	! reaches "$@"
}

expect POST /counters/a status=200 json='.value == 1'
start_history
check "db-1 reaches db-2" reaches db-1 db-2
when cut-one-way db-1 to db-2
check "db-1 does not reach db-2" reaches_not db-1 db-2
check "db-2 reaches db-1" reaches db-2 db-1
when heal
when cut db-2 from monitor-1 db-3
check "db-2 does not reach monitor-1" reaches_not db-2 monitor-1
check "db-3 does not reach db-2" reaches_not db-3 db-2
check "db-2 reaches server-1" reaches db-2 server-1
when heal
check "db-2 reaches monitor-1" reaches db-2 monitor-1
when loss db-3 100
check "db-3 reaches nobody" reaches_not db-3 db-1
when loss db-3 0
check "db-3 reaches db-1 again" reaches db-3 db-1

# The least of several round trips by TCP, in microseconds.
round_trip() { # FROM TO
	local port=$((20000 + RANDOM % 10000)) echo_server

	nsenter --net="/proc/${holder[$2]}/ns/net" -- socat "TCP-LISTEN:$port,reuseaddr,fork" EXEC:cat >/dev/null 2>&1 &
	echo_server=$!
	# shellcheck disable=SC2016 # for the inner shell
	host_run "$1" timeout 20 bash -c '
		until exec 3<>"/dev/tcp/$0/$1" && echo >&3 && read -rt 1 -u 3; do
			[ $((tries++)) -lt 50 ] || exit 1
			read -rt 0.1 <> <(:)
		done
		for _ in 1 2 3 4 5 6 7 8; do
			began=${EPOCHREALTIME/[.,]/}
			echo x >&3 && read -rt 5 -u 3 || exit 1
			echo $((${EPOCHREALTIME/[.,]/} - began))
		done' "$(address_of "$2")" "$port" 2>/dev/null | sort -n | head -n 1
	kill $echo_server
	wait $echo_server 2>/dev/null
}

takes_less() { # MS FROM TO
	local took

	took=$(round_trip "$2" "$3")
	echo "$took us"
	[ -n "$took" ] && [ "$took" -lt $(($1 * 1000)) ]
}

takes_as_long() { # MS FROM TO
	local took

	took=$(round_trip "$2" "$3")
	echo "$took us"
	[ -n "$took" ] && [ "$took" -ge $(($1 * 1000)) ]
}

check "from db-3 to db-1 and back it takes less than 20 ms" takes_less 20 db-3 db-1
if can_slow_links; then
	when slow-link db-3 20ms
	check "now it takes 40 ms" takes_as_long 40 db-3 db-1
	check "but less than 80 ms" takes_less 80 db-3 db-1
	check "and as long from db-1 to db-3" takes_as_long 40 db-1 db-3
	check "between others less than 20 ms" takes_less 20 db-1 db-2
	check "db-3 follows, later" eventually 20 follows db-3
	when slow-link db-3 0
	check "from db-3 to db-1 it takes less than 20 ms again" takes_less 20 db-3 db-1
else
	skip "slow links" "this kernel cannot delay packets (netem), nor redirect connections to a relay"
fi
goes_on "cuts"

state_of() {
	awk '/^State/ { print $2 }' "/proc/$1/status"
}

all_states() { # STATE PID...
	local pid

	for pid in "${@:2}"; do
		[ "$(state_of "$pid")" = "$1" ] || { echo "$pid is $(state_of "$pid")"; return 1; }
	done
}

postgres_pids() {
	local pid

	pid=$(postmaster_of "$1")
	echo "$pid"
	pgrep --parent "$pid"
}

no_states() { # STATE PID...
	local pid

	for pid in "${@:2}"; do
		[ "$(state_of "$pid")" != "$1" ] || return 1
	done
}

when freeze-postgres db-2
# shellcheck disable=SC2046
check "all of PostgreSQL is stopped" all_states T $(postgres_pids db-2)
when thaw-postgres db-2
# shellcheck disable=SC2046
check "and goes on" no_states T $(postgres_pids db-2)
when freeze db-3
# shellcheck disable=SC2046
check "all of a host is stopped" all_states T $(host_pids db-3)
when thaw db-3
# shellcheck disable=SC2046
check "and goes on" no_states T $(host_pids db-3)
goes_on "frosts"

nobody_at() {
	[ -z "$(host_pids "$1")" ]
}

when power-cut db-3
check "no process is left at db-3" eventually 5 nobody_at db-3
goes_on "the loss of a replica"
check "and none comes back" nobody_at db-3
when power-on db-3
check "PostgreSQL of db-3 runs again" eventually 20 postgres_runs db-3
pid=$(node_field db-2 .postgres_pid)
when stop-postgres db-2 fast
check "PostgreSQL of db-2 is another process" eventually 20 postgres_is_another db-2 "$pid"
when fill-disk db-3
when free-disk db-3
whole
end_history

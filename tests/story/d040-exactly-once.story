# shellcheck shell=bash
# Writers write while the primary's PostgreSQL and the servers die under them: every write that was
# acknowledged is there once, no other one twice, and nobody saw a failure. The primary comes back in its
# place while failover is paused, and loses it else.
given cluster balancers=2 servers=2 replicas=2
clients=8 seconds=8 crashes=2 kills=2
[ -n "${WEIR_STORY_LONG-}" ] && clients=16 seconds=60 crashes=5 kills=10
deadline=10
history=$story_dir/history
set_option balancer-1 request_timeout ${deadline}s
set_option balancer-2 request_timeout ${deadline}s

acknowledged() {
	awk '$6 ~ /^2/ { n++ } END { print n + 0 }' "$history"
}

# So many more since $seen, in the middle of which the next thing breaks.
went_on() {
	[ "$(acknowledged)" -ge $((seen + 4 * clients)) ]
}

writes_go_on() {
	seen=$(acknowledged)
	check "writes go on after $1" eventually 20 went_on
}

crash_primary() {
	local pid

	pid=$(node_field "$old" .postgres_pid)
	when immediate-postgres "$old"
	check "PostgreSQL of $old is another process" eventually 20 postgres_is_another "$old" "$pid"
	writes_go_on "a crash of the primary"
}

crash_in_place() {
	check "failover is paused" weir pause --dir "$data"
	remember_leader
	crash_primary
	check "$old leads as before, in term $old_term" same_leader
	check "failover goes on" weir resume --dir "$data"
}

crash_with_failover() {
	remember_leader
	crash_primary
	new_leader
	rejoins "$old"
}

kill_server() {
	local pid

	pid=$(node_field "$1" .pid)
	when kill "$1"
	check "$1 is another process" eventually 20 pid_is_another "$1" "$pid"
	check "and serves" eventually 20 node_is "$1" .state up
	writes_go_on "a kill of $1"
}

ways=(crash_in_place crash_with_failover)
began=$(now_ms)
# It is ended below; its own time only bounds it.
start_load writers writers --clients $clients --seconds 400 --keys mixed --deadline $deadline --log "$history"
check "the writers write" eventually 10 test -s "$history"
writes_go_on "their start"
for ((i = 0; i < kills; i++)); do
	[ $((i % (kills / crashes))) -ne 0 ] || "${ways[$((i / (kills / crashes) % 2))]}"
	kill_server server-$((1 + i % 2))
done
time_is_over() {
	[ $(($(now_ms) - began)) -ge $((seconds * 1000)) ]
}
eventually $((seconds + 1)) time_is_over
check "they were writing all the time, and come to their end" end_load
note "$(cat "$story_dir/writers.json")"
note "answers other than 2xx: $(load_value writers .failed), longest gap between two successes: $(load_value writers .gap_ms) ms"

check "the rows can be read" dump_rows
check "every acknowledged write is there once, and no other twice" "$srcdir/tests/load/judge" "$history" "$story_dir/rows"
note "$(tail -n 1 "$story_dir/check.out")"
check "no write failed" load_is writers '.failed == 0'
check "a write that was sent again with its key was told so" load_is writers '.replayed > 0'

# shellcheck shell=bash
# A statement of five seconds does not hold up the fast ones on the same replica.
given cluster balancers=1 servers=1 replicas=1
rate=300 seconds=4
[ -n "${WEIR_STORY_LONG-}" ] && rate=1000 seconds=10

slow_is_running() {
	sql_is db-2 "select count(*) > 0 from pg_stat_activity where query like 'select pg_sleep(%' and state = 'active'" t
}

slow_has_ended() {
	! slow_is_running
}

# One after the other, until the file is gone; every status that is not 200 is kept.
slow_reads() {
	while [ -e "$story_dir/slow" ]; do
		fetch -o /dev/null -w '%{http_code}\n' "$http/slow/5000" || echo failed
	done >>"$story_dir/slow_reads" 2>&1
}

start_slow() {
	touch "$story_dir/slow"
	slow_reads &
	slow=$!
	story_pids+=("$slow")
	check "a slow statement runs on the replica" eventually 5 slow_is_running
}

end_slow() {
	rm -f "$story_dir/slow"
	wait "$slow"
	check "the last slow statement has ended" eventually 10 slow_has_ended
}

fast_reads() {
	run_load "$1" fast --urls "$http" --path /whoami --rate $rate --seconds $seconds
}

# The first one ever comes into the midst of fast ones, when nobody can know that it will be slow.
start_load first fast --urls "$http" --path /whoami --rate $rate --seconds $seconds
start_slow
check "while fast reads run" load_runs
wait "$load"
check "no fast read waited for a slow one that nobody knew" load_is first ".errors == 0 and .max_us < 1000000 and .requests == $rate * $seconds"
note "$(cat "$story_dir/first.json")"
check "fast reads beside slow ones come to their end" fast_reads beside
end_slow
check "no fast read waited for a slow one that is known" load_is beside ".errors == 0 and .max_us < 1000000 and .requests == $rate * $seconds"
note "$(cat "$story_dir/beside.json")"

# Timing proper, with time for it: at a rate that leaves half of the machine, whoever else uses it.
own_ticks() { # of this shell, what it waited for, and all that descends from it
	cat /proc/[0-9]*/stat 2>/dev/null | awk -v root=$$ '
		{ pid = $1; sub(/^.*\) /, ""); parent[pid] = $2; used[pid] = $12 + $13 + $14 + $15 }
		END {
			for (pid in parent) {
				up = pid
				for (depth = 0; depth < 20 && up > 1 && up != root; depth++)
					up = parent[up]
				sum += up == root ? used[pid] : 0
			}
			print sum
		}'
}

# Fast reads at the rate; leaves $busy, the percentage of all cores that they took.
try_rate() {
	local before

	before=$(own_ticks)
	fast_reads rate
	busy=$((100 * ($(own_ticks) - before) / ($(getconf CLK_TCK) * $(nproc) * seconds)))
}

choose_rate() {
	while try_rate; [ $busy -gt 50 ] && [ $rate -gt 100 ]; do
		note "$rate reads/s take $busy % of the machine"
		rate=$((rate / 2))
	done
	note "measured at $rate reads/s, which take $busy % of the machine"
}

median() {
	printf '%s\n' "$@" | sort -n | sed -n "$((($# + 1) / 2))p"
}

at_most_twice() {
	[ "$1" -le $((2 * $2)) ]
}

if [ -n "${WEIR_STORY_LONG-}" ]; then
	choose_rate
	alone=() beside=()
	for round in 1 2 3; do
		check "round $round: fast reads alone" fast_reads alone
		alone+=("$(load_value alone .p99_us)")
		note "$(cat "$story_dir/alone.json")"
		start_slow
		check "round $round: fast reads beside slow ones" fast_reads beside
		end_slow
		beside+=("$(load_value beside .p99_us)")
		note "$(cat "$story_dir/beside.json")"
	done
	note "p99 alone: $(median "${alone[@]}") us of ${alone[*]}; beside a slow one: $(median "${beside[@]}") us of ${beside[*]}"
	check "p99 beside a slow statement is at most twice that without" at_most_twice "$(median "${beside[@]}")" "$(median "${alone[@]}")"
fi
slow_ones_were_answered() {
	[ -s "$story_dir/slow_reads" ] && ! grep -vx 200 "$story_dir/slow_reads"
}
check "every slow statement was answered" slow_ones_were_answered

# shellcheck shell=bash
# The promoter dies in the middle, at each of its moves, while the primary is dead, too: it comes back
# knowing nothing, and ends what was begun.
given hosts
moves="suspect prepare elect established"
[ -n "${WEIR_STORY_LONG-}" ] && moves="$moves $moves $moves"

# As soon as its log, from this line on, tells of the move.
kill_monitor_at() { # MOVE PID LINE
	# Not a pipeline, which would wait for tail, and tail for another line: it ends with the monitor.
	grep -qm 1 "failover-$1 " < <(tail -n "+$3" --pid="$2" -F "$data/logs/monitor-1.log" 2>/dev/null) && kill -9 "$2"
	touch "$story_dir/killed-$1"
}

start_history
for move in $moves; do
	rm -f "$story_dir/killed-$move"
	fault "promoter-$move"
	pid=$(pid_of monitor-1)
	line=$(($(wc -l <"$data/logs/monitor-1.log") + 1))
	kill_monitor_at "$move" "$pid" $line &
	story_pids+=($!)
	when kill-postmaster "$old"
	check "the promoter is killed when it says $move" eventually 20 test -e "$story_dir/killed-$move"
	note "$(grep -h "failover-" "$data/logs/monitor-1.log" | tail -n 6 | sed 's/^[^ ]* //' | head -c 1500)"
	goes_on "both are back" 40
	mark calm
	whole
done
end_history

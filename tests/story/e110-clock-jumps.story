# shellcheck shell=bash
# The wall clock of one host jumps an hour ahead, an hour back: nothing moves, and nobody sees a failure. A
# primary that dies at such an hour is followed by another one as ever, also when the agents that are needed
# for it were born at another time than they seem to.
given hosts clocks=own
start_history

nobody_is_gone() {
	fetch --max-time 2 "http://$(address_of monitor-1):90/api/alerts" >"$story_dir/alerts" &&
	    jq -e '[.. | objects | select(.name? == "node-gone" and .state? == "firing")] == []' "$story_dir/alerts" || {
		cat "$story_dir/alerts"
		return 1
	}
}

postgres_clock_is() { # NODE SECONDS
	sql_is "$1" "select abs(extract(epoch from clock_timestamp()) - $((EPOCHSECONDS + $2))) < 5" t
}

jump() { # NODE SECONDS
	remember_leader
	mark clock
	when clock-jump "$1" "$2"
	goes_on "a jump of the clock of $1"
	[ "$1" = monitor-1 ] || check "it is so for its PostgreSQL" postgres_clock_is "$1" "$2"
	nothing_moves 3
	check "nobody is taken for gone" nobody_is_gone
	mark calm
}

# Of those that follow.
pick_follower() {
	local name

	for name in $(list_names db "$databases"); do
		[ "$name" = "$(leader)" ] || follower=$name
	done
}

remember_leader
pick_follower
for node in "$old" "$follower" monitor-1; do
	for seconds in 3600 0 -3600 0; do
		jump "$node" $seconds
	done
	whole
done

for seconds in 3600 -3600; do
	remember_leader
	when clock-jump "$old" $seconds
	fault kill
	when kill-postmaster "$old"
	moved "a kill of PostgreSQL with another clock" "$old"
	when clock-jump "$old" 0
	whole
done

# What an agent says that was born before the one before it is believed after 10 s of silence.
is_born_again() {
	local pid

	pid=$(pid_of "$1") && [ "$pid" != "$2" ]
}

remember_leader
pick_follower
when clock-jump "$follower" -3600
pid=$(pid_of "$follower")
kill -9 "$pid"
check "the agent of $follower runs again" eventually 10 is_born_again "$follower" "$pid"
nothing_moves 12
whole
# Its promise is needed now.
fault power-cut
when power-cut "$old"
moved "a power cut, with an agent born later"
when power-on "$old"
rejoins "$old"
whole
good_end

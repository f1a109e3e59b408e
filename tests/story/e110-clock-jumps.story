# shellcheck shell=bash
# The wall clock of one host jumps an hour ahead, an hour back: nothing moves, and nobody sees a failure. A
# primary that dies at such an hour is followed by another one as ever, also when the agents that are needed
# for it were born at another time than they seem to.
needs_failover
given hosts clocks=own
start_history

firing() { # RULE
	fetch --max-time 2 "http://$(address_of monitor-1):90/api/alerts" |
	    jq -r --arg rule "$1" '.. | objects | select(.name? == $rule and .state? == "firing") | .summary'
}

nobody_is_gone() {
	local gone

	gone=$(firing node-gone) && echo "$gone" && [ -z "$gone" ]
}

jump() { # NODE SECONDS
	remember_leader
	mark clock
	when clock-jump "$1" "$2"
	goes_on "a jump of the clock of $1"
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
for name in $(list_names db "$databases"); do
	[ "$name" = "$old" ] || [ "$name" = "$follower" ] || other=$name
done
when cut "$other" from all
nothing_moves 12
when heal
whole
# Its promise is needed now.
when power-cut "$other"
fault kill
when kill-postmaster "$old"
goes_on "a kill of PostgreSQL, with an agent born later"
when power-on "$other"
mark calm
whole 60
good_end

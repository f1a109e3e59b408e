# shellcheck shell=bash
# PostgreSQL is stopped by hand, a replica is far behind, two databases of three are lost, and the old
# primary is back before the new one. Nothing acknowledged is lost; with too few databases writes wait.
given hosts

others() {
	list_names db 3 | grep -vx "$old"
}

# Somebody leads, whoever: writes tell.
stops() {
	fault "stop-$1"
	when stop-postgres "$old" "$1"
	goes_on "a stop, $1"
	mark calm
	whole
}

waits() {
	local before

	before=$(history_size)
	let_pass 3
	before=$(acknowledged "$before")
	[ $before -le 16 ] || { echo "$before writes were acknowledged"; return 1; }
}

start_history
stops immediate
stops smart

fault far-behind
mapfile -t rest < <(others)
when freeze "${rest[0]}"
goes_on "a replica froze"
when thaw "${rest[0]}"
when kill-postmaster "$old"
# Another one leads, or, when the one that thawed is not there yet, the same again.
goes_on "a kill while a replica is behind"
mark calm
whole

# From here on writes wait for longer than their deadline: requests may fail.
fault two-of-three
mapfile -t rest < <(others)
when power-cut "${rest[0]}"
when power-cut "$old"
let_pass 1
check "writes wait while one of three is left" waits
when power-on "${rest[0]}"
goes_on "one is back" 40
when power-on "$old"
mark calm
whole

fault old-one-first
when power-cut "$old"
new_leader
goes_on "a power cut"
mapfile -t rest < <(others)
when power-cut "${rest[0]}"
when power-cut "${rest[1]}"
when power-on "$old"
let_pass 1
check "the old primary alone takes no writes" waits
when power-on "${rest[0]}"
when power-on "${rest[1]}"
goes_on "the others are back" 40
mark calm
whole
end_history

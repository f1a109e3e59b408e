# shellcheck shell=bash
# Cuts between some: what hinders nobody's writes moves nothing, what stops them moves the leader.
given hosts
rounds=1
[ -n "${WEIR_STORY_LONG-}" ] && rounds=5

# The databases that do not lead.
others() {
	list_names db 3 | grep -vx "$old"
}

heals() {
	when heal
	rejoins "$old"
	whole
}

nobody_moves() {
	fault "$1"
	when "${@:3}"
	let_pass 4
	goes_on "$2"
	mark calm
	# A monitor that is cut off from all does not know; one that has moved something would.
	when heal
	check "$old leads as before, in term $old_term" eventually 10 same_leader
}

start_history
for ((i = 0; i < rounds; i++)); do
	remember_leader
	nobody_moves monitor-cut "a cut of primary and monitor" cut "$old" from monitor-1
	nobody_moves monitor-alone "a cut of the monitor from all" cut monitor-1 from all
	nobody_moves monitor-deaf "what the primary sends to the monitor is lost" cut-one-way "$old" to monitor-1

	fault servers-cut
	when cut "$old" from app-1 app-2
	moved "a cut of primary and servers"
	heals

	fault replicas-cut
	# shellcheck disable=SC2046
	when cut "$old" from $(others)
	moved "a cut of primary and replicas"
	heals

	fault one-way
	when cut-one-way "$old" to all
	moved "what the primary sends is lost"
	heals
done
good_end 12000 6000

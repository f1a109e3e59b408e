# shellcheck shell=bash
# Switchover moves the primary on purpose, and nobody notices; pause keeps it where it is, whatever dies.
given hosts
rounds=1
[ -n "${WEIR_STORY_LONG-}" ] && rounds=20
start_history
for ((i = 0; i < rounds; i++)); do
	fault switchover
	check "a switchover to whom it may be" weir switchover --dir "$data"
	moved "a switchover" "$old"
	whole

	fault switchover
	target=$(list_names db 3 | grep -vx "$old" | tail -n 1)
	check "a switchover to $target" weir switchover "$target" --dir "$data"
	moved "a switchover by name" "$old"
	check "$target leads" test "$(leader)" = "$target"
	whole
done
fault nowhere
check "a switchover to the leader itself changes nothing, whatever it says" \
    sh -c 'weir switchover "$1" --dir "$2" || :' sh "$old" "$data"
nothing_moves 1
mark calm

fault paused
check "moves are paused" weir pause --dir "$data"
when kill-postmaster "$old"
goes_on "the same PostgreSQL is back"
check "$old leads as before, in term $old_term" same_leader
mark calm
check "moves are allowed again" weir resume --dir "$data"
fault kill
when kill-postmaster "$old"
moved "a kill after the pause" "$old"
good_end

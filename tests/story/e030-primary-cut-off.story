# shellcheck shell=bash
# The primary's host is cut off from all others: another one leads. Healed, it rejoins, and nobody read
# from it what was old.
given hosts
cuts=1
[ -n "${WEIR_STORY_LONG-}" ] && cuts=10
start_history
for ((i = 0; i < cuts; i++)); do
	fault cut
	when cut "$old" from all
	moved "a cut"
	when heal
	rejoins "$old"
	goes_on "the heal"
	whole
done
good_end

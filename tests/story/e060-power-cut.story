# shellcheck shell=bash
# The primary's host loses power, agent and all: another one leads. With power again it rejoins.
given hosts
cuts=2
[ -n "${WEIR_STORY_LONG-}" ] && cuts=10
start_history
for ((i = 0; i < cuts; i++)); do
	fault power-cut
	when power-cut "$old"
	moved "a power cut"
	when power-on "$old"
	rejoins "$old"
	whole
done
good_end

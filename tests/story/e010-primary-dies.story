# shellcheck shell=bash
# kill -9 of the primary's PostgreSQL: another database leads, nobody sees a failure, and the one that
# died follows.
given hosts
kills=2
[ -n "${WEIR_STORY_LONG-}" ] && kills=20
start_history
for ((i = 0; i < kills; i++)); do
	fault kill
	when kill-postmaster "$old"
	moved "a kill of PostgreSQL" "$old"
	whole
done
good_end

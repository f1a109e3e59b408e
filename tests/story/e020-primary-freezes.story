# shellcheck shell=bash
# The primary freezes, alone and with its agent: another one leads. Thawed, it finds that its time is over:
# it rejoins, and nobody read from it what was old.
given hosts
frosts=1
[ -n "${WEIR_STORY_LONG-}" ] && frosts=10
start_history
for ((i = 0; i < frosts; i++)); do
	fault freeze-postgres
	when freeze-postgres "$old"
	moved "a frost of PostgreSQL"
	when thaw "$old"
	rejoins "$old"
	whole

	fault freeze-host
	when freeze "$old"
	moved "a frost of the host"
	when thaw "$old"
	goes_on "the thaw"
	rejoins "$old"
	whole
done
good_end

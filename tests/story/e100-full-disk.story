# shellcheck shell=bash
# The primary's disk is full: it cannot write its log, so another one leads. With room again it rejoins.
given hosts disk=500
start_history
fault full-disk
when fill-disk "$old"
# Each asks for a new file sooner than the load would.
for _ in 1 2 3 4 5 6 7 8 9 10 11 12; do
	sql "$old" "select pg_logical_emit_message(false, 'story', 'x'), pg_switch_wal()" >/dev/null 2>&1 || break
done
moved "the disk was full"
when free-disk "$old"
rejoins "$old" 60
whole
good_end 12000 6000

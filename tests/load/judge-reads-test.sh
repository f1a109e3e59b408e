#!/bin/sh
# tests/load/judge-reads-test.sh - the judge of reads finds what it is there to find, and nothing else.
#
# A history of a session (0) and a client without one (1) that is in order, then one thing at a time
# made wrong in it.
judge=${srcdir:-.}/tests/load/judge-reads
work=$(mktemp -d) || exit 99
trap 'rm -rf "$work"' EXIT
status=0

# Client 0's register has the values 1, 4 (never acknowledged), 5 and 6; client 1's 1 and 2.
good_log() {
	cat <<'EOT'
register 0 1 0 k1 201 11 - 0.000 900 -
register 1 1 0 - 201 12 - 0.500 900 -
read s0 0 0 - 200 0/1 - 1.000 900 -
read 1 1 0 - 404 - - 1.500 900 -
message 1 3 0 - 201 13 - 2.000 900 -
list 1 0 0 - 200 1/3 - 3.000 900 -
register 0 4 0 - 504 - - 3.100 900 -
mark 0 0 0 - 0 kill - 4.000 0 -
read s0 0 0 - 200 0/1 - 4.200 900 -
register 0 5 0 k5 0 - - 5.200 900 Timeout was reached
read 1 0 0 - 200 0/5 - 5.300 900 -
register 0 5 1 k5 200 11 replayed 6.300 900 -
read s0 0 0 - 200 0/4 - 7.300 900 -
read s0 1 0 - 200 1/2 - 8.300 900 -
register 1 2 0 - 200 12 - 7.900 2000 -
register 0 6 0 k6 200 11 - 9.300 900 -
read s0 0 0 - 200 0/6 - 10.300 900 -
read s0 0 0 - 503 - - 11.300 900 -
read 1 1 0 - 200 1/1 - 11.400 900 -
message 0 7 0 - 504 - - 12.000 900 -
list s0 0 0 - 200 1/3 - 13.000 900 -
list s0 0 0 - 200 - - 13.000 900 -
EOT
}

good_rows() {
	cat <<'EOT'
message|13|1/3
register|11|r0/6
register|12|r1/2
counter|load-0|3
EOT
}

# expect STATUS PATTERN NAME LOG-EDIT ROWS-EDIT: what the judge says after the edits (sed).
expect() {
	good_log | sed "$4" >"$work/log"
	good_rows | sed "$5" >"$work/rows"
	said=$("$judge" "$work/log" "$work/rows" 2>&1)
	got=$?
	if [ $got -eq "$1" ] && echo "$said" | grep -q "$2"; then
		return
	fi
	echo "$3: wanted status $1 and '$2', got status $got:"
	echo "$said"
	status=1
}

expect 0 '8 reads of registers, 4 by their session, 0 back, 1 late, 2 lists: none stale$' "a history in order" '' ''
expect 0 'none stale$' "a write that was never acknowledged holds at the end" '' 's,r0/6,r0/4,'
expect 0 ' 1 back,.*none stale$' "a client without a session goes back" '/11.400/s,read 1 1 0 - 200 1/1,read 1 0 0 - 200 0/1,' ''
expect 1 '^stale: client 0 got 0/1 at 10.300 ms, acknowledged was 6' "an old value in a session" '/10.300/s,0/6,0/1,' ''
expect 1 '^stale: client 0 got nothing at 10.300 ms' "no row in a session" '/10.300/s,200 0/6,404 -,' ''
expect 1 '^stale: client 0 got 0/5' "the value before, though it was acknowledged by a repeat only" '/10.300/s,0/6,0/5,' ''
expect 1 '^crossed: client 0 asked for register 0, got 1/1' "another register" '/10.300/s,0/6,1/1,' ''
expect 1 '^crossed: client 1 asked for register 1, got -' "an answer without a value" '/11.400/s,1/1,-,' ''
expect 1 '^strange: client 1 got register 0/9' "a value that nobody sent" '/5.300/s,0/5,0/9,' ''
expect 1 '^strange: client 1 got register 0/6' "a value before it was sent" '/5.300/s,0/5,0/6,' ''
expect 1 '^strange: client 1 got message 1/4' "a message that nobody sent" '/^list 1/s,1/3,1/4,' ''
expect 1 '^lost: register 0 holds 0/5, acknowledged was 6' "an old value at the end" '' 's,r0/6,r0/5,'
expect 1 '^lost: register 1 has no row' "a register that is gone" '' '/r1/d'
expect 1 '^strange: register 1 holds 1/8' "a value that nobody sent, at the end" '' 's,r1/2,r1/8,'
expect 1 '^vanished: message 0/7, seen at 13.000' "a message that was seen, and is not there" '/^list s0.*1.3/s,1/3,0/7,' ''
expect 0 'none stale$' "a message that was seen and never acknowledged, and is there" '/^list s0.*1.3/s,1/3,0/7,' '$a message|14|0/7'
expect 2 'not one' "a log that is none" '3s/.*/hello/' ''
expect 2 'not a row' "rows that are none" '' '1s/.*/psql: error/'
expect 2 'empty' "an empty log" d ''

"$judge" "$work/log" "$work/nothing" 2>/dev/null
[ $? -eq 2 ] || { echo "a file that is not there: wanted status 2"; status=1; }
exit $status

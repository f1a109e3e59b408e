#!/bin/sh
# tests/load/judge-test.sh - the judge finds what it is there to find, and nothing else.
#
# A history of two clients that is in order, then one thing at a time made wrong in it.
judge=${srcdir:-.}/tests/load/judge
work=$(mktemp -d) || exit 99
trap 'rm -rf "$work"' EXIT
status=0

good_log() {
	cat <<'EOT'
message 0 1 0 k01 201 11 - 0 900 -
message 1 1 0 - 201 12 - 0 900 -
counter 0 2 0 k02 200 1 - 1 900 -
counter 0 2 1 k02 200 1 replayed 2 900 -
counter 1 2 0 - 200 1 - 1 900 -
message 0 3 0 k03 0 - - 3 900 Timeout was reached
message 0 3 1 k03 503 - - 4 900 -
message 0 3 2 k03 201 15 replayed 5 900 -
message 1 3 0 - 502 - - 3 900 -
counter 0 4 0 k04 504 - - 6 900 -
counter 0 4 1 k04 504 - - 7 900 -
counter 1 4 0 - 502 - - 4 900 -
counter 0 6 0 k06 200 3 - 8 900 -
counter 1 6 0 - 200 2 - 5 900 -
message 1 7 0 - 201 16 - 6 900 -
EOT
}

# Client 0's lost increment (seq 4) was done, client 1's was not; nor was its message 3.
good_rows() {
	cat <<'EOT'
message|11|0/1
message|12|1/1
message|15|0/3
message|16|1/7
counter|load-0|3
counter|load-1|2
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

expect 0 'each once$' "a history in order" '' ''
expect 0 'each once$' "an unacknowledged message that is there" '' '$a message|13|1/3'
expect 0 'each once$' "an unacknowledged increment that came last" '' 's/load-1|2/load-1|3/'
expect 1 '^lost: message 0/1' "a lost row" '' '/|0\/1$/d'
expect 1 '^lost: message 0/3' "a lost row that was sent three times" '' '/|0\/3$/d'
expect 1 '^doubled: message 1/1' "a doubled row" '' '$a message|17|1/1'
expect 1 '^doubled: message 1/3' "a doubled row of a write that failed" '' \
    '$a message|13|1/3\nmessage|14|1/3'
expect 1 '^crossed: message 1/7' "an answer with another row's id" 's/ 16 - / 99 - /' ''
expect 1 '^crossed: message 1/7 .*without an id' "an answer without an id" 's/ 16 - / - - /' ''
expect 1 '^crossed: .*1/6 .*without a value' "an answer without a value" '/^counter 1 6/s/200 2/200 -/' ''
expect 1 '^strange: row 40' "a row that nobody sent" '' '$a message|40|7/7'
expect 1 '^strange: counter load-9' "a counter that nobody asked for" '' '$a counter|load-9|1'
expect 1 '^too high: counter of client 0 is 4' "a counter too high" '' 's/load-0|3/load-0|4/'
expect 1 '^too high: counter of client 1 is 4' "a counter too high, one write being open" '' \
    's/load-1|2/load-1|4/'
expect 1 '^too low: counter of client 1 is 1' "a counter too low" '' 's/load-1|2/load-1|1/'
expect 1 '^too low: counter of client 0 is 2' "a counter below what was answered" '' \
    's/load-0|3/load-0|2/'
expect 1 '^too low: counter of client 1 is 0' "a counter that is lost" '' '/load-1/d'
expect 1 '^repeated: counter write counter 1/6 got 1 after 1' "a repeated value" \
    '/^counter 1 6/s/200 2/200 1/' ''
expect 1 '^too high: counter write counter 1/6 got 4' "an increment done twice, seen in an answer" \
    '/^counter 1 6/s/200 2/200 4/' 's/load-1|2/load-1|4/'
expect 1 '^changed: counter 0/2' "a replay with another answer" '4s/200 1/200 2/' ''
expect 1 '^untold: counter 0/2' "a replay that does not say so" '4s/replayed/-/' ''
expect 2 'not one' "a log that is none" '3s/.*/hello/' ''
expect 2 'not a row' "rows that are none" '' '1s/.*/psql: error/'
expect 2 'empty' "an empty log" d ''

"$judge" "$work/log" "$work/nothing" 2>/dev/null
[ $? -eq 2 ] || { echo "a file that is not there: wanted status 2"; status=1; }
exit $status

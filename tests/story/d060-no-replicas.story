# shellcheck shell=bash
# Without replicas the primary serves the reads; replicas that are back are used again at once.
given cluster balancers=1 servers=2 replicas=2
rate=100 allowed=3000
[ -n "${WEIR_STORY_LONG-}" ] && rate=500 allowed=1000

read_at() {
	request GET /whoami via=http
	[ "$got_status" = 200 ] && [ "$(jq -r .database <<<"$got_body")" = "$1" ]
}

# Both servers see it so: they are asked in turn.
reads_stay_at() {
	local i

	for i in 1 2 3 4 5 6 7 8; do
		read_at "$1" || return 1
	done
}

# Its PostgreSQL answers as a standby: from here on it could serve.
serves() {
	[ "$(sql "$1" 'select pg_is_in_recovery()' 2>/dev/null)" = t ]
}

used_in_time() {
	local began

	began=$(now_ms)
	eventually 10 read_at "$1" || return 1
	echo "used $(($(now_ms) - began)) ms after it answered"
	[ $(($(now_ms) - began)) -le $allowed ]
}

start_load reads fast --urls "$http" --path /whoami --rate $rate --seconds 200
when stop db-2
when stop db-3
check "without replicas the primary serves the reads" eventually 5 reads_stay_at db-1
for node in db-2 db-3; do
	when start $node
	check "$node answers" eventually 60 serves $node
	check "and serves reads within $allowed ms" used_in_time $node
	note "$(cat "$story_dir/check.out")"
done
when stop db-2
when stop db-3
check "the same again: the primary" eventually 5 reads_stay_at db-1
when start db-3
check "db-3 answers" eventually 60 serves db-3
check "and serves reads within $allowed ms" used_in_time db-3
note "$(cat "$story_dir/check.out")"
when start db-2
check "reads went on all the time, and come to their end" end_load
check "none of them failed" load_is reads ".errors == 0 and .requests > $rate"
note "$(cat "$story_dir/reads.json")"

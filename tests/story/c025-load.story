# shellcheck shell=bash
# GETs and POSTs through HTTPS, many at once: every answer is a success.
command -v h2load >/dev/null || skip_all "h2load (nghttp2-client) is not installed"
given cluster balancers=1 servers=2 replicas=2
count=2000
[ -n "${WEIR_STORY_LONG-}" ] && count=20000
printf '{"author":"load","body":"one of many"}' >"$story_dir/message"

load() {
	h2load --h1 -n "$count" -c 32 -t 1 "$@" >"$story_dir/load" 2>&1
	grep -E '^(finished|requests:|status codes:)' "$story_dir/load"
	grep -q "^status codes: $count 2xx, 0 3xx, 0 4xx, 0 5xx" "$story_dir/load" &&
	    grep -q "^requests: .* $count succeeded, 0 failed, 0 errored" "$story_dir/load"
}

check "$count GETs, each a success" load "$https/messages?limit=3"
note "$(cat "$story_dir/check.out")"
check "$count POSTs, each a success" load -H 'content-type: application/json' -d "$story_dir/message" "$https/messages"
note "$(cat "$story_dir/check.out")"
check "every POST is a row" sql_is db-1 "select count(*) from guestbook.messages where author = 'load'" "$count"
both_have_all() {
	sql_is db-2 "select count(*) from guestbook.messages" "$(sql db-1 'select count(*) from guestbook.messages')"
}
check "and on the replica" eventually 5 both_have_all

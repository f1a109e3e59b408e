# shellcheck shell=bash
# A server is killed under load of GETs: no client notices, and it comes back by itself.
command -v wrk >/dev/null || skip_all "wrk is not installed"
given cluster balancers=1 servers=2 replicas=1
seconds=4
[ -n "${WEIR_STORY_LONG-}" ] && seconds=15

pid=$(node_field server-1 .pid)
wrk -t1 -c16 -d${seconds}s --timeout 10s "$https/whoami" >"$story_dir/wrk" 2>&1 &
load=$!
story_pids+=("$load")

# The kill comes in the middle of the load, when the feed shows requests.
under_load() {
	[ "$(node_field server-1 '.requests_per_second // 0 | floor')" -gt 10 ]
}
check "the load has arrived at server-1" eventually "$seconds" under_load
when kill server-1
wait "$load"
note "$(cat "$story_dir/wrk")"

no_failed() {
	grep -q 'requests in' "$story_dir/wrk" && ! grep -qE 'Non-2xx|Socket errors' "$story_dir/wrk"
}
check "no GET failed" no_failed
check "server-1 is started again" eventually 20 pid_is_another server-1 "$pid"
expect node server-1 state=up within=20

both_serve() {
	local i

	for i in 1 2 3 4 5 6 7 8; do
		fetch "$https/whoami" -w '\n'
	done | jq -r .server | sort -u | wc -l | grep -qx 2
}
check "and takes requests again" eventually 10 both_serve

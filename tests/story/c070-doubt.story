# shellcheck shell=bash
# A server is killed with requests in its hands. What may be repeated is done by another one; what may
# not, and is not exactly-once, is refused there with a text for people, and is not begun.
given cluster balancers=1 servers=2 replicas=1

metric() {
	curl -s "$monitor/metrics" | sed -n "s/^$1{[^}]*node=\"$2\"[^}]*} //p"
}

# holds NODE: it works on one request.
holds() {
	[ "$(metric weir_requests_in_flight "$1")" = 1 ]
}

# Leaves $holder: the server that has the request.
somebody_holds() {
	for holder in server-1 server-2; do
		holds "$holder" && return 0
	done
	return 1
}

nobody_holds() {
	! somebody_holds
}

ask() { # METHOD MS
	fetch -X "$1" "$https/sleep/$2" -w '\n%{http_code}\n' >"$story_dir/answer" 2>&1 &
	asked=$!
}

# A request that was answered before its server was found is asked again.
in_hand() { # METHOD MS
	kill -0 "$asked" 2>/dev/null || ask "$@"
	somebody_holds && kill -0 "$asked" 2>/dev/null
}

# begin METHOD MS: a request on its way; its answer comes to $story_dir/answer.
begin() {
	check "no server works on anything" eventually 10 nobody_holds
	ask "$@"
	check "a server works on $1" eventually 30 in_hand "$@"
}

# answered STATUS TEXT
answered() {
	wait "$asked"
	cat "$story_dir/answer"
	grep -qx "$1" "$story_dir/answer" && grep -q "$2" "$story_dir/answer"
}

both_up() {
	node_is server-1 .state up && node_is server-2 .state up
}

begin POST 9000
when kill "$holder"
check "POST is refused by the other server" answered 502 "may have done it"
check "both servers are up again" eventually 20 both_up

begin PUT 4000
when kill "$holder"
check "PUT is done by the other server" answered 200 slept
check "both servers are up again" eventually 20 both_up

# Nobody else is there: the request waits until the server is back.
when stop server-2
begin PUT 4000
when kill server-1
check "PUT waits for the only server" answered 200 slept
begin POST 9000
when kill server-1
check "POST waits for the only server, which refuses it" answered 502 "may have done it"
when start server-2
check "both servers are up again" eventually 20 both_up

# Servers die in turn, again and again, under load.
unset asked
clients=4
requests=100
for i in $(seq $clients); do
	fetch -X PUT "$https/sleep/40?[1-$requests]" -o /dev/null -w '%{http_code}\n' \
	    >"$story_dir/codes.$i" 2>&1 &
	story_pids+=($!)
	asked[i]=$!
done
under_way() {
	local pid

	for pid in "${asked[@]}"; do
		kill -0 "$pid" 2>/dev/null && return 0
	done
	return 1
}
kills=0
while under_way && [ "$kills" -lt 10 ]; do
	for node in server-1 server-2; do
		pid=$(node_field "$node" .pid)
		when kill "$node"
		kills=$((kills + 1))
		eventually 20 pid_is_another "$node" "$pid" && eventually 20 node_is "$node" .state up
	done
done
note "$kills kills"
wait "${asked[@]}"
all_done() {
	sort "$story_dir"/codes.* | uniq -c
	[ "$(cat "$story_dir"/codes.* | grep -cx 200)" = $((clients * requests)) ]
}
check "servers died under the load" [ "$kills" -ge 2 ]
check "no request failed" all_done

# shellcheck shell=bash
# Every node is seen, every second; a death reaches a webhook.
given cluster balancers=1 servers=1 replicas=1

check "the feed has come with every node and role" bash -c "
	timeout 20 weir watch --json --count 60 --dir '$data' >'$story_dir/feed'
	for node in balancer-1 server-1 db-1 db-2 monitor-1; do
		grep -q \"\\\"\$node\\\"\" '$story_dir/feed' || { echo \"no \$node\"; exit 1; }
	done"
check "every line of it is JSON" jq -e . "$story_dir/feed"
all_in_metrics() {
	local node

	fetch "$monitor/metrics" >"$story_dir/metrics" || return 1
	for node in balancer-1 server-1 db-1 db-2 monitor-1; do
		grep -q "node=\"$node\"" "$story_dir/metrics" || { echo "no $node"; return 1; }
	done
}
check "/metrics shows every node" all_in_metrics
if command -v promtool >/dev/null; then
	silent() {
		local said

		said=$(promtool check metrics <"$story_dir/metrics" 2>&1)
		echo "$said"
		[ -z "$said" ]
	}
	check "promtool has nothing to say" silent
fi
expect GET / via="$monitor" status=200 head='content-type: text/html'
expect GET /api/nodes via="$monitor" status=200 json='[.nodes[] | select(.state == "up")] | length == 5' within=5
expect GET /api/alerts via="$monitor" status=200
expect POST /api/nodes via="$monitor" body='{}' status=405
expect GET /nowhere via="$monitor" status=404

# A webhook of our own, told to the monitor by the cluster file and SIGHUP.
hook_port=$((port_base + 170))
cat >"$story_dir/hook" <<'END'
length=0
while IFS= read -r line; do
	line=${line%$'\r'}
	[ -z "$line" ] && break
	case ${line,,} in content-length:*) length=${line##*: } ;; esac
done
body=$(head -c "$length")
printf '%s %s\n' "$(date +%s%3N)" "$body" >>"$1"
printf 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n'
END
: >"$story_dir/hooked"
socat "TCP-LISTEN:$hook_port,bind=127.0.0.1,reuseaddr,fork" "EXEC:bash $story_dir/hook $story_dir/hooked" &
story_pids+=($!)
sed -i "/name: monitor-1/a\\    webhooks: [\"http://127.0.0.1:$hook_port/\"]" "$data/cluster.yaml"
check "the changed cluster file is good" weir check "$data/cluster.yaml"
kill -HUP "$(node_field monitor-1 .pid)"
check "the monitor has read it" eventually 5 grep -q reloaded "$data/logs/monitor-1.log"

hooked() {
	grep "\"status\": *\"$1\"" "$story_dir/hooked" | grep -q "$2"
}
# weir up starts a killed node again at once; a stopped one stays away.
killed=$(now_ms)
kill -STOP "$(node_field server-1 .pid)"
check "a node that freezes reaches the webhook" eventually 6 hooked firing server-1
note "after $(($(now_ms) - killed)) ms"
kill -CONT "$(node_field server-1 .pid)"
check "and as resolved when it is back" eventually 10 hooked resolved server-1
when stop server-1
check "a node that is stopped reaches the webhook" eventually 6 hooked firing server-1
when start server-1
expect node server-1 state=up within=20

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
check "and nothing of what they report was skipped" \
    grep -q '^weir_monitor_metrics_skipped_total{.*} 0$' "$story_dir/metrics"
check "nor which database reads went to" grep -q '^weir_db_choices_total{.*to="replica"' "$story_dir/metrics"
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
printf '{"at":%s,"post":%s}\n' "$(date +%s%3N)" "$body" >>"$1"
printf 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n'
END
: >"$story_dir/hooked"
socat "TCP-LISTEN:$hook_port,bind=127.0.0.1,reuseaddr,fork" "EXEC:bash $story_dir/hook $story_dir/hooked" &
story_pids+=($!)
sed -i "/name: monitor-1/a\\    webhooks: [\"http://127.0.0.1:$hook_port/\"]" "$data/cluster.yaml"
check "the changed cluster file is good" weir check "$data/cluster.yaml"
kill -HUP "$(node_field monitor-1 .pid)"
check "the monitor has read it" eventually 5 grep -q reloaded "$data/logs/monitor-1.log"

# When the webhook first got it, of what came since $from; fails while it has not.
hooked() { # STATUS ALERT NODE
	jq -esr --argjson from "$from" --arg status "$1" --arg alert "$2" --arg node "$3" '
	    [.[] | select(.at >= $from) | .at as $at | .post.alerts[] | select(.status == $status and
	    .labels.alertname == $alert and .labels.node == $node) | $at] | first // empty' \
	    "$story_dir/hooked" >"$story_dir/hooked_at"
}
alerted() { # SENTENCE ALERT NODE   (within 3 s from $from)
	check "$1 reaches the webhook" eventually 10 hooked firing "$2" "$3"
	took=$(($(cat "$story_dir/hooked_at") - from))
	note "after $took ms"
	check "and within 3 s" [ "$took" -le 3000 ]
}
resolved() { # SENTENCE ALERT NODE
	check "$1" eventually 45 hooked resolved "$2" "$3"
}

# weir up starts it again at once, so it is never gone; that it fell is told for 30 s.
crashed=$(now_ms)
from=$crashed
pid=$(node_field server-1 .pid)
when kill server-1
alerted "the kill -9 of a server that is started again" node-crashed server-1
check "it is another process" eventually 10 pid_is_another server-1 "$pid"
expect node server-1 state=up within=20

# A stopped node stays away; what weir up does not run is not started again.
from=$(now_ms)
when stop balancer-1
alerted "a node that is stopped" node-gone balancer-1
weir balancer --config "$data/cluster.yaml" --name balancer-1 >>"$data/logs/balancer-1.log" 2>&1 &
alone=$!
story_pids+=("$alone")
resolved "and as resolved when somebody else starts it" node-gone balancer-1
from=$(now_ms)
{ kill -9 "$alone" && wait "$alone"; } 2>/dev/null
alerted "the kill -9 of a node that nobody starts again" node-gone balancer-1
when start balancer-1
resolved "and as resolved when it is back" node-gone balancer-1

from=$(now_ms)
kill -STOP "$(node_field server-1 .pid)"
alerted "a node that freezes" node-gone server-1
kill -CONT "$(node_field server-1 .pid)"
resolved "and as resolved when it goes on" node-gone server-1

from=$crashed
resolved "the server that was killed first stays up, and is resolved" node-crashed server-1
expect node server-1 state=up within=20
expect GET /messages status=200 within=5

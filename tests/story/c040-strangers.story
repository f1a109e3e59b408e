# shellcheck shell=bash
# Who has no key gets nothing: neither the link nor the feed.
given cluster balancers=1 servers=1 replicas=0

# A copy of the cluster where server-1 and the operator have keys that nobody knows.
copy=$story_dir/stranger
mkdir -p "$copy/keys"
cp "$data/cluster.yaml" "$data/ca.pem" "$copy/"
cp -r "$data/tls" "$data/secrets" "$copy/"
cp "$data/keys"/*.pub "$copy/keys/"
rm "$copy/keys/server-1.pub" "$copy/keys/operator.pub"
weir keys "$copy/keys" server-1 operator >/dev/null
# The stranger answers its direct HTTP elsewhere.
sed -i "s/127.0.0.1:$((port_base + 101))/127.0.0.1:$((port_base + 150))/" "$copy/cluster.yaml"

refused() {
	grep -q zap-refused "$data/logs/$1.log"
}

weir server --config "$copy/cluster.yaml" --name server-1 >"$story_dir/stranger.log" 2>&1 &
stranger=$!
story_pids+=("$stranger")
check "the balancer refuses the stranger" eventually 15 refused balancer-1
only_one() {
	local i

	for i in $(seq 20); do
		fetch "$https/whoami" -w '\n'
	done | jq -r .server >"$story_dir/servers"
	[ "$(wc -l <"$story_dir/servers")" -eq 20 ]
}
check "requests go on without it" only_one
kill "$stranger"

nothing_read() {
	timeout 4 weir watch --json --count 1 --dir "$copy" >"$story_dir/stolen" 2>/dev/null
	[ ! -s "$story_dir/stolen" ]
}
check "the stranger reads nothing from the feed" nothing_read
check "and the monitor says so" eventually 5 refused monitor-1
check "the operator reads it" bash -c "timeout 10 weir watch --json --count 1 --dir '$data' | grep -q node"

for node in balancer-1 server-1 db-1 monitor-1; do
	check "the firewall of $node is valid" bash -c "weir firewall $node --dir '$data' | nft -c -f -"
done
check "the schema is loaded" bash -c "weir schema status --dir '$data' | grep -q '^applied.*001-weir.sql'"
check "loading it again changes nothing" bash -c "weir schema apply --dir '$data' | grep -qx '0 files applied'"

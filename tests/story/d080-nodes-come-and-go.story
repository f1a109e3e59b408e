# shellcheck shell=bash
# The cluster file is edited while the cluster runs: nodes come and go, and no client notices.
given cluster balancers=1 servers=2 replicas=2
deadline=20
cp "$data/cluster.yaml" "$story_dir/first.yaml"

# A node's lines, before those of the next role.
add_before() {
	awk -v at="^$1:" -v text="$2" '$0 ~ at { printf "%s\n", text } { print }' \
	    "$data/cluster.yaml" >"$story_dir/edited.yaml" && cp "$story_dir/edited.yaml" "$data/cluster.yaml"
}

# Without the lines of some nodes.
remove() {
	awk -v names=" $* " '/^  - name: / { skip = index(names, " " $3 " ") } /^[^ ]/ { skip = 0 } !skip' \
	    "$data/cluster.yaml" >"$story_dir/edited.yaml" && cp "$story_dir/edited.yaml" "$data/cluster.yaml"
}

where=$(sed -n 's|^ *data: "\(.*\)/db-1"$|\1|p' "$data/cluster.yaml")
db_4="  - name: db-4
    address: \"127.0.0.1:$((port_base + 304))\"
    data: \"$where/db-4\"
    initial: replica
    certificate: tls/db.pem
    certificate_key: tls/db.key
    admin_password: secrets/admin
"
server_3="  - name: server-3
    http: \"127.0.0.1:$((port_base + 103))\"
    workers: 1
    modules: [guestbook, probe]
"
balancer_2="  - name: balancer-2
    https: \"127.0.0.1:$((port_base + 444))\"
    link: \"127.0.0.1:$((port_base + 632))\"
    workers: 1
    certificate: tls/balancer.pem
    certificate_key: tls/balancer.key
    ticket_key: secrets/ticket.key
"

# reload STATUS: its exit status is as expected; what it said is in $story_dir/reload.
reload() {
	weir reload --dir "$data" >"$story_dir/reload" 2>&1
	local status=$?

	cat "$story_dir/reload"
	[ $status -eq "$1" ]
}

said() {
	cat "$story_dir/reload"
	grep -q "$1" "$story_dir/reload"
}

said_all() {
	local line

	for line; do
		said "^$line\$" || return 1
	done
}

# The same processes as at the start.
pids() {
	status_json | jq -c '[.nodes[] | select(.name | IN("balancer-1", "server-1", "server-2", "db-1", "db-2", "monitor-1"))
	    | [.name, .pid, .restarts]]'
}

answers_more() {
	[ "$(queries_of "$1")" -gt "$2" ]
}

all_same() {
	pids
	[ "$(pids)" = "$pids" ]
}

pids=$(pids)
start_history

echo 'databases: nonsense' >>"$data/cluster.yaml"
check "a bad file is refused" reload 1
check "with the file and line that is wrong" said '^weir reload: .*cluster.yaml:[0-9]*: '
goes_on "a bad file"
cp "$story_dir/first.yaml" "$data/cluster.yaml"

check "a file that has not changed is taken" reload 0
check "by every node" said_all 'reloaded: balancer-1' 'reloaded: server-1' 'reloaded: server-2' \
    'reloaded: db-1' 'reloaded: db-2' 'reloaded: db-3' 'reloaded: monitor-1'

add_before monitors "$db_4"
add_before databases "$server_3"
add_before servers "$balancer_2"
check "nodes are added" reload 0
check "and started" said_all 'started: balancer-2' 'started: server-3' 'started: db-4' \
    'reloaded: server-1' 'reloaded: db-1'
for node in balancer-2 server-3 db-4; do
	expect node $node state=up within=60
done
check "the new database answers reads" eventually 60 answers_more db-4 50
expect GET /whoami via=balancer-2 status=200 within=10
serves() {
	request GET /whoami
	jq -e --arg n "$1" '.server == $n' <<<"$got_body" >/dev/null
}
check "the new server takes requests" eventually 20 serves server-3
goes_on "nodes came"
counts() { # COHORT
	status_json | jq -r '.failover | .in_force, .change'
	[ "$(status_json | jq -r .failover.in_force)" = "$1" ]
}
check "the new database counts" eventually 60 counts db-1,db-2,db-3,db-4/1
goes_on "the cohort changed"
# Who leads is not left out.
[ "$(leader)" != db-4 ] || check "another database leads" weir switchover db-1 --dir "$data"

remove db-4 server-3 balancer-2
check "nodes are removed" reload 0
check "and stopped" said_all 'stopped: balancer-2' 'stopped: server-3' 'stopped: db-4'
nobody_left() {
	! pgrep -f "$data/cluster.yaml --name (db-4|server-3|balancer-2)"
}
check "there is no process of them" nobody_left
check "the database counts no more" counts db-1,db-2,db-3/1
check "no server asks db-4 any more" sh -c '! grep -h "db=db-4" "$1"/logs/server-[12].log | tail -n 1 | grep -v removed' sh "$data"
goes_on "nodes went"

add_before monitors "$db_4"
kill -HUP "$story_up"
check "SIGHUP does the same as weir reload" eventually 20 grep -q '^weir: started: db-4$' "$story_dir/up.log"
seen=$(queries_of db-4)
check "the database that is back answers reads" eventually 60 answers_more db-4 $((seen + 50))
goes_on "a database came back"

check "all that were there are the same processes" all_same

# A monitor that says what it is told to: the promoter still counts the node that is gone from the file.
fake=$((port_base + 94))
cat >"$story_dir/fake" <<'END'
read -r _ path _
case $path in
/api/failover) body="{\"failover\":{\"in_force\":\"$(cat "$1/cohort")\"}}" ;;
*) body='weir_db_lanes_leaving{node="server-1"} 0' ;;
esac
printf 'HTTP/1.1 200 OK\r\nContent-Length: %s\r\nConnection: close\r\n\r\n%s' "${#body}" "$body"
END
echo "db-1,db-2,db-3,db-4/1" >"$story_dir/cohort"
socat "TCP-LISTEN:$fake,bind=127.0.0.1,reuseaddr,fork" "SYSTEM:sh $story_dir/fake $story_dir" &
story_pids+=($!)
remove db-4
sed -i "s|http: \"127.0.0.1:$((port_base + 90))\"|http: \"127.0.0.1:$fake\"|" "$data/cluster.yaml"
weir reload --dir "$data" >"$story_dir/reload" 2>&1 &
reloading=$!
story_pids+=("$reloading")
check "a database that counts is not stopped" eventually 20 said '^waiting to stop db-4: failover still counts it'
runs() {
	pgrep -f "$data/cluster.yaml --name $1"
}
check "it runs" runs db-4
echo "db-1,db-2,db-3/1" >"$story_dir/cohort"
check "when it counts no more" wait "$reloading"
check "it is stopped" said '^stopped: db-4$'
cp "$story_dir/first.yaml" "$data/cluster.yaml"
check "the file is the first one again" reload 0
end_history
check "no request failed in all that" load_is history '.failed == 0 and .unanswered == 0 and .requests > 500'

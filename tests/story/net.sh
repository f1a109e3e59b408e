# shellcheck shell=bash
# tests/story/net.sh - words for clusters of several hosts, which can be cut off, frozen, or lose power.
#
#	given hosts [balancers=N] [servers=N] [databases=N] [monitors=N] [disk=MiB]
#	                [clocks=own]
#	when  cut HOST from HOST... | cut HOST from all      no packet passes, either way
#	when  cut-one-way HOST to HOST...                    what HOST sends to those is lost
#	when  loss HOST PERCENT                              of all packets from and to it; 0 ends it
#	when  slow-link HOST TIME                            delay, each way (10ms; 0 ends it); see slow_link
#	when  heal                                           no cut, no loss, no slow link any more
#	when  clock-jump HOST SECONDS                        its wall clock is so far ahead from now on (-3600; 0: back);
#	                                                     wants clocks=own
#	when  freeze HOST | thaw HOST                        all its processes
#	when  freeze-postgres NODE | thaw-postgres NODE
#	when  kill-postmaster NODE | stop-postgres NODE smart|fast|immediate
#	when  power-cut HOST | power-on HOST                 all its processes die at once
#	when  fill-disk NODE | free-disk NODE                wants disk=
#
# A host is a network namespace; all hang on one bridge, in 198.18.0.0/24 (RFC 2544: for tests, so it is
# nobody's). lb has the balancers, app-N server-N, mon-N monitor-N, db-N database db-N. The words take the
# name of a node for that of its host.
#
# weir up runs and supervises the cluster as ever, but finds programs beside itself that first enter
# the namespace of the node's host. The story itself lives in the bridge's namespace: cuts are between
# hosts, the story reaches every one of them. There is a monitor there, too, `console`, without a promoter:
# databases let in whom the cluster file names, and it sees all nodes when others do not. The story has namespaces of its own for network, mounts and
# processes (hosts_enter), so nothing of it is left when it ends, however it ends.
#
# The kernel has one wall clock for all hosts. With clocks=own a library, clockshift.so, is loaded into all
# programs and adds to it; it is named in /etc/ld.so.preload of a copy of /etc that only the story sees. So
# only programs have the other time, not files. Monotonic clocks are the kernel's.

# The variables of words.sh and run, and those that stories read.
# shellcheck disable=SC2154,SC2034
net=198.18.0
deadline=10 # seconds, of every request

# What is missing for stories with hosts, or nothing.
hosts_lack() {
	local program

	for program in ip nft unshare nsenter openssl; do
		command -v "$program" >/dev/null || { echo "$program is not installed"; return; }
	done
	if [ "$(id -u)" -ne 0 ]; then
		echo "only root makes network namespaces"
		return
	fi
	# shellcheck disable=SC2016 # for the inner shell
	unshare --net --mount --pid --fork --kill-child --mount-proc sh -c '
		ip link add name weir type bridge &&
		nft "add table bridge weir; add chain bridge weir x { type filter hook forward priority 0; }"' \
	    >/dev/null 2>&1 || echo "this machine allows no namespaces, bridges or rules for them"
}

# Begin again inside namespaces of our own: the first process there takes all others with it. It is a
# small shell that reaps who is left to it. We stay, for the folder when all of them had to be killed.
hosts_enter() {
	local lack inside status

	[ -n "${WEIR_STORY_INSIDE-}" ] && return
	lack=$(hosts_lack)
	if [ -n "$lack" ]; then
		echo "1..0 # SKIP $lack"
		exit 0
	fi
	WEIR_STORY_INSIDE=$(mktemp -d "${TMPDIR:-/tmp}/weir-story.XXXXXX") || exit 99
	export WEIR_STORY_INSIDE
	unshare --net --mount --pid --fork --kill-child --mount-proc sh -c '"$0" "$@" & wait $!' "$@" &
	inside=$!
	trap 'kill -9 $inside 2>/dev/null' TERM INT
	wait $inside
	status=$?
	[ -n "${WEIR_STORY_KEEP-}" ] || rm -rf "$WEIR_STORY_INSIDE"
	exit $status
}

# --- names ---

host_of() {
	case $1 in
	balancer-*) echo lb ;;
	server-*) echo "app-${1#server-}" ;;
	monitor-*) echo "mon-${1#monitor-}" ;;
	*) echo "$1" ;;
	esac
}

address_of() {
	local host

	host=$(host_of "$1")
	case $host in
	console) echo "$net.1" ;;
	lb) echo "$net.10" ;;
	app-*) echo "$net.$((20 + ${host#app-}))" ;;
	mon-*) echo "$net.$((30 + ${host#mon-}))" ;;
	db-*) echo "$net.$((40 + ${host#db-}))" ;;
	*) echo "Bail out! no host $1"; exit 99 ;;
	esac
}

# --- hosts ---

# The namespace lives as long as its holder, which ends with the story.
host_make() {
	local host=$1 address

	address=$(address_of "$host")
	unshare --net sleep infinity &
	holder[$host]=$!
	story_pids+=($!)
	eventually 5 host_is_apart "$host" || { echo "Bail out! no namespace for $host"; exit 99; }
	host_netns[$host]=$(readlink "/proc/${holder[$host]}/ns/net")
	ip link add name "weir-$host" type veth peer name eth0 netns "${holder[$host]}"
	ip link set dev "weir-$host" master weir up
	host_run "$host" ip link set dev lo up
	host_run "$host" ip addr add "$address/24" dev eth0
	host_run "$host" ip link set dev eth0 up
}

host_is_apart() {
	[ "$(readlink "/proc/${holder[$1]}/ns/net")" != "$(readlink /proc/self/ns/net)" ]
}

host_run() {
	local host=$1

	shift
	nsenter --net="/proc/${holder[$host]}/ns/net" -- "$@"
}

# Every process of a host but its holder.
host_pids() {
	local host=$1 at

	find /proc/[0-9]*/ns/net -maxdepth 0 -lname "net:\[${host_netns[$host]//[!0-9]/}\]" 2>/dev/null |
	    while IFS=/ read -r _ _ at _; do
		    [ "$at" = "${holder[$host]}" ] || echo "$at"
	    done
}

# A node's process, asked of nobody who may be dead.
pid_of() {
	pgrep -f -- "^[^ ]*weir-[a-z]* .*--name $1( |\$)"
}

# Processes that must not be touched twice, or be missed since they were born meanwhile: again until
# no new one turns up.
signal_host() {
	local signal=$1 host=$2 pids before=

	pids=$(host_pids "$host")
	while [ -n "$pids" ] && [ "$pids" != "$before" ]; do
		# shellcheck disable=SC2086 # a word each
		kill "-$signal" $pids 2>/dev/null
		before=$pids
		pids=$(host_pids "$host")
	done
}

# --- faults of the network: rules of the bridge ---

net_rules() {
	nft -f - <<-EOT
	table bridge weir {
		set cuts {
			type ipv4_addr . ipv4_addr
		}
		chain losses {
		}
		chain passing {
			type filter hook forward priority 0; policy accept;
			ip saddr . ip daddr @cuts drop
			arp saddr ip . arp daddr ip @cuts drop
			jump losses
		}
	}
	EOT
}

other_hosts() {
	local host

	for host in "${hosts[@]}"; do
		[ "$host" = "$1" ] || echo "$host"
	done
}

# One way.
cut_add() {
	nft add element bridge weir cuts "{ $(address_of "$1") . $(address_of "$2") }"
}

cut_hosts() { # one-way|both HOST from|to HOST...
	local ways=$1 host other
	local -a others

	host=$(host_of "$2")
	others=("${@:4}")
	[ "${others[*]}" = all ] && mapfile -t others < <(other_hosts "$host")
	for other in "${others[@]}"; do
		cut_add "$host" "$other"
		[ "$ways" = one-way ] || cut_add "$other" "$host"
	done
}

lose_packets() {
	local address part=(numgen random mod 100 '<' "$2")

	address=$(address_of "$1")
	[ "$2" -lt 100 ] || part=()
	nft flush chain bridge weir losses
	[ "$2" -eq 0 ] && return
	nft add rule bridge weir losses ip saddr "$address" "${part[@]}" drop
	nft add rule bridge weir losses ip daddr "$address" "${part[@]}" drop
}

heal_all() {
	local host

	nft flush set bridge weir cuts
	nft flush chain bridge weir losses
	for host in "${!slow_links[@]}"; do
		fast_link "$host"
	done
}

# --- slow links ---
#
# Not every kernel has the discipline that delays packets, netem. Without it there are relays: what a slow
# host and others connect to each other by TCP goes through weir-relay at whoever connects. Connections
# that stand cannot be moved there: the slow host resets them first. Heal resets those of the relays. UDP is
# as fast as ever, and so is what the story itself asks a host.

can_netem() {
	tc qdisc add dev lo root netem delay 1ms 2>/dev/null && tc qdisc del dev lo root
}

can_slow_links() {
	can_netem && return
	[ -x "$builddir/tests/load/weir-relay" ] &&
	    { relay_rules test 1 && reset_rules test; } | host_run lb nft -c -f - 2>/dev/null
}

relay_mark=0x77 # RELAY_MARK of tests/load/relay.c

relay_rules() { # TABLE PORT [WHOM]
	cat <<-EOT
	table ip $1 {
		chain redirected {
			type nat hook output priority -100; policy accept;
			oifname "eth0" ${3:+ip daddr $3} meta l4proto tcp meta mark != $relay_mark redirect to :$2
		}
	}
	EOT
}

# Only connections that have begun since.
reset_rules() { # TABLE
	cat <<-EOT
	table ip $1 {
		chain young {
			tcp flags & (fin|syn|rst|ack) == syn ct mark set 1
			ct mark 1 accept
			tcp flags & rst == rst accept comment "the resets, too, have to leave"
			reject with tcp reset
		}
		chain leaving {
			type filter hook output priority 0; policy accept;
			oifname "eth0" meta l4proto tcp jump young
		}
		chain coming {
			type filter hook input priority 0; policy accept;
			iifname "eth0" meta l4proto tcp jump young
		}
	}
	EOT
}

# A relay dies with its host, and is there again when that has power.
relay_keep() { # HOST PORT MS
	local relay=0

	trap '[ $relay = 0 ] || kill -9 $relay; exit' TERM
	while :; do
		if [ ! -e "$story_dir/off/$1" ]; then
			nsenter --net="/proc/${holder[$1]}/ns/net" -- "$builddir/tests/load/weir-relay" "$2" "$3" &
			relay=$!
			wait $relay
			relay=0
		fi
		let_pass 0.1
	done
}

relay_start() { # SLOW-HOST HOST PORT MS
	local ready="$story_dir/relay-$1-$2"

	rm -f "$ready"
	relay_keep "$2" "$3" "$4" >"$ready" 2>&1 &
	slow_links[$1]+=" $!"
	story_pids+=($!)
	eventually 5 grep -q ready "$ready"
}

slow_by_relays() { # HOST MS
	local address port host table=slow_${1//-/_}

	address=$(address_of "$1")
	port=$((15000 + ${address##*.}))
	slow_links[$1]=
	relay_start "$1" "$1" $port "$2" || return 1
	{ relay_rules "$table" $port && reset_rules "$table"; } | host_run "$1" nft -f - || return 1
	for host in $(other_hosts "$1"); do
		relay_start "$1" "$host" $port "$2" || return 1
		relay_rules "$table" $port "$address" | host_run "$host" nft -f - || return 1
	done
}

slow_by_netem() { # HOST MS
	slow_links[$1]=netem
	tc qdisc add dev "weir-$1" root netem delay "$2ms" && host_run "$1" tc qdisc add dev eth0 root netem delay "$2ms"
}

fast_link() { # HOST
	local host pid

	if [ "${slow_links[$1]}" = netem ]; then
		tc qdisc del dev "weir-$1" root
		host_run "$1" tc qdisc del dev eth0 root
	else
		for pid in ${slow_links[$1]}; do
			kill "$pid" && wait "$pid"
		done
		for host in "${hosts[@]}"; do
			host_run "$host" nft delete table ip "slow_${1//-/_}" 2>/dev/null
		done
	fi
	unset "slow_links[$1]"
}

slow_link() { # HOST TIME
	local host ms=${2%ms}

	host=$(host_of "$1")
	[ -z "${slow_links[$host]+slow}" ] || fast_link "$host"
	[ "$ms" -gt 0 ] || return 0
	if can_netem; then
		slow_by_netem "$host" "$ms"
	else
		slow_by_relays "$host" "$ms"
	fi
}

# --- clocks ---

# Where the offset of a network namespace is, in the bytes of an int32_t; see tests/load/clockshift.c.
clock_set() { # NAMESPACE SECONDS
	local bits=$(($2 & 0xffffffff))
	local -a bytes=($((bits & 255)) $((bits >> 8 & 255)) $((bits >> 16 & 255)) $((bits >> 24)))

	# shellcheck disable=SC2059 # that is the number
	printf "$(printf '\\x%02x' "${bytes[@]}")" |
	    dd of="$story_dir/clocks/clock-${1//[!0-9]/}" conv=notrunc status=none
}

clock_is() { # HOST SECONDS
	local ahead

	ahead=$(($(host_run "$1" date +%s) - $(date +%s) - $2))
	[ $ahead -ge -2 ] && [ $ahead -le 2 ]
}

clock_jump() { # HOST SECONDS
	local host

	host=$(host_of "$1")
	clock_set "${host_netns[$host]}" "$2" && clock_is "$host" "$2"
}

clocks_lack() {
	[ -e "$builddir/tests/load/clockshift.so" ] || echo "tests/load/clockshift.so is not built"
	ldd "$(command -v weir-server)" | grep -q 'lib[at]san' && echo "the library of a sanitizer wants to be the first"
	return 0
}

# Until the certificates are made, it is yesterday here: where the clock is set back, those of today are
# not valid yet.
hosts_clocks() {
	local host

	mkdir "$story_dir/clocks"
	for host in "${hosts[@]}"; do
		clock_set "${host_netns[$host]}" 0
	done
	clock_set "$(readlink /proc/self/ns/net)" -86400
	cp "$builddir/tests/load/clockshift.so" "$story_dir/clocks/" && cp -a /etc "$story_dir/etc" &&
	    echo "$story_dir/clocks/clockshift.so" >"$story_dir/etc/ld.so.preload" &&
	    mount --bind "$story_dir/etc" /etc
}

# --- faults of hosts ---

# The programs of a host that is off wait at the door (host_door).
power_cut() {
	local host

	host=$(host_of "$1")
	touch "$story_dir/off/$host"
	signal_host STOP "$host"
	signal_host KILL "$host"
}

power_on() {
	rm -f "$story_dir/off/$(host_of "$1")"
}

# --- faults of PostgreSQL ---

postmaster_of() {
	head -n 1 "$data/disks/$1/data/postmaster.pid" 2>/dev/null
}

# The postmaster first, so that no child is born any more.
signal_postgres() {
	local signal=$1 pid

	pid=$(postmaster_of "$2")
	[ -n "$pid" ] || return 1
	kill "-$signal" "$pid"
	# shellcheck disable=SC2046 # a word each
	kill "-$signal" $(pgrep --parent "$pid") 2>/dev/null
	return 0
}

stop_postgres() {
	local -A signals=([smart]=TERM [fast]=INT [immediate]=QUIT)

	kill "-${signals[$2]}" "$(postmaster_of "$1")"
}

postgres_runs() {
	local pid

	pid=$(postmaster_of "$1")
	[ -n "$pid" ] && [ -e "/proc/$pid" ]
}

# A file that takes what there is.
fill_disk() {
	dd if=/dev/zero of="$data/disks/$1/ballast" bs=64k status=none 2>/dev/null
	[ "$(df --output=avail "$data/disks/$1" | tail -n 1)" -eq 0 ]
}

when_on_host() {
	case $1 in
	cut) check "$2 is cut from ${*:4}" cut_hosts both "${@:2}" ;;
	cut-one-way) check "what $2 sends to ${*:4} is lost" cut_hosts one-way "${@:2}" ;;
	loss) check "$3 % of the packets of $2 are lost" lose_packets "$2" "$3" ;;
	slow-link) check "the link of $2 takes $3" slow_link "$2" "$3" ;;
	heal) check "the network is whole" heal_all ;;
	clock-jump) check "the clock of $2 is $3 s ahead" clock_jump "$2" "$3" ;;
	freeze) signal_host STOP "$(host_of "$2")" ;;
	thaw) signal_host CONT "$(host_of "$2")" ;;
	freeze-postgres) check "PostgreSQL of $2 freezes" signal_postgres STOP "$2" ;;
	thaw-postgres) check "PostgreSQL of $2 thaws" signal_postgres CONT "$2" ;;
	kill-postmaster) check "the postmaster of $2 is killed" kill -9 "$(postmaster_of "$2")" ;;
	stop-postgres) check "PostgreSQL of $2 is told to stop, $3" stop_postgres "$2" "$3" ;;
	power-cut) power_cut "$2" ;;
	power-on) power_on "$2" ;;
	fill-disk) check "the disk of $2 is full" fill_disk "$2" ;;
	free-disk) rm "$data/disks/$2/ballast" ;;
	*) echo "Bail out! when what? $*"; exit 99 ;;
	esac
}

# --- the cluster file, certificates, programs ---

list_names() { # PREFIX COUNT
	local i

	for ((i = 1; i <= $2; i++)); do
		echo "$1-$i"
	done
}

hosts_cluster_file() {
	local name i

	cat <<-EOT
	cluster:
	  name: story
	  keys: keys
	  database: weir
	  database_ca: ca.pem
	  rw_password: secrets/rw
	  ro_password: secrets/ro
	  agent_password: secrets/agent
	  scram_iterations: 1
	  quorum: $((databases > 1))
	balancers:
	EOT
	for ((i = 1; i <= balancers; i++)); do
		printf -- '  - {name: balancer-%d, https: "%s.10:%d", http: "%s.10:%d", link: "%s.10:%d", workers: 1,' \
		    "$i" "$net" $((442 + i)) "$net" $((79 + i)) "$net" $((600 + 16 * i))
		printf ' certificate: tls/balancer.pem, certificate_key: tls/balancer.key,'
		printf ' ticket_key: secrets/ticket.key, request_timeout: %ds}\n' "$deadline"
	done
	echo "servers:"
	for name in $(list_names server "$servers"); do
		echo "  - {name: $name, http: \"$(address_of "$name"):80\", workers: 1, modules: [guestbook, probe]}"
	done
	echo "databases:"
	for name in $(list_names db "$databases"); do
		printf '  - {name: %s, address: "%s:5432", data: "%s/data", initial: %s,' "$name" \
		    "$(address_of "$name")" "$data/disks/$name" "$([ "$name" = db-1 ] && echo primary || echo replica)"
		echo ' certificate: tls/db.pem, certificate_key: tls/db.key, admin_password: secrets/admin}'
	done
	echo "monitors:"
	for name in $(list_names monitor "$monitors"); do
		printf '  - {name: %s, http: "%s:90", feed: "%s:91", collect: "%s:92", control: "%s:93"}\n' \
		    "$name" "$(address_of "$name")" "$(address_of "$name")" "$(address_of "$name")" "$(address_of "$name")"
	done
	echo "  - {name: console, http: \"$net.1:90\", feed: \"$net.1:91\", collect: \"$net.1:92\"}"
}

# weir up makes certificates for this machine only, and keeps those that are there.
hosts_certificates() {
	local tls=$data/tls name alt=IP:127.0.0.1 host

	for host in "${hosts[@]}"; do
		alt=$alt,IP:$(address_of "$host")
	done
	mkdir "$tls" && chmod 700 "$tls" || return 1
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -days 90 -subj "/CN=story CA" \
	    -keyout "$tls/ca.key" -out "$tls/ca.pem" || return 1
	for name in balancer db; do
		openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -days 90 -subj "/CN=$name" \
		    -CA "$tls/ca.pem" -CAkey "$tls/ca.key" -addext "subjectAltName=$alt,DNS:localhost" \
		    -addext basicConstraints=critical,CA:FALSE -keyout "$tls/$name.key" -out "$tls/$name.pem" || return 1
	done
}

# In place of a program beside weir: wait until the host has power, then be the program, there. Its
# standard input is the lifeline that weir up gives its nodes.
host_door() {
	cat <<-EOT
	#!/bin/bash
	for word; do
		[ "\$before" = --name ] && node=\$word
		before=\$word
	done
	host=\$(sed -n "s/^\$node //p" "$story_dir/bin/hosts")
	while [ -e "$story_dir/off/\${host%% *}" ]; do
		read -rt 0.1
		[ \$? -gt 128 ] || exit 1
	done
	exec nsenter --net="/proc/\${host##* }/ns/net" -- "$(command -v "$1")" "\$@"
	EOT
}

hosts_programs() {
	local program node

	mkdir -p "$story_dir/bin" "$story_dir/off"
	cp "$(command -v weir)" "$story_dir/bin/weir" && ln -s "$srcdir/sql" "$story_dir/bin/sql" || return 1
	for program in weir-balancer weir-server weir-dbnode weir-monitor; do
		host_door "$program" >"$story_dir/bin/$program"
		chmod 755 "$story_dir/bin/$program"
	done
	for node in $(list_names balancer "$balancers") $(list_names server "$servers") \
	    $(list_names db "$databases") $(list_names monitor "$monitors"); do
		echo "$node $(host_of "$node") ${holder[$(host_of "$node")]}"
	done >"$story_dir/bin/hosts"
	echo "console console 1" >>"$story_dir/bin/hosts"
}

# A disk of its own for each database, of so many MiB; a folder, when there is no word of it.
hosts_disks() {
	local name

	for name in $(list_names db "$databases"); do
		mkdir -p "$data/disks/$name"
		[ "$1" = 0 ] || mount -t tmpfs -o "size=$1m,mode=755" story "$data/disks/$name" || return 1
	done
}

# The rest goes with the namespaces.
hosts_clean() {
	[ -z "${WEIR_STORY_INSIDE-}" ] || umount -l "$data"/disks/* 2>/dev/null
	[ ! -d "$story_dir/clocks" ] || umount -l /etc 2>/dev/null
}

given_hosts() {
	local host lack

	command -v initdb >/dev/null || skip_all "PostgreSQL's programs are not installed"
	if has_key clocks "$@" && lack=$(clocks_lack) && [ -n "$lack" ]; then
		skip_all "$lack"
	fi
	balancers=$(value_of balancers 2 "$@") servers=$(value_of servers 2 "$@")
	databases=$(value_of databases 3 "$@") monitors=$(value_of monitors 1 "$@")
	mapfile -t hosts < <(echo lb; list_names app "$servers"; list_names mon "$monitors"; list_names db "$databases")
	declare -gA holder=() host_netns=() slow_links=()
	ip link set dev lo up
	ip link add name weir type bridge
	ip link set dev weir up
	ip addr add "$net.1/24" dev weir
	check "the bridge has its rules" net_rules
	for host in "${hosts[@]}"; do
		host_make "$host"
	done
	mkdir -p "$data"
	has_key clocks "$@" && check "each host has a clock" hosts_clocks
	check "there are certificates" hosts_certificates
	[ ! -d "$story_dir/clocks" ] || clock_set "$(readlink /proc/self/ns/net)" 0
	check "there are disks" hosts_disks "$(value_of disk 0 "$@")"
	check "there are programs" hosts_programs
	hosts_cluster_file >"$data/cluster.yaml"
	"$story_dir/bin/weir" up --dir "$data" >"$story_dir/up.log" 2>&1 &
	story_up=$!
	eventually 120 is_up
	check "a cluster of ${#hosts[@]} hosts is up" grep -q '^weir is up: ' "$story_dir/up.log"
	grep -q '^weir is up: ' "$story_dir/up.log" || story_end
	https=$(endpoint .https)
	http=$(endpoint .http)
	# shellcheck disable=SC2034 # for the stories
	monitor=$(endpoint .monitor)
	promoters=()
	for name in $(list_names monitor "$monitors"); do
		promoters+=("http://$(address_of "$name"):90")
	done
}

# --- load with a history ---
#
#	start_history [OPTION...]    weir-load history beside what comes, until end_history
#	mark NAME | mark calm        a fault begins, or ends: for the gaps
#	goes_on "what" [SECONDS]     writes succeed again
#	end_history                  the load ends; then the judges speak

start_history() {
	mkfifo "$story_dir/marks"
	history=$story_dir/history
	# It is ended by the story; its own time only bounds it. The pauses of its clients leave some of a small
	# machine to those who have to fail over.
	start_load history history --log "$history" --marks "$story_dir/marks" --deadline $deadline --clients 16 --pause 20 \
	    --seconds 600 --limit 3600 "$@"
	check "clients write and read" eventually 60 acknowledged_since 0 50
}

mark() {
	load_runs && echo "mark $1" >"$story_dir/marks"
}

# Writes, in what the history has got since it had so many bytes. It becomes long.
acknowledged() { # BYTES
	tail -c "+$(($1 + 1))" "$history" | awk '$1 ~ /^(message|counter|register)$/ && $6 ~ /^2/ { n++ } END { print n + 0 }'
}

acknowledged_since() { # BYTES COUNT
	[ -s "$history" ] && [ "$(acknowledged "$1")" -ge "$2" ]
}

history_size() {
	stat -c %s "$history"
}

goes_on() {
	check "writes go on after $1" eventually "${2:-20}" acknowledged_since "$(history_size)" 50
}

end_history() {
	check "the clients were there all the time, and come to their end" end_load
	note "$(cat "$story_dir/history.json")"
	check "the rows can be read" eventually 20 dump_rows
	check "every acknowledged write is there once, and no other twice" \
	    "$srcdir/tests/load/judge" "$history" "$story_dir/rows"
	note "$(tail -n 1 "$story_dir/check.out")"
	check "no read was stale" "$srcdir/tests/load/judge-reads" "$history" "$story_dir/rows"
	note "$(tail -n 1 "$story_dir/check.out")"
	"$srcdir/tests/load/gaps" "$history" >"$story_dir/gaps"
	note "gaps of writes and reads in ms, failed requests:"
	note "$(cat "$story_dir/gaps")"
	[ -z "${WEIR_STORY_HISTORY-}" ] || cp "$history" "$story_dir/rows" "$WEIR_STORY_HISTORY"
}

# In no fault did writes, reads stop for longer than so many milliseconds.
gaps_are_below() {
	cat "$story_dir/gaps"
	awk -v writes="$1" -v reads="$2" '$1 == "all" && $NF > ($2 == "writes" ? writes : reads) { bad = 1 }
		$1 == "all" { n++ } END { exit bad || n != 2 }' "$story_dir/gaps"
}

# --- what is usual after a fault ---

# What befalls the leader comes next.
fault() { # NAME
	remember_leader
	mark "$1"
}

# It moved, writes go on, and by and by everything is as before.
moved() { # "what" [NODE THAT COMES BACK]
	new_leader 20
	goes_on "$1"
	mark calm
	[ $# -lt 2 ] || rejoins "$2"
}

# The usual end: nobody saw a failure, and no fault stopped the writes for long.
good_end() { # [WRITE-GAP-MS READ-GAP-MS]
	end_history
	check "no request failed" load_is history '.failed == 0'
	check "writes stopped for less than ${1:-8000} ms, reads for less than ${2:-4000}" gaps_are_below "${1:-8000}" "${2:-4000}"
}

# For a while, in which something that must not happen would have happened. This is no waiting for a result.
let_pass() { # SECONDS
	read -rt "$1" <> <(:) || :
}

# shellcheck shell=bash
# bench/lib.sh - the words that the measurements share: options, a private folder, processes that
# end with the script, Weir's cluster, one run of a client, medians, tables and verdicts.
#
# A run is one line of $BENCH_TMP/runs, tab-separated:
#   label  requests/s  chain-us  database-us  client-us  p50-us  p99-us  errors  others
# where the three middle ones are CPU microseconds per request (or "-") and others is the share of
# the machine that programs outside the measurement took. Medians over the rounds have the same
# columns, and the spread of requests/s behind them.

BENCH_ROOM=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
BENCH_SECONDS=5
BENCH_ROUNDS=3
BENCH_DIR=
BENCH_BIN=
BENCH_WEIR=
BENCH_PIDS=()
BENCH_PORT=
BENCH_TMP=
BENCH_STARTED_CLUSTER=
BENCH_STOLEN=
BENCH_TICK=$(getconf CLK_TCK)

# ---- words for people ----------------------------------------------------------------------

bench_die() {
	echo "${0##*/}: $*" >&2
	exit 1
}

bench_wrong() {
	echo "${0##*/}: $*; see --help" >&2
	exit 2
}

bench_say() {
	echo "# $*"
}

bench_options_help() {
	cat <<EOT
  --seconds N  length of one run (default $BENCH_SECONDS)
  --rounds N   rounds; every contender runs once a round, medians count (default $BENCH_ROUNDS)
  --dir DIR    measure the cluster that 'weir up --dir DIR' runs
               (default: start a private one and stop it afterwards)
  --weir PROG  the weir program (default: of this tree, else of PATH)
  --bin DIR    where the bench programs were built (default: of this tree)
  --help       this text
Exit status: 0 measured (whatever the verdicts say), 1 could not measure, 2 wrong usage.
EOT
}

# ---- options ---------------------------------------------------------------------------------

bench_whole() { # OPTION TEXT MAX
	case $2 in
	'' | *[!0-9]* | 0*) bench_wrong "$1 wants a whole number from 1 to $3, not '$2'" ;;
	esac
	if [ "${#2}" -gt 6 ] || [ "$2" -gt "$3" ]; then
		bench_wrong "$1 wants at most $3, not '$2'"
	fi
}

# Take one of the common options. The caller shifts two.
bench_option() {
	[ $# -ge 2 ] || bench_wrong "$1: unknown, or its value is missing"
	case $1 in
	--seconds) bench_whole "$1" "$2" 600 && BENCH_SECONDS=$2 ;;
	--rounds) bench_whole "$1" "$2" 100 && BENCH_ROUNDS=$2 ;;
	--dir) BENCH_DIR=$2 ;;
	--weir) BENCH_WEIR=$2 ;;
	--bin) BENCH_BIN=$2 ;;
	*) bench_wrong "$1: unknown" ;;
	esac
}

bench_need() { # PROGRAM...
	local program
	for program; do
		command -v "$program" >/dev/null ||
			bench_die "$program is missing; on Debian: apt-get install $(bench_package "$program")"
	done
}

bench_package() { # PROGRAM
	case $1 in
	psql) echo postgresql-client ;;
	pgbench) echo postgresql-contrib ;;
	nginx) echo nginx-light ;;
	*) echo "$1" ;;
	esac
}

# The path of a program that the build made.
bench_program() { # NAME
	local dir
	for dir in "$BENCH_BIN" "$BENCH_ROOM" bench "$BENCH_ROOM/../build/bench"; do
		if [ -n "$dir" ] && [ -x "$dir/$1" ]; then
			echo "$dir/$1"
			return
		fi
	done
	bench_die "no $1 found; build the tree first, or tell --bin"
}

bench_weir() {
	local program
	for program in "$BENCH_WEIR" "$BENCH_ROOM/../weir" ./weir "$BENCH_ROOM/../build/weir"; do
		if [ -n "$program" ] && [ -x "$program" ]; then
			echo "$program"
			return
		fi
	done
	command -v weir || bench_die "no weir found; build the tree first, or tell --weir"
}

# ---- begin and end ---------------------------------------------------------------------------

bench_begin() {
	BENCH_TMP=$(mktemp -d "${TMPDIR:-/tmp}/weir-bench.XXXXXX") || exit 1
	# PostgreSQL's unprivileged user has to pass through to its data
	chmod 711 "$BENCH_TMP"
	trap bench_end EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	: >"$BENCH_TMP/runs"
}

# The script that sources this may define bench_before_end, to tidy up what it measured on.
bench_end() {
	local status=$?
	trap '' INT TERM HUP
	declare -F bench_before_end >/dev/null && bench_before_end
	bench_cluster_stop
	bench_stop
	rm -rf "$BENCH_TMP"
	exit "$status"
}

# Start a program in the background; it ends with this script. Its output is in $BENCH_TMP/NAME.log.
bench_spawn() { # NAME COMMAND...
	local name=$1
	shift
	"$@" >"$BENCH_TMP/$name.log" 2>&1 </dev/null &
	BENCH_PID=$!
	BENCH_PIDS+=("$BENCH_PID")
}

bench_stop() {
	local pid
	for pid in "${BENCH_PIDS[@]}"; do
		bench_stop_one "$pid"
	done
	BENCH_PIDS=()
}

bench_stop_one() { # PID
	local i
	kill -TERM "$1" 2>/dev/null || return 0
	for i in {1..300}; do
		kill -0 "$1" 2>/dev/null || return 0
		sleep 0.05
	done
	echo "${0##*/}: process $1 did not stop in 15 s (try $i), killed" >&2
	kill -KILL "$1" 2>/dev/null
}

# Wait until the log of a program has a line that starts so; print the line.
bench_wait_line() { # NAME PID SECONDS START
	local end=$((SECONDS + $3)) line
	while [ "$SECONDS" -le "$end" ]; do
		line=$(grep -m1 "^$4" "$BENCH_TMP/$1.log") && echo "$line" && return
		kill -0 "$2" 2>/dev/null || break
		sleep 0.05
	done
	echo "${0##*/}: $1 did not start; the end of what it said:" >&2
	tail -n 20 "$BENCH_TMP/$1.log" >&2
	return 1
}

bench_wait_port() { # NAME PID PORT
	local end=$((SECONDS + 10))
	while [ "$SECONDS" -le "$end" ] && kill -0 "$2" 2>/dev/null; do
		(exec 3<>"/dev/tcp/127.0.0.1/$3") 2>/dev/null && return
		sleep 0.05
	done
	echo "${0##*/}: $1 does not listen; the end of what it said:" >&2
	tail -n 20 "$BENCH_TMP/$1.log" >&2
	exit 1
}

# Start one of our peers, which choose a port by themselves; sets BENCH_PID and BENCH_PORT.
bench_spawn_peer() { # NAME ARGUMENT...
	local name=$1 program line
	shift
	program=$(bench_program "$name") || exit 1
	bench_spawn "$name" "$program" "$@"
	line=$(bench_wait_line "$name" "$BENCH_PID" 10 listening) || exit 1
	# shellcheck disable=SC2034 # the scripts that source this read it
	BENCH_PORT=${line#listening }
}

# ---- the machine ------------------------------------------------------------------------------

bench_machine() {
	local load
	bench_say "$(nproc) cores of $(awk -F': ' '/^model name/ { print $2; exit }' /proc/cpuinfo)," \
	    "Linux $(uname -r)"
	read -r load _ </proc/loadavg
	awk -v load="$load" -v cores="$(nproc)" 'BEGIN { exit !(load > cores / 4) }' &&
		bench_say "warning: load average $load before the start; other programs disturb the numbers"
	BENCH_STOLEN=$(bench_stolen)
}

# Ticks that the hypervisor gave to others, and all ticks, since the machine started.
bench_stolen() {
	awk '$1 == "cpu" { for (i = 2; i <= 9; i++) all += $i; print $9, all; exit }' /proc/stat
}

# How the numbers came to be: below each table.
bench_explain() {
	bench_say "medians of $BENCH_ROUNDS rounds of $BENCH_SECONDS s; spread: of req/s over them;" \
	    "others: share of the machine that other programs took"
	awk -v before="$BENCH_STOLEN" -v after="$(bench_stolen)" 'BEGIN {
		split(before, b, " "); split(after, a, " ")
		share = a[2] > b[2] ? 100 * (a[1] - b[1]) / (a[2] - b[2]) : 0
		if (share >= 1)
			printf "# warning: the hypervisor took %.0f %% of the machine; CPU times include it\n", share
	}'
}

# CPU ticks used so far by each group of process trees. The last number is what all
# programs of the machine used. A child that ended counts in its parent, so nothing is lost when a
# PostgreSQL backend comes and goes; but one that ends between the reading of its parent and its own
# would be, so two readings in a row have to see the same processes.
bench_ticks() { # PIDS...   (each argument is one group of process ids)
	local now last=none try
	for try in {1..100}; do
		now=$(bench_ticks_once "$@")
		[ "${now#*;}" != "$last" ] || break
		last=${now#*;}
		sleep 0.02
	done
	[ "$try" -lt 100 ] ||
		echo "${0##*/}: processes come and go all the time: CPU times are rough" >&2
	echo "${now%;*}"
}

bench_ticks_once() { # PIDS...   (prints the ticks; and then what tells the processes apart)
	cat /proc/stat /proc/[0-9]*/stat 2>/dev/null | awk -v groups="$(printf '%s|' "$@")" '
	$1 == "cpu" { all = $2 + $3 + $4 + $7 + $8 + $9 } # all but idle and waiting
	/^[0-9]+ \(/ {
		pid = $1
		sub(/^.*\) /, "") # the name may hold spaces and brackets
		parent[pid] = $2
		used[pid] = $12 + $13 + $14 + $15
	}
	function top(pid, roots, depth) {
		for (depth = 0; depth < 50 && pid > 1; depth++) {
			if (index(roots, " " pid " "))
				return 1
			pid = parent[pid]
		}
		return 0
	}
	END {
		n = split(groups, group, "|") - 1
		for (i = 1; i <= n; i++) {
			sum = 0
			for (pid in parent)
				if (group[i] != "" && top(pid, " " group[i] " ")) {
					sum += used[pid]
					count++
					ids += pid
				}
			printf "%d ", sum
		}
		printf "%d;%d %d\n", all, count, ids
	}'
}

# A process and what descends from it, without PostgreSQL's.
bench_family() { # PID
	cat /proc/[0-9]*/stat 2>/dev/null | awk -v root="$1" '
	{
		pid = $1
		name = $0
		sub(/^[0-9]+ \(/, "", name)
		sub(/\) [A-Z] .*$/, "", name)
		sub(/^.*\) /, "")
		if (name != "postgres" || pid == root)
			parent[pid] = $2
	}
	END {
		for (pid in parent) {
			up = pid
			for (depth = 0; depth < 50 && up > 1 && up != root; depth++)
				up = parent[up]
			if (up == root)
				print pid
		}
	}'
}

# ---- Weir's cluster ---------------------------------------------------------------------------

# Start a private cluster, or take the one that --dir names. Sets BENCH_DIR.
bench_cluster_start() { # ARGUMENT...   (of weir up)
	local weir ports base
	if [ -n "$BENCH_DIR" ]; then
		[ -f "$BENCH_DIR/endpoints.json" ] ||
			bench_die "$BENCH_DIR/endpoints.json is missing: no cluster runs there"
		return
	fi
	weir=$(bench_weir) || exit 1
	ports=$(bench_program free_ports) || exit 1
	base=$("$ports" -s 1000) || exit 1
	BENCH_DIR=$BENCH_TMP/cluster
	BENCH_STARTED_CLUSTER=yes
	bench_say "starting a cluster: weir up --port-base $base $*"
	bench_spawn weir-up "$weir" up --dir "$BENCH_DIR" --port-base "$base" "$@"
	bench_wait_line weir-up "$BENCH_PID" 180 'weir is up' >/dev/null || exit 1
}

bench_cluster_stop() {
	[ -n "$BENCH_STARTED_CLUSTER" ] || return 0
	BENCH_STARTED_CLUSTER=
	timeout 60 "$(bench_weir)" down --dir "$BENCH_DIR" >"$BENCH_TMP/weir-down.log" 2>&1 ||
		cat "$BENCH_TMP/weir-down.log" >&2
}

bench_endpoint() { # JQ-EXPRESSION
	jq -er "$1" "$BENCH_DIR/endpoints.json" ||
		bench_die "$BENCH_DIR/endpoints.json has no $1"
}

bench_status() {
	timeout 20 "$(bench_weir)" status --json --dir "$BENCH_DIR" ||
		bench_die "weir status --dir $BENCH_DIR does not answer"
}

# Process ids of the nodes that the jq condition selects, in one line.
bench_pids() { # JQ-CONDITION
	local pids
	pids=$(bench_status | jq -r "[.nodes[] | select(.pid != null and ($1)) | .pid] | join(\" \")")
	[ -n "$pids" ] || bench_die "weir status shows no process for: $1"
	echo "$pids"
}

# Ask once, so that a wrong chain fails before it is measured.
bench_check() { # LABEL URL
	local status
	status=$(curl -ksS -m 10 -o "$BENCH_TMP/answer" -w '%{http_code}' "$2") ||
		bench_die "$1: $2 does not answer"
	[ "$status" = 200 ] || bench_die "$1: $2 answers $status, not 200"
}

bench_tls() { # URL   (protocol and cipher that a client with OpenSSL gets)
	local host=${1#https://}
	host=${host%%/*}
	openssl s_client -connect "$host" -servername "${host%:*}" </dev/null 2>/dev/null |
		awk '/^New, / { print $2 $5; exit }' | tr ',' ' '
}

# ---- one run ----------------------------------------------------------------------------------

# Run wrk once with keep-alive connections and note the numbers.
# BENCH_CHAIN and BENCH_DATABASES are the process ids whose CPU time counts.
bench_wrk() { # LABEL CONNECTIONS URL WRK-ARGUMENT...
	local label=$1 connections=$2 url=$3 before after out=$BENCH_TMP/wrk.out
	local TIMEFORMAT='%U %S'
	shift 3
	before=$(bench_ticks "$BENCH_CHAIN" "$BENCH_DATABASES")
	{ time timeout "$((BENCH_SECONDS + 30))" wrk -t1 -c"$connections" -d"${BENCH_SECONDS}s" \
		--latency "$@" "$url" >"$out" 2>&1; } 2>"$BENCH_TMP/time" ||
		bench_die "$label: wrk failed: $(tail -n 3 "$out")"
	after=$(bench_ticks "$BENCH_CHAIN" "$BENCH_DATABASES")
	awk -v label="$label" -v tick="$BENCH_TICK" -v before="$before" -v after="$after" \
	    -v client="$(cat "$BENCH_TMP/time")" -v databases="$BENCH_DATABASES" \
	    -v whole="$((BENCH_TICK * $(nproc) * BENCH_SECONDS))" '
	function micro(text) {
		if (text ~ /us$/) return text + 0
		if (text ~ /ms$/) return text * 1000
		if (text ~ /m$/) return text * 60000000
		return text * 1000000
	}
	$1 == "50%" { p50 = micro($2) }
	$1 == "99%" { p99 = micro($2) }
	$2 == "requests" && $3 == "in" { requests = $1 }
	/Socket errors/ { gsub(",", ""); errors += $4 + $6 + $8 + $10 }
	/Non-2xx/ { errors += $NF }
	/^Requests\/sec/ { rate = $2 }
	END {
		if (requests < 1)
			exit 1
		split(before, b, " "); split(after, a, " "); split(client, c, " ")
		database = databases == "" ? "-" : (a[2] - b[2]) / tick * 1e6 / requests
		printf "%s\t%.0f\t%.3f\t%s\t%.3f\t%d\t%d\t%d\t%.0f\n", label, rate,
		    (a[1] - b[1]) / tick * 1e6 / requests, database,
		    (c[1] + c[2]) * 1e6 / requests, p50, p99, errors,
		    100 * (a[3] - b[3] - (a[1] - b[1]) - (a[2] - b[2]) - (c[1] + c[2]) * tick) / whole
	}' "$out" >>"$BENCH_TMP/runs" || bench_die "$label: wrk counted no request: $(cat "$out")"
}

# Run pgbench once; its own CPU time takes the place of the chain's.
bench_pgbench() { # LABEL CLIENTS DSN SCRIPT PGBENCH-ARGUMENT...
	local label=$1 clients=$2 dsn=$3 script=$4 before after out=$BENCH_TMP/pgbench.out
	local TIMEFORMAT='%U %S' threads
	shift 4
	threads=$(nproc)
	[ "$threads" -le "$clients" ] || threads=$clients
	rm -f "$BENCH_TMP"/latency.*
	before=$(bench_ticks "$BENCH_DATABASES")
	{ time timeout "$((BENCH_SECONDS + 30))" pgbench -n -M prepared -c "$clients" -j "$threads" \
		-T "$BENCH_SECONDS" -l --log-prefix="$BENCH_TMP/latency" --sampling-rate=0.1 \
		-f "$script" "$@" "$dsn" >"$out" 2>&1; } 2>"$BENCH_TMP/time" ||
		bench_die "$label: pgbench failed: $(tail -n 3 "$out")"
	after=$(bench_ticks "$BENCH_DATABASES")
	# pgbench notes 0 us when the answer was there before it looked: then its median says nothing
	sort -n -k3,3 "$BENCH_TMP"/latency.* | awk '{ at[NR] = $3; zeros += $3 == 0 }
		END {
			p50 = at[int(NR * 0.5) + 1]
			if (zeros * 100 > NR)
				p50 = "-"
			print p50, at[int(NR * 0.99) + 1]
		}' >"$BENCH_TMP/percentiles"
	awk -v label="$label" -v tick="$BENCH_TICK" -v before="$before" -v after="$after" \
	    -v own="$(cat "$BENCH_TMP/time")" -v latency="$(cat "$BENCH_TMP/percentiles")" \
	    -v whole="$((BENCH_TICK * $(nproc) * BENCH_SECONDS))" '
	/^number of transactions actually processed/ { sub("/.*", "", $NF); requests = $NF }
	/^number of failed transactions/ { errors = $5 }
	/^tps = / { rate = $3 }
	END {
		if (requests < 1)
			exit 1
		split(before, b, " "); split(after, a, " "); split(own, o, " "); split(latency, l, " ")
		printf "%s\t%.0f\t%.3f\t%.3f\t-\t%s\t%d\t%d\t%.0f\n", label, rate,
		    (o[1] + o[2]) * 1e6 / requests, (a[1] - b[1]) / tick * 1e6 / requests,
		    l[1], l[2], errors,
		    100 * (a[2] - b[2] - (a[1] - b[1]) - (o[1] + o[2]) * tick) / whole
	}' "$out" >>"$BENCH_TMP/runs" || bench_die "$label: pgbench counted nothing: $(cat "$out")"
}

# Let a chain open its connections, fault in its memory and prepare its statements.
bench_warm() { # URL WRK-ARGUMENT...
	local url=$1
	shift
	timeout 30 wrk -t1 -c64 -d1s "$@" "$url" >"$BENCH_TMP/warm.out" 2>&1 ||
		bench_die "$url: $(tail -n 3 "$BENCH_TMP/warm.out")"
}

# ---- what came out ----------------------------------------------------------------------------

# Medians per label, in the order of first appearance, into $BENCH_TMP/medians.
bench_medians() {
	awk -F'\t' -v OFS='\t' '
	function median(label, column, n, i, j, v, x) {
		n = rounds[label]
		for (i = 1; i <= n; i++)
			v[i] = value[label, column, i]
		for (i = 1; i <= n; i++)
			if (v[i] == "-")
				return "-"
		for (i = 2; i <= n; i++)
			for (j = i; j > 1 && v[j - 1] + 0 > v[j] + 0; j--) {
				x = v[j]; v[j] = v[j - 1]; v[j - 1] = x
			}
		low = v[1]; high = v[n]
		return n % 2 ? v[(n + 1) / 2] : (v[n / 2] + v[n / 2 + 1]) / 2
	}
	{
		if (!($1 in rounds))
			order[++labels] = $1
		rounds[$1]++
		for (i = 2; i <= NF; i++)
			value[$1, i, rounds[$1]] = $i
		failed[$1] += $8
	}
	END {
		for (k = 1; k <= labels; k++) {
			label = order[k]
			line = label
			rate = median(label, 2)
			spread = rate > 0 ? 100 * (high - low) / rate : 0
			for (i = 2; i <= 7; i++)
				line = line OFS median(label, i)
			print line, failed[label], sprintf("%.0f%%", median(label, 9)), sprintf("%.0f%%", spread)
		}
	}' "$BENCH_TMP/runs" >"$BENCH_TMP/medians"
}

bench_labels() {
	cut -f1 "$BENCH_TMP/medians"
}

bench_has() { # LABEL
	bench_labels | grep -qxF "$1"
}

# One number of the medians: rate chain database client p50 p99 errors others spread, or cost
# (chain and database together).
bench_value() { # LABEL NAME
	awk -F'\t' -v label="$1" -v name="$2" '
	BEGIN {
		n = split("label rate chain database client p50 p99 errors others spread", names, " ")
		for (i = 1; i <= n; i++)
			column[names[i]] = i
	}
	$1 == label {
		value = name == "cost" ? $3 + $4 : $column[name]
		if (value ~ /^[0-9.]+$/ && (name == "chain" || name == "database" || name == "client"))
			value = sprintf("%.1f", value)
		else if (value ~ /^[0-9.]+$/ && name == "cost")
			value = sprintf("%.2f", value)
		else if (value ~ /^[0-9.]+$/)
			value = sprintf("%.0f", value)
		print value
	}' "$BENCH_TMP/medians"
}

bench_ratio() { # LABEL BASE NAME   (prints "-" when one of them was not measured)
	awk -v a="$(bench_value "$1" "$3")" -v b="$(bench_value "$2" "$3")" 'BEGIN {
		if (a == "" || b + 0 == 0) print "-"; else printf "%.2f\n", a / b }'
}

# Align tab-separated lines: the first column to the left, the others to the right.
bench_columns() {
	awk -F'\t' '
	{
		for (i = 1; i <= NF; i++) {
			cell[NR, i] = $i
			if (length($i) > width[i])
				width[i] = length($i)
		}
		if (NF > columns)
			columns = NF
	}
	END {
		for (r = 1; r <= NR; r++) {
			line = sprintf("%-" width[1] "s", cell[r, 1])
			for (i = 2; i <= columns; i++)
				line = line sprintf("  %" width[i] "s", cell[r, i])
			print line
		}
	}'
}

# A budget, what was measured, and whether that meets it. Text only: no exit status hangs on it.
bench_verdict() { # TEXT VALUE <=|>= LIMIT UNIT
	awk -v text="$1" -v value="$2" -v operator="$3" -v limit="$4" -v unit="${5-}" 'BEGIN {
		word = "not measured"
		if (value ~ /^-?[0-9.]+$/) {
			met = operator == "<=" ? value + 0 <= limit + 0 : value + 0 >= limit + 0
			word = met ? "pass" : "FAIL"
			word = sprintf("measured %s %s: %s", value, unit, word)
		}
		printf "budget: %-60s %s %s %s, %s\n", text, operator, limit, unit, word
	}'
}

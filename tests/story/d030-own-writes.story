# shellcheck shell=bash
# Replicas replay half a second late, yet a client that keeps its cookie reads its own writes, through
# another balancer and another server, at once.
given cluster balancers=2 servers=2 replicas=2
pairs=200 clients=8
[ -n "${WEIR_STORY_LONG-}" ] && pairs=5000 clients=16
when delay db-2 500ms
when delay db-3 500ms

# Each pair is a write at the primary, and a read somewhere.
reads_were_reported() {
	[ $(($(queries_of db-1) + $(queries_of db-2) + $(queries_of db-3))) -ge $((before + 2 * pairs)) ]
}

# The pairs with the cookie, or without it; and where their reads went.
pairs_with() {
	local replicas

	before=$(($(queries_of db-1) + $(queries_of db-2) + $(queries_of db-3)))
	replicas=$(($(queries_of db-2) + $(queries_of db-3)))
	check "$pairs pairs, cookies: $1, come to their end" run_load "$1" pairs --count $pairs --clients $clients --cookies "$1"
	note "$(cat "$story_dir/$1.json")"
	check "the servers have reported them" eventually 10 reads_were_reported
	replicas=$(($(queries_of db-2) + $(queries_of db-3) - replicas))
	note "cookies: $1: $(load_value "$1" .pairs_per_second) pairs/s, the primary served about" \
	    "$((100 * (pairs > replicas ? pairs - replicas : 0) / pairs)) % of the reads"
}

# This one shows that the replicas are late, and that the program can tell.
pairs_with no
check "no pair without its cookie failed" load_is no '.errors == 0'
check "at least half of them are stale" load_is no ".stale >= $pairs / 2"
pairs_with yes
check "no pair with its cookie failed" load_is yes ".errors == 0 and .pairs == $pairs"
check "none of them is stale" load_is yes '.stale == 0'

# The same by hand: what a program without cookies would do.
request POST /messages via=balancer-1 body='{"author":"d030","body":"by hand"}'
location=$(sed -n 's/^[Ll]ocation: //p' <<<"$got_head")
position=$(sed -n 's/^[Ww]eir-[Pp]osition: //p' <<<"$got_head")
check "a write answers with its position" grep -qE '^[0-9A-F]{1,8}-[0-9A-F]{1,8}/[0-9A-F]{1,8}$' <<<"$position"
expect GET "$location" via=balancer-2 header="Weir-Position: $position" status=200 json='.body == "by hand"'
expect GET /whoami header='Weir-Position: nonsense' status=200

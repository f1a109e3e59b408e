# shellcheck shell=bash
# Large bodies stream through; memory stays bounded, however slow the client.
given cluster balancers=1 servers=1 replicas=0
mib=64
[ -n "${WEIR_STORY_LONG-}" ] && mib=1024
bytes=$((mib * 1048576))

# The deadline bounds the time to the start of an answer, not the transfer: all below take longer.
set_option balancer-1 request_timeout 2s
set_option server-1 request_timeout 2s

# The same bytes that GET /bytes/{n} makes: byte i is i mod 251.
pattern() {
	perl -e '$b = pack("C*", 0 .. 250) x 4000; $n = shift;
		for (; $n > 0; $n -= length $b) { print $n < length $b ? substr($b, 0, $n) : $b }' "$1"
}

download() {
	[ "$(fetch --max-time 600 "$https/bytes/$bytes" | sha256sum)" = "$(pattern "$bytes" | sha256sum)" ]
}

upload() {
	local want

	want=$(pattern "$bytes" | sha256sum)
	[ "$(pattern "$bytes" | fetch --max-time 600 -T - -X POST "$https/echo" | sha256sum)" = "$want" ]
}

# Clients that read so slowly that everything between must wait for them.
slow=6
[ -n "${WEIR_STORY_LONG-}" ] && slow=64

slow_download() {
	local want bytes=$((slow * 1048576))

	want=$(pattern $bytes | sha256sum)
	[ "$(fetch --limit-rate 1M --max-time 600 "$https/bytes/$bytes" | sha256sum)" = "$want" ]
}

slow_answer() {
	local want

	want=$(pattern "$bytes" | sha256sum)
	[ "$(pattern "$bytes" | fetch --limit-rate 16M --max-time 600 -T - -X POST "$https/echo" | sha256sum)" = "$want" ]
}

memory_below() {
	local node kib limit=65536

	# A sanitizer's own bookkeeping is not the node's.
	[ -n "$(nm "$builddir/weir-server" 2>/dev/null | grep -m 1 __asan_init)" ] && limit=800000
	for node in balancer-1 server-1; do
		kib=$(rss_kib "$(node_field $node .pid)")
		echo "$node at most $kib KiB"
		[ "$kib" -lt $limit ] || return 1
	done
}

check "$mib MiB down, every byte right" download
check "$mib MiB up and back, every byte right" upload
check "an upload whose answer is taken slowly loses nothing" slow_answer
check "a client that reads 1 MB/s gets every byte" slow_download
check "no node took more than 64 MiB" memory_below
note "$(cat "$story_dir/check.out")"
expect GET /bytes/0 status=200
expect GET /whoami status=200

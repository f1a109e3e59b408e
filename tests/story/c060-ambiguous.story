# shellcheck shell=bash
# Requests that two servers could read differently are refused; nothing is smuggled.
given cluster balancers=1 servers=1 replicas=0
edge=${http#http://}
edge=127.0.0.1:${edge##*:}

refused() {
	check "$2: $1" raw_status "$edge" "$1" "$3"
}

refused 200 "a plain request" 'GET /bytes/3 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'
refused 400 "Content-Length with Transfer-Encoding" 'POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'
refused 400 "differing Content-Length" 'POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello'
refused 400 "a list of Content-Length" 'POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 6\r\n\r\nhello'
refused 400 "a signed Content-Length" 'POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello'
refused 400 "chunked is not the last transfer coding" 'POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n'
refused 501 "an unknown transfer coding" 'POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n'
refused 400 "chunked twice" 'POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n'
refused 400 "space before the colon" 'GET / HTTP/1.1\r\nHost : a\r\n\r\n'
refused 400 "a bare CR" 'GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n'
refused 400 "a folded line" 'GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n'
refused 400 "no Host" 'GET / HTTP/1.1\r\n\r\n'
refused 400 "two Hosts" 'GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n'
refused 505 "HTTP/2.0 in clear text form" 'GET / HTTP/2.0\r\nHost: a\r\n\r\n'
refused 431 "a header over the limit" "GET / HTTP/1.1\r\nHost: a\r\nX: $(head -c 20000 /dev/zero | tr '\0' x)\r\n\r\n"
refused 414 "a target over the limit" "GET /$(head -c 10000 /dev/zero | tr '\0' x) HTTP/1.1\r\nHost: a\r\n\r\n"

pipelined() {
	raw "$edge" 'GET /bytes/3 HTTP/1.1\r\nHost: a\r\n\r\nGET /bytes/3 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n' |
	    grep -ao 'HTTP/1.1 200' | wc -l | grep -qx 2
}
check "two pipelined requests get two answers" pipelined

garbage() {
	local i

	for i in $(seq 20); do
		head -c 2000 /dev/urandom | timeout 10 socat -t 1 - "TCP:$edge" >/dev/null
		head -c 2000 /dev/urandom | timeout 10 socat -t 1 - "TCP:127.0.0.1:$((port_base + 443))" >/dev/null
		head -c 2000 /dev/urandom | timeout 10 socat -t 1 - "TCP:127.0.0.1:$((port_base + 600))" >/dev/null
		head -c 2000 /dev/urandom | timeout 10 socat -t 1 - "TCP:127.0.0.1:$((port_base + 101))" >/dev/null
	done
}
pid=$(node_field balancer-1 .pid)
garbage
check "after garbage on every port the balancer is the same process" node_is balancer-1 .pid "$pid"
expect GET /bytes/3 status=200

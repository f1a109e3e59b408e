#!/bin/sh
# tests/house/zsocks.sh - who sends and receives over ZeroMQ does it by the functions of common/loop.h.
#
# Any such call on a socket takes what its descriptor would have told. A loop that does not know of
# the call waits for what has come already. Others than the loop's own: link/monitor.c has no zsock and
# always reads all there is, cli/watch.c and cli/failover.c have no loop.
cd "${srcdir:-.}" || exit 99
status=0
calls='zmq_(send|send_const|recv|sendmsg|recvmsg|msg_send|msg_recv|poll|proxy)'

for room in common link dbtier server balancer monitor cli; do
	for file in "$room"/*.[ch]; do
		case $file in
		common/loop.c | link/monitor.c | cli/watch.c | cli/failover.c) continue ;;
		esac
		if grep -nHE "(^|[^A-Za-z0-9_])($calls)\(|, ZMQ_EVENTS," "$file"; then
			echo "^ say w_zsock_send(), w_zsock_receive() or w_zsock_catch_up()"
			status=1
		fi
	done
done
exit $status

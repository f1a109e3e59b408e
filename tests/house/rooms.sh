#!/bin/sh
# tests/house/rooms.sh - which room may include what; this table is the rule.
#
# A room includes its own headers and those of common/ freely, others only by their door. Server and
# balancer never include each other. Includes are written "room/header.h"; only config.h, which
# configure makes, belongs to no room.
#
# dbtier/ has three doors: dbtier.h for who runs statements, promoter.h for who hosts the promoter, control.h
# for who speaks to one. They share no callers, and whoever wants one need not see the others.
cd "${srcdir:-.}" || exit 99
status=0

while read -r room may; do
	[ -d "$room" ] || continue
	allowed=$(echo "$may" | sed 's/\./\\./g; s/ /|/g')
	if grep -rnE '^[[:space:]]*#[[:space:]]*include[[:space:]]*"' --include='*.[ch]' "$room" |
	    grep -vE "\"(config\.h\"|$allowed)"; then
		echo "^ $room/ may include only: $may"
		status=1
	fi
done <<EOT
common common/
link link/ common/
dbtier dbtier/ common/
server server/ dbtier/dbtier.h link/link.h common/ include/weir.h
balancer balancer/ link/link.h common/
monitor monitor/ dbtier/dbtier.h dbtier/promoter.h dbtier/control.h common/
cli cli/ balancer/balancer.h server/server.h monitor/monitor.h dbtier/dbtier.h dbtier/promoter.h dbtier/control.h link/link.h common/
examples include/weir.h
EOT
exit $status

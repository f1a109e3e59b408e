#!/bin/sh
# tests/house/prefixes.sh - every global name of a room begins with the room's prefix.
#
# server/ also defines the weir_ names of include/weir.h. Names that the sanitizers add to an object
# begin with two underscores.
status=0
rooms=0

while read -r room prefix; do
	library=${builddir:-.}/$room/lib$room.a
	[ -e "$library" ] || continue
	rooms=$((rooms + 1))
	if nm -gP --defined-only "$library" 2>/dev/null | awk '!/:$/ && NF >= 2 { print $1 }' |
	    grep -vE "^(__|$prefix)"; then
		echo "^ global names in $library must match ^$prefix"
		status=1
	fi
done <<EOT
common w_
link lnk_
dbtier dbt_
server (srv_|weir_)
balancer bal_
monitor mon_
cli cli_
EOT
if [ $rooms -eq 0 ]; then
	echo "no room's library is built in ${builddir:-.}"
	exit 99
fi
exit $status

#!/bin/sh
# tests/house/generated.sh - manual pages tell the options as the programs know them.
#
# PROGRAM --print-options prints roff; the page holds the same lines between two comments:
#	.\" options begin
#	.\" options end
# To bring the pages up to date: tests/house/generated.sh --write (in the build folder).
srcdir=${srcdir:-.}
builddir=${builddir:-.}
work=$(mktemp -d) || exit 99
trap 'rm -rf "$work"' EXIT
status=0

for program in weir-balancer weir-server weir-dbnode weir-monitor; do
	page=$srcdir/docs/man/$program.8
	if ! "$builddir/$program" --print-options >"$work/printed"; then
		echo "$program --print-options failed"
		status=1
		continue
	fi
	if ! grep -q '^\.\\" options begin' "$page" || ! grep -q '^\.\\" options end' "$page"; then
		echo "$page has no place for the options (.\\\" options begin, .\\\" options end)"
		status=1
		continue
	fi
	if [ "${1-}" = --write ]; then
		sed -e "/^\\.\\\\\" options begin/r $work/printed" \
		    -e '/^\.\\" options begin/,/^\.\\" options end/{/^\.\\" options/!d}' \
		    "$page" >"$work/page" && cat "$work/page" >"$page"
	fi
	sed -n '/^\.\\" options begin/,/^\.\\" options end/{/^\.\\" options/!p}' "$page" >"$work/held"
	if ! diff -u "$work/held" "$work/printed"; then
		echo "^ $page differs from $program --print-options"
		status=1
	fi
done
exit $status

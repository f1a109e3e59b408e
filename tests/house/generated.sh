#!/bin/sh
# tests/house/generated.sh - manual pages tell the options as the programs know them.
#
# A page holds what was printed between two comments:
#	.\" options begin SECTION	.\" options end SECTION
# In the page of a role's program the comments name no section, and the program itself prints
# (--print-options); a section is printed by tests/house/print_options, made by make check.
#
# To bring the pages up to date after a change of common/options.h, in the build folder:
#	make check-house; srcdir=.. builddir=. ../tests/house/generated.sh --write
srcdir=${srcdir:-.}
builddir=${builddir:-.}
work=$(mktemp -d) || exit 99
trap 'rm -rf "$work"' EXIT
status=0

# part PAGE BEGIN END: the lines between the two comments
part() {
	awk -v begin="$2" -v end="$3" '$0 == end { on = 0 } on { print } $0 == begin { on = 1 }' "$1"
}

# write PAGE BEGIN END FILE: put the file's lines between the two comments
write() {
	awk -v begin="$2" -v end="$3" -v file="$4" '
		$0 == end { on = 0 }
		!on { print }
		$0 == begin { on = 1; while ((getline line <file) > 0) print line }' "$1" >"$work/page" &&
	    cat "$work/page" >"$1"
}

# compare PAGE SECTION COMMAND...
compare() {
	page=$1
	begin=".\\\" options begin${2:+ }$2"
	end=".\\\" options end${2:+ }$2"
	# awk takes escapes in -v, so each backslash is given twice there.
	awk_begin=$(printf '%s' "$begin" | sed 's/\\/&&/g')
	awk_end=$(printf '%s' "$end" | sed 's/\\/&&/g')
	shift 2
	if ! "$@" >"$work/printed" || ! [ -s "$work/printed" ]; then
		echo "$* failed, or printed nothing"
		status=1
		return
	fi
	if ! grep -qxF "$begin" "$page" || ! grep -qxF "$end" "$page"; then
		echo "$page has no place for the options: $begin, $end"
		status=1
		return
	fi
	[ "$mode" != --write ] || write "$page" "$awk_begin" "$awk_end" "$work/printed"
	part "$page" "$awk_begin" "$awk_end" >"$work/held"
	diff -u "$work/held" "$work/printed" && return
	echo "^ $page differs from what $* prints; see the head of tests/house/generated.sh"
	status=1
}

mode=${1-}
for program in weir-balancer weir-server weir-dbnode weir-monitor; do
	compare "$srcdir/docs/man/$program.8" "" "$builddir/$program" --print-options
done
for section in cluster balancer server database monitor alert; do
	compare "$srcdir/docs/man/weir-cluster.5" $section "$builddir/tests/house/print_options" $section
done
exit $status

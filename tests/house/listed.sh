#!/bin/sh
# tests/house/listed.sh - every file that the build or a distribution needs stands in a local.mk.
#
# A C file that is not listed is silently not compiled, and a story that is not listed never runs.
cd "${srcdir:-.}" || exit 99
status=0

check() { # LOCAL.MK FOLDER FILE...
	makefile=$1
	folder=$2
	shift 2
	for file in "$@"; do
		[ -e "$file" ] || continue
		grep -qF "%D%/${file#"$folder"/}" "$makefile" && continue
		echo "$file is not in $makefile"
		status=1
	done
}

for room in common link dbtier server balancer monitor cli; do
	check $room/local.mk $room $room/*.[ch]
done
check monitor/local.mk monitor monitor/page/*
check examples/local.mk examples examples/*.[ch]
check sql/local.mk sql sql/*.sql
check docs/local.mk docs docs/man/*.[158] docs/*.md docs/protocol/*
check tests/unit/local.mk tests/unit tests/unit/*/*.[ch] tests/unit/*.h
check tests/house/local.mk tests/house tests/house/*.sh
check tests/story/local.mk tests/story tests/story/*.story
check tests/load/local.mk tests/load tests/load/*.[ch] tests/load/*.sh
check tests/fuzz/local.mk tests/fuzz tests/fuzz/*.[ch]

# check-long runs what has a long form, and nothing else.
long=$(sed -n '/^LONG_TESTS/,/^$/s,^.*%D%/\(.*story\).*,tests/story/\1,p' tests/story/local.mk | sort)
if [ "$long" != "$(grep -l WEIR_STORY_LONG tests/story/*.story | sort)" ]; then
	echo "LONG_TESTS in tests/story/local.mk are not the stories that know WEIR_STORY_LONG"
	status=1
fi
exit $status

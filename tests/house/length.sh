#!/bin/sh
# tests/house/length.sh - functions of at most 80 lines, files of at most 1000.
#
# A function is what stands between a brace alone in the first column and the next closing one there;
# tables do not look like that. One that has to be longer says why in a comment: long: because ...
cd "${srcdir:-.}" || exit 99

rooms=
for room in common link dbtier server balancer monitor cli include examples bench tests; do
	[ -d "$room" ] && rooms="$rooms $room"
done
# shellcheck disable=SC2086  # rooms are several words
find $rooms -name '*.[ch]' -print | sort | xargs awk '
	FNR == 1 { name = "?"; start = 0 }
	/^[A-Za-z_].*\(/ { name = $0; sub(/\(.*/, "", name); sub(/.*[ *]/, "", name) }
	/^\{[[:space:]]*$/ { start = FNR; excused = 0 }
	start && /long: because/ { excused = 1 }
	/^\}[[:space:]]*$/ && start {
		if (FNR - start - 1 > 80 && !excused) {
			printf "%s:%d: %s has %d lines\n", FILENAME, start, name, FNR - start - 1
			bad = 1
		}
		start = 0
	}
	FNR == 1001 { printf "%s has more than 1000 lines\n", FILENAME; bad = 1 }
	END { exit bad }'

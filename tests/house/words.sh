#!/bin/sh
# tests/house/words.sh - what the tree must not say: notes to oneself, and calls with better others.
cd "${srcdir:-.}" || exit 99
status=0

folders=
for folder in common link dbtier server balancer monitor cli include examples bench sql docs packaging \
    tests; do
	[ -d "$folder" ] && folders="$folders $folder"
done

# The words are put together here so that this file does not hold them.
notes="TO""DO|FIX""ME|XX""X"
# shellcheck disable=SC2086  # folders are several words
if grep -rnwE --include='*.[ch]' --include='*.sh' --include='*.sql' --include='*.md' --include='*.mk' \
    --include='*.[158]' --include='*.story' --include='*.html' --include='*.js' --include='*.css' \
    "$notes" $folders; then
	echo "^ say it in an issue, or do it"
	status=1
fi

# Shells and unbounded copies: use posix_spawn or uv_spawn, snprintf, w_buf, strtoul. Tests may.
calls='system|popen|strcpy|strcat|sprintf|vsprintf|gets|atoi|atol|mktemp|tmpnam'
# shellcheck disable=SC2086
if grep -rnE --include='*.[ch]' "(^|[^A-Za-z0-9_.>])($calls)\(" ${folders% tests}; then
	echo "^ these calls are not used here"
	status=1
fi
exit $status

#!/bin/sh
# tests/house/shell.sh - shellcheck is content with every script.
cd "${srcdir:-.}" || exit 99
command -v shellcheck >/dev/null || { echo "shellcheck is not installed"; exit 77; }

# Scripts are files that begin like one; stories are read by tests/story/run.
find autogen.sh quickstart .ci tests bench packaging -type f ! -path '*/corpus/*' ! -name '*.story' \
    -exec awk 'FNR == 1 && /^#!.*(sh|bash)$/ { print FILENAME } { nextfile }' {} + | sort |
    xargs shellcheck --severity=warning --external-sources --source-path=SCRIPTDIR

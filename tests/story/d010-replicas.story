# shellcheck shell=bash
# Replicas come and go; reads go on.
given cluster balancers=1 servers=1 replicas=2

role_is() {
	request GET /whoami
	[ "$got_status" = 200 ] && jq -e --arg r "$1" '.role == $r' <<<"$got_body" >/dev/null
}

# Reads without a break, until the file is gone; every status that is not 200 is kept.
reads() {
	touch "$story_dir/reading"
	while [ -e "$story_dir/reading" ]; do
		fetch -o /dev/null -w '%{http_code}\n' "$https/whoami" || echo failed
	done >"$story_dir/reads" 2>&1
}
reads &
story_pids+=($!)
reader=$!

when kill-postgres db-2
check "reads go on at a replica" eventually 5 role_is replica
when stop db-2
when stop db-3
check "without replicas the primary serves reads" eventually 5 role_is primary
when start db-2
check "a replica that is back is used again" eventually 5 role_is replica
when start db-3
rm "$story_dir/reading"
wait "$reader"
all_good() {
	sort "$story_dir/reads" | uniq -c
	[ "$(wc -l <"$story_dir/reads")" -gt 20 ] && ! grep -qvx 200 "$story_dir/reads"
}
check "no read failed in all that" all_good
note "$(cat "$story_dir/check.out")"

# shellcheck shell=bash
# A hundred requests: both servers take half, both replicas serve, the primary takes the writes.
given cluster balancers=1 servers=2 replicas=2

ask_hundred() {
	local i args=()

	for i in $(seq 100); do
		args+=("$https/whoami")
	done
	fetch "${args[@]}" -w '\n' | jq -s -c '.[]' >"$story_dir/whoami"
	[ "$(wc -l <"$story_dir/whoami")" -eq 100 ]
}

share() {
	jq -r ".$1" "$story_dir/whoami" | sort | uniq -c | sort -rn
}

fair() {
	share server
	[ "$(share server | wc -l)" -eq 2 ] && share server | awk '$1 < 48 || $1 > 52 { exit 1 }'
}

only_replicas() {
	share role
	[ "$(share role | awk '{ print $2 }')" = replica ]
}

both_replicas() {
	share database
	[ "$(share database | wc -l)" -eq 2 ] && ! share database | grep -q db-1
}

# A cluster is up when its replicas follow; each server sees that in its own time.
finds_both() {
	ask_hundred && both_replicas
}

check "the servers find both replicas" eventually 10 finds_both
check "a hundred answers" ask_hundred
check "both servers had half of them" fair
check "every read went to a replica" only_replicas
check "both replicas were used" both_replicas
note "$(share server; share database)"

expect POST /messages body='{"author":"Ada","body":"to the primary"}' status=201
id=$(jq -r .id <<<"$got_body")
expect GET "/messages/$id" status=200 within=1
check "one replica shows the row" eventually 1 sql_is db-2 "select body from guestbook.messages where id = $id" "to the primary"
check "and so does the other" eventually 1 sql_is db-3 "select body from guestbook.messages where id = $id" "to the primary"
expect GET /whoami status=200 head='server-timing: '
expect GET /whoami via=http status=200

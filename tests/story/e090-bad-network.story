# shellcheck shell=bash
# Packets are lost, links are slow, a host comes and goes: it may move or not, but nothing is lost, and when
# the network is good again everything is whole.
given hosts
flaps=5
[ -n "${WEIR_STORY_LONG-}" ] && flaps=40
start_history
fault loss
when loss "$old" 5
goes_on "5 % of the primary's packets are lost" 40
when loss "$old" 30
let_pass 3
when heal
goes_on "30 % of them were" 40
mark calm
whole

all_links() { # TIME
	local name

	for name in $(list_names db "$databases"); do
		when slow-link "$name" "$1"
	done
}

# Of all faults of this name.
none_failed_in() { # NAME
	awk -v name="$1" '$1 == name { n++; failed += $4 } END { print n + 0, failed + 0; exit failed > 0 || n == 0 }' "$story_dir/gaps"
}

if can_slow_links; then
	fault slow
	when slow-link "$old" 50ms
	goes_on "the primary is far away"
	when slow-link "$old" 0
	mark calm
	whole
	note "term $old_term to $(term), $old to $(leader)"

	fault slow
	all_links 50ms
	goes_on "all databases are far away" 40
	let_pass "$((flaps * 2))"
	goes_on "they were so for a while" 40
	whole
	note "term $old_term to $(term), $old to $(leader)"
	when heal
	goes_on "they are near again"
	mark calm
	whole
else
	skip "slow links" "this kernel cannot delay packets (netem), nor redirect connections to a relay"
fi

fault flapping
for ((i = 0; i < flaps; i++)); do
	remember_leader
	when cut "$old" from all
	let_pass "0.$((RANDOM % 9 + 1))"
	when heal
	let_pass "0.$((RANDOM % 9 + 1))"
done
goes_on "flapping" 40
mark calm
whole
end_history
[ -z "$(awk '$1 == "slow"' "$story_dir/gaps")" ] || check "no request failed for slow links" none_failed_in slow

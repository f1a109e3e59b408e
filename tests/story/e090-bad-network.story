# shellcheck shell=bash
# Packets are lost, links are slow, a host comes and goes: it may move or not, but nothing is lost, and when
# the network is good again everything is whole.
needs_failover
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

if can_slow_links; then
	fault slow
	when slow-link "$old" 50ms
	goes_on "the primary is far away"
	when slow-link "$old" 0
	mark calm
	whole
else
	skip "slow links" "this kernel cannot delay packets (netem)"
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

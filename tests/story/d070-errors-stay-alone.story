# shellcheck shell=bash
# Statements that fail, on the connection that others' statements share: each error goes to the
# request that it belongs to, and each row to its own.
given cluster balancers=1 servers=1 replicas=1
good=2000 bad=20 rows=500
[ -n "${WEIR_STORY_LONG-}" ] && good=20000 bad=200

sql db-1 "insert into guestbook.messages (author, body) select 'd070', n from generate_series(1, $rows) n"
check "the rows are on the replica" eventually 10 sql_is db-2 "select count(*) from guestbook.messages where author = 'd070'" $rows
first=$(sql db-1 "select min(id) from guestbook.messages where author = 'd070'")

expect GET /divide/7 status=200 json='.quotient == 14'
expect GET /divide/0 status=400
check "$good good ones and $bad bad ones come to their end" run_load mix mix --urls "$http" \
    --good $good --bad $bad --first "$first" --rows $rows --clients 32
note "$(cat "$story_dir/mix.json")"
check "every good one got its own row" load_is mix ".good_ok == $good and .good_crossed == 0 and .good_errors == 0"
check "every bad one got its error" load_is mix ".bad_errors == $bad and .bad_crossed == 0"
check "and nobody else did" load_is mix ".statuses == {\"200\": $good, \"400\": $bad}"

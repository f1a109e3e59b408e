# shellcheck shell=bash
# The guestbook through the balancer, as an application's client sees it.
given cluster balancers=1 servers=1 replicas=1

expect POST /messages body='{"author":"Ada","body":"Hello, river"}' status=201 json='.id >= 1 and .author == "Ada"' head='location: /messages/'
id=$(jq -r .id <<<"$got_body")
expect GET "/messages/$id" status=200 json='.body == "Hello, river"' within=1
expect GET /messages status=200 json='type == "array" or (.messages | type == "array")' within=1
expect PUT "/messages/$id" body='{"author":"Ada","body":"Hello, sea"}' status=200 json='.body == "Hello, sea"'
expect GET "/messages/$id" status=200 json='.body == "Hello, sea"' within=1
expect GET "/messages/$id" via=server-1 status=200 json='.body == "Hello, sea"'
expect HEAD "/messages/$id" status=200
check "a replica has the row" eventually 1 sql_is db-2 "select body from guestbook.messages where id = $id" "Hello, sea"
expect DELETE "/messages/$id" status=204
expect GET "/messages/$id" status=404 head='content-type: application/problem+json' within=1
expect POST /counters/visits status=200 json='.value == 1'
expect POST /counters/visits status=200 json='.value == 2'
expect GET /counters/visits status=200 json='.value == 2' within=1
expect GET / status=200 head='content-type: text/html'

# Bad input is answered, never a crash.
expect POST /messages body='{"author":"Ada"' status=400 head='content-type: application/problem+json'
expect POST /messages body='{"author":"Ada"}' status=400 contains=body
expect POST /messages body='{"author":1,"body":"x"}' status=400 contains=author
expect POST /messages body='[]' status=400
expect POST /messages body='a=b' type=application/x-www-form-urlencoded status=415
expect POST /messages body='{"author":"\u0000","body":"x"}' status=400
expect GET /messages/abc status=400
expect GET /messages/99999999999999999999 status=400
expect GET '/messages?limit=-1' status=400 contains=limit
expect GET /messages/%zz status=400
expect GET /messages/%00 status=400
expect GET /nowhere status=404 head='content-type: application/problem+json'
expect PATCH /messages status=405 head='allow: '
expect DELETE /messages/4611686018427387904 status=404
# Quotes, and what looks like SQL, are text.
expect POST /messages body='{"author":"O'"'"'Brien","body":"x'"'"'); drop table guestbook.messages; --"}' status=201
expect GET /messages status=200 contains="O'Brien" within=1

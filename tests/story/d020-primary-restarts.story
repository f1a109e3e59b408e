# shellcheck shell=bash
# PostgreSQL of the primary dies: writes wait, then go on; nothing hangs.
given cluster balancers=1 servers=1 replicas=1

expect POST /counters/a status=200 json='.value == 1'
pid=$(node_field db-1 .postgres_pid)
when kill-postgres db-1
expect POST /counters/a status=200 within=15
expect GET /whoami status=200
check "PostgreSQL is another process, says the agent's next report" eventually 10 postgres_is_another db-1 "$pid"
when immediate-postgres db-1
expect POST /counters/a status=200 within=15
check "every acknowledged write is there" eventually 5 sql_is db-1 "select value >= 3 from guestbook.counters where name = 'a'" t
when kill db-1
expect POST /counters/a status=200 within=15
expect node db-1 state=up within=15

-- What the tier's promises rest on (docs/protocol/03-promises.md). Plain SQL: `psql -f` loads it too; twice is
-- harmless. To be loaded by a superuser, after 001-weir.sql: weir.timeline_history() reads with its owner's rights.

-- ---- exactly once ----

-- One row per write of a request: what it answered, stored in the transaction of its effect.
create table if not exists weir.replies (
	key text not null,
	nth smallint not null,
	fingerprint bytea not null,
	rows text[],
	created timestamptz not null default now(),
	replays integer not null default 0,
	primary key (key, nth)
);
comment on table weir.replies is 'answers of exactly-once writes, kept for reply_ttl';
comment on column weir.replies.key is 'the request''s Idempotency-Key';
comment on column weir.replies.nth is 'which write of the request';
comment on column weir.replies.fingerprint is 'BLAKE2b of the request''s method, target and body';
comment on column weir.replies.replays is 'how often the answer was given again; the touch makes a replay wait for the standbys';

-- A queue: new rows at one end, old ones deleted at the other, about as fast. Not BRIN, which is smaller: the pages of
-- deleted rows are used again, a range's least time only ever falls, so after one round every range seems to hold old rows.
create index if not exists replies_created on weir.replies (created);

-- A queue's dead rows are a share of its traffic, not of its size: with the usual 20 % a busy table would carry hours of
-- them, and each expiry would step over all of them at the old end of the index. So a fixed number of rows calls the
-- vacuum, which may take its time no longer than the deletions do (no cost delay). Inserts alone call none: it would
-- freeze rows that are gone tomorrow.
alter table weir.replies set (
	autovacuum_vacuum_scale_factor = 0,
	autovacuum_vacuum_threshold = 10000,
	autovacuum_vacuum_cost_delay = 0,
	autovacuum_vacuum_insert_threshold = -1,
	autovacuum_analyze_scale_factor = 0.5,
	toast.autovacuum_vacuum_scale_factor = 0,
	toast.autovacuum_vacuum_threshold = 10000,
	toast.autovacuum_vacuum_cost_delay = 0,
	toast.autovacuum_vacuum_insert_threshold = -1
);

revoke all on weir.replies from public;
grant select, insert, update, delete on weir.replies to weir_rw;

-- Delete at most `most` of the rows that are older than `keep`, the oldest first, and return how many. Any number of
-- servers may call it at once: one works, the others return 0. Rows that somebody replays just now are left for later,
-- so it waits for nobody and nobody waits long for it.
create or replace function weir.expire_replies(keep interval, most integer) returns bigint
language plpgsql volatile strict security invoker set search_path = pg_catalog, pg_temp as $$
declare
	gone bigint;
begin
	if not pg_try_advisory_xact_lock(hashtext('weir.expire_replies')) then
		return 0;
	end if;
	delete from weir.replies where ctid = any (array(
		select ctid from weir.replies where created < now() - keep
		order by created limit greatest(most, 0) for update skip locked));
	get diagnostics gone = row_count;
	return gone;
end
$$;
revoke all on function weir.expire_replies(interval, integer) from public;
grant execute on function weir.expire_replies(interval, integer) to weir_rw;

-- ---- positions ----

-- The history file of a timeline, NULL when there is none (timeline 1 has none). It tells where each older timeline
-- ended, which no view does. The name is made of a number alone, so nothing else can be read.
create or replace function weir.timeline_history(timeline integer) returns text
language sql volatile strict security definer set search_path = pg_catalog, pg_temp as $$
	select pg_read_file('pg_wal/' || lpad(upper(to_hex(timeline)), 8, '0') || '.history', 0, 1048576, true)
$$;
comment on function weir.timeline_history(integer) is 'for the database agents and probing';
revoke all on function weir.timeline_history(integer) from public;
grant execute on function weir.timeline_history(integer) to weir_agent;

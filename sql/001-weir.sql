-- Weir's own schema and the roles of the tier. Plain SQL: `psql -f` loads it too; twice is harmless.
--
-- weir_rw     write lanes: may change what the applications' schemas grant
-- weir_ro     read lanes: may only read, in sessions that are read-only
-- weir_agent  database agents and probing: sees statistics, streams WAL, changes no data
--
-- The roles have no password here. `weir up` sets them; elsewhere: ALTER ROLE ... PASSWORD.

do $$
declare
	role text;
begin
	foreach role in array array['weir_rw', 'weir_ro', 'weir_agent'] loop
		if not exists (select from pg_roles where rolname = role) then
			execute format('create role %I login', role);
		end if;
	end loop;
	-- One session may not undo what the promise of a lane rests on.
	alter role weir_ro set default_transaction_read_only = on;
	alter role weir_rw set synchronous_commit = on;
	alter role weir_rw set idle_in_transaction_session_timeout = '60s';
	if not (select rolreplication from pg_roles where rolname = 'weir_agent') then
		alter role weir_agent replication;
	end if;
	execute format('revoke all on database %I from public', current_database());
	execute format('grant connect on database %I to weir_rw, weir_ro, weir_agent', current_database());
end
$$;

grant pg_monitor to weir_agent;
grant execute on function pg_catalog.pg_promote(boolean, integer) to weir_agent;
revoke create on schema public from public;

create schema if not exists weir;
grant usage on schema weir to weir_rw, weir_ro, weir_agent;

create table if not exists weir.schema_version (
	name text primary key,
	sha256 text not null,
	applied timestamptz not null default now()
);
comment on table weir.schema_version is 'SQL files that weir schema apply has loaded';
grant select on weir.schema_version to weir_rw, weir_ro, weir_agent;

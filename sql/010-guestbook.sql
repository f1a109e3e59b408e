-- The guestbook's tables (examples/guestbook.c). Twice is harmless.
-- Roles weir_rw and weir_ro are those of the cluster file's rw_user and ro_user.

create schema if not exists guestbook;

create table if not exists guestbook.messages (
	id bigint generated always as identity primary key,
	author text not null,
	body text not null,
	created timestamptz not null default now()
);

create table if not exists guestbook.counters (
	name text primary key,
	value bigint not null
);

grant usage on schema guestbook to weir_rw, weir_ro;
grant select, insert, update, delete on all tables in schema guestbook to weir_rw;
grant usage on all sequences in schema guestbook to weir_rw;
grant select on all tables in schema guestbook to weir_ro;

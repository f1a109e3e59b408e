-- What the database agents need for failover (docs/protocol/04-failover.md). Plain SQL: `psql -f` loads it too; twice is
-- harmless. To be loaded by a superuser, after 001-weir.sql. In a cluster whose data the agents made it is there already.

-- pg_rewind reads the files of the new primary by these; a rights list is of one database, and it connects to this one.
grant execute on function pg_catalog.pg_ls_dir(text, boolean, boolean) to weir_agent;
grant execute on function pg_catalog.pg_stat_file(text, boolean) to weir_agent;
grant execute on function pg_catalog.pg_read_binary_file(text) to weir_agent;
grant execute on function pg_catalog.pg_read_binary_file(text, bigint, bigint, boolean) to weir_agent;

-- And it goes by the control file, which tells of a promotion after the next checkpoint.
grant pg_checkpoint to weir_agent;

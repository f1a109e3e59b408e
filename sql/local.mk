# sql/ - schema and grants, applied by weir schema; psql -f loads them too.
dist_sql_DATA = \
	%D%/001-weir.sql \
	%D%/005-promises.sql \
	%D%/006-failover.sql \
	%D%/010-guestbook.sql

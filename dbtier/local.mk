# dbtier/ - the database tier, and the agent beside each PostgreSQL (weir-dbnode).
noinst_LIBRARIES += %D%/libdbtier.a
%C%_libdbtier_a_CPPFLAGS = $(AM_CPPFLAGS) $(PATH_CPPFLAGS) $(PQ_CFLAGS)
%C%_libdbtier_a_SOURCES = \
	%D%/agent.c \
	%D%/agent.h \
	%D%/agent_control.c \
	%D%/agent_files.c \
	%D%/agent_make.c \
	%D%/agent_probe.c \
	%D%/agent_proc.c \
	%D%/agent_reconcile.c \
	%D%/agent_sql.c \
	%D%/agent_sql.h \
	%D%/channel.c \
	%D%/channel.h \
	%D%/conninfo.c \
	%D%/control.c \
	%D%/control.h \
	%D%/dbtier.h \
	%D%/dial.c \
	%D%/dial.h \
	%D%/job.c \
	%D%/lane.c \
	%D%/lane_in.c \
	%D%/once.c \
	%D%/places.c \
	%D%/places.h \
	%D%/pool.c \
	%D%/position.c \
	%D%/probe.c \
	%D%/probe.h \
	%D%/promise.c \
	%D%/promise.h \
	%D%/promoter.c \
	%D%/promoter.h \
	%D%/promoter_cohort.c \
	%D%/promoter_evidence.c \
	%D%/promoter_inner.h \
	%D%/promoter_moves.c \
	%D%/promoter_orders.c \
	%D%/promoter_switch.c \
	%D%/rows.c \
	%D%/rows.h \
	%D%/schema.c \
	%D%/site.c \
	%D%/scram.c \
	%D%/scram.h \
	%D%/sqlstate.c \
	%D%/sqlstate.h \
	%D%/stats.c \
	%D%/stats.h \
	%D%/stmts.c \
	%D%/topology.c \
	%D%/topology.h \
	%D%/topology_log.c \
	%D%/tx.c \
	%D%/wire.c \
	%D%/wire.h \
	%D%/worker.c \
	%D%/worker.h

bin_PROGRAMS += weir-dbnode
weir_dbnode_CPPFLAGS = $(AM_CPPFLAGS) $(PQ_CFLAGS)
weir_dbnode_SOURCES = %D%/main.c
weir_dbnode_LDADD = %D%/libdbtier.a common/libcommon.a $(PQ_LIBS) $(COMMON_LIBS)

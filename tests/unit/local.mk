# tests/unit/ - one CUnit program per room, made of all C files in the room's folder here; two for
# dbtier/: unit-promoter has those who decide, in a simulation, unit-dbtier the rest, with PostgreSQL.
if HAVE_CUNIT
check_PROGRAMS += \
	%D%/unit-common \
	%D%/unit-link \
	%D%/unit-promoter \
	%D%/unit-dbtier \
	%D%/unit-server \
	%D%/unit-balancer \
	%D%/unit-monitor
UNIT_TESTS += \
	%D%/unit-common \
	%D%/unit-link \
	%D%/unit-promoter \
	%D%/unit-dbtier \
	%D%/unit-server \
	%D%/unit-balancer \
	%D%/unit-monitor
endif
EXTRA_DIST += %D%/unit.h

%C%_unit_common_CPPFLAGS = $(AM_CPPFLAGS) $(CUNIT_CFLAGS)
%C%_unit_common_LDADD = common/libcommon.a $(CUNIT_LIBS) $(COMMON_LIBS)
%C%_unit_common_SOURCES = \
	%D%/common/main.c \
	%D%/common/test_arena.c \
	%D%/common/test_buf.c \
	%D%/common/test_cluster.c \
	%D%/common/test_fiber.c \
	%D%/common/test_json.c \
	%D%/common/test_keys.c \
	%D%/common/test_log.c \
	%D%/common/test_loop.c \
	%D%/common/test_metrics.c \
	%D%/common/test_node.c \
	%D%/common/test_view.c

%C%_unit_link_CPPFLAGS = $(AM_CPPFLAGS) $(CUNIT_CFLAGS)
%C%_unit_link_LDADD = link/liblink.a common/libcommon.a $(CUNIT_LIBS) $(COMMON_LIBS)
%C%_unit_link_SOURCES = \
	%D%/link/app.c \
	%D%/link/app.h \
	%D%/link/main.c \
	%D%/link/pair.c \
	%D%/link/pair.h \
	%D%/link/suites.h \
	%D%/link/test_codec.c \
	%D%/link/test_session.c \
	%D%/link/test_wire.c \
	%D%/link/world.c \
	%D%/link/world.h

%C%_unit_dbtier_CPPFLAGS = $(AM_CPPFLAGS) $(CUNIT_CFLAGS) $(PQ_CFLAGS)
%C%_unit_dbtier_LDADD = dbtier/libdbtier.a common/libcommon.a $(CUNIT_LIBS) \
	$(PQ_LIBS) $(COMMON_LIBS)
%C%_unit_dbtier_SOURCES = \
	%D%/dbtier/fixture.c \
	%D%/dbtier/fixture.h \
	%D%/dbtier/main.c \
	%D%/dbtier/suites.h \
	%D%/dbtier/test_agent_live.c \
	%D%/dbtier/test_control.c \
	%D%/dbtier/test_failover.c \
	%D%/dbtier/test_groups.c \
	%D%/dbtier/test_storm.c \
	%D%/dbtier/test_live.c \
	%D%/dbtier/test_meetings.c \
	%D%/dbtier/test_promises.c \
	%D%/dbtier/test_pure.c \
	%D%/dbtier/test_reload.c \
	%D%/dbtier/test_topology_live.c

%C%_unit_promoter_CPPFLAGS = $(AM_CPPFLAGS) $(CUNIT_CFLAGS) $(PQ_CFLAGS)
%C%_unit_promoter_LDADD = dbtier/libdbtier.a common/libcommon.a $(CUNIT_LIBS) \
	$(PQ_LIBS) $(COMMON_LIBS)
%C%_unit_promoter_SOURCES = \
	%D%/promoter/main.c \
	%D%/promoter/promoted.c \
	%D%/promoter/promoted.h \
	%D%/promoter/sim.c \
	%D%/promoter/sim.h \
	%D%/promoter/sim_inner.h \
	%D%/promoter/sim_node.c \
	%D%/promoter/suites.h \
	%D%/promoter/test_promise.c \
	%D%/promoter/test_promoter.c \
	%D%/promoter/test_promoter_change.c \
	%D%/promoter/test_promoter_doubts.c

%C%_unit_server_CPPFLAGS = $(AM_CPPFLAGS) $(CUNIT_CFLAGS) $(MHD_CFLAGS) $(PQ_CFLAGS)
%C%_unit_server_LDADD = server/libserver.a dbtier/libdbtier.a link/liblink.a common/libcommon.a $(CUNIT_LIBS) \
	$(MHD_LIBS) $(PQ_LIBS) $(COMMON_LIBS)
%C%_unit_server_SOURCES = \
	%D%/server/main.c \
	%D%/server/routes.c \
	%D%/server/routes.h \
	%D%/server/stage.c \
	%D%/server/stage.h \
	%D%/server/suites.h \
	%D%/server/test_direct.c \
	%D%/server/test_linked.c \
	%D%/server/test_parse.c \
	%D%/server/test_route.c

%C%_unit_balancer_CPPFLAGS = $(AM_CPPFLAGS) $(CUNIT_CFLAGS) $(LLHTTP_CFLAGS) $(GNUTLS_CFLAGS)
%C%_unit_balancer_LDADD = balancer/libbalancer.a link/liblink.a common/libcommon.a $(LLHTTP_LIB) $(CUNIT_LIBS) \
	$(LLHTTP_LIBS) $(GNUTLS_LIBS) $(COMMON_LIBS)
%C%_unit_balancer_SOURCES = \
	%D%/balancer/fake.h \
	%D%/balancer/main.c \
	%D%/balancer/test_check.c \
	%D%/balancer/test_exchange.c \
	%D%/balancer/test_h1.c \
	%D%/balancer/test_sched.c \
	%D%/balancer/test_wheel.c

%C%_unit_monitor_CPPFLAGS = $(AM_CPPFLAGS) $(CUNIT_CFLAGS) $(MHD_CFLAGS) $(CURL_CFLAGS) $(PQ_CFLAGS)
%C%_unit_monitor_LDADD = monitor/libmonitor.a dbtier/libdbtier.a common/libcommon.a $(CUNIT_LIBS) \
	$(MHD_LIBS) $(CURL_LIBS) $(PQ_LIBS) $(COMMON_LIBS)
%C%_unit_monitor_SOURCES = \
	%D%/monitor/help.c \
	%D%/monitor/help.h \
	%D%/monitor/live.c \
	%D%/monitor/live.h \
	%D%/monitor/main.c \
	%D%/monitor/test_live.c \
	%D%/monitor/test_promote.c \
	%D%/monitor/test_report.c \
	%D%/monitor/test_rules.c \
	%D%/monitor/test_show.c \
	%D%/monitor/test_state.c

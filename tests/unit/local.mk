# tests/unit/ - one CUnit program per room, made of all C files in the room's folder here.
if HAVE_CUNIT
check_PROGRAMS += \
	%D%/unit-common \
	%D%/unit-link \
	%D%/unit-dbtier
UNIT_TESTS += \
	%D%/unit-common \
	%D%/unit-link \
	%D%/unit-dbtier
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
	%D%/link/suites.h \
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
	%D%/dbtier/test_pure.c

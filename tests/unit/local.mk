# tests/unit/ - one CUnit program per room, made of all C files in the room's folder here.
if HAVE_CUNIT
check_PROGRAMS += \
	%D%/unit-common
UNIT_TESTS += \
	%D%/unit-common
endif
EXTRA_DIST += %D%/unit.h

%C%_unit_common_CPPFLAGS = $(AM_CPPFLAGS) $(CUNIT_CFLAGS)
%C%_unit_common_LDADD = common/libcommon.a $(CUNIT_LIBS) $(COMMON_LIBS)
%C%_unit_common_SOURCES = \
	%D%/common/main.c \
	%D%/common/test_arena.c \
	%D%/common/test_buf.c \
	%D%/common/test_cluster.c \
	%D%/common/test_json.c \
	%D%/common/test_log.c \
	%D%/common/test_view.c

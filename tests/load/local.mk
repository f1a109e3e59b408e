# tests/load/ - load with a memory, and the judge of what it remembers; the stories use both.
check_PROGRAMS += %D%/weir-load
%C%_weir_load_CPPFLAGS = $(AM_CPPFLAGS) $(CURL_CFLAGS)
%C%_weir_load_SOURCES = \
	%D%/fast.c \
	%D%/history.c \
	%D%/load.c \
	%D%/load.h \
	%D%/main.c \
	%D%/mix.c \
	%D%/pairs.c \
	%D%/writers.c
%C%_weir_load_LDADD = common/libcommon.a $(CURL_LIBS) $(COMMON_LIBS)

# A slow link, and a wall clock for each host, where the kernel has neither. The latter is loaded into
# programs that are not ours, too: no sanitizer in it.
check_PROGRAMS += %D%/weir-relay %D%/clockshift.so
%C%_weir_relay_SOURCES = %D%/relay.c
%C%_weir_relay_LDADD = common/libcommon.a $(COMMON_LIBS)
%C%_clockshift_so_SOURCES = %D%/clockshift.c
%C%_clockshift_so_CFLAGS = $(BUILD_CFLAGS) -fPIC
%C%_clockshift_so_LDFLAGS = -shared -Wl,-z,defs
%C%_clockshift_so_LDADD =

# With the rules of the house, for it needs no cluster.
HOUSE_TESTS += %D%/judge-test.sh %D%/judge-reads-test.sh
EXTRA_DIST += %D%/judge %D%/judge-test.sh %D%/judge-reads %D%/judge-reads-test.sh %D%/gaps

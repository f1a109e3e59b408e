# tests/fuzz/ - one target per parser that reads bytes from outside, each with its corpus.
#
# With --enable-fuzz they are libFuzzer programs; else our driver replays and mutates the corpus.
if LIBFUZZER
FUZZ_ENGINE = -fsanitize=fuzzer
else
check_LIBRARIES += %D%/libdriver.a
FUZZ_DRIVER = %D%/libdriver.a
endif
%C%_libdriver_a_SOURCES = %D%/driver.c
clean-local-fuzz:
	rm -rf %D%/*.found
clean-local: clean-local-fuzz
.PHONY: clean-local-fuzz
EXTRA_DIST += %D%/corpus

check_PROGRAMS += \
	%D%/fuzz_cluster \
	%D%/fuzz_control \
	%D%/fuzz_http \
	%D%/fuzz_link \
	%D%/fuzz_position \
	%D%/fuzz_report \
	%D%/fuzz_route \
	%D%/fuzz_wire
FUZZ_TESTS += \
	%D%/fuzz_cluster \
	%D%/fuzz_control \
	%D%/fuzz_http \
	%D%/fuzz_link \
	%D%/fuzz_position \
	%D%/fuzz_report \
	%D%/fuzz_route \
	%D%/fuzz_wire

%C%_fuzz_cluster_CPPFLAGS = $(AM_CPPFLAGS)
%C%_fuzz_cluster_LDADD = $(FUZZ_DRIVER) common/libcommon.a $(COMMON_LIBS)
%C%_fuzz_cluster_SOURCES = \
	%D%/fuzz_cluster.c
%C%_fuzz_cluster_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_ENGINE)

%C%_fuzz_control_CPPFLAGS = $(AM_CPPFLAGS) $(PQ_CFLAGS)
%C%_fuzz_control_LDADD = $(FUZZ_DRIVER) dbtier/libdbtier.a common/libcommon.a $(PQ_LIBS) $(COMMON_LIBS)
%C%_fuzz_control_SOURCES = \
	%D%/fuzz_control.c
%C%_fuzz_control_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_ENGINE)

%C%_fuzz_http_CPPFLAGS = $(AM_CPPFLAGS) $(LLHTTP_CFLAGS) $(GNUTLS_CFLAGS)
%C%_fuzz_http_LDADD = $(FUZZ_DRIVER) balancer/libbalancer.a link/liblink.a common/libcommon.a $(LLHTTP_LIB) \
	$(LLHTTP_LIBS) $(GNUTLS_LIBS) $(COMMON_LIBS)
%C%_fuzz_http_SOURCES = \
	%D%/fuzz_http.c
%C%_fuzz_http_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_ENGINE)

%C%_fuzz_link_CPPFLAGS = $(AM_CPPFLAGS)
%C%_fuzz_link_LDADD = $(FUZZ_DRIVER) link/liblink.a common/libcommon.a $(COMMON_LIBS)
%C%_fuzz_link_SOURCES = \
	%D%/fuzz_link.c
%C%_fuzz_link_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_ENGINE)

%C%_fuzz_position_CPPFLAGS = $(AM_CPPFLAGS) $(PQ_CFLAGS)
%C%_fuzz_position_LDADD = $(FUZZ_DRIVER) dbtier/libdbtier.a common/libcommon.a $(PQ_LIBS) $(COMMON_LIBS)
%C%_fuzz_position_SOURCES = \
	%D%/fuzz_position.c
%C%_fuzz_position_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_ENGINE)

%C%_fuzz_report_CPPFLAGS = $(AM_CPPFLAGS) $(MHD_CFLAGS) $(CURL_CFLAGS) $(PQ_CFLAGS)
%C%_fuzz_report_LDADD = $(FUZZ_DRIVER) monitor/libmonitor.a dbtier/libdbtier.a common/libcommon.a \
	$(MHD_LIBS) $(CURL_LIBS) $(PQ_LIBS) $(COMMON_LIBS)
%C%_fuzz_report_SOURCES = \
	%D%/fuzz_report.c
%C%_fuzz_report_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_ENGINE)

%C%_fuzz_route_CPPFLAGS = $(AM_CPPFLAGS) $(MHD_CFLAGS) $(PQ_CFLAGS)
%C%_fuzz_route_LDADD = $(FUZZ_DRIVER) server/libserver.a dbtier/libdbtier.a link/liblink.a common/libcommon.a \
	$(MHD_LIBS) $(PQ_LIBS) $(COMMON_LIBS)
%C%_fuzz_route_SOURCES = \
	%D%/fuzz_route.c
%C%_fuzz_route_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_ENGINE)

%C%_fuzz_wire_CPPFLAGS = $(AM_CPPFLAGS) $(PQ_CFLAGS)
%C%_fuzz_wire_LDADD = $(FUZZ_DRIVER) dbtier/libdbtier.a common/libcommon.a $(PQ_LIBS) $(COMMON_LIBS)
%C%_fuzz_wire_SOURCES = \
	%D%/fuzz_wire.c
%C%_fuzz_wire_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_ENGINE)

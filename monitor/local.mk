# monitor/ - collects, judges and republishes; hosts the promoter; serves one page.
noinst_LIBRARIES += %D%/libmonitor.a
%C%_libmonitor_a_CPPFLAGS = $(AM_CPPFLAGS) $(PATH_CPPFLAGS) $(MHD_CFLAGS) $(CURL_CFLAGS) $(PQ_CFLAGS)
%C%_libmonitor_a_SOURCES = \
	%D%/api.c \
	%D%/collect.c \
	%D%/collect.h \
	%D%/exposition.c \
	%D%/failover.c \
	%D%/feed.c \
	%D%/feed.h \
	%D%/history.c \
	%D%/history.h \
	%D%/http.c \
	%D%/inner.h \
	%D%/metrics.h \
	%D%/monitor.c \
	%D%/monitor.h \
	%D%/page.c \
	%D%/promote.c \
	%D%/promote.h \
	%D%/report.c \
	%D%/report.h \
	%D%/rules.c \
	%D%/rules.h \
	%D%/show.c \
	%D%/show.h \
	%D%/state.c \
	%D%/state.h \
	%D%/webhook.c \
	%D%/webhook.h

dist_page_DATA = \
	%D%/page/icon.svg \
	%D%/page/page.css \
	%D%/page/page.html \
	%D%/page/page.js

bin_PROGRAMS += weir-monitor
weir_monitor_CPPFLAGS = $(AM_CPPFLAGS) $(MHD_CFLAGS) $(CURL_CFLAGS) $(PQ_CFLAGS)
weir_monitor_SOURCES = %D%/main.c
MONITOR_LIBS = %D%/libmonitor.a dbtier/libdbtier.a common/libcommon.a \
	$(MHD_LIBS) $(CURL_LIBS) $(PQ_LIBS) $(COMMON_LIBS)
weir_monitor_LDADD = $(MONITOR_LIBS)

# monitor/ - collects, judges and republishes; hosts the promoter; serves one page.
noinst_LIBRARIES += %D%/libmonitor.a
%C%_libmonitor_a_CPPFLAGS = $(AM_CPPFLAGS) $(PATH_CPPFLAGS) $(MHD_CFLAGS) $(CURL_CFLAGS) $(PQ_CFLAGS)
%C%_libmonitor_a_SOURCES = \
	%D%/history.c \
	%D%/history.h \
	%D%/monitor.h \
	%D%/report.c \
	%D%/report.h \
	%D%/rules.c \
	%D%/rules.h \
	%D%/state.c \
	%D%/state.h

dist_page_DATA =

bin_PROGRAMS += weir-monitor
weir_monitor_CPPFLAGS = $(AM_CPPFLAGS) $(MHD_CFLAGS) $(CURL_CFLAGS) $(PQ_CFLAGS)
weir_monitor_SOURCES = %D%/main.c
MONITOR_LIBS = %D%/libmonitor.a dbtier/libdbtier.a common/libcommon.a \
	$(MHD_LIBS) $(CURL_LIBS) $(PQ_LIBS) $(COMMON_LIBS)
weir_monitor_LDADD = $(MONITOR_LIBS)

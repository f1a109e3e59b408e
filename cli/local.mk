# cli/ - the weir command: runs the other programs and talks to the cluster.
noinst_LIBRARIES += %D%/libcli.a
%C%_libcli_a_CPPFLAGS = $(AM_CPPFLAGS) $(PATH_CPPFLAGS) $(GNUTLS_CFLAGS) $(CURL_CFLAGS) $(PQ_CFLAGS)
%C%_libcli_a_SOURCES = \
	%D%/args.c \
	%D%/certs.c \
	%D%/check.c \
	%D%/cli.h \
	%D%/commands.c \
	%D%/control.c \
	%D%/database.c \
	%D%/endpoints.c \
	%D%/failover.c \
	%D%/fetch.c \
	%D%/firewall.c \
	%D%/up.c \
	%D%/up.h \
	%D%/up_answers.c \
	%D%/up_control.c \
	%D%/up_plan.c \
	%D%/up_procs.c \
	%D%/up_reload.c \
	%D%/up_wait.c \
	%D%/watch.c \
	%D%/where.c

bin_PROGRAMS += weir
weir_CPPFLAGS = $(AM_CPPFLAGS) $(GNUTLS_CFLAGS) $(CURL_CFLAGS) $(PQ_CFLAGS)
weir_SOURCES = %D%/main.c
CLI_LIBS = %D%/libcli.a dbtier/libdbtier.a common/libcommon.a \
	$(GNUTLS_LIBS) $(CURL_LIBS) $(PQ_LIBS) $(COMMON_LIBS)
weir_LDADD = $(CLI_LIBS)

# server/ - runs the application: HTTP front, link end, modules, SQL endpoints.
noinst_LIBRARIES += %D%/libserver.a
%C%_libserver_a_CPPFLAGS = $(AM_CPPFLAGS) $(PATH_CPPFLAGS) $(MHD_CFLAGS) $(PQ_CFLAGS)
%C%_libserver_a_SOURCES = \
	%D%/answer.c \
	%D%/audit.c \
	%D%/audit.h \
	%D%/body.c \
	%D%/db.c \
	%D%/direct.c \
	%D%/json.c \
	%D%/json.h \
	%D%/linked.c \
	%D%/listen.c \
	%D%/listen.h \
	%D%/metrics.c \
	%D%/metrics.h \
	%D%/module.c \
	%D%/module.h \
	%D%/params.c \
	%D%/request.c \
	%D%/request.h \
	%D%/role.c \
	%D%/route.c \
	%D%/route.h \
	%D%/server.h \
	%D%/target.c \
	%D%/target.h \
	%D%/wait.c

# Modules resolve weir_* in the program that loads them, so it carries and exports all of libserver.
bin_PROGRAMS += weir-server
weir_server_CPPFLAGS = $(AM_CPPFLAGS) $(MHD_CFLAGS) $(PQ_CFLAGS)
weir_server_SOURCES = %D%/main.c
weir_server_LDFLAGS = $(AM_LDFLAGS) -rdynamic
weir_server_LDADD = $(WHOLE_ARCHIVE) %D%/libserver.a $(NO_WHOLE_ARCHIVE) dbtier/libdbtier.a \
	link/liblink.a common/libcommon.a $(MHD_LIBS) $(PQ_LIBS) $(COMMON_LIBS)

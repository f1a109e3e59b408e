# examples/ - applications: two modules, built as any author would build theirs.
include_HEADERS = include/weir.h

MODULE_DEFINES = -D_GNU_SOURCE -I$(srcdir)/include
MODULE_COMPILEFLAGS = $(AM_CFLAGS) -fPIC
MODULE_LINKFLAGS = $(AM_LDFLAGS) -shared

module_PROGRAMS += guestbook.so
guestbook_so_CPPFLAGS = $(MODULE_DEFINES)
guestbook_so_CFLAGS = $(MODULE_COMPILEFLAGS)
guestbook_so_LDFLAGS = $(MODULE_LINKFLAGS)
guestbook_so_SOURCES = %D%/guestbook.c

module_PROGRAMS += probe.so
probe_so_CPPFLAGS = $(MODULE_DEFINES)
probe_so_CFLAGS = $(MODULE_COMPILEFLAGS)
probe_so_LDFLAGS = $(MODULE_LINKFLAGS)
probe_so_SOURCES = %D%/probe.c

# balancer/ - the edge: TLS and HTTP in, the link out. Links no libpq.
noinst_LIBRARIES += %D%/libbalancer.a
%C%_libbalancer_a_CPPFLAGS = $(AM_CPPFLAGS) $(LLHTTP_CFLAGS) $(GNUTLS_CFLAGS)
%C%_libbalancer_a_SOURCES = \
	%D%/balancer.h \
	%D%/budget.c \
	%D%/budget.h \
	%D%/conn.c \
	%D%/conn.h \
	%D%/conn_io.c \
	%D%/edge.c \
	%D%/edge.h \
	%D%/exchange.c \
	%D%/exchange.h \
	%D%/h1.c \
	%D%/h1.h \
	%D%/h1_body.c \
	%D%/h1_check.c \
	%D%/h1_check.h \
	%D%/h1_judge.c \
	%D%/h1_parse.c \
	%D%/h1_write.c \
	%D%/listen.c \
	%D%/metrics.c \
	%D%/metrics.h \
	%D%/node.c \
	%D%/pool.c \
	%D%/pool.h \
	%D%/problem.c \
	%D%/problem.h \
	%D%/sched.c \
	%D%/sched.h \
	%D%/text.c \
	%D%/text.h \
	%D%/tls.c \
	%D%/tls.h \
	%D%/wheel.c \
	%D%/wheel.h \
	%D%/worker.c \
	%D%/worker.h

bin_PROGRAMS += weir-balancer
weir_balancer_CPPFLAGS = $(AM_CPPFLAGS) $(LLHTTP_CFLAGS) $(GNUTLS_CFLAGS)
weir_balancer_SOURCES = %D%/main.c
BALANCER_LIBS = %D%/libbalancer.a link/liblink.a common/libcommon.a $(LLHTTP_LIB) \
	$(LLHTTP_LIBS) $(GNUTLS_LIBS) $(COMMON_LIBS)
weir_balancer_LDADD = $(BALANCER_LIBS)

# llhttp's own C files lie outside the tree; they are compiled as they are, with their warnings off.
if LLHTTP_SOURCES
LLHTTP_LIB = %D%/llhttp/libllhttp.a
endif
%D%/llhttp/libllhttp.a: $(LLHTTP_SRC)/llhttp.c config.h
	$(AM_V_GEN)$(MKDIR_P) $(@D) && rm -f $@ && for f in llhttp api http; do \
	    $(CC) $(LLHTTP_CFLAGS) $(CPPFLAGS) $(CFLAGS) $(SANITIZE) -w -c -o $(@D)/$$f.o \
	    $(LLHTTP_SRC)/$$f.c || exit 1; done && $(AR) $(ARFLAGS) $@ $(@D)/*.o && $(RANLIB) $@
clean-local-llhttp:
	rm -rf %D%/llhttp
clean-local: clean-local-llhttp
.PHONY: clean-local-llhttp

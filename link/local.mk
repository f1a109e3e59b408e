# link/ - the wire between balancer and server, both ends' half.
noinst_LIBRARIES += %D%/liblink.a
%C%_liblink_a_SOURCES = \
	%D%/codec.c \
	%D%/codec.h \
	%D%/end.c \
	%D%/hub.c \
	%D%/link.h \
	%D%/monitor.c \
	%D%/monitor.h \
	%D%/peer.c \
	%D%/peer.h \
	%D%/receive.c \
	%D%/spoke.c \
	%D%/stream.c

# bench/ - side-by-side measurements, run by hand; these are the peers and clients they need.
noinst_PROGRAMS += %D%/free_ports %D%/idle_client %D%/peer_http %D%/peer_pool
%C%_free_ports_SOURCES = %D%/free_ports.c
%C%_idle_client_CPPFLAGS = $(AM_CPPFLAGS) $(GNUTLS_CFLAGS)
%C%_idle_client_SOURCES = %D%/idle_client.c
%C%_idle_client_LDADD = $(GNUTLS_LIBS)
%C%_peer_http_CPPFLAGS = $(AM_CPPFLAGS) $(MHD_CFLAGS)
%C%_peer_http_SOURCES = %D%/peer_http.c %D%/peer.c %D%/peer.h
%C%_peer_http_LDADD = $(MHD_LIBS)
%C%_peer_pool_CPPFLAGS = $(AM_CPPFLAGS) $(MHD_CFLAGS) $(PQ_CFLAGS)
%C%_peer_pool_SOURCES = %D%/peer_pool.c %D%/peer.c %D%/peer.h
%C%_peer_pool_LDADD = $(MHD_LIBS) $(PQ_LIBS)

EXTRA_DIST += %D%/db %D%/edge %D%/failover %D%/idle %D%/lib.sh

# docs/ - the manual pages, and the specifications of what goes over the wires.
dist_man_MANS += \
	%D%/man/weir-balancer.8 \
	%D%/man/weir-cluster.5 \
	%D%/man/weir-dbnode.8 \
	%D%/man/weir-monitor.8 \
	%D%/man/weir-server.8 \
	%D%/man/weir.1

dist_doc_DATA += \
	%D%/modules.md

protocoldir = $(docdir)/protocol
dist_protocol_DATA = \
	%D%/protocol/01-link.md \
	%D%/protocol/02-feed.md \
	%D%/protocol/03-promises.md \
	%D%/protocol/04-failover.md

# tests/model/ - the failover protocol, searched by spin; apart from make check, since it takes minutes.
EXTRA_DIST += %D%/failover.pml %D%/run
model:
	$(srcdir)/%D%/run
.PHONY: model

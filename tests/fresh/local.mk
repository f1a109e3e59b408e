# tests/fresh/ - the first minutes of a new user, in a Debian that has nothing yet.
EXTRA_DIST += %D%/check-fresh
check-fresh:
	$(srcdir)/%D%/check-fresh $(srcdir)
.PHONY: check-fresh

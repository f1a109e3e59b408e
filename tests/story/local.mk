# tests/story/ - whole clusters, told as given, when, expect.
STORY_TESTS += \
	%D%/a010-arguments.story \
	%D%/b010-guestbook.story \
	%D%/c010-round-robin.story \
	%D%/c020-server-dies.story \
	%D%/c025-load.story \
	%D%/c030-bodies.story \
	%D%/c040-strangers.story \
	%D%/c050-watched.story \
	%D%/c060-ambiguous.story \
	%D%/c070-doubt.story \
	%D%/d010-replicas.story \
	%D%/d020-primary-restarts.story \
	%D%/d030-own-writes.story \
	%D%/d040-exactly-once.story \
	%D%/d050-slow-statement.story \
	%D%/d060-no-replicas.story \
	%D%/d070-errors-stay-alone.story \
	%D%/d080-nodes-come-and-go.story \
	%D%/e000-hosts.story \
	%D%/e010-primary-dies.story \
	%D%/e020-primary-freezes.story \
	%D%/e030-primary-cut-off.story \
	%D%/e040-some-are-cut.story \
	%D%/e050-switchover.story \
	%D%/e060-power-cut.story \
	%D%/e070-two-fail.story \
	%D%/e080-promoter-dies.story \
	%D%/e090-bad-network.story \
	%D%/e100-full-disk.story \
	%D%/e110-clock-jumps.story \
	%D%/x010-patroni.story \
	%D%/x020-pg-auto-failover.story

# Those that a sanitizer finds nothing new in: other faults, but the code of e010, e050 and e060.
FAULT_TESTS = \
	%D%/e020-primary-freezes.story \
	%D%/e030-primary-cut-off.story \
	%D%/e040-some-are-cut.story \
	%D%/e070-two-fail.story \
	%D%/e080-promoter-dies.story \
	%D%/e090-bad-network.story \
	%D%/e100-full-disk.story \
	%D%/e110-clock-jumps.story \
	%D%/x010-patroni.story \
	%D%/x020-pg-auto-failover.story

# Those that have a long form, WEIR_STORY_LONG=1.
LONG_TESTS = \
	%D%/c020-server-dies.story \
	%D%/c025-load.story \
	%D%/c030-bodies.story \
	%D%/d030-own-writes.story \
	%D%/d040-exactly-once.story \
	%D%/d050-slow-statement.story \
	%D%/d060-no-replicas.story \
	%D%/d070-errors-stay-alone.story \
	%D%/e010-primary-dies.story \
	%D%/e020-primary-freezes.story \
	%D%/e030-primary-cut-off.story \
	%D%/e040-some-are-cut.story \
	%D%/e050-switchover.story \
	%D%/e060-power-cut.story \
	%D%/e080-promoter-dies.story \
	%D%/e090-bad-network.story

STORY_FILES = \
	%D%/external.sh \
	%D%/net.sh \
	%D%/run \
	%D%/words.sh

EXTRA_DIST += $(STORY_TESTS) $(STORY_FILES)

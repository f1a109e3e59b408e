# tests/ - unit programs, house rules, load, stories, fuzz targets; the fresh start apart.
UNIT_TESTS =
HOUSE_TESTS =
STORY_TESTS =
FUZZ_TESTS =
include tests/unit/local.mk
include tests/house/local.mk
include tests/story/local.mk
include tests/fuzz/local.mk
include tests/load/local.mk
include tests/model/local.mk
include tests/fresh/local.mk

TESTS = $(HOUSE_TESTS) $(UNIT_TESTS) $(FUZZ_TESTS) $(STORY_TESTS)
TEST_EXTENSIONS = .sh .story
EXTRA_DIST += %D%/as-tap %D%/totals %D%/lsan.supp %D%/tsan.supp

# Part of common/ in a thread-sanitizer build, so that every program has it; see configure.ac.
EXTRA_DIST += %D%/tsan_zmq.c
if TSAN
common_libcommon_a_SOURCES += %D%/tsan_zmq.c
endif

# House tests speak by exit status. The others speak TAP, so that cases are counted, not programs.
TAP_DRIVER = env AM_TAP_AWK='$(AWK)' $(SHELL) $(top_srcdir)/build-aux/tap-driver.sh
LOG_DRIVER = $(TAP_DRIVER)
LOG_COMPILER = $(SHELL) $(srcdir)/%D%/as-tap
STORY_LOG_DRIVER = $(TAP_DRIVER)
STORY_LOG_COMPILER = $(srcdir)/%D%/story/run

# Absolute folders for tests that change theirs. A sanitizer's finding ends the program that made it;
# memory that is not there is an ordinary error, so the sanitizers' allocators say it in the same way.
AM_TESTS_ENVIRONMENT = \
	srcdir='$(abs_srcdir)'; builddir='$(abs_builddir)'; \
	export srcdir builddir; \
	PATH="$$PATH:/usr/sbin:/sbin:/usr/lib/postgresql/15/bin"; export PATH; \
	ASAN_OPTIONS="abort_on_error=1:detect_leaks=1:allocator_may_return_null=1"; \
	LSAN_OPTIONS="suppressions=$(abs_srcdir)/%D%/lsan.supp:print_suppressions=0"; \
	UBSAN_OPTIONS="print_stacktrace=1"; \
	TSAN_OPTIONS="suppressions=$(abs_srcdir)/%D%/tsan.supp:halt_on_error=1:second_deadlock_stack=1"; \
	TSAN_OPTIONS="$$TSAN_OPTIONS:allocator_may_return_null=1"; \
	export ASAN_OPTIONS LSAN_OPTIONS UBSAN_OPTIONS TSAN_OPTIONS;

# In place of automake's own rule: always all of TESTS, and the closing line counts cases. It comes
# last, whether all passed or not, but for what make itself says of a failure.
AM_MAKEFLAGS = --no-print-directory
check-TESTS: $(check_PROGRAMS)
	@rm -f $(TEST_LOGS) $(TEST_LOGS:.log=.trs) $(TEST_SUITE_LOG); status=0; \
	$(MAKE) $(AM_MAKEFLAGS) $(TEST_SUITE_LOG) || status=1; \
	$(SHELL) $(srcdir)/%D%/totals $(TEST_LOGS:.log=.trs) || status=1; exit $$status
check-unit:
	@$(MAKE) $(AM_MAKEFLAGS) check TESTS='$(UNIT_TESTS)'
check-house:
	@$(MAKE) $(AM_MAKEFLAGS) check TESTS='$(HOUSE_TESTS)'
check-story:
	@$(MAKE) $(AM_MAKEFLAGS) check TESTS='$(STORY_TESTS)'
check-fuzz:
	@$(MAKE) $(AM_MAKEFLAGS) check TESTS='$(FUZZ_TESTS)'
# All but the stories of faults that only differ in their fault: for the builds with sanitizers.
check-memory:
	@list=; for test in $(TESTS); do case " $(FAULT_TESTS) " in \
	    *" $$test "*) ;; *) list="$$list $$test" ;; esac; done; \
	$(MAKE) $(AM_MAKEFLAGS) check TESTS="$$list"
# The stories that have a long form in that form, one after the other: about ten minutes.
check-long:
	@WEIR_STORY_LONG=1 $(MAKE) $(AM_MAKEFLAGS) -j1 check TESTS='$(LONG_TESTS)'
.PHONY: check-unit check-house check-story check-fuzz check-memory check-long

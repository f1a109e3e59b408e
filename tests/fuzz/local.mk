# tests/fuzz/ - one target per parser that reads bytes from outside, each with its corpus.
#
# With --enable-fuzz they are libFuzzer programs; else our driver replays and mutates the corpus.
if LIBFUZZER
FUZZ_ENGINE = -fsanitize=fuzzer
else
check_LIBRARIES += %D%/libdriver.a
FUZZ_DRIVER = %D%/libdriver.a
endif
%C%_libdriver_a_SOURCES = %D%/driver.c
clean-local-fuzz:
	rm -rf %D%/*.found
clean-local: clean-local-fuzz
.PHONY: clean-local-fuzz
EXTRA_DIST += %D%/corpus

check_PROGRAMS += \
	%D%/fuzz_cluster
FUZZ_TESTS += \
	%D%/fuzz_cluster

%C%_fuzz_cluster_CPPFLAGS = $(AM_CPPFLAGS)
%C%_fuzz_cluster_LDADD = $(FUZZ_DRIVER) common/libcommon.a $(COMMON_LIBS)
%C%_fuzz_cluster_SOURCES = \
	%D%/fuzz_cluster.c
%C%_fuzz_cluster_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_ENGINE)

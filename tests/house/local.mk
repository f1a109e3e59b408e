# tests/house/ - the rules of the house, held by small scripts.
HOUSE_TESTS += \
	%D%/generated.sh \
	%D%/length.sh \
	%D%/listed.sh \
	%D%/moves.sh \
	%D%/prefixes.sh \
	%D%/rooms.sh \
	%D%/shell.sh \
	%D%/words.sh \
	%D%/zsocks.sh
EXTRA_DIST += $(HOUSE_TESTS)

check_PROGRAMS += %D%/print_options
%C%_print_options_SOURCES = %D%/print_options.c
%C%_print_options_LDADD = common/libcommon.a $(COMMON_LIBS)

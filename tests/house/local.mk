# tests/house/ - the rules of the house, held by small scripts.
HOUSE_TESTS += \
	%D%/generated.sh \
	%D%/length.sh \
	%D%/listed.sh \
	%D%/prefixes.sh \
	%D%/rooms.sh \
	%D%/shell.sh \
	%D%/words.sh
EXTRA_DIST += $(HOUSE_TESTS)

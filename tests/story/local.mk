# tests/story/ - whole clusters, told as given, when, expect.
STORY_TESTS +=

STORY_FILES =

EXTRA_DIST += $(STORY_TESTS) $(STORY_FILES)

/*
 * The log; each test reads what arrives on standard error, which is a pipe meanwhile.
 */
#include <CUnit/CUnit.h>
#include <jansson.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "common/log.h"

static int saved = -1, pipes[2] = { -1, -1 };
static char got[65536];

static void
catch_begin(enum w_level least, bool json)
{
	CU_ASSERT_FATAL(pipe(pipes) == 0);
	saved = dup(STDERR_FILENO);
	dup2(pipes[1], STDERR_FILENO);
	w_log_init("server-1", least, json);
}

/* What was logged since catch_begin(). The pipe holds it all: tests log little. */
static const char *
catch_end(void)
{
	size_t len = 0;
	ssize_t n;

	dup2(saved, STDERR_FILENO);
	w_close(&saved);
	w_close(&pipes[1]);
	while ((n = read(pipes[0], got + len, sizeof(got) - 1 - len)) > 0)
		len += (size_t)n;
	got[len] = '\0';
	w_close(&pipes[0]);
	w_log_init("test", W_INFO, false);
	return got;
}

static void
line_is_as_documented(void)
{
	unsigned y, mo, d, h, mi, s, us;
	const char *text;
	char rest[200];

	catch_begin(W_INFO, false);
	w_log(W_WARN, "req=4f2a", "retry", "node=%s rc=%s", "db-2", "LOST");
	text = catch_end();
	CU_ASSERT_EQUAL(sscanf(text, "%4u-%2u-%2uT%2u:%2u:%2u.%6uZ %199[^\n]", &y, &mo, &d, &h,
	    &mi, &s, &us, rest), 8);
	CU_ASSERT_STRING_EQUAL(rest, "WARN server-1 req=4f2a retry node=db-2 rc=LOST");
	CU_ASSERT_EQUAL(strlen("2026-11-23T10:00:00.123456Z "), strcspn(text, "W"));
	CU_ASSERT_TRUE(strchr(text, '\n') == text + strlen(text) - 1);
}

static void
levels_filter_and_count(void)
{
	uint64_t debug, info;
	const char *text;

	catch_begin(W_INFO, false);
	debug = w_log_count(W_DEBUG);
	info = w_log_count(W_INFO);
	CU_ASSERT_FALSE(w_log_wants(W_DEBUG));
	CU_ASSERT_TRUE(w_log_wants(W_ERROR));
	w_log(W_DEBUG, "", "unseen", "x=1");
	w_log(W_INFO, "", "seen", "x=1");
	text = catch_end();
	CU_ASSERT_PTR_NULL(strstr(text, "unseen"));
	CU_ASSERT_PTR_NOT_NULL(strstr(text, " INFO server-1 seen x=1\n"));
	CU_ASSERT_EQUAL(w_log_count(W_DEBUG), debug);
	CU_ASSERT_EQUAL(w_log_count(W_INFO), info + 1);
}

static void
control_bytes_do_not_break_lines(void)
{
	const char *text;

	catch_begin(W_INFO, false);
	w_log(W_INFO, "req=1\n", "e", "x=%s", "a\nb\x1b[31m");
	text = catch_end();
	CU_ASSERT_TRUE(strchr(text, '\n') == text + strlen(text) - 1);
	CU_ASSERT_PTR_NULL(strchr(text, '\x1b'));
}

static void
json_lines_parse(void)
{
	const char *text;
	json_t *line;

	catch_begin(W_DEBUG, true);
	w_log(W_ERROR, "db=db-2", "lost", "text=%s", "\"a\\b\"\n\xff");
	text = catch_end();
	line = json_loads(text, 0, NULL);
	CU_ASSERT_PTR_NOT_NULL_FATAL(line);
	CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(line, "level")), "ERROR");
	CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(line, "node")), "server-1");
	CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(line, "object")), "db=db-2");
	CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(line, "event")), "lost");
	CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(line, "message")),
	    "text=\"a\\b\"\n\xef\xbf\xbd");
	CU_ASSERT_EQUAL(strlen(json_string_value(json_object_get(line, "time"))), 27);
	json_decref(line);
}

static void
long_lines_are_cut(void)
{
	char message[8000];
	const char *text;
	json_t *line;

	memset(message, '"', sizeof(message) - 1);
	message[sizeof(message) - 1] = '\0';
	for (int json = 0; json <= 1; json++) {
		catch_begin(W_INFO, json);
		w_log(W_INFO, "", "long", "%s", message);
		text = catch_end();
		CU_ASSERT_TRUE(strlen(text) > 1000 && strlen(text) <= PIPE_BUF);
		CU_ASSERT_PTR_NOT_NULL(strstr(text, "..."));
		line = json ? json_loads(text, 0, NULL) : NULL;
		CU_ASSERT_EQUAL(line != NULL, json);
		json_decref(line);
	}
}

static void *
write_lines(void *letter)
{
	char text[64];

	memset(text, *(const char *)letter, sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	for (int i = 0; i < 100; i++)
		w_log(W_INFO, "", "line", "%s", text);
	return NULL;
}

static void
threads_do_not_mix(void)
{
	static char letters[] = "abc";
	pthread_t threads[3];
	char *save = NULL, *line, *word;
	unsigned lines = 0;

	catch_begin(W_INFO, false);
	for (int i = 0; i < 3; i++)
		CU_ASSERT_FATAL(pthread_create(&threads[i], NULL, write_lines, &letters[i]) == 0);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	catch_end();
	for (line = strtok_r(got, "\n", &save); line != NULL; line = strtok_r(NULL, "\n", &save)) {
		word = strrchr(line, ' ') + 1;
		lines += strlen(word) == 63 && strspn(word, (char[]){ word[0], '\0' }) == 63;
	}
	CU_ASSERT_EQUAL(lines, 300);
}

static void
values_are_quoted(void)
{
	char to[16];

	CU_ASSERT_STRING_EQUAL(w_log_quote(W_VIEW("plain"), to, sizeof(to)), "plain");
	CU_ASSERT_STRING_EQUAL(w_log_quote(W_VIEW(""), to, sizeof(to)), "\"\"");
	CU_ASSERT_STRING_EQUAL(w_log_quote(W_VIEW("a b"), to, sizeof(to)), "\"a b\"");
	CU_ASSERT_STRING_EQUAL(w_log_quote(W_VIEW("a=b"), to, sizeof(to)), "\"a=b\"");
	CU_ASSERT_STRING_EQUAL(w_log_quote(W_VIEW("\"\\\n\x01"), to, sizeof(to)),
	    "\"\\\"\\\\\\n\\x01\"");
	CU_ASSERT_STRING_EQUAL(w_log_quote(W_VIEW("0123456789abcdef"), to, sizeof(to)),
	    "\"0123456789abc\"");
	CU_ASSERT_STRING_EQUAL(w_log_quote(W_VIEW("0123456789abc\n"), to, sizeof(to)),
	    "\"0123456789abc\"");
	CU_ASSERT_STRING_EQUAL(w_log_quote(W_VIEW("ab"), to, 2), "");
}

static CU_TestInfo tests[] = {
	{ "a line is time, level, node, object, event, values", line_is_as_documented },
	{ "levels filter and count", levels_filter_and_count },
	{ "control bytes never break a line", control_bytes_do_not_break_lines },
	{ "a JSON line is one valid object", json_lines_parse },
	{ "long lines are cut to what a pipe takes at once", long_lines_are_cut },
	{ "lines of threads do not mix", threads_do_not_mix },
	{ "values with odd bytes are quoted", values_are_quoted },
	CU_TEST_INFO_NULL,
};

CU_SuiteInfo log_suites[] = {
	{ .pName = "common/log", .pTests = tests },
	CU_SUITE_INFO_NULL,
};

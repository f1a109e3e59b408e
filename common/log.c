/*
 * The log. A line is made whole and leaves in one write(2). It is never longer than
 * PIPE_BUF, so that a pipe takes it in one piece as well; a longer message is cut, and
 * the cut is marked with "...".
 *
 * Logging never fails the caller: a line that cannot be written is lost, and counted
 * all the same.
 */
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/log.h"

#define LOG_MESSAGE 3072 /* bytes of key=value text, its NUL included */
#define LOG_NODE 80
#define LOG_LEVELS (W_ERROR + 1)

static const char *const level_names[LOG_LEVELS] = {
	[W_DEBUG] = "DEBUG",
	[W_INFO] = "INFO",
	[W_WARN] = "WARN",
	[W_ERROR] = "ERROR",
};

static struct {
	char node[LOG_NODE];
	enum w_level least;
	bool json;
} log_to = { .node = "-", .least = W_INFO };

static atomic_uint_fast64_t counts[LOG_LEVELS];

void
w_log_init(const char *node, enum w_level least, bool json)
{
	snprintf(log_to.node, sizeof(log_to.node), "%s", node);
	log_to.least = least;
	log_to.json = json;
}

bool
w_log_wants(enum w_level level)
{
	return level >= log_to.least;
}

uint64_t
w_log_count(enum w_level level)
{
	return atomic_load_explicit(&counts[level], memory_order_relaxed);
}

/* "2026-11-23T10:00:00.123456Z" */
static void
time_format(char *to, size_t size)
{
	w_usec now = w_wall();
	time_t seconds = (time_t)(now / W_SEC);
	struct tm tm;
	size_t len;

	gmtime_r(&seconds, &tm);
	len = strftime(to, size, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(to + len, size - len, ".%06uZ", (unsigned)(now % W_SEC));
}

struct line {
	char when[40], message[LOG_MESSAGE];
	const char *level, *object, *event;
};

/* A line is one line: whatever control byte slipped in becomes a space. */
static void
flatten(char *at, size_t len)
{
	for (; len > 0; at++, len--)
		if ((unsigned char)*at < 0x20 || *at == 0x7f)
			*at = ' ';
}

static void
line_text(const struct line *line, struct w_buf *out)
{
	const char *words[] = { line->level, log_to.node, line->object, line->event,
		line->message };

	w_buf_text(out, line->when);
	for (size_t i = 0; i < W_NELEM(words); i++) {
		if (words[i][0] == '\0')
			continue;
		w_buf_char(out, ' ');
		w_buf_text(out, words[i]);
	}
	flatten(out->ptr, out->len);
}

static void
line_json(const struct line *line, struct w_buf *out)
{
	const char *pairs[][2] = {
		{ "time", line->when },
		{ "level", line->level },
		{ "node", log_to.node },
		{ "object", line->object },
		{ "event", line->event },
		{ "message", line->message },
	};
	struct w_json json;

	w_json_init(&json, out);
	w_json_open(&json, '{');
	for (size_t i = 0; i < W_NELEM(pairs); i++) {
		w_json_key(&json, pairs[i][0]);
		w_json_text(&json, pairs[i][1]);
	}
	w_json_close(&json, '}');
}

/* Keep len bytes of the message, the last three of them as the mark of the cut. */
static void
message_cut(struct line *line, size_t len)
{
	memcpy(line->message + len - 3, "...", 4);
}

/* Make the line; while it is too long, with half of the message. */
static void
line_make(struct line *line, struct w_buf *out)
{
	size_t len = strlen(line->message);

	for (;;) {
		w_buf_clear(out);
		if (log_to.json)
			line_json(line, out);
		else
			line_text(line, out);
		w_buf_char(out, '\n');
		if (out->len <= PIPE_BUF || len < 8)
			return;
		len /= 2;
		message_cut(line, len);
	}
}

static void
line_write(struct w_view text)
{
	ssize_t sent;

	/* the one repetition that a signal may ask for; any other loss is lost */
	do {
		sent = write(STDERR_FILENO, text.ptr, text.len);
	} while (sent < 0 && errno == EINTR);
}

void
w_log(enum w_level level, const char *object, const char *event, const char *fmt, ...)
{
	W_AUTO(w_buf_fini) struct w_buf out = { .limit = 0 };
	int saved = errno, len;
	struct line line;
	va_list ap;

	if (!w_log_wants(level))
		return;
	atomic_fetch_add_explicit(&counts[level], 1, memory_order_relaxed);
	line.level = level_names[level];
	line.object = object;
	line.event = event;
	time_format(line.when, sizeof(line.when));
	va_start(ap, fmt);
	len = vsnprintf(line.message, sizeof(line.message), fmt, ap);
	va_end(ap);
	if (len < 0)
		line.message[0] = '\0';
	else if ((size_t)len >= sizeof(line.message))
		message_cut(&line, sizeof(line.message) - 1);
	line_make(&line, &out);
	if (!w_buf_broken(&out))
		line_write(w_buf_get(&out));
	errno = saved;
}

/* True when text can stand as a value without quotes. */
static bool
is_plain(struct w_view text)
{
	unsigned char c;

	for (size_t i = 0; i < text.len; i++) {
		c = (unsigned char)text.ptr[i];
		if (c <= 0x20 || c == 0x7f || c == '"' || c == '\\' || c == '=')
			return false;
	}
	return text.len > 0;
}

/* One byte of a quoted value to escape[]; returns how many bytes that are. */
static size_t
quote_byte(unsigned char c, char escape[5])
{
	static const char names[] = { ['\t'] = 't', ['\n'] = 'n', ['\r'] = 'r' };

	if (c == '"' || c == '\\' || (c < sizeof(names) && names[c] != 0)) {
		escape[0] = '\\';
		escape[1] = c < sizeof(names) ? names[c] : (char)c;
		return 2;
	}
	if (c < 0x20 || c == 0x7f)
		return (size_t)snprintf(escape, 5, "\\x%02x", c);
	escape[0] = (char)c;
	return 1;
}

const char *
w_log_quote(struct w_view text, char *to, size_t size)
{
	char escape[5];
	size_t at = 0, len;

	if (size == 0)
		return to;
	if (is_plain(text) && w_view_copy(text, to, size) == 0)
		return to;
	/* both quotes and the NUL always get their place, so a cut value still ends */
	if (size < 3) {
		to[0] = '\0';
		return to;
	}
	to[at++] = '"';
	for (size_t i = 0; i < text.len; i++) {
		len = quote_byte((unsigned char)text.ptr[i], escape);
		if (at + len + 2 > size)
			break;
		memcpy(to + at, escape, len);
		at += len;
	}
	to[at++] = '"';
	to[at] = '\0';
	return to;
}

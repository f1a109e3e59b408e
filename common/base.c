/*
 * Time, memory that must not fail, random numbers.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "common/base.h"

static w_usec
clock_read(clockid_t clock)
{
	struct timespec now;

	W_ASSERT(clock_gettime(clock, &now) == 0);
	return (w_usec)now.tv_sec * W_SEC + now.tv_nsec / 1000;
}

w_usec
w_now(void)
{
	return clock_read(CLOCK_MONOTONIC);
}

w_usec
w_wall(void)
{
	return clock_read(CLOCK_REALTIME);
}

void
w_assert_fail(const char *what, const char *file, int line)
{
	fprintf(stderr, "%s:%d: this should never happen: %s\n", file, line, what);
	abort();
}

static _Noreturn void
out_of_memory(size_t size)
{
	fprintf(stderr, "out of memory: %zu bytes are not to be had\n", size);
	abort();
}

void *
w_xcalloc(size_t count, size_t size)
{
	void *ptr = calloc(count != 0 ? count : 1, size != 0 ? size : 1);

	if (ptr == NULL)
		out_of_memory(size);
	return ptr;
}

void *
w_xrealloc(void *ptr, size_t size)
{
	ptr = realloc(ptr, size != 0 ? size : 1);
	if (ptr == NULL)
		out_of_memory(size);
	return ptr;
}

char *
w_xstrdup(const char *text)
{
	char *copy = strdup(text);

	if (copy == NULL)
		out_of_memory(strlen(text));
	return copy;
}

char *
w_xasprintf(const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;
	int len;

	va_start(ap, fmt);
	len = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (len < 0)
		out_of_memory(strlen(fmt));
	return text;
}

void
w_free(void *p)
{
	void *ptr;

	/* p points to a pointer of any type: copied as bytes, so that no type is assumed */
	memcpy(&ptr, p, sizeof(ptr));
	free(ptr);
	ptr = NULL;
	memcpy(p, &ptr, sizeof(ptr));
}

void
w_close(int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	errno = saved;
}

void
w_random_bytes(void *to, size_t len)
{
	char *at = to;
	ssize_t got;

	while (len > 0) {
		got = getrandom(at, len, 0);
		W_ASSERT(got > 0 || errno == EINTR);
		if (got <= 0)
			continue;
		at += got;
		len -= (size_t)got;
	}
}

/* xoshiro256**, seeded once a thread; see prng.di.unimi.it */
uint64_t
w_random(void)
{
	static _Thread_local uint64_t s[4];
	uint64_t result, t;

	while ((s[0] | s[1] | s[2] | s[3]) == 0)
		w_random_bytes(s, sizeof(s));
	result = s[1] * 5;
	result = ((result << 7) | (result >> 57)) * 9;
	t = s[1] << 17;
	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = (s[3] << 45) | (s[3] >> 19);
	return result;
}

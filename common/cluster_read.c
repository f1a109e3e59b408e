/*
 * The bytes of a cluster file.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cluster_inner.h"

static int
check_stat(const char *path, const struct stat *st, struct w_fault *fault)
{
	if (S_ISDIR(st->st_mode))
		return w_fail(fault, -W_EINVAL,
		    "%s: a folder; wanted is the cluster file itself", path);
	/* a pipe or device could hold the node up for ever, and could not be read again */
	if (!S_ISREG(st->st_mode))
		return w_fail(fault, -W_EINVAL, "%s: not a regular file", path);
	return W_OK;
}

static int
read_all(int fd, const char *path, struct w_buf *ret, struct w_fault *fault)
{
	ssize_t got;
	char *room;

	do {
		room = w_buf_room(ret, 16384);
		if (room == NULL)
			return w_fail(fault, -W_ERANGE,
			    "%s: larger than %zu MiB, which no cluster file is", path,
			    W__FILE_MAX >> 20);
		got = read(fd, room, 16384);
		if (got < 0 && errno != EINTR)
			return w_fail(fault, -W_EIO, "%s: cannot be read: %s", path,
			    strerror(errno));
		w_buf_added(ret, got > 0 ? (size_t)got : 0);
	} while (got != 0);
	return W_OK;
}

int
w__file_read(const char *path, struct w_buf *ret, struct w_fault *fault)
{
	W_AUTO(w_close) int fd = -1;
	struct stat st;
	int rc;

	/* non-blocking, so that opening a pipe that nobody writes does not hang */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st) < 0)
		return w_fail(fault, -W_EIO, "%s: cannot be opened: %s", path, strerror(errno));
	rc = check_stat(path, &st, fault);
	if (rc < 0)
		return rc;
	ret->limit = W__FILE_MAX + 16384;
	rc = read_all(fd, path, ret, fault);
	if (rc < 0)
		return rc;
	if (memchr(ret->len != 0 ? ret->ptr : "-", 0, W_MAX(ret->len, (size_t)1)) != NULL)
		return w_fail(fault, -W_EINVAL,
		    "%s: not a text file: it holds a zero byte; wanted is YAML in UTF-8", path);
	return W_OK;
}

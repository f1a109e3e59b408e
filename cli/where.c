/*
 * Where things lie. Programs, SQL files and the like are looked up beside this program first, so
 * that a build tree works without installation, then where make install puts them.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"

#ifndef WEIR_BINDIR
#define WEIR_BINDIR "/usr/local/bin"
#endif
#ifndef WEIR_SQLDIR
#define WEIR_SQLDIR "/usr/local/share/weir/sql"
#endif

char *
cli_cluster_path(const char *dir, const char *config)
{
	if (config != NULL)
		return w_xstrdup(config);
	return w_xasprintf("%s/cluster.yaml", dir != NULL ? dir : "./weir-data");
}

int
cli_cluster_load(const char *command, const char *dir, const char *config, struct w_cluster **ret)
{
	W_AUTO(w_free) char *path = cli_cluster_path(dir, config);
	struct w_fault fault = { 0 };

	if (w_cluster_load(path, ret, &fault) < 0)
		return cli_fail(command, "%s", fault.text);
	return CLI_DONE;
}

bool
cli_is_file(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

/* The folder of this program; "" when the kernel does not tell. */
static void
own_folder(char *to, size_t size)
{
	ssize_t len = readlink("/proc/self/exe", to, size - 1);
	char *slash;

	to[len > 0 ? len : 0] = '\0';
	slash = strrchr(to, '/');
	if (slash != NULL)
		*slash = '\0';
}

char *
cli_find_program(const char *name)
{
	char folder[PATH_MAX];
	char *path;

	own_folder(folder, sizeof(folder));
	path = w_xasprintf("%s/%s", folder, name);
	if (access(path, X_OK) == 0)
		return path;
	free(path);
	return w_xasprintf("%s/%s", WEIR_BINDIR, name);
}

char *
cli_find_sql(void)
{
	static const char *const beside[] = { "sql", "../sql", "../../sql" };
	char folder[PATH_MAX];

	own_folder(folder, sizeof(folder));
	for (size_t i = 0; i <= W_NELEM(beside); i++) {
		char *dir = i < W_NELEM(beside) ? w_xasprintf("%s/%s", folder, beside[i])
						: w_xstrdup(WEIR_SQLDIR);
		W_AUTO(w_free) char *probe = w_xasprintf("%s/001-weir.sql", dir);

		if (cli_is_file(probe))
			return dir;
		free(dir);
	}
	return NULL;
}

int
cli_read_file(const char *path, size_t max, struct w_buf *ret)
{
	W_AUTO(w_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got;

	if (fd < 0)
		return -W_EIO;
	while (ret->len < max && (got = read(fd, w_buf_room(ret, 16384), 16384)) > 0)
		w_buf_added(ret, (size_t)got);
	w_buf_char(ret, '\0');
	ret->len--;
	return W_OK;
}

int
cli_write_file(const char *path, struct w_view text, unsigned mode, struct w_fault *fault)
{
	W_AUTO(w_free) char *temp = w_xasprintf("%s.tmp", path);
	W_AUTO(w_close) int fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);

	if (fd < 0 || fchmod(fd, mode) < 0 || write(fd, text.ptr, text.len) != (ssize_t)text.len ||
	    fsync(fd) < 0 || rename(temp, path) < 0)
		return w_fail(fault, -W_EIO, "cannot write %s: %s", path, strerror(errno));
	return W_OK;
}

int
cli_make_dir(const char *path, unsigned mode, struct w_fault *fault)
{
	if (mkdir(path, mode) < 0 && errno != EEXIST)
		return w_fail(fault, -W_EIO, "cannot make the folder %s: %s", path, strerror(errno));
	return W_OK;
}

static int
is_module(const struct dirent *entry)
{
	size_t len = strlen(entry->d_name);

	return entry->d_name[0] != '.' && len > 3 && strcmp(entry->d_name + len - 3, ".so") == 0;
}

int
cli_list_modules(const char *dir, struct w_buf *ret, struct w_fault *fault)
{
	struct dirent **entries = NULL;
	int count = scandir(dir, &entries, is_module, alphasort);

	if (count <= 0)
		return w_fail(fault, -W_EINVAL, "%s: %s", dir,
		    count < 0 ? strerror(errno) : "no modules (*.so) in this folder");
	w_buf_char(ret, '[');
	for (int i = 0; i < count; i++) {
		w_buf_printf(ret, "\"%s/%s\", ", dir, entries[i]->d_name);
		free(entries[i]);
	}
	free(entries);
	w_buf_text(ret, "probe]");
	return W_OK;
}

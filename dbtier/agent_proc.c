/*
 * PostgreSQL's processes, as /proc shows them. A process belongs to a data directory when it is
 * called postgres and works in it: that holds for the postmaster and for all its children, also
 * for those that outlived it.
 */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "dbtier/agent.h"

static void
close_folder(DIR **folder)
{
	if (*folder != NULL)
		closedir(*folder);
}

static void
close_file(FILE **file)
{
	if (*file != NULL)
		fclose(*file);
}

static FILE *
open_proc(int64_t pid, const char *what)
{
	W_AUTO(w_free) char *path = w_xasprintf("/proc/%lld/%s", (long long)pid, what);

	return fopen(path, "re");
}

/* The name in parentheses may hold anything, so what counts begins after the last one. False: no such process. */
static bool
read_stat(int64_t pid, char *ret_state, long long *ret_parent)
{
	W_AUTO(close_file) FILE *file = open_proc(pid, "stat");
	char line[512];
	const char *end;

	if (file == NULL || fgets(line, sizeof(line), file) == NULL)
		return false;
	end = strrchr(line, ')');
	return end != NULL && sscanf(end, ") %c %lld", ret_state, ret_parent) == 2;
}

char
dbt__proc_state(int64_t pid)
{
	long long parent;
	char state;

	return read_stat(pid, &state, &parent) ? state : 0;
}

bool
dbt__proc_is_child(int64_t pid, int64_t parent)
{
	long long of;
	char state;

	return read_stat(pid, &state, &of) && of == parent;
}

/* The eighth line. Source: PostgreSQL, pidfile.h */
bool
dbt__proc_is_stopping(const char *data)
{
	W_AUTO(w_free) char *path = w_xasprintf("%s/postmaster.pid", data);
	W_AUTO(close_file) FILE *file = fopen(path, "re");
	char line[256] = "";

	if (file == NULL)
		return false;
	for (unsigned i = 0; i < 8; i++)
		if (fgets(line, sizeof(line), file) == NULL)
			return false;
	return strncmp(line, "stopping", 8) == 0;
}

bool
dbt__proc_pending(int64_t pid, int number)
{
	W_AUTO(close_file) FILE *file = open_proc(pid, "status");
	unsigned long long mask;
	char line[256];

	while (file != NULL && fgets(line, sizeof(line), file) != NULL)
		if ((sscanf(line, "SigPnd: %llx", &mask) == 1 || sscanf(line, "ShdPnd: %llx", &mask) == 1) &&
		    (mask >> (number - 1) & 1) != 0)
			return true;
	return false;
}

/* data: as realpath() tells it. */
static bool
works_in(int64_t pid, const char *data)
{
	W_AUTO(close_file) FILE *file = open_proc(pid, "comm");
	W_AUTO(w_free) char *link = w_xasprintf("/proc/%lld/cwd", (long long)pid);
	char text[PATH_MAX] = "";
	ssize_t len;

	if (file == NULL || fgets(text, sizeof(text), file) == NULL || strncmp(text, "postgres", 8) != 0)
		return false;
	len = readlink(link, text, sizeof(text) - 1);
	if (len < 0)
		return false;
	text[len] = '\0';
	return strcmp(text, data) == 0;
}

int64_t
dbt__proc_postmaster(const char *data)
{
	W_AUTO(w_free) char *path = w_xasprintf("%s/postmaster.pid", data);
	W_AUTO(close_file) FILE *file = fopen(path, "re");
	char real[PATH_MAX];
	long long pid = 0;

	if (file == NULL || fscanf(file, "%lld", &pid) != 1 || pid <= 1 || realpath(data, real) == NULL)
		return 0;
	/* one that has ended and that nobody has waited for is gone, and so is one whose number another took */
	return dbt__proc_state(pid) != 'Z' && works_in(pid, real) ? pid : 0;
}

unsigned
dbt__proc_signal(const char *data, int number)
{
	W_AUTO(close_folder) DIR *folder = opendir("/proc");
	const struct dirent *entry;
	char real[PATH_MAX];
	unsigned count = 0;

	if (folder == NULL || realpath(data, real) == NULL)
		return 0;
	while ((entry = readdir(folder)) != NULL) {
		long long pid = atoll(entry->d_name);

		if (pid <= 1 || dbt__proc_state(pid) == 'Z' || !works_in(pid, real))
			continue;
		count++;
		if (number != 0)
			kill((pid_t)pid, number);
	}
	return count;
}

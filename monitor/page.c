/*
 * The page's files, read once at the start: page.html, page.css, page.js, icon.svg, and the chart
 * library of the system.
 *
 * They are looked for beside the program first, so that a build tree works without installation,
 * then where make install puts them. Without them the monitor does all else; without the chart
 * library the page shows its tables.
 */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"
#include "monitor/inner.h"

#ifndef WEIR_PAGEDIR
#define WEIR_PAGEDIR "/usr/local/share/weir/page"
#endif
#ifndef WEIR_CHARTS
#define WEIR_CHARTS "/usr/share/javascript/chart.js/chart.min.js"
#endif

#define FILE_MAX_BYTES ((size_t)1 << 20)

enum { FILE_HTML, FILE_CSS, FILE_JS, FILE_ICON, FILE_CHARTS, FILE_COUNT };

static const struct {
	const char *path, *name, *type; /* name: in the page's folder */
} files[FILE_COUNT] = {
	[FILE_HTML] = { "/", "page.html", "text/html; charset=utf-8" },
	[FILE_CSS] = { "/page.css", "page.css", "text/css; charset=utf-8" },
	[FILE_JS] = { "/page.js", "page.js", "text/javascript; charset=utf-8" },
	[FILE_ICON] = { "/icon.svg", "icon.svg", "image/svg+xml" },
	[FILE_CHARTS] = { "/charts.js", NULL, "text/javascript; charset=utf-8" },
};

struct mon_page {
	struct mon_page_file files[FILE_COUNT];
};

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

static bool
read_file(const char *path, struct w_buf *to)
{
	W_AUTO(w_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got;

	if (fd < 0)
		return false;
	to->limit = FILE_MAX_BYTES;
	while (w_buf_room(to, 16384) != NULL &&
	       (got = read(fd, w_buf_room(to, 16384), 16384)) > 0)
		w_buf_added(to, (size_t)got);
	if (!w_buf_broken(to) && to->len > 0)
		return true;
	w_buf_fini(to);
	return false;
}

static bool
read_page_file(const char *name, struct w_buf *to)
{
	static const char *const beside[] = { "page", "monitor/page", "../monitor/page",
		"../../monitor/page" };
	char folder[PATH_MAX];

	own_folder(folder, sizeof(folder));
	for (size_t i = 0; i <= W_NELEM(beside); i++) {
		W_AUTO(w_free) char *path = i < W_NELEM(beside)
		                                ? w_xasprintf("%s/%s/%s", folder, beside[i], name)
		                                : w_xasprintf("%s/%s", WEIR_PAGEDIR, name);

		if (read_file(path, to))
			return true;
	}
	return false;
}

struct mon_page *
mon_page_load(void)
{
	struct mon_page *page = w_xcalloc(1, sizeof(*page));

	for (int i = 0; i < FILE_COUNT; i++) {
		struct mon_page_file *file = &page->files[i];
		bool there = files[i].name != NULL ? read_page_file(files[i].name, &file->body)
		                                   : read_file(WEIR_CHARTS, &file->body);

		if (!there) {
			w_log(W_WARN, "", "page-file-missing", "file=%s",
			    files[i].name != NULL ? files[i].name : WEIR_CHARTS);
			continue;
		}
		file->path = files[i].path;
		file->type = files[i].type;
		snprintf(file->etag, sizeof(file->etag), "\"%016llx\"",
		    (unsigned long long)w_view_hash(w_buf_get(&file->body)));
	}
	return page;
}

void
mon_page_free(struct mon_page **page)
{
	struct mon_page *p = w_steal(page);

	if (p == NULL)
		return;
	for (int i = 0; i < FILE_COUNT; i++)
		w_buf_fini(&p->files[i].body);
	free(p);
}

const struct mon_page_file *
mon_page_find(const struct mon_page *page, const char *path)
{
	for (int i = 0; i < FILE_COUNT; i++)
		if (page->files[i].path != NULL && strcmp(page->files[i].path, path) == 0)
			return &page->files[i];
	return NULL;
}

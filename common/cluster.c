/*
 * Loading a cluster file, step by step, and looking things up in it.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "common/cluster_inner.h"
#include "common/log.h"

static const char *const role_names[W_ROLE_COUNT] = {
	[W_BALANCER] = "balancer",
	[W_SERVER] = "server",
	[W_DATABASE] = "database",
	[W_MONITOR] = "monitor",
};

const char *
w_role_name(enum w_role role)
{
	return role_names[role];
}

const char *
w__place_format(const struct w__place *place, char *to, size_t size)
{
	W_AUTO(w_buf_fini) struct w_buf out = { .limit = 0 };

	if (place->section != NULL)
		w_buf_text(&out, place->section);
	if (place->index >= 0)
		w_buf_printf(&out, "[%d]", place->index);
	if (place->key != NULL)
		w_buf_printf(&out, "%s%s", out.len != 0 ? "." : "", place->key);
	if (place->item >= 0)
		w_buf_printf(&out, "[%d]", place->item);
	if (out.len == 0)
		w_buf_text(&out, "the file");
	if (w_view_copy(w_view_sub(w_buf_get(&out), 0, size - 1), to, size) < 0)
		to[0] = '\0';
	/* a key between quotes may hold anything */
	for (char *at = to; *at != '\0'; at++)
		if ((unsigned char)*at < 0x20 || *at == 0x7f)
			*at = '?';
	return to;
}

int
w__load_fail(const struct w__load *load, const struct w__place *place, int err,
    const char *fmt, ...)
{
	char text[sizeof(load->fault->text)], key[200];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	w__place_format(place, key, sizeof(key));
	return w_fail(load->fault, err, "%s:%u: %s: %s", load->file,
	    w__tree_line(load->tree, place), key, text);
}

void
w_cluster_free(struct w_cluster **cluster)
{
	struct w_arena *arena;

	if (*cluster == NULL)
		return;
	arena = (*cluster)->memory;
	w_arena_fini(arena);
	free(arena);
	free(*cluster);
	*cluster = NULL;
}

static struct w_cluster *
cluster_new(void)
{
	struct w_cluster *cluster = w_xcalloc(1, sizeof(*cluster));
	struct w_arena *arena = w_xcalloc(1, sizeof(*arena));

	w_arena_init(arena, 0);
	cluster->memory = arena;
	return cluster;
}

/* path and dir, absolute whatever the working directory becomes later. */
static int
set_path(const struct w__load *load, const char *path)
{
	struct w_cluster *cluster = load->cluster;
	W_AUTO(w_free) char *cwd = NULL;
	const char *slash;

	if (path[0] == '/') {
		cluster->path = w_arena_printf(load->arena, "%s", path);
	} else {
		cwd = getcwd(NULL, 0);
		if (cwd == NULL)
			return w_fail(load->fault, -W_EIO, "%s: where is it? getcwd: %s", path,
			    strerror(errno));
		cluster->path = w_arena_printf(load->arena, "%s/%s", cwd, path);
	}
	slash = strrchr(cluster->path, '/');
	cluster->dir = w_arena_printf(load->arena, "%.*s",
	    (int)W_MAX(slash - cluster->path, 1), cluster->path);
	return W_OK;
}

static const char *
raw_name(const struct w__raw_file *raw, enum w__section_id id, unsigned index)
{
	char *const *entry =
	    (const void *)((const char *)raw->entries[id].at + index * w__sections[id].raw_size);

	return *entry;
}

/* The name of an entry, checked, into the arena. */
static int
load_name(const struct w__load *load, enum w__section_id id, unsigned index, const char *name,
    const char **ret)
{
	struct w__place place = { w__sections[id].key, (int)index, "name", -1 };
	char quoted[W__NAME_MAX + 20];

	if (name == NULL)
		return w__load_fail(load, &place, -W_EINVAL,
		    "not set; each entry needs a name of its own");
	if (!w__name_valid(name))
		return w__load_fail(load, &place, -W_EINVAL,
		    "is %s, wanted is a small letter, then small letters, digits and '-', "
		    "%d at most",
		    w_log_quote(w_view_of(name), quoted, sizeof(quoted)), W__NAME_MAX);
	*ret = w_arena_printf(load->arena, "%s", name);
	return W_OK;
}

static int
load_members(const struct w__load *load, const struct w__raw_file *raw)
{
	struct w_cluster *cluster = load->cluster;
	size_t count = 0;
	int rc = W_OK;

	for (unsigned role = 0; role < W_ROLE_COUNT; role++)
		count += raw->entries[W__BALANCERS + role].count;
	cluster->members = w_arena_zero(load->arena, count * sizeof(*cluster->members));
	for (unsigned role = 0; role < W_ROLE_COUNT; role++) {
		enum w__section_id id = W__BALANCERS + role;

		for (unsigned i = 0; rc == W_OK && i < raw->entries[id].count; i++) {
			struct w_member *member = &cluster->members[cluster->member_count++];

			member->role = role;
			member->index = i;
			rc = load_name(load, id, i, raw_name(raw, id, i), &member->name);
			if (rc == W_OK)
				rc = w__values_load(load, id, (int)i,
				    (char *)raw->entries[id].at + i * w__sections[id].raw_size,
				    &member->opt);
		}
	}
	return rc;
}

static int
load_alerts(const struct w__load *load, const struct w__raw_file *raw)
{
	const struct w__raw_alert *entries = raw->entries[W__ALERTS].at;
	struct w_cluster *cluster = load->cluster;
	int rc = W_OK;

	cluster->alert_count = raw->entries[W__ALERTS].count;
	cluster->alerts = w_arena_zero(load->arena, cluster->alert_count * sizeof(struct w_alert));
	for (unsigned i = 0; rc == W_OK && i < cluster->alert_count; i++) {
		struct w_alert *alert = &cluster->alerts[i];

		rc = load_name(load, W__ALERTS, i, entries[i].name, &alert->name);
		if (rc == W_OK)
			rc = w__values_load(load, W__ALERTS, (int)i, &entries[i], &alert->opt);
	}
	return rc;
}

static int
load_sections(const struct w__load *load, const struct w__raw_file *raw)
{
	static const struct w__raw_cluster nothing;
	int rc;

	rc = w__values_load(load, W__CLUSTER, -1, raw->cluster != NULL ? raw->cluster : &nothing,
	    &load->cluster->opt);
	if (rc == W_OK)
		rc = load_members(load, raw);
	if (rc == W_OK)
		rc = load_alerts(load, raw);
	return rc;
}

int
w_cluster_load(const char *path, struct w_cluster **ret, struct w_fault *fault)
{
	W_AUTO(w_cluster_free) struct w_cluster *cluster = cluster_new();
	W_AUTO(w__tree_free) struct w__tree *tree = NULL;
	W_AUTO(w__schema_free) struct w__raw_file *raw = NULL;
	W_AUTO(w_buf_fini) struct w_buf text = { .limit = 0 };
	struct w__load load = {
		.file = path,
		.cluster = cluster,
		.arena = cluster->memory,
		.fault = fault,
	};
	int rc;

	/* a fault's text is short: of a very long path the end says more */
	if (strlen(path) > 200)
		load.file = path + strlen(path) - 200;
	rc = w__file_read(path, &text, fault);
	if (rc == W_OK)
		rc = set_path(&load, path);
	if (rc == W_OK)
		rc = w__tree_parse(load.file, w_buf_get(&text), &tree, fault);
	load.tree = tree;
	if (rc == W_OK)
		rc = w__schema_load(&load, w_buf_get(&text), &raw);
	if (rc == W_OK)
		rc = load_sections(&load, raw);
	if (rc == W_OK)
		rc = w__cluster_check(&load);
	if (rc == W_OK)
		*ret = w_steal(&cluster);
	return rc;
}

const struct w_member *
w_cluster_find(const struct w_cluster *cluster, struct w_view name)
{
	for (size_t i = 0; i < cluster->member_count; i++)
		if (w_view_eq(w_view_of(cluster->members[i].name), name))
			return &cluster->members[i];
	return NULL;
}

size_t
w_cluster_count(const struct w_cluster *cluster, enum w_role role)
{
	size_t count = 0;

	for (size_t i = 0; i < cluster->member_count; i++)
		count += cluster->members[i].role == role;
	return count;
}

const struct w_member *
w_cluster_nth(const struct w_cluster *cluster, enum w_role role, unsigned index)
{
	for (size_t i = 0; i < cluster->member_count; i++)
		if (cluster->members[i].role == role && cluster->members[i].index == index)
			return &cluster->members[i];
	return NULL;
}

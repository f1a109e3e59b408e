/*
 * The second reading, by libcyaml: the structure, from schema tables that are made of
 * the options' lists. Every value is loaded as text; cluster_value.c gives it meaning.
 *
 * What libcyaml says against a file comes in pieces through its log: first the reason,
 * then a backtrace, innermost place first. The reason's kind and the first marks are
 * enough to say it in our words, with the place from the tree of cluster_tree.c.
 */
#include <cyaml/cyaml.h>
#include <stdarg.h>
#include <stdio.h>

#include "common/cluster_inner.h"
#include "common/log.h"

#define TEXT_VALUE                                                                                 \
	{                                                                                          \
		.type = CYAML_STRING, .flags = CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL,           \
		.data_size = sizeof(char), .string = { .min = 0, .max = W__TEXT_MAX }              \
	}
#define TEXT_FIELD(raw, key_)                                                                      \
	{ .key = #key_, .data_offset = offsetof(raw, key_), .value = TEXT_VALUE }
#define LIST_FIELD(raw, key_)                                                                      \
	{                                                                                          \
		.key = #key_, .data_offset = offsetof(raw, key_.items),                            \
		.count_offset = offsetof(raw, key_.count), .count_size = sizeof(unsigned),         \
		.value = {                                                                         \
			.type = CYAML_SEQUENCE,                                                    \
			.flags = CYAML_FLAG_POINTER_NULL | CYAML_FLAG_OPTIONAL,                    \
			.data_size = sizeof(char *),                                               \
			.sequence = { .entry = &list_item, .min = 0, .max = W__ENTRIES_MAX },      \
		},                                                                                 \
	}

#define FIELD_uint TEXT_FIELD
#define FIELD_usec TEXT_FIELD
#define FIELD_bytes TEXT_FIELD
#define FIELD_flag TEXT_FIELD
#define FIELD_text TEXT_FIELD
#define FIELD_file TEXT_FIELD
#define FIELD_addr TEXT_FIELD
#define FIELD_list LIST_FIELD

static const cyaml_schema_value_t list_item = TEXT_VALUE;

#define CLUSTER_FIELD(key, type, ...) FIELD_##type(struct w__raw_cluster, key),
#define BALANCER_FIELD(key, type, ...) FIELD_##type(struct w__raw_balancer, key),
#define SERVER_FIELD(key, type, ...) FIELD_##type(struct w__raw_server, key),
#define DATABASE_FIELD(key, type, ...) FIELD_##type(struct w__raw_database, key),
#define MONITOR_FIELD(key, type, ...) FIELD_##type(struct w__raw_monitor, key),
#define ALERT_FIELD(key, type, ...) FIELD_##type(struct w__raw_alert, key),

/* clang-format off */
static const cyaml_schema_field_t cluster_fields[] = {
	W_CLUSTER_OPTIONS(CLUSTER_FIELD)
	{ .key = NULL },
};
static const cyaml_schema_field_t balancer_fields[] = {
	TEXT_FIELD(struct w__raw_balancer, name), W_BALANCER_OPTIONS(BALANCER_FIELD)
	{ .key = NULL },
};
static const cyaml_schema_field_t server_fields[] = {
	TEXT_FIELD(struct w__raw_server, name), W_SERVER_OPTIONS(SERVER_FIELD)
	{ .key = NULL },
};
static const cyaml_schema_field_t database_fields[] = {
	TEXT_FIELD(struct w__raw_database, name), W_DATABASE_OPTIONS(DATABASE_FIELD)
	{ .key = NULL },
};
static const cyaml_schema_field_t monitor_fields[] = {
	TEXT_FIELD(struct w__raw_monitor, name), W_MONITOR_OPTIONS(MONITOR_FIELD)
	{ .key = NULL },
};
static const cyaml_schema_field_t alert_fields[] = {
	TEXT_FIELD(struct w__raw_alert, name), W_ALERT_OPTIONS(ALERT_FIELD)
	{ .key = NULL },
};
/* clang-format on */

#define ENTRY_VALUE(name)                                                                          \
	static const cyaml_schema_value_t name##_value = {                                         \
		.type = CYAML_MAPPING,                                                             \
		.flags = CYAML_FLAG_DEFAULT,                                                       \
		.data_size = sizeof(struct w__raw_##name),                                         \
		.mapping = { .fields = name##_fields },                                            \
	}

ENTRY_VALUE(balancer);
ENTRY_VALUE(server);
ENTRY_VALUE(database);
ENTRY_VALUE(monitor);
ENTRY_VALUE(alert);

#define SECTION_FIELD(key_, id, name)                                                              \
	{                                                                                          \
		.key = key_, .data_offset = offsetof(struct w__raw_file, entries[id].at),          \
		.count_offset = offsetof(struct w__raw_file, entries[id].count),                   \
		.count_size = sizeof(unsigned),                                                    \
		.value = {                                                                         \
			.type = CYAML_SEQUENCE,                                                    \
			.flags = CYAML_FLAG_POINTER_NULL | CYAML_FLAG_OPTIONAL,                    \
			.data_size = sizeof(struct w__raw_##name),                                 \
			.sequence = { .entry = &name##_value, .min = 0, .max = W__ENTRIES_MAX },   \
		},                                                                                 \
	}

static const cyaml_schema_field_t file_fields[] = {
	{
	    .key = "cluster",
	    .data_offset = offsetof(struct w__raw_file, cluster),
	    .value = {
		.type = CYAML_MAPPING,
		.flags = CYAML_FLAG_POINTER_NULL | CYAML_FLAG_OPTIONAL,
		.data_size = sizeof(struct w__raw_cluster),
		.mapping = { .fields = cluster_fields },
	    },
	},
	SECTION_FIELD("balancers", W__BALANCERS, balancer),
	SECTION_FIELD("servers", W__SERVERS, server),
	SECTION_FIELD("databases", W__DATABASES, database),
	SECTION_FIELD("monitors", W__MONITORS, monitor),
	SECTION_FIELD("alerts", W__ALERTS, alert),
	{ .key = NULL },
};

static const cyaml_schema_value_t file_value = {
	.type = CYAML_MAPPING,
	.flags = CYAML_FLAG_POINTER,
	.data_size = sizeof(struct w__raw_file),
	.mapping = { .fields = file_fields },
};

/* What libcyaml's log has told so far. */
struct story {
	char reason[512];
	unsigned line, column; /* of the innermost place that has a mark in the file */
};

/* One piece of libcyaml's log; see the head of this file. */
static void
hear(W_UNUSED cyaml_log_t level, void *ptr, const char *fmt, va_list ap)
{
	struct story *story = ptr;
	char piece[sizeof(story->reason)];
	const char *mark;
	size_t len;

	vsnprintf(piece, sizeof(piece), fmt, ap);
	if (story->reason[0] == '\0') {
		snprintf(story->reason, sizeof(story->reason), "%s", piece);
		len = strlen(story->reason);
		/* only the last line feed is libcyaml's; a key may hold one of its own */
		if (len > 0 && story->reason[len - 1] == '\n')
			story->reason[len - 1] = '\0';
		return;
	}
	/* "in mapping (line" carries the mark of the last key, not that of the mapping */
	mark = strstr(piece, " (line: ");
	if (mark == NULL || story->line != 0 || strncmp(piece, "  in mapping (", 14) == 0)
		return;
	if (sscanf(mark, " (line: %u, column: %u)", &story->line, &story->column) != 2)
		story->line = 0;
}

static const cyaml_config_t *
config_init(cyaml_config_t *config, struct story *story)
{
	*config = (cyaml_config_t){
		.log_fn = story != NULL ? hear : NULL,
		.log_ctx = story,
		.mem_fn = cyaml_mem,
		.log_level = CYAML_LOG_ERROR,
		.flags = CYAML_CFG_NO_ALIAS,
	};
	return config;
}

static const struct w__section *
section_find(const char *key)
{
	for (size_t i = 0; key != NULL && i < W__SECTION_COUNT; i++)
		if (strcmp(w__sections[i].key, key) == 0)
			return &w__sections[i];
	return NULL;
}

/* What should stand at a place: "a section of keys", "a list of sections", ... */
static const char *
wanted_at(const struct w__place *place)
{
	const struct w__section *section = section_find(place->section);
	bool cluster = section == &w__sections[W__CLUSTER];

	if (section == NULL || (place->index >= 0 && place->key == NULL) ||
	    (cluster && place->key == NULL))
		return "KEY: VALUE lines";
	if (place->key == NULL)
		return "a list with one \"- name: ...\" entry each";
	if (place->item >= 0)
		return "a single value";
	for (size_t i = 0; i < section->count; i++)
		if (strcmp(section->infos[i].key, place->key) == 0)
			return w__wanted[section->slots[i].type];
	return "a single value";
}

/* The keys that may stand beside each other at a place, ended by NULL. */
static void
keys_at(const struct w__place *place, const char **ret)
{
	const struct w__section *section = section_find(place->section);
	size_t count = 0;

	for (size_t i = 0; section == NULL && i < W__SECTION_COUNT; i++)
		ret[count++] = w__sections[i].key;
	if (section != NULL && section != &w__sections[W__CLUSTER])
		ret[count++] = "name";
	for (size_t i = 0; section != NULL && i < section->count; i++)
		ret[count++] = section->infos[i].key;
	ret[count] = NULL;
}

static int
fail_key(const struct w__load *load, const struct story *story, struct w__place *place)
{
	static const char said[] = "Load: Unexpected key: ";
	const char *known[W__SECTION_COUNT + 64], *meant, *key = story->reason;
	char hint[96] = "";

	if (strncmp(key, said, sizeof(said) - 1) == 0)
		key += sizeof(said) - 1;
	keys_at(place, known);
	meant = w__near_miss(key, known);
	if (meant != NULL)
		snprintf(hint, sizeof(hint), "; did you mean %s?", meant);
	else
		snprintf(hint, sizeof(hint), "; weir-cluster(5) lists all keys");
	*(place->section == NULL ? &place->section : &place->key) = key;
	return w__load_fail(load, place, -W_EINVAL, "unknown key%s", hint);
}

static int
fail_kind(const struct w__load *load, W_UNUSED const struct story *story, struct w__place *place)
{
	static const char *const found[] = {
		[W__SCALAR] = "a single value",
		[W__SEQUENCE] = "a list",
		[W__MAPPING] = "KEY: VALUE lines",
	};
	enum w__kind kind = W__SCALAR;

	(void)w__tree_kind(load->tree, place, &kind);
	return w__load_fail(load, place, -W_EINVAL, "is %s, wanted is %s",
	    w__tree_null(load->tree, place) ? "empty" : found[kind], wanted_at(place));
}

static int
fail_long(const struct w__load *load, W_UNUSED const struct story *story, struct w__place *place)
{
	return w__load_fail(load, place, -W_ERANGE, "longer than %d bytes", W__TEXT_MAX);
}

static int
fail_other(const struct w__load *load, const struct story *story, struct w__place *place)
{
	return w__load_fail(load, place, -W_EINVAL, "not understood: %.200s", story->reason);
}

static int
fail_memory(const struct w__load *load, W_UNUSED const struct story *story,
    W_UNUSED struct w__place *place)
{
	return w_fail(load->fault, -W_EIO, "%s: out of memory", load->file);
}

static const struct {
	cyaml_err_t err;
	int (*fail)(const struct w__load *, const struct story *, struct w__place *);
} fails[] = {
	{ CYAML_ERR_INVALID_KEY, fail_key },
	{ CYAML_ERR_INVALID_VALUE, fail_kind },
	{ CYAML_ERR_UNEXPECTED_EVENT, fail_kind },
	{ CYAML_ERR_STRING_LENGTH_MAX, fail_long },
	{ CYAML_ERR_OOM, fail_memory },
};

static int
tell(const struct w__load *load, cyaml_err_t err, const struct story *story)
{
	struct w__place place = { NULL, -1, NULL, -1 };

	if (story->line != 0)
		place = w__tree_at(load->tree, story->line, story->column);
	for (size_t i = 0; i < W_NELEM(fails); i++)
		if (fails[i].err == err)
			return fails[i].fail(load, story, &place);
	return fail_other(load, story, &place);
}

int
w__schema_load(const struct w__load *load, struct w_view text, struct w__raw_file **ret)
{
	struct story story = { .line = 0 };
	cyaml_data_t *data = NULL;
	cyaml_config_t config;
	cyaml_err_t err;

	err = cyaml_load_data((const uint8_t *)text.ptr, text.len, config_init(&config, &story),
	    &file_value, &data, NULL);
	if (err != CYAML_OK)
		return tell(load, err, &story);
	/* a file of "{}" gives nothing at all: w__schema_free() accepts NULL, readers do not */
	if (data == NULL)
		return w_fail(load->fault, -W_EINVAL,
		    "%s: empty; wanted is a cluster file as in weir-cluster(5)", load->file);
	*ret = data;
	return W_OK;
}

void
w__schema_free(struct w__raw_file **raw)
{
	cyaml_config_t config;

	if (*raw != NULL)
		cyaml_free(config_init(&config, NULL), &file_value, *raw, 0);
	*raw = NULL;
}

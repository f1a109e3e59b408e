/*
 * The options' tables, made from the lists of options.h; numbers with units; and the
 * options as roff for the manual pages.
 */
#include <inttypes.h>
#include <stdio.h>

#include "common/cluster_inner.h"
#include "common/error.h"

#define WHEN_RELOAD "reload"
#define WHEN_RESTART "restart"

#define INFO(key, type, def, min, max, when, text)                                                 \
	{ #key, #type, def, WHEN_##when, text, min, max },
#define SLOT(raw, opts, key, type) { W__TYPE_##type, offsetof(raw, key), offsetof(opts, key) },

static const struct w_option_info cluster_infos[] = { W_CLUSTER_OPTIONS(INFO) };
static const struct w_option_info balancer_infos[] = { W_BALANCER_OPTIONS(INFO) };
static const struct w_option_info server_infos[] = { W_SERVER_OPTIONS(INFO) };
static const struct w_option_info database_infos[] = { W_DATABASE_OPTIONS(INFO) };
static const struct w_option_info monitor_infos[] = { W_MONITOR_OPTIONS(INFO) };
static const struct w_option_info alert_infos[] = { W_ALERT_OPTIONS(INFO) };

#define CLUSTER_SLOT(key, type, ...)                                                               \
	SLOT(struct w__raw_cluster, struct w_cluster_options, key, type)
#define BALANCER_SLOT(key, type, ...)                                                              \
	SLOT(struct w__raw_balancer, struct w_balancer_options, key, type)
#define SERVER_SLOT(key, type, ...)                                                                \
	SLOT(struct w__raw_server, struct w_server_options, key, type)
#define DATABASE_SLOT(key, type, ...)                                                              \
	SLOT(struct w__raw_database, struct w_database_options, key, type)
#define MONITOR_SLOT(key, type, ...)                                                               \
	SLOT(struct w__raw_monitor, struct w_monitor_options, key, type)
#define ALERT_SLOT(key, type, ...) SLOT(struct w__raw_alert, struct w_alert_options, key, type)

static const struct w__slot cluster_slots[] = { W_CLUSTER_OPTIONS(CLUSTER_SLOT) };
static const struct w__slot balancer_slots[] = { W_BALANCER_OPTIONS(BALANCER_SLOT) };
static const struct w__slot server_slots[] = { W_SERVER_OPTIONS(SERVER_SLOT) };
static const struct w__slot database_slots[] = { W_DATABASE_OPTIONS(DATABASE_SLOT) };
static const struct w__slot monitor_slots[] = { W_MONITOR_OPTIONS(MONITOR_SLOT) };
static const struct w__slot alert_slots[] = { W_ALERT_OPTIONS(ALERT_SLOT) };

#define SECTION(name, key)                                                                         \
	{ #name, key, name##_infos, name##_slots, W_NELEM(name##_infos),                           \
		sizeof(struct w__raw_##name) }

const struct w__section w__sections[W__SECTION_COUNT] = {
	[W__CLUSTER] = SECTION(cluster, "cluster"),
	[W__BALANCERS] = SECTION(balancer, "balancers"),
	[W__SERVERS] = SECTION(server, "servers"),
	[W__DATABASES] = SECTION(database, "databases"),
	[W__MONITORS] = SECTION(monitor, "monitors"),
	[W__ALERTS] = SECTION(alert, "alerts"),
};

const char *const w__wanted[W__TYPE_COUNT] = {
	[W__TYPE_uint] = "a decimal number",
	[W__TYPE_usec] = "a time with one of the units us, ms, s, min, h, d, as in 250ms or 10s",
	[W__TYPE_bytes] = "a size with one of the units B, KiB, MiB, GiB, TiB, as in 64KiB",
	[W__TYPE_flag] = "true or false",
	[W__TYPE_text] = "a text",
	[W__TYPE_file] = "a path",
	[W__TYPE_addr] = "HOST:PORT, [IPv6]:PORT, or \"\" for off",
	[W__TYPE_list] = "a list",
};

/* Ascending, so that the formatter finds the largest that divides from the end. */
static const struct unit {
	const char *name;
	uint64_t factor;
} times[] = {
	{ "us", 1 },
	{ "ms", 1000 },
	{ "s", 1000000 },
	{ "min", 60000000 },
	{ "h", 3600000000 },
	{ "d", 86400000000 },
	{ NULL, 0 },
}, sizes[] = {
	{ "B", 1 },
	{ "KiB", UINT64_C(1) << 10 },
	{ "MiB", UINT64_C(1) << 20 },
	{ "GiB", UINT64_C(1) << 30 },
	{ "TiB", UINT64_C(1) << 40 },
	{ "PiB", UINT64_C(1) << 50 },
	{ "EiB", UINT64_C(1) << 60 },
	{ NULL, 0 },
}, plain[] = {
	{ "", 1 },
	{ NULL, 0 },
};

static const struct unit *
units_of(enum w__type type)
{
	return type == W__TYPE_usec ? times : type == W__TYPE_bytes ? sizes : plain;
}

int
w__number_parse(enum w__type type, struct w_view text, uint64_t *ret)
{
	const struct unit *unit = units_of(type);
	struct w_view name;
	size_t digits = 0;
	uint64_t number;
	int rc;

	while (digits < text.len && text.ptr[digits] >= '0' && text.ptr[digits] <= '9')
		digits++;
	rc = w_view_u64(w_view_sub(text, 0, digits), UINT64_MAX, &number);
	if (rc < 0)
		return rc;
	name = w_view_trim(w_view_sub(text, digits, text.len));
	/* a size without unit can only be bytes, and nothing is nothing in every unit */
	if (name.len == 0 && (number == 0 || type == W__TYPE_bytes))
		name = w_view_of(unit->name);
	while (unit->name != NULL && !w_view_eq(w_view_of(unit->name), name))
		unit++;
	if (unit->name == NULL)
		return -W_EINVAL;
	if (__builtin_mul_overflow(number, unit->factor, ret))
		return -W_ERANGE;
	return W_OK;
}

void
w__number_format(enum w__type type, uint64_t value, char *to, size_t size)
{
	const struct unit *units = units_of(type), *best = units;

	/* "0", not "0d" */
	for (const struct unit *unit = units; value != 0 && unit->name != NULL; unit++)
		if (value % unit->factor == 0)
			best = unit;
	snprintf(to, size, "%" PRIu64 "%s", value / best->factor, value != 0 ? best->name : "");
}

const struct w_option_info *
w_options_of(const char *section, size_t *ret_count)
{
	for (size_t i = 0; i < W__SECTION_COUNT; i++) {
		if (strcmp(w__sections[i].name, section) != 0)
			continue;
		*ret_count = w__sections[i].count;
		return w__sections[i].infos;
	}
	return NULL;
}

/* Text for roff: dashes stay dashes, backslashes and a leading dot are not requests. */
static void
roff_print(const char *text)
{
	if (*text == '.' || *text == '\'')
		fputs("\\&", stdout);
	for (; *text != '\0'; text++) {
		if (*text == '\\')
			fputs("\\e", stdout);
		else if (*text == '-')
			fputs("\\-", stdout);
		else
			putchar(*text);
	}
}

static void
option_print(const struct w_option_info *info, enum w__type type)
{
	char min[32], max[32];

	printf(".TP\n.BI ");
	roff_print(info->key);
	printf(" \" %s\"\n", info->type);
	roff_print(info->text);
	if (type != W__TYPE_list) {
		printf("\nDefault: ");
		roff_print(info->def[0] != '\0' ? info->def : "not set");
		putchar('.');
	}
	if (info->min != 0 || info->max != 0) {
		w__number_format(type, (uint64_t)info->min, min, sizeof(min));
		w__number_format(type, (uint64_t)info->max, max, sizeof(max));
		printf("\nRange: %s to %s.", min, max);
	}
	printf("\nTakes effect at a %s.\n", info->when);
}

void
w_options_print(const char *section)
{
	for (size_t i = 0; i < W__SECTION_COUNT; i++) {
		if (strcmp(w__sections[i].name, section) != 0)
			continue;
		for (size_t j = 0; j < w__sections[i].count; j++)
			option_print(&w__sections[i].infos[j], w__sections[i].slots[j].type);
	}
}

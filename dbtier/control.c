/*
 * Messages between agents, promoters and operators, by tables of members. See control.h.
 *
 * 1. One table a message serves both ways, so what is written can be read.
 * 2. A message is taken whole or not at all.
 */
#include "dbtier/control.h"

#include <jansson.h>
#include <stdio.h>

#define CONTROL_VERSION 1

/* ---- words ---- */

static const char *const stage_names[DBT_STAGE_COUNT] = { "empty", "fenced", "following", "leading" };
static const char *const postgres_names[DBT_PG_COUNT] = { "none", "starting", "up", "frozen" };
static const char *const order_names[DBT_ORDER_COUNT] = { "init", "prepare", "follow", "promote",
	"resume", "drain", "undrain", "pause" };
static const char *const command_names[DBT_COMMAND_COUNT] = { "switchover", "pause", "resume" };

const char *
dbt_stage_name(enum dbt_stage stage)
{
	return (unsigned)stage < DBT_STAGE_COUNT ? stage_names[stage] : "unknown";
}

const char *
dbt_postgres_name(enum dbt_postgres postgres)
{
	return (unsigned)postgres < DBT_PG_COUNT ? postgres_names[postgres] : "unknown";
}

const char *
dbt_order_name(enum dbt_order_kind kind)
{
	return (unsigned)kind < DBT_ORDER_COUNT ? order_names[kind] : "unknown";
}

/* ---- members ---- */

enum type {
	TEXT,  /* char[size]; empty is an empty text */
	MAYBE, /* char[size]; empty is null */
	FLAG,  /* bool */
	WORD,  /* an enum: one of words[0..size) */
	U32, U64, I64
};

struct field {
	const char *key;
	enum type type;
	size_t offset, size;
	const char *const *words;
};

struct message {
	const char *type;
	const struct field *fields;
	size_t count;
};

/* clang-format off */
#define AT(type, member) offsetof(struct type, member)
#define STATUS_TEXT(kind, key, member) \
	{ key, kind, AT(dbt_status, member), sizeof(((struct dbt_status *)0)->member), NULL }
#define ORDER_TEXT(key, member) \
	{ key, TEXT, AT(dbt_order, member), sizeof(((struct dbt_order *)0)->member), NULL }

static const struct field status_fields[] = {
	STATUS_TEXT(TEXT, "node", node),
	{ "epoch",     I64,  AT(dbt_status, epoch), 0, NULL },
	{ "seq",       I64,  AT(dbt_status, seq), 0, NULL },
	STATUS_TEXT(TEXT, "configured", configured),
	STATUS_TEXT(TEXT, "cohort", promise.cohort.names),
	STATUS_TEXT(TEXT, "joint", promise.cohort.joint),
	{ "edition",   U32,  AT(dbt_status, promise.cohort.edition), 0, NULL },
	{ "term",      U32,  AT(dbt_status, promise.term), 0, NULL },
	STATUS_TEXT(TEXT, "promoter", promise.promoter),
	{ "stage",     WORD, AT(dbt_status, promise.stage), DBT_STAGE_COUNT, stage_names },
	STATUS_TEXT(TEXT, "upstream", promise.upstream),
	{ "made",      FLAG, AT(dbt_status, promise.made), 0, NULL },
	{ "paused",    FLAG, AT(dbt_status, promise.paused), 0, NULL },
	{ "stamp",     I64,  AT(dbt_status, promise.stamp), 0, NULL },
	{ "order",     I64,  AT(dbt_status, order), 0, NULL },
	STATUS_TEXT(MAYBE, "refused", refused),
	STATUS_TEXT(MAYBE, "busy", busy),
	STATUS_TEXT(MAYBE, "trouble", trouble),
	STATUS_TEXT(MAYBE, "ended", ended),
	STATUS_TEXT(MAYBE, "broken", broken),
	{ "postgres",  WORD, AT(dbt_status, postgres), DBT_PG_COUNT, postgres_names },
	STATUS_TEXT(TEXT, "system", system),
	{ "recovery",  FLAG, AT(dbt_status, recovery), 0, NULL },
	{ "timeline",  U32,  AT(dbt_status, timeline), 0, NULL },
	{ "lsn",       U64,  AT(dbt_status, lsn), 0, NULL },
	{ "settled",   FLAG, AT(dbt_status, settled), 0, NULL },
	{ "streaming", FLAG, AT(dbt_status, streaming), 0, NULL },
	{ "heard_ms",  I64,  AT(dbt_status, heard_ms), 0, NULL },
	{ "attached",  U32,  AT(dbt_status, attached), 0, NULL },
	{ "drained",   FLAG, AT(dbt_status, drained), 0, NULL },
	{ "marked",    FLAG, AT(dbt_status, marked), 0, NULL },
};

static const struct field order_fields[] = {
	{ "order",  WORD, AT(dbt_order, kind), DBT_ORDER_COUNT, order_names },
	{ "id",     I64,  AT(dbt_order, id), 0, NULL },
	{ "term",   U32,  AT(dbt_order, term), 0, NULL },
	ORDER_TEXT("promoter", promoter),
	ORDER_TEXT("cohort", cohort.names),
	ORDER_TEXT("joint", cohort.joint),
	{ "edition", U32, AT(dbt_order, cohort.edition), 0, NULL },
	ORDER_TEXT("upstream", upstream),
	{ "timeline", U32, AT(dbt_order, timeline), 0, NULL },
	{ "lsn",    U64,  AT(dbt_order, lsn), 0, NULL },
	{ "paused", FLAG, AT(dbt_order, paused), 0, NULL },
	{ "stamp",  I64,  AT(dbt_order, stamp), 0, NULL },
};

static const struct field command_fields[] = {
	{ "command", WORD,  AT(dbt_command, kind), DBT_COMMAND_COUNT, command_names },
	{ "node",    MAYBE, AT(dbt_command, node), sizeof(((struct dbt_command *)0)->node), NULL },
	{ "id",      I64,   AT(dbt_command, id), 0, NULL },
};

static const struct field answer_fields[] = {
	{ "id",     I64,  AT(dbt_answer, id), 0, NULL },
	{ "done",   FLAG, AT(dbt_answer, done), 0, NULL },
	{ "failed", FLAG, AT(dbt_answer, failed), 0, NULL },
	{ "text",   TEXT, AT(dbt_answer, text), sizeof(((struct dbt_answer *)0)->text), NULL },
};

static const struct message
	status_message = { "status", status_fields, W_NELEM(status_fields) },
	order_message = { "order", order_fields, W_NELEM(order_fields) },
	command_message = { "command", command_fields, W_NELEM(command_fields) },
	answer_message = { "answer", answer_fields, W_NELEM(answer_fields) };
/* clang-format on */

/* ---- writing ---- */

static int64_t
number_at(const struct field *field, const char *at)
{
	switch (field->type) {
	case U32:
		return *(const uint32_t *)(const void *)at;
	case U64:
		return (int64_t)*(const uint64_t *)(const void *)at;
	default:
		return *(const int64_t *)(const void *)at;
	}
}

static void
put_field(struct w_json *json, const struct field *field, const char *at)
{
	w_json_key(json, field->key);
	if (field->type == FLAG)
		w_json_bool(json, *(const bool *)at);
	else if (field->type == WORD)
		w_json_text(json, field->words[*(const unsigned *)(const void *)at]);
	else if (field->type == TEXT || (field->type == MAYBE && *at != '\0'))
		w_json_text(json, at);
	else if (field->type == MAYBE)
		w_json_null(json);
	else
		w_json_int(json, number_at(field, at));
}

static void
format(const struct message *message, const void *from, struct w_buf *out)
{
	struct w_json json;

	w_json_init(&json, out);
	w_json_open(&json, '{');
	w_json_key(&json, "v");
	w_json_int(&json, CONTROL_VERSION);
	w_json_key(&json, "type");
	w_json_text(&json, message->type);
	for (size_t i = 0; i < message->count; i++)
		put_field(&json, &message->fields[i], (const char *)from + message->fields[i].offset);
	w_json_close(&json, '}');
}

void
dbt_status_format(const struct dbt_status *status, struct w_buf *out)
{
	format(&status_message, status, out);
}

void
dbt_order_format(const struct dbt_order *order, struct w_buf *out)
{
	format(&order_message, order, out);
}

void
dbt_command_format(const struct dbt_command *command, struct w_buf *out)
{
	format(&command_message, command, out);
}

void
dbt_answer_format(const struct dbt_answer *answer, struct w_buf *out)
{
	format(&answer_message, answer, out);
}

/* ---- reading ---- */

static bool
take_text(const struct field *field, const json_t *value, char *to)
{
	if (json_is_null(value) && field->type == MAYBE) {
		to[0] = '\0';
		return true;
	}
	if (!json_is_string(value) || json_string_length(value) >= field->size ||
	    strlen(json_string_value(value)) != json_string_length(value))
		return false;
	memcpy(to, json_string_value(value), json_string_length(value) + 1);
	return true;
}

static bool
take_word(const struct field *field, const json_t *value, char *to)
{
	for (unsigned i = 0; json_is_string(value) && i < field->size; i++) {
		if (strcmp(json_string_value(value), field->words[i]) != 0)
			continue;
		*(unsigned *)(void *)to = i;
		return true;
	}
	return false;
}

static bool
take_number(const struct field *field, const json_t *value, char *to)
{
	json_int_t number = json_integer_value(value);

	if (!json_is_integer(value) || (field->type != I64 && number < 0) ||
	    (field->type == U32 && number > (json_int_t)UINT32_MAX))
		return false;
	if (field->type == U32)
		*(uint32_t *)(void *)to = (uint32_t)number;
	else if (field->type == U64)
		*(uint64_t *)(void *)to = (uint64_t)number;
	else
		*(int64_t *)(void *)to = number;
	return true;
}

static bool
take_field(const struct field *field, const json_t *value, char *to)
{
	switch (field->type) {
	case TEXT:
	case MAYBE:
		return take_text(field, value, to);
	case WORD:
		return take_word(field, value, to);
	case FLAG:
		if (json_is_boolean(value))
			*(bool *)to = json_is_true(value);
		return json_is_boolean(value);
	default:
		return take_number(field, value, to);
	}
}

static int
take(const struct message *message, const json_t *root, void *to, struct w_fault *fault)
{
	const char *type = json_string_value(json_object_get(root, "type"));

	if (!json_is_object(root))
		return w_fail(fault, -W_EINVAL, "a message is an object");
	if (json_integer_value(json_object_get(root, "v")) != CONTROL_VERSION)
		return w_fail(fault, -W_EVERSION, "v: wanted is %d", CONTROL_VERSION);
	if (type == NULL || strcmp(type, message->type) != 0)
		return w_fail(fault, -W_EINVAL, "type: wanted is %s", message->type);
	for (size_t i = 0; i < message->count; i++) {
		const struct field *field = &message->fields[i];
		const json_t *value = json_object_get(root, field->key);

		if (!take_field(field, value, (char *)to + field->offset))
			return w_fail(fault, -W_EINVAL, "%s of a %s: %s", field->key, message->type,
			    value == NULL ? "missing" : "of a wrong type, too long, or out of range");
	}
	return W_OK;
}

static int
load(struct w_view json, json_t **ret, struct w_fault *fault)
{
	json_error_t error;

	if (json.len > DBT_CONTROL_MAX)
		return w_fail(fault, -W_ETOOBIG, "%zu bytes, wanted are %zu at most", json.len,
		    DBT_CONTROL_MAX);
	*ret = json_loadb(json.len > 0 ? json.ptr : "", json.len, JSON_REJECT_DUPLICATES, &error);
	return *ret != NULL ? W_OK : w_fail(fault, -W_EJSON, "no JSON: %s", error.text);
}

/* to is as big as the message's struct, and so is ret. */
static int
parse(const struct message *message, struct w_view json, void *to, struct w_fault *fault)
{
	json_t *root = NULL;
	int rc = load(json, &root, fault);

	if (rc == W_OK)
		rc = take(message, root, to, fault);
	json_decref(root);
	return rc;
}

int
dbt_status_parse(struct w_view json, struct dbt_status *ret, struct w_fault *fault)
{
	struct dbt_status status = { 0 };
	int rc = parse(&status_message, json, &status, fault);

	if (rc == W_OK)
		*ret = status;
	return rc;
}

int
dbt_order_parse(struct w_view json, struct dbt_order *ret, struct w_fault *fault)
{
	struct dbt_order order = { 0 };
	int rc = parse(&order_message, json, &order, fault);

	if (rc == W_OK)
		*ret = order;
	return rc;
}

int
dbt_command_parse(struct w_view json, struct dbt_command *ret, struct w_fault *fault)
{
	struct dbt_command command = { 0 };
	int rc = parse(&command_message, json, &command, fault);

	if (rc == W_OK)
		*ret = command;
	return rc;
}

int
dbt_answer_parse(struct w_view json, struct dbt_answer *ret, struct w_fault *fault)
{
	struct dbt_answer answer = { 0 };
	int rc = parse(&answer_message, json, &answer, fault);

	if (rc == W_OK)
		*ret = answer;
	return rc;
}

void
dbt_control_type(struct w_view json, char ret[16])
{
	json_t *root = NULL;
	const char *type;

	ret[0] = '\0';
	if (load(json, &root, NULL) < 0)
		return;
	type = json_string_value(json_object_get(root, "type"));
	if (type != NULL && strlen(type) < 16)
		memcpy(ret, type, strlen(type) + 1);
	json_decref(root);
}

/* ---- the cohort ---- */

int
dbt_cohort_format(const struct w_cluster *cluster, char ret[DBT_COHORT])
{
	W_AUTO(w_buf_fini) struct w_buf text = { 0 };
	const struct w_member *member;

	for (unsigned i = 0; (member = w_cluster_nth(cluster, W_DATABASE, i)) != NULL; i++)
		w_buf_printf(&text, "%s%s", i > 0 ? "," : "", member->name);
	w_buf_printf(&text, "/%llu", (unsigned long long)cluster->opt.quorum);
	if (text.len >= DBT_COHORT)
		return -W_ETOOBIG;
	memcpy(ret, text.ptr, text.len);
	ret[text.len] = '\0';
	return W_OK;
}

/* As the cluster file allows them: they come into PostgreSQL's settings. */
static bool
is_name(struct w_view name)
{
	for (size_t i = 0; i < name.len; i++) {
		char c = name.ptr[i];

		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-')
			return false;
	}
	return name.len > 0;
}

static bool
has_member(const struct dbt_members *members, struct w_view name)
{
	for (unsigned i = 0; i < members->count; i++) {
		if (w_view_eq(name, w_view_of(members->names[i])))
			return true;
	}
	return false;
}

int
dbt_cohort_parse(const char *text, struct dbt_members *ret)
{
	struct dbt_members members = { 0 };
	struct w_view rest = w_view_of(text);
	size_t slash = w_view_find(rest, '/');
	struct w_view names = w_view_sub(rest, 0, slash);
	uint64_t quorum;

	if (slash == 0 || slash >= rest.len ||
	    w_view_u64(w_view_sub(rest, slash + 1, rest.len), DBT_NODES_MAX, &quorum) < 0)
		return -W_EINVAL;
	for (struct w_view name; w_view_split(&names, ',', &name);) {
		if (members.count == DBT_NODES_MAX)
			return -W_ETOOBIG;
		if (!is_name(name) || has_member(&members, name) ||
		    w_view_copy(name, members.names[members.count++], DBT_NAME) < 0)
			return -W_EINVAL;
	}
	if (quorum >= members.count)
		return -W_EINVAL;
	members.quorum = (unsigned)quorum;
	*ret = members;
	return W_OK;
}

unsigned
dbt_members_needed(const struct dbt_members *members)
{
	return W_MAX(members->count / 2 + 1, members->count - members->quorum);
}

const char *
dbt_cohort_base(const struct dbt_cohort *cohort)
{
	return cohort->joint[0] != '\0' ? cohort->joint : cohort->names;
}

uint32_t
dbt_cohort_base_edition(const struct dbt_cohort *cohort)
{
	return cohort->joint[0] != '\0' && cohort->edition > 0 ? cohort->edition - 1 : cohort->edition;
}

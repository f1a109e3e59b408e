/*
 * The first reading of a cluster file, by libyaml: is it one YAML document, within
 * bounds, without duplicate keys and aliases; and where does everything stand.
 *
 *	1. Nodes lie in one array, a parent before its children, siblings linked in order.
 *	2. Depth, keys and items are bounded before anything is kept, so a hostile file
 *	   costs no more than its size.
 *	3. A document that passes here has only scalar keys and no aliases: what libcyaml
 *	   sees after it is a plain tree.
 */
#include <stdio.h>
#include <yaml.h>

#include "common/cluster_inner.h"
#include "common/log.h"

#define TREE_DEPTH 6     /* the file needs five: root, section, entry, list, item */
#define TREE_KEYS 256    /* keys of one mapping */
#define TREE_NODES 65536 /* in all */
#define TREE_NONE UINT32_MAX

struct node {
	uint32_t parent, next, first; /* indices; TREE_NONE for none */
	char *key;                    /* of a mapping's child, else NULL */
	unsigned index;               /* of a sequence's child */
	unsigned line, value_line, value_column;
	enum w__kind kind;
	bool null;
};

struct w__tree {
	struct node *nodes;
	uint32_t count, cap;
};

/* The reading: the path of open collections, innermost last. */
struct reading {
	const char *file;
	struct w_fault *fault;
	struct w__tree *tree;
	struct {
		uint32_t node, last; /* the collection and its newest child */
		unsigned children;
		char *key; /* read, its value not yet */
		unsigned key_line;
	} open[TREE_DEPTH];
	unsigned depth, documents;
};

void
w__tree_free(struct w__tree **tree)
{
	if (*tree == NULL)
		return;
	for (uint32_t i = 0; i < (*tree)->count; i++)
		free((*tree)->nodes[i].key);
	free((*tree)->nodes);
	free(*tree);
	*tree = NULL;
}

static unsigned
event_line(const yaml_event_t *event)
{
	return (unsigned)event->start_mark.line + 1;
}

#define reading_fail(reading, line, fmt, ...)                                                      \
	w_fail((reading)->fault, -W_EINVAL, "%s:%u: " fmt, (reading)->file, line, __VA_ARGS__)

/* A plain scalar that YAML takes for nothing. */
static bool
is_null(const yaml_event_t *event)
{
	static const char *const nulls[] = { "", "~", "null", "Null", "NULL" };

	if (event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
		return false;
	for (size_t i = 0; i < W_NELEM(nulls); i++)
		if (strcmp((const char *)event->data.scalar.value, nulls[i]) == 0)
			return true;
	return false;
}

static uint32_t
node_new(struct w__tree *tree)
{
	if (tree->count == tree->cap) {
		tree->cap = tree->cap != 0 ? tree->cap * 2 : 64;
		tree->nodes = w_xrealloc(tree->nodes, tree->cap * sizeof(*tree->nodes));
	}
	tree->nodes[tree->count] = (struct node){
		.parent = TREE_NONE,
		.next = TREE_NONE,
		.first = TREE_NONE,
	};
	return tree->count++;
}

/* Tie a new node to the innermost open collection. */
static void
node_tie(struct reading *reading, uint32_t id)
{
	struct node *nodes = reading->tree->nodes, *node = &nodes[id];
	unsigned top = reading->depth - 1;

	if (reading->depth == 0)
		return;
	node->parent = reading->open[top].node;
	if (reading->open[top].children == 0)
		nodes[node->parent].first = id;
	else
		nodes[reading->open[top].last].next = id;
	node->index = reading->open[top].children++;
	reading->open[top].last = id;
	node->key = w_steal(&reading->open[top].key);
	if (node->key != NULL)
		node->line = reading->open[top].key_line;
}

static int
check_room(const struct reading *reading, const yaml_event_t *event)
{
	unsigned line = event_line(event), top = reading->depth - 1;
	bool mapping;

	if (reading->tree->count >= TREE_NODES)
		return reading_fail(reading, line, "more than %d values in one file", TREE_NODES);
	if (reading->depth == 0)
		return W_OK;
	mapping = reading->tree->nodes[reading->open[top].node].kind == W__MAPPING;
	if (reading->open[top].children >= (unsigned)(mapping ? TREE_KEYS : W__ENTRIES_MAX))
		return reading_fail(reading, line, "more than %d %s in one place",
		    mapping ? TREE_KEYS : W__ENTRIES_MAX, mapping ? "keys" : "list items");
	return W_OK;
}

static int
value_add(struct reading *reading, const yaml_event_t *event, enum w__kind kind)
{
	struct node *node;
	uint32_t id;
	int rc;

	rc = check_room(reading, event);
	if (rc < 0)
		return rc;
	id = node_new(reading->tree);
	node = &reading->tree->nodes[id];
	node->kind = kind;
	node->line = node->value_line = event_line(event);
	node->value_column = (unsigned)event->start_mark.column + 1;
	node->null = kind == W__SCALAR && is_null(event);
	node_tie(reading, id);
	if (kind == W__SCALAR)
		return W_OK;
	if (reading->depth == TREE_DEPTH)
		return reading_fail(reading, node->line,
		    "lists and sections in each other, deeper than %d levels", TREE_DEPTH);
	reading->open[reading->depth].node = id;
	reading->open[reading->depth].children = 0;
	reading->depth++;
	return W_OK;
}

/* Is a mapping open whose next event is a key? */
static bool
wants_key(const struct reading *reading)
{
	unsigned top = reading->depth - 1;

	return reading->depth > 0 &&
	    reading->tree->nodes[reading->open[top].node].kind == W__MAPPING &&
	    reading->open[top].key == NULL;
}

/* Where a node is, from its path upwards. */
static struct w__place
node_place(const struct w__tree *tree, uint32_t id)
{
	struct w__place place = { NULL, -1, NULL, -1 };
	uint32_t path[TREE_DEPTH + 1];
	unsigned len = 0;

	for (; id != 0; id = tree->nodes[id].parent)
		path[len++] = id;
	while (len-- > 0) {
		const struct node *node = &tree->nodes[path[len]];

		if (node->key == NULL)
			*(place.key != NULL ? &place.item : &place.index) = (int)node->index;
		else if (place.section == NULL)
			place.section = node->key;
		else
			place.key = node->key;
	}
	return place;
}

static int
key_add(struct reading *reading, const yaml_event_t *event)
{
	struct w_view key = { (const char *)event->data.scalar.value, event->data.scalar.length };
	const struct node *nodes = reading->tree->nodes;
	unsigned top = reading->depth - 1;
	char quoted[200];
	struct w__place place;
	uint32_t id;

	if (event->type != YAML_SCALAR_EVENT)
		return reading_fail(reading, event_line(event), "%s",
		    "a list or section stands where a key is wanted");
	if (key.len > W__NAME_MAX)
		return reading_fail(reading, event_line(event), "%s: a key longer than %d bytes",
		    w_log_quote(key, quoted, sizeof(quoted)), W__NAME_MAX);
	id = nodes[reading->open[top].node].first;
	while (id != TREE_NONE && !w_view_eq(w_view_of(nodes[id].key), key))
		id = nodes[id].next;
	if (id != TREE_NONE) {
		place = node_place(reading->tree, id);
		return reading_fail(reading, event_line(event),
		    "%s: stands twice, first in line %u; one of them must go",
		    w__place_format(&place, quoted, sizeof(quoted)), nodes[id].line);
	}
	reading->open[top].key = w_view_dup(key);
	reading->open[top].key_line = event_line(event);
	return W_OK;
}

static int
take_value(struct reading *reading, const yaml_event_t *event)
{
	static const enum w__kind kinds[] = {
		[YAML_SCALAR_EVENT] = W__SCALAR,
		[YAML_SEQUENCE_START_EVENT] = W__SEQUENCE,
		[YAML_MAPPING_START_EVENT] = W__MAPPING,
	};

	if (wants_key(reading))
		return key_add(reading, event);
	return value_add(reading, event, kinds[event->type]);
}

static int
take_end(struct reading *reading, W_UNUSED const yaml_event_t *event)
{
	reading->depth--;
	return W_OK;
}

static int
take_alias(struct reading *reading, const yaml_event_t *event)
{
	return reading_fail(reading, event_line(event), "%s",
	    "aliases (*name) are not understood; write the value out");
}

static int
take_document(struct reading *reading, const yaml_event_t *event)
{
	if (++reading->documents > 1)
		return reading_fail(reading, event_line(event), "%s",
		    "a second YAML document begins; a cluster file is one document");
	return W_OK;
}

static int
take_nothing(W_UNUSED struct reading *reading, W_UNUSED const yaml_event_t *event)
{
	return W_OK;
}

static int (*const takes[])(struct reading *, const yaml_event_t *) = {
	[YAML_NO_EVENT] = take_nothing,
	[YAML_STREAM_START_EVENT] = take_nothing,
	[YAML_STREAM_END_EVENT] = take_nothing,
	[YAML_DOCUMENT_START_EVENT] = take_document,
	[YAML_DOCUMENT_END_EVENT] = take_nothing,
	[YAML_ALIAS_EVENT] = take_alias,
	[YAML_SCALAR_EVENT] = take_value,
	[YAML_SEQUENCE_START_EVENT] = take_value,
	[YAML_SEQUENCE_END_EVENT] = take_end,
	[YAML_MAPPING_START_EVENT] = take_value,
	[YAML_MAPPING_END_EVENT] = take_end,
};

static int
syntax_fail(const struct reading *reading, const yaml_parser_t *parser)
{
	const char *problem = parser->problem != NULL ? parser->problem : "out of memory";

	/* the reader, who stumbles over bytes that are no text, knows no line */
	if (parser->error == YAML_READER_ERROR)
		return w_fail(reading->fault, -W_EINVAL,
		    "%s: not a text file: %s at byte %zu; wanted is YAML in UTF-8", reading->file,
		    problem, parser->problem_offset);
	return reading_fail(reading, (unsigned)parser->problem_mark.line + 1,
	    "not YAML: %s%s%s (column %zu)", parser->context != NULL ? parser->context : "",
	    parser->context != NULL ? ", " : "", problem, parser->problem_mark.column + 1);
}

static int
read_events(struct reading *reading, yaml_parser_t *parser)
{
	W_AUTO(yaml_event_delete) yaml_event_t event = { .type = YAML_NO_EVENT };
	int rc = W_OK;

	while (rc == W_OK && event.type != YAML_STREAM_END_EVENT) {
		yaml_event_delete(&event);
		if (!yaml_parser_parse(parser, &event))
			return syntax_fail(reading, parser);
		rc = takes[event.type](reading, &event);
	}
	return rc;
}

int
w__tree_parse(const char *file, struct w_view text, struct w__tree **ret, struct w_fault *fault)
{
	W_AUTO(w__tree_free) struct w__tree *tree = w_xcalloc(1, sizeof(*tree));
	struct reading reading = { .file = file, .fault = fault, .tree = tree };
	yaml_parser_t parser;
	int rc;

	if (!yaml_parser_initialize(&parser))
		return w_fail(fault, -W_EIO, "%s: out of memory", file);
	yaml_parser_set_input_string(&parser, (const unsigned char *)text.ptr, text.len);
	rc = read_events(&reading, &parser);
	yaml_parser_delete(&parser);
	/* what a failure left half-read: collections open below the depth hold no key */
	for (unsigned i = 0; i < reading.depth; i++)
		free(reading.open[i].key);
	if (rc < 0)
		return rc;
	if (tree->count == 0 || tree->nodes[0].null)
		return w_fail(fault, -W_EINVAL,
		    "%s: empty; wanted is a cluster file as in weir-cluster(5)", file);
	*ret = w_steal(&tree);
	return W_OK;
}

static uint32_t
child_find(const struct w__tree *tree, uint32_t parent, const char *key, unsigned index)
{
	uint32_t id = tree->nodes[parent].first;

	for (; id != TREE_NONE; id = tree->nodes[id].next) {
		if (key != NULL && tree->nodes[id].key != NULL &&
		    strcmp(tree->nodes[id].key, key) == 0)
			return id;
		if (key == NULL && tree->nodes[id].key == NULL && tree->nodes[id].index == index)
			return id;
	}
	return TREE_NONE;
}

/* Walk down to a place; *ret_exact tells whether all of it was there. */
static uint32_t
place_find(const struct w__tree *tree, const struct w__place *place, bool *ret_exact)
{
	const struct step {
		bool wanted;
		const char *key;
		unsigned index;
	} steps[] = {
		{ place->section != NULL, place->section, 0 },
		{ place->index >= 0, NULL, (unsigned)place->index },
		{ place->key != NULL, place->key, 0 },
		{ place->item >= 0, NULL, (unsigned)place->item },
	};
	uint32_t id = 0, child;

	*ret_exact = false;
	for (size_t i = 0; i < W_NELEM(steps); i++) {
		if (!steps[i].wanted)
			continue;
		child = child_find(tree, id, steps[i].key, steps[i].index);
		if (child == TREE_NONE)
			return id;
		id = child;
	}
	*ret_exact = true;
	return id;
}

unsigned
w__tree_line(const struct w__tree *tree, const struct w__place *place)
{
	bool exact;

	return tree->nodes[place_find(tree, place, &exact)].line;
}

bool
w__tree_null(const struct w__tree *tree, const struct w__place *place)
{
	bool exact;
	uint32_t id = place_find(tree, place, &exact);

	return exact && tree->nodes[id].null;
}

int
w__tree_kind(const struct w__tree *tree, const struct w__place *place, enum w__kind *ret)
{
	bool exact;
	uint32_t id = place_find(tree, place, &exact);

	if (!exact)
		return -W_ENOTFOUND;
	*ret = tree->nodes[id].kind;
	return W_OK;
}

struct w__place
w__tree_at(const struct w__tree *tree, unsigned line, unsigned column)
{
	uint32_t id = tree->count;

	/* from the end: of two nodes at one mark the inner one comes later */
	while (id-- > 0)
		if (tree->nodes[id].value_line == line && tree->nodes[id].value_column == column)
			return node_place(tree, id);
	return (struct w__place){ NULL, -1, NULL, -1 };
}

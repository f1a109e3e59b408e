/*
 * What the files of the cluster loader share. The way of a cluster file:
 *
 *	cluster_read.c    bytes of the file
 *	cluster_tree.c    libyaml: syntax, duplicate keys, bounds; remembers the line of everything
 *	cluster_schema.c  libcyaml: structure and keys; every value is still text
 *	cluster_value.c   text to values: units, ranges, addresses, paths; the default where absent
 *	cluster_check.c   what no single value shows: names, pairs of options, quorum
 *	cluster.c         the steps in order, and looking things up afterwards
 *	options.c         the tables that all of them walk
 */
#ifndef WEIR_COMMON_CLUSTER_INNER_H
#define WEIR_COMMON_CLUSTER_INNER_H

#include "common/arena.h"
#include "common/buf.h"
#include "common/cluster.h"

#define W__FILE_MAX ((size_t)4 << 20) /* bytes of a cluster file */
#define W__ENTRIES_MAX 1024           /* entries of a section, items of a list */
#define W__TEXT_MAX 4096              /* bytes of one value */
#define W__NAME_MAX 63                /* bytes of a node's name */

enum w__type {
	W__TYPE_uint,
	W__TYPE_usec,
	W__TYPE_bytes,
	W__TYPE_flag,
	W__TYPE_text,
	W__TYPE_file,
	W__TYPE_addr,
	W__TYPE_list,
	W__TYPE_COUNT
};

/* As libcyaml leaves a section: text or texts, NULL where the file says nothing. */
struct w__texts {
	char **items;
	unsigned count;
};

#define W__RAW_uint char *
#define W__RAW_usec char *
#define W__RAW_bytes char *
#define W__RAW_flag char *
#define W__RAW_text char *
#define W__RAW_file char *
#define W__RAW_addr char *
#define W__RAW_list struct w__texts
#define W__RAW_MEMBER(key, type, def, min, max, when, text) W__RAW_##type key;

struct w__raw_cluster { W_CLUSTER_OPTIONS(W__RAW_MEMBER) };
/* An entry's name comes first: code that walks all sections finds it at the start. */
struct w__raw_balancer { char *name; W_BALANCER_OPTIONS(W__RAW_MEMBER) };
struct w__raw_server { char *name; W_SERVER_OPTIONS(W__RAW_MEMBER) };
struct w__raw_database { char *name; W_DATABASE_OPTIONS(W__RAW_MEMBER) };
struct w__raw_monitor { char *name; W_MONITOR_OPTIONS(W__RAW_MEMBER) };
struct w__raw_alert { char *name; W_ALERT_OPTIONS(W__RAW_MEMBER) };

/* Sections in the order of the roles, so that role r is section 1 + r. */
enum w__section_id {
	W__CLUSTER,
	W__BALANCERS,
	W__SERVERS,
	W__DATABASES,
	W__MONITORS,
	W__ALERTS,
	W__SECTION_COUNT
};

struct w__raw_entries {
	void *at;
	unsigned count;
};

struct w__raw_file {
	struct w__raw_cluster *cluster; /* NULL when the file has no such section */
	struct w__raw_entries entries[W__SECTION_COUNT]; /* that of W__CLUSTER stays empty */
};

/* Where an option lies in the raw struct and in the options' struct. */
struct w__slot {
	enum w__type type;
	size_t raw, opt; /* bytes from the start */
};

struct w__section {
	const char *name; /* "server": for people, manual and w_options_of() */
	const char *key;  /* "servers": in the file */
	const struct w_option_info *infos;
	const struct w__slot *slots;
	size_t count;    /* of both */
	size_t raw_size; /* bytes of the raw struct */
};

extern const struct w__section w__sections[W__SECTION_COUNT];
/* What a value of each type should look like: "a time with unit: 250ms, 10s, 5min". */
extern const char *const w__wanted[W__TYPE_COUNT];

/*
 * A number with a unit of its type (uint, usec, bytes) to the stored unit.
 * Errors: -W_EINVAL, -W_ERANGE when it does not fit in 64 bits.
 */
int w__number_parse(enum w__type type, struct w_view text, uint64_t *ret);
/* The other way, with the largest unit that leaves no rest: 60000000 us is "1min". */
void w__number_format(enum w__type type, uint64_t value, char *to, size_t size);

/* A place in the file. key NULL: the entry; index < 0: the section; section NULL: the file. */
struct w__place {
	const char *section; /* as in the file: "servers" */
	int index;           /* of the entry, from 0; -1 for none and for "cluster" */
	const char *key;
	int item; /* of a list, from 0; -1 for none */
};

enum w__kind { W__SCALAR, W__SEQUENCE, W__MAPPING };

struct w__tree;

/* The lines of all that a YAML text says. file is for messages and outlives the tree. */
int w__tree_parse(const char *file, struct w_view text, struct w__tree **ret,
    struct w_fault *fault);
void w__tree_free(struct w__tree **tree);
/* Line of a place, or of the nearest thing around it that the file has. */
unsigned w__tree_line(const struct w__tree *tree, const struct w__place *place);
/* True when the place exists and nothing stands there: "http:" or "http: ~". */
bool w__tree_null(const struct w__tree *tree, const struct w__place *place);
/* Kind of what stands at the place. Errors: -W_ENOTFOUND. */
int w__tree_kind(const struct w__tree *tree, const struct w__place *place, enum w__kind *ret);
/* The place whose value starts at line and column (from 1); the texts live in the tree. */
struct w__place w__tree_at(const struct w__tree *tree, unsigned line, unsigned column);

/* The load as it goes through the steps. */
struct w__load {
	const char *file; /* as the caller named it, for messages */
	const struct w__tree *tree;
	struct w_cluster *cluster;
	struct w_arena *arena;
	struct w_fault *fault;
};

/* "FILE:LINE: KEY: " and the message, to the fault; returns err. */
int w__load_fail(const struct w__load *load, const struct w__place *place, int err,
    const char *fmt, ...) W_PRINTF(4, 5);
/* "servers[1].http" */
const char *w__place_format(const struct w__place *place, char *to, size_t size);

/* Bytes of a file, on the heap. Errors: -W_EIO, -W_EINVAL, -W_ERANGE. */
int w__file_read(const char *path, struct w_buf *ret, struct w_fault *fault);
/* Structure of the file. ret is filled by libcyaml and freed by w__schema_free(). */
int w__schema_load(const struct w__load *load, struct w_view text, struct w__raw_file **ret);
void w__schema_free(struct w__raw_file **raw);
/*
 * Convert all options of one entry of a section, raw to opt; the copies live in the
 * load's arena.
 */
int w__values_load(const struct w__load *load, enum w__section_id id, int index, const void *raw,
    void *opt);
int w__cluster_check(const struct w__load *load);
/* Letter, then letters, digits and '-': a name of nodes and alerts. */
bool w__name_valid(const char *name);
/* The known word that word was probably meant to be, or NULL. words ends with NULL. */
const char *w__near_miss(const char *word, const char *const *words);

#endif

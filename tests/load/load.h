/*
 * What the modes of weir-load share: requests over libcurl's multi interface, in one thread.
 *
 * A client has a connection and one request under way at a time. The mode starts its requests with
 * load_send(); load_turn() carries all of them on and calls back whoever's request has ended, and
 * that callback may send the next one.
 *
 * Invariants
 * 1. Only loopback addresses are asked, and 198.18.0.0/15, which is for tests alone (RFC 2544).
 * 2. A POST that may have arrived is never sent again by libcurl behind our back: its body is read
 *    once and cannot be rewound.
 * 3. Each request ends within its time, and every mode by load_over(), whatever the cluster does.
 */
#ifndef WEIR_TESTS_LOAD_H
#define WEIR_TESTS_LOAD_H

#include <curl/curl.h>
#include <stdio.h>

#include "common/buf.h"

#define LOAD_URLS 2
#define LOAD_STATUSES 600

struct load_options {
	const char *urls; /* base URLs, comma-separated */
	const char *ca, *log, *name, *cookies, *keys, *path, *marks;
	uint64_t count, clients, rate, seconds, deadline, good, bad, first, rows, limit, pause;
};

struct load {
	const struct load_options *opt;
	char *base[LOAD_URLS]; /* without a slash at the end */
	unsigned bases;
	bool cookies;
	CURLM *multi;
	int timer;
	int input; /* what else wakes load_turn(): a descriptor to read from; -1 nothing */
	w_usec began;
	unsigned flying; /* requests under way */
};

struct load_client;
typedef void load_done(struct load_client *client);

struct load_client {
	struct load *load;
	CURL *easy;
	struct curl_slist *fields;
	load_done *done;
	void *owner;
	unsigned number;
	struct w_buf body;  /* of the request */
	size_t body_at;     /* what libcurl has read of it */
	w_usec sent, ended;
	/* the answer */
	long status; /* 0: none; why tells */
	const char *why;
	struct w_buf text;
	char location[128];
	bool replayed;
};

struct load_request {
	unsigned base;    /* which of the URLs, modulo their count */
	const char *path;
	const char *post; /* a JSON body; NULL is a GET */
	bool put;         /* it is a PUT's */
	const char *key;  /* Idempotency-Key, or NULL */
	w_usec timeout;   /* 0: 30 s */
};

/* Both exit with a sentence on standard error: 1 it cannot run, 2 wrong usage. */
_Noreturn void load_die(const char *fmt, ...) W_PRINTF(1, 2);
_Noreturn void load_wrong(const char *fmt, ...) W_PRINTF(1, 2);

void load_open(struct load *load, const struct load_options *opt);
void load_close(struct load *load);
/* Whether the mode's longest time is up: --limit. */
bool load_over(const struct load *load);
/* Whether somebody sent SIGTERM: begin nothing new, bring to an end what is under way. */
bool load_stopped(void);

struct load_client *load_clients_new(struct load *load, unsigned count, load_done *done, void *owner);
void load_clients_free(struct load_client **clients, unsigned count);

/* The client must have no request under way. done() is called from load_turn(), never from here. */
void load_send(struct load_client *client, const struct load_request *request);
/* Carry the requests on until some of them end, at the latest until then (w_now() based). */
void load_turn(struct load *load, w_usec until);

/* The number after "member": in the answer; -1 none. */
int64_t load_answer_int(const struct load_client *client, const char *member);
bool load_answer_has(const struct load_client *client, const char *text);

/* The line of results: '{' "mode" is there already; load_print() closes and prints it. */
void load_result(struct w_json *json, struct w_buf *out, const char *mode);
void load_result_statuses(struct w_json *json, const uint64_t *statuses);
void load_print(struct w_json *json);
/* Sorts; share is 0 to 1. */
w_usec load_percentile(w_usec *times, size_t count, double share);

/* The modes answer their exit status. */
int load_pairs(const struct load_options *opt);
int load_writers(const struct load_options *opt);
int load_fast(const struct load_options *opt);
int load_history(const struct load_options *opt);
int load_mix(const struct load_options *opt);

#endif

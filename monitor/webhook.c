/*
 * The webhooks' thread. See webhook.h.
 *
 *	idle --alerts wait--> posting --2xx--> idle
 *	                         |  ^
 *	   may be tried again    v  | its time has come
 *	                       waiting      else: failed, idle
 *
 * 1. The lock guards queues and counts; everything else of a target is the thread's.
 * 2. libcurl's multi interface runs all POSTs at once; nothing in the thread waits but the poll.
 */
#include "monitor/webhook.h"

#include <curl/curl.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>

#include "common/log.h"
#include "monitor/show.h"

#define QUEUE_MAX 256
#define TIMEOUT_MSEC 5000L
#define TRIES_MAX 4
#define FIRST_WAIT (500 * W_MSEC)
#define IDLE_POLL_MSEC 60000
#define STOP_WAIT 2 /* seconds */

struct item {
	char *json; /* of one alert */
	bool firing;
};

struct queue {
	struct item items[QUEUE_MAX];
	unsigned first, count;
};

enum target_state { IDLE, POSTING, WAITING };

struct target {
	struct mon_webhook *webhook;
	char *url;
	struct queue queue;
	enum target_state state;
	CURL *easy;
	struct w_buf body;
	unsigned in_body, tries; /* alerts in it; times it was sent */
	w_usec retry_at;
};

struct mon_webhook {
	pthread_t thread;
	pthread_mutex_t lock;
	bool stopping;
	CURLM *multi;
	struct curl_slist *headers;
	char *external;
	struct target *targets;
	unsigned count;
	struct mon_webhook_counts counts;
};

static void
drop_first(struct queue *queue)
{
	w_free(&queue->items[queue->first].json);
	queue->first = (queue->first + 1) % QUEUE_MAX;
	queue->count--;
}

/* ---- one POST ---- */

/* Alertmanager's envelope. Called with the lock held. */
static void
fill_body(struct target *target)
{
	struct queue *queue = &target->queue;
	struct w_json json;
	bool firing = false;

	for (unsigned i = 0; i < queue->count; i++)
		firing |= queue->items[(queue->first + i) % QUEUE_MAX].firing;
	w_buf_clear(&target->body);
	w_json_init(&json, &target->body);
	w_json_open(&json, '{');
	w_json_key(&json, "version");
	w_json_text(&json, "4");
	w_json_key(&json, "receiver");
	w_json_text(&json, "weir");
	w_json_key(&json, "status");
	w_json_text(&json, firing ? "firing" : "resolved");
	w_json_key(&json, "externalURL");
	w_json_text(&json, target->webhook->external);
	w_json_key(&json, "alerts");
	w_json_open(&json, '[');
	for (target->in_body = 0; queue->count > 0; target->in_body++) {
		w_json_raw(&json, w_view_of(queue->items[queue->first].json));
		drop_first(queue);
	}
	w_json_close(&json, ']');
	w_json_close(&json, '}');
}

static size_t
ignore(char *ptr W_UNUSED, size_t size, size_t count, void *arg W_UNUSED)
{
	return size * count;
}

static void
post(struct target *target)
{
	struct mon_webhook *webhook = target->webhook;

	target->tries++;
	target->state = POSTING;
	curl_easy_reset(target->easy);
	curl_easy_setopt(target->easy, CURLOPT_URL, target->url);
	curl_easy_setopt(target->easy, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(target->easy, CURLOPT_NOSIGNAL, 1L);
	/* Addresses of the cluster file are meant as they stand, not as the environment has it. */
	curl_easy_setopt(target->easy, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(target->easy, CURLOPT_TIMEOUT_MS, TIMEOUT_MSEC);
	curl_easy_setopt(target->easy, CURLOPT_HTTPHEADER, webhook->headers);
	curl_easy_setopt(target->easy, CURLOPT_USERAGENT, "weir-monitor");
	curl_easy_setopt(target->easy, CURLOPT_POSTFIELDSIZE, (long)target->body.len);
	curl_easy_setopt(target->easy, CURLOPT_POSTFIELDS, target->body.ptr);
	curl_easy_setopt(target->easy, CURLOPT_WRITEFUNCTION, ignore);
	curl_easy_setopt(target->easy, CURLOPT_PRIVATE, target);
	curl_multi_add_handle(webhook->multi, target->easy);
}

static void
count_alerts(struct mon_webhook *webhook, uint64_t *counter, unsigned alerts)
{
	pthread_mutex_lock(&webhook->lock);
	*counter += alerts;
	pthread_mutex_unlock(&webhook->lock);
}

static void
posted(struct target *target, CURLcode code)
{
	struct mon_webhook *webhook = target->webhook;
	char quoted[300];
	const char *url = w_log_quote(w_view_of(target->url), quoted, sizeof(quoted));
	long status = 0;

	curl_easy_getinfo(target->easy, CURLINFO_RESPONSE_CODE, &status);
	curl_multi_remove_handle(webhook->multi, target->easy);
	target->state = IDLE;
	if (code == CURLE_OK && status >= 200 && status < 300) {
		count_alerts(webhook, &webhook->counts.sent, target->in_body);
		return;
	}
	if ((code != CURLE_OK || status == 429 || status >= 500) && target->tries < TRIES_MAX) {
		target->state = WAITING;
		target->retry_at = w_now() + (FIRST_WAIT << (target->tries - 1));
		return;
	}
	count_alerts(webhook, &webhook->counts.failed, target->in_body);
	w_log(W_ERROR, "", "webhook-failed", "url=%s alerts=%u tries=%u status=%ld why=\"%s\"", url,
	    target->in_body, target->tries, status, curl_easy_strerror(code));
}

/* ---- the thread ---- */

static bool
take_alerts(struct target *target)
{
	bool any;

	pthread_mutex_lock(&target->webhook->lock);
	any = target->queue.count > 0;
	if (any)
		fill_body(target);
	pthread_mutex_unlock(&target->webhook->lock);
	target->tries = 0;
	return any;
}

/* Begin what can begin. How long nothing new will, in milliseconds. */
static int
begin_posts(struct mon_webhook *webhook)
{
	w_usec now = w_now(), wait = (w_usec)IDLE_POLL_MSEC * W_MSEC;

	for (unsigned i = 0; i < webhook->count; i++) {
		struct target *target = &webhook->targets[i];

		if (target->state == IDLE && take_alerts(target))
			post(target);
		else if (target->state == WAITING && target->retry_at <= now)
			post(target);
		else if (target->state == WAITING)
			wait = W_MIN(wait, target->retry_at - now);
	}
	return (int)(wait / W_MSEC) + 1;
}

static bool
is_stopping(struct mon_webhook *webhook)
{
	bool stopping;

	pthread_mutex_lock(&webhook->lock);
	stopping = webhook->stopping;
	pthread_mutex_unlock(&webhook->lock);
	return stopping;
}

static void
end_posts(struct mon_webhook *webhook)
{
	CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(webhook->multi, &left)) != NULL) {
		CURLcode code = message->data.result;
		void *target = NULL;

		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&target);
		posted(target, code);
	}
}

static void *
run(void *arg)
{
	struct mon_webhook *webhook = arg;
	int running;

	pthread_setname_np(pthread_self(), "webhooks");
	while (!is_stopping(webhook)) {
		int wait;

		curl_multi_perform(webhook->multi, &running);
		end_posts(webhook);
		/* last, so that what was just ended is waited for no longer than it should be */
		wait = begin_posts(webhook);
		curl_multi_poll(webhook->multi, NULL, 0, W_MIN(wait, IDLE_POLL_MSEC), NULL);
	}
	return NULL;
}

/* ---- from the control thread ---- */

void
mon_webhook_put(struct mon_webhook *webhook, const struct mon_alert *alert)
{
	W_AUTO(w_buf_fini) struct w_buf text = { 0 };
	struct w_json json;

	if (webhook == NULL || webhook->count == 0)
		return;
	w_json_init(&json, &text);
	mon_show_webhook_alert(&json, alert);
	w_buf_char(&text, '\0');
	pthread_mutex_lock(&webhook->lock);
	for (unsigned i = 0; i < webhook->count; i++) {
		struct queue *queue = &webhook->targets[i].queue;

		if (queue->count == QUEUE_MAX) {
			drop_first(queue);
			webhook->counts.dropped++;
		}
		queue->items[(queue->first + queue->count++) % QUEUE_MAX] =
		    (struct item){ w_xstrdup(text.ptr), alert->phase == MON_FIRING };
	}
	pthread_mutex_unlock(&webhook->lock);
	curl_multi_wakeup(webhook->multi);
}

void
mon_webhook_count(struct mon_webhook *webhook, struct mon_webhook_counts *ret)
{
	*ret = (struct mon_webhook_counts){ 0 };
	if (webhook == NULL)
		return;
	pthread_mutex_lock(&webhook->lock);
	*ret = webhook->counts;
	pthread_mutex_unlock(&webhook->lock);
}

static void
free_target(struct target *target)
{
	for (unsigned i = 0; i < QUEUE_MAX; i++)
		free(target->queue.items[i].json);
	if (target->easy != NULL)
		curl_easy_cleanup(target->easy);
	w_buf_fini(&target->body);
	free(target->url);
}

static void
free_webhook(struct mon_webhook **webhook)
{
	struct mon_webhook *w = w_steal(webhook);

	if (w == NULL)
		return;
	for (unsigned i = 0; i < w->count; i++) {
		if (w->targets[i].state == POSTING)
			curl_multi_remove_handle(w->multi, w->targets[i].easy);
		free_target(&w->targets[i]);
	}
	if (w->multi != NULL)
		curl_multi_cleanup(w->multi);
	curl_slist_free_all(w->headers);
	pthread_mutex_destroy(&w->lock);
	free(w->targets);
	free(w->external);
	free(w);
}

static int
add_target(struct mon_webhook *webhook, const char *url, struct w_fault *fault)
{
	struct target *target = &webhook->targets[webhook->count];

	if (!w_view_starts(w_view_of(url), W_VIEW("http://")) &&
	    !w_view_starts(w_view_of(url), W_VIEW("https://")))
		return w_fail(fault, -W_EINVAL,
		    "webhooks: '%s': wanted is a URL that begins with http:// or https://", url);
	target->webhook = webhook;
	target->easy = curl_easy_init();
	if (target->easy == NULL)
		return w_fail(fault, -W_EIO, "webhooks: libcurl does not start");
	target->url = w_xstrdup(url);
	webhook->count++;
	return W_OK;
}

int
mon_webhook_start(const struct w_strings *urls, const char *external, struct mon_webhook **ret,
    struct w_fault *fault)
{
	W_AUTO(free_webhook) struct mon_webhook *webhook = w_xcalloc(1, sizeof(*webhook));
	int rc = W_OK;

	pthread_mutex_init(&webhook->lock, NULL);
	webhook->external = w_xstrdup(external);
	webhook->targets = w_xcalloc(urls->count + 1, sizeof(*webhook->targets));
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != 0 ||
	    (webhook->multi = curl_multi_init()) == NULL)
		return w_fail(fault, -W_EIO, "webhooks: libcurl does not start");
	webhook->headers = curl_slist_append(NULL, "Content-Type: application/json");
	/* without it libcurl would ask first whether a body is welcome, and wait a second */
	webhook->headers = curl_slist_append(webhook->headers, "Expect:");
	for (size_t i = 0; rc == W_OK && i < urls->count; i++)
		rc = add_target(webhook, urls->items[i], fault);
	if (rc < 0)
		return rc;
	if (pthread_create(&webhook->thread, NULL, run, webhook) != 0)
		return w_fail(fault, -W_EIO, "webhooks: no thread: %s", strerror(errno));
	*ret = w_steal(&webhook);
	return W_OK;
}

void
mon_webhook_stop(struct mon_webhook **webhook)
{
	struct mon_webhook *w = w_steal(webhook);
	struct timespec until;

	if (w == NULL)
		return;
	pthread_mutex_lock(&w->lock);
	w->stopping = true;
	pthread_mutex_unlock(&w->lock);
	curl_multi_wakeup(w->multi);
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += STOP_WAIT;
	/* A name that is being looked up can hold it; then it keeps what it has until the end. */
	if (pthread_timedjoin_np(w->thread, NULL, &until) != 0) {
		w_log(W_WARN, "", "webhooks-left", "why=\"the thread does not end\"");
		return;
	}
	free_webhook(&w);
}

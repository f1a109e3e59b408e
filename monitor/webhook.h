/*
 * Alerts to URLs. A thread of its own speaks HTTP, so that a URL that hangs holds up nobody:
 * each has its own queue and one POST at a time, with all alerts in it that wait.
 *
 * A POST is tried again 3 times, 500 ms, 1 s and 2 s later, when nothing answers within 5 s or
 * the answer is 429 or 5xx; any other answer than 2xx ends it at once. A queue holds 256 alerts;
 * then the oldest is dropped, and counted.
 * Source: docs/man/weir-monitor.8, webhooks
 */
#ifndef WEIR_MONITOR_WEBHOOK_H
#define WEIR_MONITOR_WEBHOOK_H

#include "monitor/rules.h"

struct mon_webhook;

struct mon_webhook_counts {
	uint64_t sent, failed, dropped; /* alerts, per URL */
};

/* external: the URL of the page, may be "". Threads: control. Errors: -W_EIO no thread. */
int mon_webhook_start(const struct w_strings *urls, const char *external,
    struct mon_webhook **ret, struct w_fault *fault);
/* What is under way is given up. NULL is fine. */
void mon_webhook_stop(struct mon_webhook **webhook);
/* Queue for every URL. NULL is fine. */
void mon_webhook_put(struct mon_webhook *webhook, const struct mon_alert *alert);
void mon_webhook_count(struct mon_webhook *webhook, struct mon_webhook_counts *ret);

#endif

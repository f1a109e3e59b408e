/*
 * The watchdog: one thread that reports a loop whose turn takes longer than a limit,
 * with the stack that stalls it, once per stall.
 *
 * It signals the stalled thread (SIGURG), whose handler stores backtrace(3)'s
 * addresses; the watchdog writes the log line "loop-stalled".
 */
#ifndef WEIR_COMMON_WATCHDOG_H
#define WEIR_COMMON_WATCHDOG_H

#include <pthread.h>

#include "common/loop.h"

struct w_watchdog;

int w_watchdog_start(w_usec limit, struct w_watchdog **ret); /* Errors: -W_EIO */
void w_watchdog_stop(struct w_watchdog **dog);
/* Watch a loop that thread runs. name is for the log ("worker-0"). Before the loop ends: forget. */
void w_watchdog_watch(struct w_watchdog *dog, struct w_loop *loop, pthread_t thread, const char *name);
void w_watchdog_forget(struct w_watchdog *dog, struct w_loop *loop);
uint64_t w_watchdog_stalls(const struct w_watchdog *dog);

#endif

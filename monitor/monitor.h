/*
 * The monitor: takes every node's reports, judges them by rules, and tells people and programs
 * by a feed, HTTP, a page and webhooks. One thread does all of it, the node's control thread;
 * webhooks have a thread of their own.
 * Source: docs/protocol/02-feed.md, docs/man/weir-monitor.8
 */
#ifndef WEIR_MONITOR_MONITOR_H
#define WEIR_MONITOR_MONITOR_H

#include "common/node.h"

extern const struct w_role_ops mon_role;

#endif

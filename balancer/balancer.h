/*
 * The balancer role: TLS and HTTP from clients, requests over the link to servers. The only
 * door of this room.
 */
#ifndef WEIR_BALANCER_BALANCER_H
#define WEIR_BALANCER_BALANCER_H

#include "common/node.h"

extern const struct w_role_ops bal_role;

#endif

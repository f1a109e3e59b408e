/*
 * The application server: takes requests from balancers over the link and from clients over
 * direct HTTP, and gives them to C modules (include/weir.h). The only door of this room.
 */
#ifndef WEIR_SERVER_SERVER_H
#define WEIR_SERVER_SERVER_H

#include "common/node.h"

/* The role of weir-server, for w_node_main(). */
extern const struct w_role_ops srv_role_ops;

#endif

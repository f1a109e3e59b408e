/* Listening sockets of the direct front: one per worker, all on one port (SO_REUSEPORT). */
#ifndef WEIR_SERVER_LISTEN_H
#define WEIR_SERVER_LISTEN_H

#include "common/error.h"

/*
 * Bind count sockets to "HOST:PORT"; port 0 takes a free one for all. Non-blocking, listening.
 *
 * Owner    the caller closes ret[0..count)
 * Errors   -W_EINVAL the address; -W_EIO with the system's reason. Nothing is left open then.
 */
int srv__listen(const char *address, unsigned count, int *ret, unsigned *ret_port,
    struct w_fault *fault);

#endif

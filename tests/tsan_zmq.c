/*
 * Tells the thread sanitizer what libzmq, which is not built with it, does to memory: what a thread
 * wrote before it sent a message is seen by any thread that received one later. Linked into every
 * program of a thread-sanitizer build, in place of the calls of the same name (ld --wrap).
 *
 * One order for all sockets: it may hide a race between two threads that both use ZeroMQ, but it
 * never tells of one that is none.
 */
#include <sanitizer/tsan_interface.h>
#include <zmq.h>

static char order;

#define SENDING(name, args, call)                         \
	int __real_##name args;                           \
	int __wrap_##name args;                           \
	int __wrap_##name args                            \
	{                                                 \
		__tsan_release(&order);                   \
		return __real_##name call;                \
	}
#define RECEIVING(name, args, call)                       \
	int __real_##name args;                           \
	int __wrap_##name args;                           \
	int __wrap_##name args                            \
	{                                                 \
		int rc = __real_##name call;              \
                                                          \
		__tsan_acquire(&order);                   \
		return rc;                                \
	}

SENDING(zmq_send, (void *socket, const void *data, size_t size, int flags), (socket, data, size, flags))
SENDING(zmq_msg_send, (zmq_msg_t *msg, void *socket, int flags), (msg, socket, flags))
RECEIVING(zmq_recv, (void *socket, void *data, size_t size, int flags), (socket, data, size, flags))
RECEIVING(zmq_msg_recv, (zmq_msg_t *msg, void *socket, int flags), (msg, socket, flags))

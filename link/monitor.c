/*
 * Events of a ZeroMQ socket on the loop; see monitor.h.
 */
#include "link/monitor.h"

#include <inttypes.h>
#include <stdio.h>
#include <zmq.h>

#include "common/error.h"

/* An event's first frame begins with its number; the rest is of no use here. */
static bool
read_event(struct lnk__monitor *monitor, unsigned *ret)
{
	zmq_msg_t msg;
	bool more = true, first = true, any = false;

	while (more) {
		uint16_t event;

		zmq_msg_init(&msg);
		if (zmq_msg_recv(&msg, monitor->pair, ZMQ_DONTWAIT) < 0) {
			zmq_msg_close(&msg);
			return false;
		}
		if (first && zmq_msg_size(&msg) >= sizeof(event)) {
			memcpy(&event, zmq_msg_data(&msg), sizeof(event));
			*ret = event;
			any = true;
		}
		first = false;
		more = zmq_msg_more(&msg) != 0;
		zmq_msg_close(&msg);
	}
	return any;
}

static void
on_poll(uv_poll_t *poll, int status W_UNUSED, int events W_UNUSED)
{
	struct lnk__monitor *monitor = poll->data;
	unsigned event;

	if (monitor == NULL)
		return;
	w_loop_enter(monitor->loop);
	while (read_event(monitor, &event))
		monitor->event(event, monitor->arg);
}

static void
free_handle(uv_handle_t *handle)
{
	free(handle);
}

static int
watch(struct lnk__monitor *monitor)
{
	uv_poll_t *poll;
	unsigned event;
	int fd = -1;
	size_t size = sizeof(fd);

	if (zmq_getsockopt(monitor->pair, ZMQ_FD, &fd, &size) < 0)
		return -W_EIO;
	poll = w_xcalloc(1, sizeof(*poll));
	if (uv_poll_init(&monitor->loop->uv, poll, fd) < 0) {
		free(poll);
		return -W_EIO;
	}
	monitor->poll = poll;
	poll->data = monitor;
	uv_poll_start(poll, UV_READABLE, on_poll);
	/* The descriptor tells of events only after somebody has found that there are none. */
	while (read_event(monitor, &event))
		monitor->event(event, monitor->arg);
	return W_OK;
}

int
lnk__monitor_start(struct lnk__monitor *monitor, void *zmq, void *socket, int events)
{
	char endpoint[64];
	int linger = 0;

	snprintf(endpoint, sizeof(endpoint), "inproc://lnk-monitor-%016" PRIx64, w_random());
	if (zmq_socket_monitor(socket, endpoint, events) < 0)
		return -W_EIO;
	monitor->socket = socket;
	monitor->pair = zmq_socket(zmq, ZMQ_PAIR);
	if (monitor->pair == NULL)
		goto failed;
	zmq_setsockopt(monitor->pair, ZMQ_LINGER, &linger, sizeof(linger));
	if (zmq_connect(monitor->pair, endpoint) < 0 || watch(monitor) < 0)
		goto failed;
	return W_OK;
failed:
	lnk__monitor_stop(monitor);
	return -W_EIO;
}

void
lnk__monitor_stop(struct lnk__monitor *monitor)
{
	if (monitor->poll != NULL) {
		monitor->poll->data = NULL;
		uv_poll_stop(monitor->poll);
		uv_close((uv_handle_t *)monitor->poll, free_handle);
		monitor->poll = NULL;
	}
	if (monitor->socket != NULL)
		zmq_socket_monitor(monitor->socket, NULL, 0);
	if (monitor->pair != NULL)
		zmq_close(monitor->pair);
	monitor->socket = monitor->pair = NULL;
}

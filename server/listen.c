/* Listening sockets. See listen.h. */
#include "server/listen.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cluster.h"

static int
open_one(const struct addrinfo *info)
{
	int fd = socket(info->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int on = 1;

	if (fd < 0)
		return -1;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) < 0 ||
	    bind(fd, info->ai_addr, info->ai_addrlen) < 0 || listen(fd, 1024) < 0)
		w_close(&fd);
	return fd;
}

/* The port that the kernel gave; every further socket binds the same. */
static unsigned
take_port(int fd, struct addrinfo *info)
{
	char port[16] = "0";

	getsockname(fd, info->ai_addr, &info->ai_addrlen);
	getnameinfo(info->ai_addr, info->ai_addrlen, NULL, 0, port, sizeof(port), NI_NUMERICSERV);
	return (unsigned)strtoul(port, NULL, 10);
}

static int
open_all(const char *address, struct addrinfo *info, unsigned count, int *ret,
    struct w_fault *fault)
{
	for (unsigned i = 0; i < count; i++) {
		ret[i] = open_one(info);
		if (ret[i] < 0) {
			int why = errno;

			while (i > 0)
				w_close(&ret[--i]);
			return w_fail(fault, -W_EIO, "cannot listen on %s: %s", address,
			    strerror(why));
		}
		if (i == 0)
			take_port(ret[0], info);
	}
	return W_OK;
}

int
srv__listen(const char *address, unsigned count, int *ret, unsigned *ret_port,
    struct w_fault *fault)
{
	const struct addrinfo hints = { .ai_flags = AI_PASSIVE | AI_NUMERICSERV,
		.ai_socktype = SOCK_STREAM };
	struct addrinfo *info = NULL;
	char host[256], service[16];
	unsigned port = 0;
	int rc;

	if (w_addr_split(address, host, sizeof(host), &port) < 0)
		return w_fail(fault, -W_EINVAL, "%s is no address: HOST:PORT is wanted", address);
	snprintf(service, sizeof(service), "%u", port);
	rc = getaddrinfo(host, service, &hints, &info);
	if (rc != 0)
		return w_fail(fault, -W_EINVAL, "cannot listen on %s: %s", address,
		    gai_strerror(rc));
	rc = open_all(address, info, count, ret, fault);
	if (rc == W_OK)
		*ret_port = take_port(ret[0], info);
	freeaddrinfo(info);
	return rc;
}

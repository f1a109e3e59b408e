/*
 * Ask the kernel for free ports on the loopback address and print them, one a line.
 *
 * Another program may take one before the caller does; the caller then fails to start and says so.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

/* Below it lie the well-known services; above it the kernel hands out ports by itself. */
enum { SPAN_LOWEST = 10000, SPAN_HIGHEST = 32000, SPAN_TRIES = 64, PORTS_MAX = 1024 };

static int
port_bind(unsigned port, unsigned *ret)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	socklen_t size = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	if (bind(fd, (struct sockaddr *)&address, size) < 0 ||
	    getsockname(fd, (struct sockaddr *)&address, &size) < 0) {
		close(fd);
		return -1;
	}
	*ret = ntohs(address.sin_port);
	return fd;
}

/* All sockets stay open until the end, so that no port comes twice. */
static int
print_ports(unsigned count)
{
	unsigned port;

	for (; count > 0; count--) {
		if (port_bind(0, &port) < 0)
			return perror("free_ports"), 1;
		printf("%u\n", port);
	}
	return 0;
}

static bool
span_is_free(unsigned base, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		unsigned port;
		int fd = port_bind(base + i, &port);

		if (fd < 0)
			return false;
		close(fd);
	}
	return true;
}

static int
print_span(unsigned count)
{
	for (int i = 0; i < SPAN_TRIES; i++) {
		unsigned random, base;

		if (getrandom(&random, sizeof(random), 0) != sizeof(random))
			return perror("free_ports"), 1;
		base = SPAN_LOWEST + random % (SPAN_HIGHEST - SPAN_LOWEST - count);
		base -= base % 100;
		if (span_is_free(base, count)) {
			printf("%u\n", base);
			return 0;
		}
	}
	fprintf(stderr, "free_ports: no %u free ports in a row; close something that listens\n",
	    count);
	return 1;
}

int
main(int argc, char **argv)
{
	bool span = argc == 3 && argv[1][0] == '-' && argv[1][1] == 's' && argv[1][2] == '\0';
	long count = argc == 2 || span ? strtol(argv[argc - 1], NULL, 10) : 0;

	if (count < 1 || count > PORTS_MAX) {
		fprintf(stderr,
		    "usage: free_ports COUNT | free_ports -s COUNT\n"
		    "Print COUNT free ports, or the first of COUNT free ports in a row (1 to %d).\n",
		    PORTS_MAX);
		return 2;
	}
	return span ? print_span((unsigned)count) : print_ports((unsigned)count);
}

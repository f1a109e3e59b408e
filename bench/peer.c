/* See peer.h. */
#include "bench/peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CONNECTIONS_MAX = 8192 };

unsigned
peer_number(const char *option, const char *text, unsigned min, unsigned max)
{
	char *end;
	unsigned long value;

	errno = 0;
	value = strtoul(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0' || value < min || value > max) {
		fprintf(stderr, "--%s %s: give a whole number from %u to %u\n", option, text, min,
		    max);
		exit(2);
	}
	return (unsigned)value;
}

static struct MHD_Daemon *
daemon_start(unsigned port, unsigned threads, MHD_AccessHandlerCallback handler)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	/* libmicrohttpd takes a pool of one for a mistake: 0 means no pool */
	unsigned pool = threads > 1 ? threads : 0;

	return MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_TURBO | MHD_USE_ERROR_LOG,
	    0, NULL, NULL, handler, NULL, MHD_OPTION_SOCK_ADDR, (struct sockaddr *)&address,
	    MHD_OPTION_THREAD_POOL_SIZE, pool, MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS_MAX,
	    MHD_OPTION_LISTEN_BACKLOG_SIZE, 1024, MHD_OPTION_END);
}

int
peer_serve(unsigned port, unsigned threads, MHD_AccessHandlerCallback handler)
{
	struct MHD_Daemon *daemon;
	sigset_t signals;
	int which;

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	signal(SIGPIPE, SIG_IGN);

	daemon = daemon_start(port, threads, handler);
	if (daemon == NULL) {
		fprintf(stderr, "cannot listen on 127.0.0.1:%u: %s; choose another --port\n", port,
		    strerror(errno));
		return 1;
	}

	printf("listening %u\n",
	    (unsigned)MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT)->port);
	fflush(stdout);

	sigwait(&signals, &which);
	MHD_stop_daemon(daemon);
	return 0;
}

enum MHD_Result
peer_answer(struct MHD_Connection *connection, unsigned status, struct MHD_Response *response)
{
	enum MHD_Result result;

	if (response == NULL)
		return MHD_NO;
	result = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return result;
}

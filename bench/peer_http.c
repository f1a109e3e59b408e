/*
 * The application server behind HAProxy and nginx in bench/edge: a plain libmicrohttpd server
 * that answers every request with one constant piece of JSON, from one response object made at
 * the start. It is as cheap as such a server gets, so what the measurement shows is the way there.
 */
#include "bench/peer.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

/* 64 bytes, as many as Weir's probe module sends for GET /bytes/64 */
static char answer[] =
    "{\"server\":\"peer_http\",\"database\":\"(no database!)\",\"role\":\"peer\"}";
_Static_assert(sizeof(answer) - 1 == 64, "the peers' answer has 64 bytes, like Weir's");

static struct MHD_Response *response;

static enum MHD_Result
handle(void *cls, struct MHD_Connection *connection, const char *url, const char *method,
    const char *version, const char *data, size_t *size, void **state)
{
	(void)cls, (void)url, (void)method, (void)version, (void)data;

	/* libmicrohttpd closes a connection that is answered in the first call */
	if (*state == NULL) {
		*state = answer;
		return MHD_YES;
	}
	if (*size != 0) { /* a body is read and dropped before the answer */
		*size = 0;
		return MHD_YES;
	}
	return MHD_queue_response(connection, MHD_HTTP_OK, response);
}

static const char usage[] =
    "usage: peer_http [--port N] [--threads N]\n"
    "Answer every request on 127.0.0.1 with the same small JSON; print \"listening PORT\".\n"
    "  --port N     port, 0 for any free one (default 0)\n"
    "  --threads N  threads, each with its own epoll (default 2)\n";

int
main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "port", required_argument, NULL, 'p' },
		{ "threads", required_argument, NULL, 't' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	unsigned port = 0, threads = 2;
	int option, rc;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'p')
			port = peer_number("port", optarg, 0, 65535);
		else if (option == 't')
			threads = peer_number("threads", optarg, 1, 256);
		else
			return fputs(usage, option == 'h' ? stdout : stderr), option == 'h' ? 0 : 2;
	}
	if (optind < argc)
		return fputs(usage, stderr), 2;

	response = MHD_create_response_from_buffer(strlen(answer), answer, MHD_RESPMEM_PERSISTENT);
	if (response == NULL)
		return 1;
	MHD_add_response_header(response, "Content-Type", "application/json");

	rc = peer_serve(port, threads, handle);
	MHD_destroy_response(response);
	return rc;
}

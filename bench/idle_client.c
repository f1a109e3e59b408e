/*
 * Hold many TLS keep-alive connections open, so that bench/idle can weigh what they cost the
 * other side. Each connection shakes hands, sends one GET, reads its answer (unless --park) and is
 * then left alone.
 *
 * On standard output:  "open N" once all are there
 *                      "alive N" after standard input ended: how many the other side still holds
 *                      (and, with --park, has not answered yet)
 *
 * One thread, blocking sockets with a time limit: what costs nothing here does not matter, what
 * the server holds does.
 */
#include <fcntl.h>
#include <getopt.h>
#include <gnutls/gnutls.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CONNECTIONS_MAX = 100000, HEAD_MAX = 16 * 1024, WAIT_SECONDS = 10 };

struct settings {
	const char *host;
	const char *port;
	const char *path;
	const char *ca_file;
	unsigned count;
	bool park;
};

struct client {
	int fd;
	gnutls_session_t tls;
};

static gnutls_certificate_credentials_t credentials;

static int
tcp_dial(const struct settings *set)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG };
	struct timeval limit = { .tv_sec = WAIT_SECONDS };
	struct addrinfo *list, *one;
	int fd = -1;
	int rc = getaddrinfo(set->host, set->port, &hints, &list);

	if (rc != 0) {
		fprintf(stderr, "idle_client: %s:%s: %s\n", set->host, set->port, gai_strerror(rc));
		return -1;
	}
	for (one = list; one != NULL && fd < 0; one = one->ai_next) {
		fd = socket(one->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (fd < 0)
			continue;
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
		setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
		if (connect(fd, one->ai_addr, one->ai_addrlen) < 0) {
			close(fd);
			fd = -1;
		}
	}
	freeaddrinfo(list);
	if (fd < 0)
		perror("idle_client: connect");
	return fd;
}

static int
tls_dial(struct client *client, const struct settings *set)
{
	int rc;

	client->fd = tcp_dial(set);
	if (client->fd < 0)
		return -1;
	gnutls_init(&client->tls, GNUTLS_CLIENT);
	gnutls_set_default_priority(client->tls);
	gnutls_credentials_set(client->tls, GNUTLS_CRD_CERTIFICATE, credentials);
	gnutls_server_name_set(client->tls, GNUTLS_NAME_DNS, set->host, strlen(set->host));
	if (set->ca_file != NULL)
		gnutls_session_set_verify_cert(client->tls, set->host, 0);
	gnutls_transport_set_int(client->tls, client->fd);

	do
		rc = gnutls_handshake(client->tls);
	while (rc < 0 && !gnutls_error_is_fatal(rc));
	if (rc < 0) {
		fprintf(stderr, "idle_client: handshake: %s\n", gnutls_strerror(rc));
		return -1;
	}
	return 0;
}

static int
send_request(struct client *client, const struct settings *set)
{
	char request[2048];
	int size = snprintf(request, sizeof(request),
	    "GET %s HTTP/1.1\r\nHost: %s:%s\r\nUser-Agent: idle_client\r\n\r\n", set->path,
	    set->host, set->port);

	if (size < 0 || (size_t)size >= sizeof(request))
		return -1;
	return gnutls_record_send(client->tls, request, (size_t)size) == size ? 0 : -1;
}

static ssize_t
tls_read(struct client *client, char *buffer, size_t size)
{
	ssize_t got;

	do
		got = gnutls_record_recv(client->tls, buffer, size);
	while (got < 0 && got != GNUTLS_E_AGAIN && !gnutls_error_is_fatal((int)got));
	return got;
}

/*
 * Has the whole answer come? Enough HTTP for a small constant answer: a length, or chunks that
 * end with the empty one.
 */
static bool
answer_complete(const char *answer, size_t size)
{
	const char *end = strstr(answer, "\r\n\r\n");
	const char *length = strcasestr(answer, "\r\ncontent-length:");

	if (end == NULL)
		return false;
	if (length != NULL && length < end)
		return size - (size_t)(end + 4 - answer) >= strtoul(length + 17, NULL, 10);
	return size >= 5 && memcmp(answer + size - 5, "0\r\n\r\n", 5) == 0;
}

static int
read_answer(struct client *client)
{
	char answer[HEAD_MAX + 1];
	size_t size = 0;

	answer[0] = '\0';
	while (!answer_complete(answer, size)) {
		ssize_t got = size == HEAD_MAX ? 0
					       : tls_read(client, answer + size, HEAD_MAX - size);

		if (got <= 0) {
			fprintf(stderr, "idle_client: answer: %s\n",
			    got < 0 ? gnutls_strerror((int)got) : "closed, or too long");
			return -1;
		}
		size += (size_t)got;
		answer[size] = '\0';
	}
	if (strncmp(answer, "HTTP/1.1 200", 12) != 0) {
		fprintf(stderr, "idle_client: not 200: %.*s\n", (int)strcspn(answer, "\r\n"), answer);
		return -1;
	}
	return 0;
}

/* Nothing to read (but session tickets) means alive; an answer, an end or an error means no. */
static bool
still_alive(const struct client *client)
{
	char byte;

	return fcntl(client->fd, F_SETFL, O_NONBLOCK) == 0 &&
	    gnutls_record_recv(client->tls, &byte, 1) == GNUTLS_E_AGAIN;
}

static int
open_all(struct client *clients, const struct settings *set)
{
	for (unsigned i = 0; i < set->count; i++) {
		if (tls_dial(&clients[i], set) < 0 || send_request(&clients[i], set) < 0 ||
		    (!set->park && read_answer(&clients[i]) < 0)) {
			fprintf(stderr, "idle_client: stopped at connection %u of %u\n", i + 1,
			    set->count);
			return -1;
		}
	}
	printf("open %u\n", set->count);
	fflush(stdout);
	return 0;
}

static void
close_all(struct client *clients, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		if (clients[i].tls == NULL)
			continue;
		gnutls_deinit(clients[i].tls);
		close(clients[i].fd);
	}
	gnutls_certificate_free_credentials(credentials);
	free(clients);
}

static int
hold(const struct settings *set)
{
	struct client *clients = calloc(set->count, sizeof(*clients));
	unsigned alive = 0;
	int rc;

	if (clients == NULL)
		return 1;
	rc = open_all(clients, set);
	if (rc == 0) {
		while (getchar() != EOF)
			continue;
		for (unsigned i = 0; i < set->count; i++)
			alive += still_alive(&clients[i]);
		printf("alive %u\n", alive);
	}
	close_all(clients, set->count);
	return rc < 0;
}

static int
prepare(const struct settings *set)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
	if (limit.rlim_cur < set->count + 16) {
		fprintf(stderr, "idle_client: %lu open files allowed, %u needed; raise ulimit -n\n",
		    (unsigned long)limit.rlim_cur, set->count + 16);
		return -1;
	}
	gnutls_certificate_allocate_credentials(&credentials);
	if (set->ca_file != NULL &&
	    gnutls_certificate_set_x509_trust_file(credentials, set->ca_file,
		GNUTLS_X509_FMT_PEM) <= 0) {
		fprintf(stderr, "idle_client: %s: no certificate in it\n", set->ca_file);
		return -1;
	}
	return 0;
}

static const char usage[] =
    "usage: idle_client --host NAME --port N [--count N] [--path PATH] [--ca FILE] [--park]\n"
    "Hold TLS connections open until standard input ends; print \"open N\", then \"alive N\".\n"
    "  --host NAME, --port N  where to connect (default localhost 8443)\n"
    "  --count N              connections (default 500)\n"
    "  --path PATH            what each one asks for once (default /bytes/64)\n"
    "  --ca FILE              check the certificate against this one (default: no check)\n"
    "  --park                 do not wait for the answers: the requests stay under way\n";

int
main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "host", required_argument, NULL, 'h' },
		{ "port", required_argument, NULL, 'p' },
		{ "count", required_argument, NULL, 'c' },
		{ "path", required_argument, NULL, 'u' },
		{ "ca", required_argument, NULL, 'a' },
		{ "park", no_argument, NULL, 'k' },
		{ "help", no_argument, NULL, 'H' },
		{ NULL, 0, NULL, 0 },
	};
	struct settings set = { "localhost", "8443", "/bytes/64", NULL, 500, false };
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'h': set.host = optarg; break;
		case 'p': set.port = optarg; break;
		case 'c': set.count = (unsigned)strtoul(optarg, NULL, 10); break;
		case 'u': set.path = optarg; break;
		case 'a': set.ca_file = optarg; break;
		case 'k': set.park = true; break;
		case 'H': return fputs(usage, stdout), 0;
		default: return fputs(usage, stderr), 2;
		}
	}
	if (optind < argc || set.count < 1 || set.count > CONNECTIONS_MAX)
		return fputs(usage, stderr), 2;
	return prepare(&set) < 0 ? 1 : hold(&set);
}

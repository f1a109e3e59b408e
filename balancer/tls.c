/*
 * TLS snapshots: see tls.h.
 */
#include "balancer/tls.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define TICKET_KEY_SIZE 64

/* TLS 1.2 and 1.3, authenticated encryption and forward secrecy only. */
#define PRIORITIES                                                                                 \
	"NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:-KX-ALL:+ECDHE-ECDSA:+ECDHE-RSA:"              \
	"-CIPHER-ALL:+AES-128-GCM:+AES-256-GCM:+CHACHA20-POLY1305:-MAC-ALL:+AEAD:"                 \
	"-GROUP-ALL:+GROUP-X25519:+GROUP-SECP256R1:+GROUP-SECP384R1:%SERVER_PRECEDENCE"

struct bal_tls {
	gnutls_certificate_credentials_t credentials;
	gnutls_priority_t priorities;
	gnutls_datum_t ticket_key;
};

void
bal_tls_free(struct bal_tls **ptr)
{
	struct bal_tls *tls = w_steal(ptr);

	if (tls == NULL)
		return;
	if (tls->credentials != NULL)
		gnutls_certificate_free_credentials(tls->credentials);
	if (tls->priorities != NULL)
		gnutls_priority_deinit(tls->priorities);
	if (tls->ticket_key.data != NULL)
		gnutls_memset(tls->ticket_key.data, 0, tls->ticket_key.size);
	gnutls_free(tls->ticket_key.data);
	free(tls);
}

static int
load_certificate(struct bal_tls *tls, const struct w_balancer_options *opt, struct w_fault *fault)
{
	int rc;

	if (opt->certificate[0] == '\0' || opt->certificate_key[0] == '\0')
		return w_fail(fault, -W_EINVAL,
		    "https needs a certificate: set certificate and certificate_key to PEM files");
	if (gnutls_certificate_allocate_credentials(&tls->credentials) < 0)
		return w_fail(fault, -W_ENOMEM, "out of memory for TLS credentials");
	rc = gnutls_certificate_set_x509_key_file(tls->credentials, opt->certificate,
	    opt->certificate_key, GNUTLS_X509_FMT_PEM);
	if (rc < 0)
		return w_fail(fault, -W_EINVAL,
		    "certificate %s with key %s: %s; both must be PEM, readable, and belong together",
		    opt->certificate, opt->certificate_key, gnutls_strerror(rc));
	return W_OK;
}

static int
load_priorities(struct bal_tls *tls, const struct w_balancer_options *opt, struct w_fault *fault)
{
	const char *text = opt->tls_priorities[0] != '\0' ? opt->tls_priorities : PRIORITIES;
	const char *at = "";

	if (gnutls_priority_init(&tls->priorities, text, &at) < 0)
		return w_fail(fault, -W_EINVAL,
		    "tls_priorities: not a GnuTLS priority string at \"%s\"; see gnutls_priority_init(3)",
		    at);
	return W_OK;
}

static int
read_ticket_key(struct bal_tls *tls, const char *path, struct w_fault *fault)
{
	W_AUTO(w_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
	unsigned char bytes[TICKET_KEY_SIZE + 1];
	ssize_t len;

	if (fd < 0)
		return w_fail(fault, -W_EIO, "ticket_key %s: %s", path, strerror(errno));
	len = read(fd, bytes, sizeof(bytes));
	if (len != TICKET_KEY_SIZE)
		return w_fail(fault, -W_EINVAL,
		    "ticket_key %s: must be %d random bytes; make one with: head -c %d /dev/urandom",
		    path, TICKET_KEY_SIZE, TICKET_KEY_SIZE);
	tls->ticket_key.data = gnutls_malloc(TICKET_KEY_SIZE);
	if (tls->ticket_key.data == NULL)
		return w_fail(fault, -W_ENOMEM, "out of memory for the ticket key");
	tls->ticket_key.size = TICKET_KEY_SIZE;
	memcpy(tls->ticket_key.data, bytes, TICKET_KEY_SIZE);
	gnutls_memset(bytes, 0, sizeof(bytes));
	return W_OK;
}

static int
load_ticket_key(struct bal_tls *tls, const struct w_balancer_options *opt,
    const struct bal_tls *before, struct w_fault *fault)
{
	if (opt->ticket_key[0] != '\0')
		return read_ticket_key(tls, opt->ticket_key, fault);
	if (before == NULL) {
		if (gnutls_session_ticket_key_generate(&tls->ticket_key) < 0)
			return w_fail(fault, -W_EIO, "cannot make a TLS ticket key");
		return W_OK;
	}
	tls->ticket_key.data = gnutls_malloc(before->ticket_key.size);
	if (tls->ticket_key.data == NULL)
		return w_fail(fault, -W_ENOMEM, "out of memory for the ticket key");
	tls->ticket_key.size = before->ticket_key.size;
	memcpy(tls->ticket_key.data, before->ticket_key.data, before->ticket_key.size);
	return W_OK;
}

int
bal_tls_new(const struct w_balancer_options *opt, const struct bal_tls *before,
    struct bal_tls **ret, struct w_fault *fault)
{
	W_AUTO(bal_tls_free) struct bal_tls *tls = w_xcalloc(1, sizeof(*tls));
	int rc;

	rc = load_certificate(tls, opt, fault);
	if (rc < 0)
		return rc;
	rc = load_priorities(tls, opt, fault);
	if (rc < 0)
		return rc;
	rc = load_ticket_key(tls, opt, before, fault);
	if (rc < 0)
		return rc;
	*ret = w_steal(&tls);
	return W_OK;
}

int
bal_tls_session(const struct bal_tls *tls, gnutls_session_t *ret)
{
	static const gnutls_datum_t protocols[] = { { (unsigned char *)"http/1.1", 8 } };
	gnutls_session_t session;

	if (gnutls_init(&session, GNUTLS_SERVER | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL) < 0)
		return -W_ENOMEM;
	/* RFC 7301 3.2: a client that offers only other protocols is told so. */
	if (gnutls_priority_set(session, tls->priorities) < 0 ||
	    gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, tls->credentials) < 0 ||
	    gnutls_session_ticket_enable_server(session, &tls->ticket_key) < 0 ||
	    gnutls_alpn_set_protocols(session, protocols, W_NELEM(protocols),
	        GNUTLS_ALPN_MANDATORY | GNUTLS_ALPN_SERVER_PRECEDENCE) < 0) {
		gnutls_deinit(session);
		return -W_ENOMEM;
	}
	*ret = session;
	return W_OK;
}

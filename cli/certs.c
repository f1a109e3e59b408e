/*
 * A private CA and its certificates, for weir up: ECDSA P-256, valid for a year, made again when
 * less than 30 days are left. Source: RFC 5280; GnuTLS manual, X.509 certificate functions
 */
#include <arpa/inet.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <time.h>

#include "cli/cli.h"
#include "common/view.h"

#define CERT_DAYS 365
#define CERT_RENEW_DAYS 30
#define DAY 86400

static void
crt_free(gnutls_x509_crt_t *crt)
{
	if (*crt != NULL)
		gnutls_x509_crt_deinit(*crt);
}

static void
key_free(gnutls_x509_privkey_t *key)
{
	if (*key != NULL)
		gnutls_x509_privkey_deinit(*key);
}

static void
datum_free(gnutls_datum_t *datum)
{
	gnutls_free(datum->data);
}

static int
cert_fail(struct w_fault *fault, const char *what, int rc)
{
	return w_fail(fault, -W_EIO, "certificate %s: %s", what, gnutls_strerror(rc));
}

/* Whether a certificate file is there and good for another month. */
static bool
cert_lasts(const char *path, const char *key_path)
{
	W_AUTO(w_buf_fini) struct w_buf text = { 0 };
	W_AUTO(crt_free) gnutls_x509_crt_t crt = NULL;
	gnutls_datum_t datum;

	if (!cli_is_file(key_path) || cli_read_file(path, 65536, &text) < 0)
		return false;
	datum = (gnutls_datum_t){ (unsigned char *)text.ptr, (unsigned)text.len };
	return gnutls_x509_crt_init(&crt) == 0 &&
	    gnutls_x509_crt_import(crt, &datum, GNUTLS_X509_FMT_PEM) == 0 &&
	    gnutls_x509_crt_get_expiration_time(crt) > time(NULL) + CERT_RENEW_DAYS * DAY;
}

/* What every certificate has: key, serial, times, common name. */
static int
cert_begin(gnutls_x509_crt_t *crt, gnutls_x509_privkey_t *key, const char *common_name)
{
	unsigned char serial[16];
	time_t now = time(NULL);
	int rc;

	w_random_bytes(serial, sizeof(serial));
	serial[0] &= 0x7f; /* positive, RFC 5280 4.1.2.2 */
	if ((rc = gnutls_x509_privkey_init(key)) < 0 || (rc = gnutls_x509_crt_init(crt)) < 0)
		return rc;
	rc = gnutls_x509_privkey_generate(*key, GNUTLS_PK_ECDSA,
	    GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0);
	if (rc < 0 || (rc = gnutls_x509_crt_set_key(*crt, *key)) < 0)
		return rc;
	gnutls_x509_crt_set_version(*crt, 3);
	gnutls_x509_crt_set_serial(*crt, serial, sizeof(serial));
	gnutls_x509_crt_set_activation_time(*crt, now - 3600);
	gnutls_x509_crt_set_expiration_time(*crt, now + (time_t)CERT_DAYS * DAY);
	return gnutls_x509_crt_set_dn_by_oid(*crt, GNUTLS_OID_X520_COMMON_NAME, 0, common_name,
	    (unsigned)strlen(common_name));
}

static int
cert_save(gnutls_x509_crt_t crt, gnutls_x509_privkey_t key, const char *path, const char *key_path,
    struct w_fault *fault)
{
	W_AUTO(datum_free) gnutls_datum_t pem = { 0 };
	W_AUTO(datum_free) gnutls_datum_t key_pem = { 0 };
	int rc;

	if ((rc = gnutls_x509_privkey_export2_pkcs8(key, GNUTLS_X509_FMT_PEM, NULL, GNUTLS_PKCS_PLAIN,
		 &key_pem)) < 0 ||
	    (rc = gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &pem)) < 0)
		return cert_fail(fault, path, rc);
	rc = cli_write_file(key_path, (struct w_view){ (char *)key_pem.data, key_pem.size }, 0600, fault);
	if (rc < 0)
		return rc;
	return cli_write_file(path, (struct w_view){ (char *)pem.data, pem.size }, 0644, fault);
}

int
cli_certs_ca(const char *dir, struct w_fault *fault)
{
	W_AUTO(w_free) char *path = w_xasprintf("%s/ca.pem", dir);
	W_AUTO(w_free) char *key_path = w_xasprintf("%s/ca.key", dir);
	W_AUTO(crt_free) gnutls_x509_crt_t crt = NULL;
	W_AUTO(key_free) gnutls_x509_privkey_t key = NULL;
	int rc;

	if (cert_lasts(path, key_path))
		return W_OK;
	rc = cert_begin(&crt, &key, "Weir private CA");
	if (rc < 0 || (rc = gnutls_x509_crt_set_basic_constraints(crt, 1, 0)) < 0 ||
	    (rc = gnutls_x509_crt_set_key_usage(crt, GNUTLS_KEY_KEY_CERT_SIGN | GNUTLS_KEY_CRL_SIGN)) < 0 ||
	    (rc = gnutls_x509_crt_sign2(crt, crt, key, GNUTLS_DIG_SHA256, 0)) < 0)
		return cert_fail(fault, path, rc);
	return cert_save(crt, key, path, key_path, fault);
}

static int
load_ca(const char *dir, gnutls_x509_crt_t *crt, gnutls_x509_privkey_t *key, struct w_fault *fault)
{
	W_AUTO(w_free) char *path = w_xasprintf("%s/ca.pem", dir);
	W_AUTO(w_free) char *key_path = w_xasprintf("%s/ca.key", dir);
	W_AUTO(w_buf_fini) struct w_buf text = { 0 };
	W_AUTO(w_buf_fini) struct w_buf key_text = { 0 };
	gnutls_datum_t datum, key_datum;
	int rc;

	if (cli_read_file(path, 65536, &text) < 0 || cli_read_file(key_path, 65536, &key_text) < 0)
		return w_fail(fault, -W_EIO, "cannot read %s and %s", path, key_path);
	datum = (gnutls_datum_t){ (unsigned char *)text.ptr, (unsigned)text.len };
	key_datum = (gnutls_datum_t){ (unsigned char *)key_text.ptr, (unsigned)key_text.len };
	if ((rc = gnutls_x509_crt_init(crt)) < 0 || (rc = gnutls_x509_privkey_init(key)) < 0 ||
	    (rc = gnutls_x509_crt_import(*crt, &datum, GNUTLS_X509_FMT_PEM)) < 0 ||
	    (rc = gnutls_x509_privkey_import(*key, &key_datum, GNUTLS_X509_FMT_PEM)) < 0)
		return cert_fail(fault, path, rc);
	return W_OK;
}

/* Names that the certificate is good for: localhost, both loopback addresses, and host. */
static int
add_names(gnutls_x509_crt_t crt, const char *host)
{
	static const unsigned char loop4[] = { 127, 0, 0, 1 };
	static const unsigned char loop6[16] = { [15] = 1 };
	unsigned char address[16];
	int rc;

	rc = gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_DNSNAME, "localhost", 9,
	    GNUTLS_FSAN_SET);
	if (rc == 0)
		rc = gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_IPADDRESS, loop4, 4,
		    GNUTLS_FSAN_APPEND);
	if (rc == 0)
		rc = gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_IPADDRESS, loop6, 16,
		    GNUTLS_FSAN_APPEND);
	if (rc < 0 || strcmp(host, "localhost") == 0)
		return rc;
	if (inet_pton(AF_INET, host, address) == 1)
		return gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_IPADDRESS, address, 4,
		    GNUTLS_FSAN_APPEND);
	if (inet_pton(AF_INET6, host, address) == 1)
		return gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_IPADDRESS, address, 16,
		    GNUTLS_FSAN_APPEND);
	return gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_DNSNAME, host,
	    (unsigned)strlen(host), GNUTLS_FSAN_APPEND);
}

int
cli_certs_make(const char *dir, const char *name, const char *host, struct w_fault *fault)
{
	W_AUTO(w_free) char *path = w_xasprintf("%s/%s.pem", dir, name);
	W_AUTO(w_free) char *key_path = w_xasprintf("%s/%s.key", dir, name);
	W_AUTO(crt_free) gnutls_x509_crt_t ca = NULL, crt = NULL;
	W_AUTO(key_free) gnutls_x509_privkey_t ca_key = NULL, key = NULL;
	int rc;

	if (cert_lasts(path, key_path))
		return W_OK;
	rc = load_ca(dir, &ca, &ca_key, fault);
	if (rc < 0)
		return rc;
	rc = cert_begin(&crt, &key, name);
	if (rc < 0 || (rc = add_names(crt, host)) < 0 ||
	    (rc = gnutls_x509_crt_set_basic_constraints(crt, 0, -1)) < 0 ||
	    (rc = gnutls_x509_crt_set_key_usage(crt, GNUTLS_KEY_DIGITAL_SIGNATURE)) < 0 ||
	    (rc = gnutls_x509_crt_set_key_purpose_oid(crt, GNUTLS_KP_TLS_WWW_SERVER, 0)) < 0 ||
	    (rc = gnutls_x509_crt_sign2(crt, ca, ca_key, GNUTLS_DIG_SHA256, 0)) < 0)
		return cert_fail(fault, path, rc);
	return cert_save(crt, key, path, key_path, fault);
}

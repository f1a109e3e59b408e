/* What PostgreSQL keeps of a password. See scram.h. */
#include "dbtier/scram.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#define KEY 32 /* bytes of SHA-256 */

static int
check_password(struct w_view password, unsigned rounds, struct w_fault *fault)
{
	for (size_t i = 0; i < password.len; i++) {
		if (password.ptr[i] < '!' || password.ptr[i] > '~')
			return w_fail(fault, -W_EINVAL,
			    "character %zu of the password is not visible ASCII", i + 1);
	}
	if (rounds < DBT__SCRAM_ROUNDS && password.len < DBT__SCRAM_LONG)
		return w_fail(fault, -W_EINVAL,
		    "a password of %zu characters needs scram_iterations of %d; with %u it must be random "
		    "and have %d (openssl rand -hex 24)",
		    password.len, DBT__SCRAM_ROUNDS, rounds, DBT__SCRAM_LONG);
	return W_OK;
}

static void
put_base64(struct w_buf *out, const unsigned char *bytes, size_t len)
{
	unsigned char text[4 * ((KEY + 2) / 3) + 1];

	EVP_EncodeBlock(text, bytes, (int)len);
	w_buf_text(out, (const char *)text);
}

/* HMAC(salted password, name). */
static void
derive(const unsigned char salted[KEY], struct w_view name, unsigned char ret_key[KEY])
{
	W_ASSERT(HMAC(EVP_sha256(), salted, KEY, (const unsigned char *)name.ptr, name.len, ret_key, NULL) != NULL);
}

int
dbt__scram_verifier(struct w_view password, unsigned rounds, const unsigned char salt[DBT__SCRAM_SALT],
    struct w_buf *out, struct w_fault *fault)
{
	unsigned char salted[KEY], client[KEY], stored[KEY], server[KEY];
	int rc = check_password(password, rounds, fault);

	if (rc < 0)
		return rc;
	W_ASSERT(PKCS5_PBKDF2_HMAC(password.ptr, (int)password.len, salt, DBT__SCRAM_SALT, (int)rounds, EVP_sha256(),
		     KEY, salted) == 1);
	derive(salted, W_VIEW("Client Key"), client);
	derive(salted, W_VIEW("Server Key"), server);
	W_ASSERT(EVP_Digest(client, KEY, stored, NULL, EVP_sha256(), NULL) == 1);
	w_buf_printf(out, "SCRAM-SHA-256$%u:", rounds);
	put_base64(out, salt, DBT__SCRAM_SALT);
	w_buf_char(out, '$');
	put_base64(out, stored, KEY);
	w_buf_char(out, ':');
	put_base64(out, server, KEY);
	OPENSSL_cleanse(salted, KEY);
	OPENSSL_cleanse(client, KEY);
	return W_OK;
}

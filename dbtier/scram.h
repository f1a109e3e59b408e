/*
 * What PostgreSQL keeps of a password: enough to check it, not to log in with it.
 *
 * PostgreSQL 15 makes these itself, always with 4096 rounds of HMAC, which the client repeats for each
 * connection: some 8 ms of processor. The rounds make guessing a short password dear; one that is long
 * and random cannot be guessed with one round either. Made here, it may have fewer.
 *
 * Source: RFC 5802 section 3, RFC 7677; PostgreSQL's manual, 53.8 (pg_authid, rolpassword).
 */
#ifndef WEIR_DBTIER_SCRAM_H
#define WEIR_DBTIER_SCRAM_H

#include "common/buf.h"
#include "common/error.h"

#define DBT__SCRAM_SALT 16    /* bytes */
#define DBT__SCRAM_ROUNDS 4096 /* PostgreSQL's own */
#define DBT__SCRAM_LONG 32    /* characters: random, of hexadecimal digits, 128 bits */

/*
 * Append SCRAM-SHA-256$ROUNDS:SALT$StoredKey:ServerKey to out.
 *
 * password: visible ASCII (to others RFC 4013 would have to be applied first); at least DBT__SCRAM_LONG
 * characters if the rounds are fewer than DBT__SCRAM_ROUNDS.
 *
 * Threads  any.
 * Errors   -W_EINVAL not such a password; the fault never shows it.
 */
int dbt__scram_verifier(struct w_view password, unsigned rounds, const unsigned char salt[DBT__SCRAM_SALT],
    struct w_buf *out, struct w_fault *fault);

#endif

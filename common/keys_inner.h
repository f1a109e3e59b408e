/*
 * What the files of keys and ZAP share; nobody else includes this.
 */
#ifndef WEIR_COMMON_KEYS_INNER_H
#define WEIR_COMMON_KEYS_INNER_H

#include "common/keys.h"

/* The domain of that name, or -1. */
int w__domain_find(struct w_view name);
/* raw, when not NULL, gets the key's 32 bytes. Errors: -W_EIO; -W_EINVAL no such file, no key. */
int w__keys_read_public(
    const char *path, char key[W_KEY_SIZE], uint8_t raw[32], struct w_fault *fault);

#endif

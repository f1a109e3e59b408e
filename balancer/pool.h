/*
 * Blocks of bytes that connections borrow while they have something in hand, and chains of
 * them for output. An idle connection holds none.
 *
 * Threads: a pool belongs to one worker.
 */
#ifndef WEIR_BALANCER_POOL_H
#define WEIR_BALANCER_POOL_H

#include "common/view.h"

#define BAL_BLOCK 16384     /* bytes: the plaintext of one TLS record */
#define BAL_POOL_KEPT 256   /* idle blocks kept */

struct bal_block {
	struct bal_block *next;
	uint32_t pos, len, cap; /* data[pos..len) is in use */
	char data[];
};

struct bal_pool {
	struct bal_block *free;
	unsigned kept, taken;
};

/* Empty, with room for cap bytes; NULL when memory is out. Blocks over BAL_BLOCK are not pooled. */
struct bal_block *bal_block_take(struct bal_pool *pool, size_t cap);
void bal_block_give(struct bal_pool *pool, struct bal_block **block);
void bal_pool_fini(struct bal_pool *pool); /* all blocks were given back */

/* Bytes on their way out, in order. */
struct bal_out {
	struct bal_pool *pool;
	struct bal_block *head, *tail;
	size_t bytes;
	bool broken; /* memory ran out: bytes are missing */
};

/* len contiguous bytes, len <= BAL_BLOCK; NULL (broken) when memory is out. Then bal_out_added. */
char *bal_out_room(struct bal_out *out, size_t len);
void bal_out_added(struct bal_out *out, size_t len);
void bal_out_add(struct bal_out *out, const void *ptr, size_t len);
/* The first contiguous bytes; empty when there are none. */
struct w_view bal_out_first(const struct bal_out *out);
void bal_out_drop(struct bal_out *out, size_t len);
void bal_out_clear(struct bal_out *out);

#endif

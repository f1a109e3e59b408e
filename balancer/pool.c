/*
 * Blocks and chains of blocks: see pool.h.
 */
#include "balancer/pool.h"

struct bal_block *
bal_block_take(struct bal_pool *pool, size_t cap)
{
	struct bal_block *block = pool->free;

	if (cap <= BAL_BLOCK && block != NULL) {
		pool->free = block->next;
		pool->kept--;
	} else {
		cap = W_MAX(cap, (size_t)BAL_BLOCK);
		block = malloc(sizeof(*block) + cap);
		if (block == NULL)
			return NULL;
		block->cap = (uint32_t)cap;
	}
	block->next = NULL;
	block->pos = block->len = 0;
	pool->taken++;
	return block;
}

void
bal_block_give(struct bal_pool *pool, struct bal_block **ptr)
{
	struct bal_block *block = w_steal(ptr);

	if (block == NULL)
		return;
	pool->taken--;
	if (block->cap != BAL_BLOCK || pool->kept >= BAL_POOL_KEPT) {
		free(block);
		return;
	}
	block->next = pool->free;
	pool->free = block;
	pool->kept++;
}

void
bal_pool_fini(struct bal_pool *pool)
{
	struct bal_block *block;

	while ((block = pool->free) != NULL) {
		pool->free = block->next;
		free(block);
	}
	pool->kept = 0;
}

static bool
append_block(struct bal_out *out)
{
	struct bal_block *block = bal_block_take(out->pool, BAL_BLOCK);

	if (block == NULL) {
		out->broken = true;
		return false;
	}
	if (out->tail != NULL)
		out->tail->next = block;
	else
		out->head = block;
	out->tail = block;
	return true;
}

char *
bal_out_room(struct bal_out *out, size_t len)
{
	W_ASSERT(len <= BAL_BLOCK);
	if (out->tail == NULL || out->tail->cap - out->tail->len < len)
		if (!append_block(out))
			return NULL;
	return out->tail->data + out->tail->len;
}

void
bal_out_added(struct bal_out *out, size_t len)
{
	out->tail->len += (uint32_t)len;
	out->bytes += len;
}

void
bal_out_add(struct bal_out *out, const void *ptr, size_t len)
{
	const char *from = ptr;

	while (len > 0) {
		size_t room = out->tail != NULL ? out->tail->cap - out->tail->len : 0;
		size_t part = W_MIN(room, len);

		if (room == 0) {
			if (!append_block(out))
				return;
			continue;
		}
		memcpy(out->tail->data + out->tail->len, from, part);
		bal_out_added(out, part);
		from += part;
		len -= part;
	}
}

struct w_view
bal_out_first(const struct bal_out *out)
{
	const struct bal_block *block = out->head;

	while (block != NULL && block->pos == block->len)
		block = block->next;
	if (block == NULL)
		return (struct w_view){ NULL, 0 };
	return (struct w_view){ block->data + block->pos, block->len - block->pos };
}

void
bal_out_drop(struct bal_out *out, size_t len)
{
	while (out->head != NULL) {
		struct bal_block *block = out->head;
		size_t part = W_MIN((size_t)(block->len - block->pos), len);

		block->pos += (uint32_t)part;
		out->bytes -= part;
		len -= part;
		if (block->pos < block->len)
			break;
		out->head = block->next;
		if (out->head == NULL)
			out->tail = NULL;
		bal_block_give(out->pool, &block);
	}
	W_ASSERT(len == 0);
}

void
bal_out_clear(struct bal_out *out)
{
	bal_out_drop(out, out->bytes);
}

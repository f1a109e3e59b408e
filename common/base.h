/*
 * Words that every room uses: time, cleanup, assertions, small helpers.
 *
 * Time is w_usec, microseconds on the monotonic clock. Other units exist only
 * where options are parsed and where people read.
 */
#ifndef WEIR_COMMON_BASE_H
#define WEIR_COMMON_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef int64_t w_usec;

#define W_MSEC ((w_usec)1000)
#define W_SEC ((w_usec)1000000)
#define W_NEVER ((w_usec)INT64_MAX)

/* Monotonic microseconds, and wall-clock microseconds since 1970. Any thread. */
w_usec w_now(void);
w_usec w_wall(void);

/* Run fn(&variable) when the variable goes out of scope; fn accepts NULL in it. */
#define W_AUTO(fn) __attribute__((cleanup(fn)))
#define w_steal(pp)                                                                                \
	(__extension__({                                                                           \
		__typeof__(*(pp)) w_p_ = *(pp);                                                    \
		*(pp) = NULL;                                                                      \
		w_p_;                                                                              \
	}))

#define W_PRINTF(f, a) __attribute__((format(printf, f, a)))
#define W_UNUSED __attribute__((unused))
#define W_NELEM(a) (sizeof(a) / sizeof((a)[0]))
#define W_MIN(a, b) ((a) < (b) ? (a) : (b))
#define W_MAX(a, b) ((a) > (b) ? (a) : (b))
#define w_container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/* For our own mistakes only; stays on in releases. Prints where and aborts. */
#define W_ASSERT(x) ((x) ? (void)0 : w_assert_fail(#x, __FILE__, __LINE__))
_Noreturn void w_assert_fail(const char *what, const char *file, int line);

/*
 * A struct that passes through a void * starts with a magic number:
 *	struct req *req = w_typed(ptr, REQ_MAGIC);
 */
#define w_typed(ptr, magic_)                                                                       \
	(__extension__({                                                                           \
		void *w_t_ = (ptr);                                                                \
		W_ASSERT(w_t_ != NULL && *(const uint32_t *)w_t_ == (magic_));                     \
		w_t_;                                                                              \
	}))

/* Out of memory for small control structures is fatal: prints and aborts. */
void *w_xcalloc(size_t count, size_t size);
void *w_xrealloc(void *ptr, size_t size);
char *w_xstrdup(const char *text);
char *w_xasprintf(const char *fmt, ...) W_PRINTF(1, 2);
/* free() for W_AUTO: frees *p and sets it NULL. p is a pointer to any pointer. */
void w_free(void *p);
/* close() for W_AUTO: closes *fd when >= 0 and sets it -1. */
void w_close(int *fd);

/* Cheap non-cryptographic random numbers, per thread; and bytes for keys. */
uint64_t w_random(void);
void w_random_bytes(void *to, size_t len);

/* Intrusive doubly linked list. A zeroed head must be w_list_init'ed. */
struct w_list {
	struct w_list *next, *prev;
};
#define W_LIST_INIT(name) { &(name), &(name) }
#define w_list_entry(node, type, member) w_container_of(node, type, member)
#define w_list_each(pos, head) for ((pos) = (head)->next; (pos) != (head); (pos) = (pos)->next)
#define w_list_each_safe(pos, tmp, head)                                                           \
	for ((pos) = (head)->next, (tmp) = (pos)->next; (pos) != (head);                           \
	     (pos) = (tmp), (tmp) = (pos)->next)

static inline void
w_list_init(struct w_list *head)
{
	head->next = head->prev = head;
}

static inline bool
w_list_empty(const struct w_list *head)
{
	return head->next == head;
}

static inline void
w_list_push(struct w_list *head, struct w_list *node)
{
	node->prev = head->prev;
	node->next = head;
	head->prev->next = node;
	head->prev = node;
}

/* Take a node out of its list; it points to itself afterwards, so twice is harmless. */
static inline void
w_list_remove(struct w_list *node)
{
	node->prev->next = node->next;
	node->next->prev = node->prev;
	w_list_init(node);
}

static inline struct w_list *
w_list_shift(struct w_list *head)
{
	struct w_list *node = head->next;

	if (node == head)
		return NULL;
	w_list_remove(node);
	return node;
}

#endif

/*
 * The watchdog thread.
 *
 * 1. A loop is stalled when one turn is older than the limit. Turns are told apart by the
 *    time they began, so each stall is reported once.
 * 2. There is one place for a stack in the process: only the watchdog asks for one, and
 *    only one at a time.
 * 3. The lock is held while a stack is asked for, so that a loop's thread is still there.
 */
#include "common/watchdog.h"

#include <errno.h>
#include <execinfo.h>
#include <signal.h>
#include <stdio.h>

#include "common/buf.h"
#include "common/error.h"
#include "common/log.h"

#define FRAMES 24
#define STACK_WAIT (100 * W_MSEC) /* a stalled thread that does not answer is stuck in the kernel  \
				   */

enum shot_state { SHOT_NONE, SHOT_WANTED, SHOT_RUNNING, SHOT_DONE };

static struct {
	_Atomic(int) state;
	int depth;
	void *frames[FRAMES];
} shot;

struct watched {
	struct w_list node;
	struct w_loop *loop;
	pthread_t thread;
	char name[32];
	w_usec reported; /* beginning of the turn that was reported last */
};

struct w_watchdog {
	w_usec limit;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct w_list loops; /* of struct watched */
	bool stopping;
	_Atomic(uint64_t) stalls;
};

/* ---- taking a stack ---- */

/* Runs on the stalled thread. backtrace(3) is safe here because the start called it once. */
static void
on_signal(int number W_UNUSED)
{
	int wanted = SHOT_WANTED, saved = errno;

	if (atomic_compare_exchange_strong(&shot.state, &wanted, SHOT_RUNNING)) {
		shot.depth = backtrace(shot.frames, FRAMES);
		atomic_store(&shot.state, SHOT_DONE);
	}
	errno = saved;
}

/* True when the thread left its stack in shot. */
static bool
take_stack(pthread_t thread)
{
	const struct timespec pause = {0, 500 * 1000};
	w_usec end = w_now() + STACK_WAIT;
	int wanted = SHOT_WANTED;

	atomic_store(&shot.state, SHOT_WANTED);
	if (pthread_kill(thread, SIGURG) != 0) {
		atomic_store(&shot.state, SHOT_NONE);
		return false;
	}
	while (atomic_load(&shot.state) != SHOT_DONE && w_now() < end)
		nanosleep(&pause, NULL);
	if (atomic_compare_exchange_strong(&shot.state, &wanted, SHOT_NONE))
		return false;
	/* It has begun, so it will be done in a moment. */
	while (atomic_load(&shot.state) != SHOT_DONE)
		nanosleep(&pause, NULL);
	return true;
}

/* "program(function+0x12) ...", for addr2line(1). The first two frames are the handler's. */
static void
format_stack(struct w_buf *out)
{
	char **names = backtrace_symbols(shot.frames, shot.depth);

	for (int i = 2; names != NULL && i < shot.depth; i++) {
		const char *slash = strrchr(names[i], '/');
		const char *name = slash != NULL ? slash + 1 : names[i];

		w_buf_printf(out, "%s%.*s", out->len > 0 ? " " : "", (int)strcspn(name, " "), name);
	}
	free(names);
}

/* ---- watching ---- */

static void
report(struct w_watchdog *dog, struct watched *watched, w_usec since)
{
	W_AUTO(w_buf_fini) struct w_buf stack = {0};
	char quoted[2048];
	bool same;

	watched->reported = since;
	atomic_fetch_add(&dog->stalls, 1);
	same = take_stack(watched->thread) && atomic_load(&watched->loop->busy_since) == since;
	if (same)
		format_stack(&stack);
	w_log(W_WARN, "", "loop-stalled", "loop=%s for=%lldms stack=%s", watched->name,
	    (long long)((w_now() - since) / W_MSEC),
	    same ? w_log_quote(w_buf_get(&stack), quoted, sizeof(quoted)) : "unknown");
}

static void
look(struct w_watchdog *dog)
{
	w_usec now = w_now();
	struct w_list *pos;

	w_list_each(pos, &dog->loops)
	{
		struct watched *watched = w_list_entry(pos, struct watched, node);
		w_usec since = atomic_load(&watched->loop->busy_since);

		if (since != 0 && now - since > dog->limit && since != watched->reported)
			report(dog, watched, since);
	}
}

static void *
run(void *arg)
{
	struct w_watchdog *dog = arg;
	w_usec pause = W_MAX(dog->limit / 2, 5 * W_MSEC);

	pthread_mutex_lock(&dog->lock);
	while (!dog->stopping) {
		w_usec next = w_now() + pause;
		struct timespec at = {next / W_SEC, (next % W_SEC) * 1000};

		pthread_cond_timedwait(&dog->changed, &dog->lock, &at);
		look(dog);
	}
	pthread_mutex_unlock(&dog->lock);
	return NULL;
}

/* ---- life ---- */

static void
catch_signal(void)
{
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
	void *frames[1];

	backtrace(frames, 1); /* loads what it needs; later calls allocate nothing */
	sigemptyset(&action.sa_mask);
	sigaction(SIGURG, &action, NULL);
}

static int
start_thread(struct w_watchdog *dog)
{
	sigset_t all, before;
	int rc;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = pthread_create(&dog->thread, NULL, run, dog);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return rc == 0 ? W_OK : -W_EIO;
}

static void
destroy(struct w_watchdog *dog)
{
	struct w_list *node;

	while ((node = w_list_shift(&dog->loops)) != NULL)
		free(w_list_entry(node, struct watched, node));
	pthread_cond_destroy(&dog->changed);
	pthread_mutex_destroy(&dog->lock);
	free(dog);
}

int
w_watchdog_start(w_usec limit, struct w_watchdog **ret)
{
	struct w_watchdog *dog = w_xcalloc(1, sizeof(*dog));
	pthread_condattr_t attr;
	int rc;

	dog->limit = limit;
	w_list_init(&dog->loops);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&dog->changed, &attr);
	pthread_condattr_destroy(&attr);
	pthread_mutex_init(&dog->lock, NULL);
	catch_signal();

	rc = start_thread(dog);
	if (rc < 0) {
		destroy(dog);
		return rc;
	}
	pthread_setname_np(dog->thread, "watchdog");
	*ret = dog;
	return W_OK;
}

void
w_watchdog_stop(struct w_watchdog **dog)
{
	struct w_watchdog *d = w_steal(dog);

	if (d == NULL)
		return;
	pthread_mutex_lock(&d->lock);
	d->stopping = true;
	pthread_cond_signal(&d->changed);
	pthread_mutex_unlock(&d->lock);
	pthread_join(d->thread, NULL);
	destroy(d);
}

void
w_watchdog_watch(struct w_watchdog *dog, struct w_loop *loop, pthread_t thread, const char *name)
{
	struct watched *watched = w_xcalloc(1, sizeof(*watched));

	watched->loop = loop;
	watched->thread = thread;
	snprintf(watched->name, sizeof(watched->name), "%s", name);
	pthread_mutex_lock(&dog->lock);
	w_list_push(&dog->loops, &watched->node);
	pthread_mutex_unlock(&dog->lock);
}

void
w_watchdog_forget(struct w_watchdog *dog, struct w_loop *loop)
{
	struct w_list *pos, *tmp;

	pthread_mutex_lock(&dog->lock);
	w_list_each_safe(pos, tmp, &dog->loops)
	{
		struct watched *watched = w_list_entry(pos, struct watched, node);

		if (watched->loop != loop)
			continue;
		w_list_remove(&watched->node);
		free(watched);
	}
	pthread_mutex_unlock(&dog->lock);
}

uint64_t
w_watchdog_stalls(const struct w_watchdog *dog)
{
	return atomic_load(&dog->stalls);
}

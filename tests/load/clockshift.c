/*
 * clockshift.so - a wall clock of its own for one host of the stories; the kernel has one for all hosts.
 *
 * Loaded into every program of a story (/etc/ld.so.preload, see tests/story/net.sh). Beside it lies a
 * file clock-INODE for each host, INODE being that of the network namespace which the host is. Its first
 * four bytes are an int32_t: so many seconds is the wall clock ahead, from the moment that they change.
 * Without the file it is not.
 *
 * Shifted is what asks for the wall clock. Monotonic clocks are not. Who waits until a time of the wall
 * clock waits as long as was meant; but not in pthread_cond_timedwait(), which does not tell its clock: Weir
 * and its libraries use the monotonic one there.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int32_t none;
static const volatile int32_t *shift = &none;
static int (*real_gettime)(clockid_t, struct timespec *);
static int (*real_join)(pthread_t, void **, const struct timespec *);

static void __attribute__((constructor))
begin(void)
{
	int saved = errno, fd;
	struct stat ns;
	Dl_info self;
	char path[4096];
	void *page;

	/* by memcpy, since ISO C turns no object's address into a function's */
	page = dlsym(RTLD_NEXT, "clock_gettime");
	memcpy(&real_gettime, &page, sizeof(page));
	page = dlsym(RTLD_NEXT, "pthread_timedjoin_np");
	memcpy(&real_join, &page, sizeof(page));
	if (dladdr((const void *)&none, &self) != 0 && stat("/proc/self/ns/net", &ns) == 0 &&
	    snprintf(path, sizeof(path), "%.*s/clock-%lu", (int)(strrchr(self.dli_fname, '/') - self.dli_fname),
	        self.dli_fname, (unsigned long)ns.st_ino) < (int)sizeof(path) &&
	    (fd = open(path, O_RDONLY | O_CLOEXEC)) >= 0) {
		page = mmap(NULL, sizeof(none), PROT_READ, MAP_SHARED, fd, 0);
		if (page != MAP_FAILED)
			shift = page;
		close(fd);
	}
	errno = saved;
}

static bool
is_wall(clockid_t clock)
{
	return clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE || clock == CLOCK_TAI;
}

int
clock_gettime(clockid_t clock, struct timespec *ret)
{
	/* other libraries may ask before we have begun */
	int rc = real_gettime != NULL ? real_gettime(clock, ret) : (int)syscall(SYS_clock_gettime, clock, ret);

	if (rc == 0 && is_wall(clock))
		ret->tv_sec += *shift;
	return rc;
}

int
timespec_get(struct timespec *ret, int base)
{
	return base == TIME_UTC && clock_gettime(CLOCK_REALTIME, ret) == 0 ? base : 0;
}

int
gettimeofday(struct timeval *restrict ret, void *restrict zone)
{
	struct timespec now;

	if (zone != NULL)
		memset(zone, 0, sizeof(struct timezone));
	clock_gettime(CLOCK_REALTIME, &now);
	*ret = (struct timeval){ .tv_sec = now.tv_sec, .tv_usec = now.tv_nsec / 1000 };
	return 0;
}

time_t
time(time_t *ret)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME_COARSE, &now);
	if (ret != NULL)
		*ret = now.tv_sec;
	return now.tv_sec;
}

int
pthread_timedjoin_np(pthread_t thread, void **ret, const struct timespec *until)
{
	struct timespec real = { 0 };

	if (until != NULL)
		real = (struct timespec){ .tv_sec = until->tv_sec - *shift, .tv_nsec = until->tv_nsec };
	return real_join(thread, ret, until != NULL ? &real : NULL);
}

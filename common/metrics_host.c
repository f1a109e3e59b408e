/*
 * Figures of this process and of the host it runs on, read from /proc once per report.
 * Names of the process's own are those that Prometheus' client libraries use.
 * Source: proc(5)
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/log.h"
#include "common/metrics_inner.h"

/* clang-format off */
#define HOST_METRICS(X) \
	X(CPU_SECONDS, COUNTER, "process_cpu_seconds_total", "", "Processor time that the process used.") \
	X(RSS,         GAUGE,   "process_resident_memory_bytes", "", "Memory of the process that is in RAM.") \
	X(FDS,         GAUGE,   "process_open_fds", "", "Open file descriptors.") \
	X(MAX_FDS,     GAUGE,   "process_max_fds", "", "Most file descriptors that may be open.") \
	X(STARTED,     GAUGE,   "process_start_time_seconds", "", "Start of the process, seconds since 1970.") \
	X(LOAD1,       GAUGE,   "weir_host_load1", "", "Load average of the last minute.") \
	X(CPU_BUSY,    GAUGE,   "weir_host_cpu_busy_ratio", "", "Share of all processors' time that was not idle since the last report.") \
	X(MEM_TOTAL,   GAUGE,   "weir_host_memory_total_bytes", "", "Memory of the host.") \
	X(MEM_FREE,    GAUGE,   "weir_host_memory_available_bytes", "", "Memory that programs could still get without swapping.") \
	X(LOG_DEBUG,   COUNTER, "weir_log_lines_total", "level=\"debug\"", "Log lines written.") \
	X(LOG_INFO,    COUNTER, "weir_log_lines_total", "level=\"info\"", "Log lines written.") \
	X(LOG_WARN,    COUNTER, "weir_log_lines_total", "level=\"warn\"", "Log lines written.") \
	X(LOG_ERROR,   COUNTER, "weir_log_lines_total", "level=\"error\"", "Log lines written.")
/* clang-format on */

enum { HOST_METRICS(W_METRIC_ENUM) HOST_COUNT };
static const struct w_metric table[] = {HOST_METRICS(W_METRIC_DEF)};

void
w__metrics_host_add(struct w_metrics *metrics)
{
	metrics->host_base = w_metrics_add(metrics, table, HOST_COUNT);
	metrics->started = w_wall();
}

static void
set(struct w_metrics *metrics, unsigned which, int64_t value)
{
	struct w_meter *meter = w_metrics_meter(metrics, metrics->workers);

	w_meter_set(meter, metrics->host_base + which, value);
}

/* The file's beginning as text; empty when it cannot be read. */
static const char *
read_small(const char *path, char *to, size_t size)
{
	W_AUTO(w_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = fd >= 0 ? read(fd, to, size - 1) : 0;

	to[got > 0 ? got : 0] = '\0';
	return to;
}

static void
look_at_process(struct w_metrics *metrics)
{
	struct timespec cpu = {0, 0};
	struct rlimit files = {0, 0};
	char text[256];
	long pages = 0;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
	set(metrics, CPU_SECONDS, (int64_t)cpu.tv_sec * W_SEC + cpu.tv_nsec / 1000);
	if (sscanf(read_small("/proc/self/statm", text, sizeof(text)), "%*d %ld", &pages) == 1)
		set(metrics, RSS, (int64_t)pages * sysconf(_SC_PAGESIZE));
	getrlimit(RLIMIT_NOFILE, &files);
	set(metrics, MAX_FDS, (int64_t)W_MIN(files.rlim_cur, (rlim_t)INT64_MAX));
	set(metrics, STARTED, metrics->started);
}

static void
look_at_files(struct w_metrics *metrics)
{
	struct stat st;
	int64_t count = 0;
	DIR *dir;

	/* Linux 6.2 tells the number of descriptors as the folder's size; counting is slower. */
	if (stat("/proc/self/fd", &st) == 0 && st.st_size > 0) {
		set(metrics, FDS, st.st_size);
		return;
	}
	dir = opendir("/proc/self/fd");
	if (dir == NULL)
		return;
	for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
		count += entry->d_name[0] != '.';
	closedir(dir);
	set(metrics, FDS, count - 1);
}

static void
look_at_cpu(struct w_metrics *metrics)
{
	unsigned long long t[8] = {0};
	uint64_t total = 0, busy;
	char text[256];

	/* user nice system idle iowait irq softirq steal */
	if (sscanf(read_small("/proc/stat", text, sizeof(text)),
		"cpu %llu %llu %llu %llu %llu %llu %llu %llu", &t[0], &t[1], &t[2], &t[3], &t[4],
		&t[5], &t[6], &t[7]) != 8)
		return;
	for (unsigned i = 0; i < W_NELEM(t); i++)
		total += t[i];
	busy = total - t[3] - t[4];
	/* Some hosts let idle time go backwards; then this report repeats the last value. */
	if (metrics->cpu_total > 0 && total > metrics->cpu_total && busy >= metrics->cpu_busy)
		set(metrics, CPU_BUSY,
		    (int64_t)((busy - metrics->cpu_busy) * 1000000 / (total - metrics->cpu_total)));
	metrics->cpu_total = total;
	metrics->cpu_busy = busy;
}

static int64_t
find_kib(const char *text, const char *key)
{
	const char *at = strstr(text, key);

	return at != NULL ? strtoll(at + strlen(key), NULL, 10) * 1024 : 0;
}

static void
look_at_host(struct w_metrics *metrics)
{
	char text[1024];
	double load = 0;

	if (sscanf(read_small("/proc/loadavg", text, sizeof(text)), "%lf", &load) == 1)
		set(metrics, LOAD1, (int64_t)(load * 1000));
	read_small("/proc/meminfo", text, sizeof(text));
	set(metrics, MEM_TOTAL, find_kib(text, "MemTotal:"));
	set(metrics, MEM_FREE, find_kib(text, "MemAvailable:"));
	look_at_cpu(metrics);
}

void
w_metrics_host(struct w_metrics *metrics)
{
	look_at_process(metrics);
	look_at_files(metrics);
	look_at_host(metrics);
	for (int level = W_DEBUG; level <= W_ERROR; level++)
		set(metrics, LOG_DEBUG + (unsigned)level,
		    (int64_t)w_log_count((enum w_level)level));
}

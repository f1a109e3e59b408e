/*
 * Any bytes as a cluster file: loaded and freed, or refused with a message.
 */
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/cluster.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	W_AUTO(w_cluster_free) struct w_cluster *cluster = NULL;
	W_AUTO(w_close) int fd = memfd_create("cluster", MFD_CLOEXEC);
	struct w_fault fault = { 0 };
	char path[32];
	int rc;

	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		return 0;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	rc = w_cluster_load(path, &cluster, &fault);
	if (rc == 0)
		W_ASSERT(cluster != NULL && cluster->member_count > 0);
	else
		W_ASSERT(cluster == NULL && fault.err == rc && fault.text[0] != '\0');
	return 0;
}

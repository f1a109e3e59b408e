/*
 * Histograms with eight buckets to a factor of two.
 *
 * A value is shifted so that its first bit is bit 63; then its place within the factor of
 * two is found by comparing with eight constants. No floating point where requests pass.
 */
#include <math.h>

#include "common/metrics.h"

/* 2^(63 + k/8), rounded down. */
static const uint64_t steps[8] = {
    0x8000000000000000,
    0x8b95c1e3ea8bd6e6,
    0x9837f0518db8a96f,
    0xa5fed6a9b15138ea,
    0xb504f333f9de6484,
    0xc5672a115506dadd,
    0xd744fccad69d6af4,
    0xeac0c6e7dd24392e,
};

unsigned
w_hist_bucket(uint64_t value)
{
	unsigned zeros, index;
	uint64_t shifted;

	if (value == 0)
		return 0;
	zeros = (unsigned)__builtin_clzll(value);
	shifted = value << zeros;
	index = (63 - zeros) * 8 + 1;
	for (unsigned i = 0; i < W_NELEM(steps); i++)
		index += shifted > steps[i];
	return W_MIN(index, W_HIST_BUCKETS - 1);
}

double
w_hist_upper(unsigned bucket)
{
	return bucket == 0 ? 0 : exp2((bucket - 1) / 8.0);
}

void
w_hist_add(struct w_hist *to, const struct w_hist *from)
{
	to->count += from->count;
	to->sum += from->sum;
	for (unsigned i = 0; i < W_HIST_BUCKETS; i++)
		to->bucket[i] += from->bucket[i];
}

void
w_hist_observe(struct w_hist *hist, w_usec value)
{
	uint64_t v = value > 0 ? (uint64_t)value : 0;

	hist->count++;
	hist->sum += v;
	hist->bucket[w_hist_bucket(v)]++;
}

double
w_hist_quantile(const struct w_hist *hist, double q)
{
	double rank = W_MIN(W_MAX(q, 0.0), 1.0) * (double)hist->count, below = 0;

	if (hist->count == 0)
		return 0;
	for (unsigned i = 0; i < W_HIST_BUCKETS; i++) {
		double here = (double)hist->bucket[i];
		double lower = i < 2 ? 0 : w_hist_upper(i - 1);

		if (here > 0 && below + here >= rank)
			return lower + (w_hist_upper(i) - lower) * ((rank - below) / here);
		below += here;
	}
	return w_hist_upper(W_HIST_BUCKETS - 1);
}

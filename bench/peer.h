/*
 * What the two peers of the benchmarks share: a plain libmicrohttpd daemon on the loopback
 * address, the line that tells its port, and the wait for the signal that ends it.
 */
#ifndef BENCH_PEER_H
#define BENCH_PEER_H

#include <microhttpd.h>

/*
 * Read a whole number of an option.
 *
 * Errors   prints what is wrong and exits 2: a benchmark with half its options is no benchmark
 */
unsigned
peer_number(const char *option, const char *text, unsigned min, unsigned max);

/*
 * Start the daemon, print "listening PORT", serve until SIGTERM or SIGINT, stop.
 *
 * Units    port: 0 lets the kernel choose; threads: 1 runs without a pool
 * Threads  main only, before any other thread exists (signals are blocked for all of them)
 * Errors   1 with a line on standard error; 0 after a signal
 */
int
peer_serve(unsigned port, unsigned threads, MHD_AccessHandlerCallback handler);

/* Answer and drop our reference: the last line of most handlers. */
enum MHD_Result
peer_answer(struct MHD_Connection *connection, unsigned status, struct MHD_Response *response);

#endif

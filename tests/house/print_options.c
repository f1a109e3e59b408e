/* Prints one section of the cluster file's options as roff, for tests/house/generated.sh. */
#include <stdio.h>

#include "common/cluster.h"

int
main(int argc, char **argv)
{
	if (argc != 2) {
		fputs("usage: print_options SECTION\n", stderr);
		return 2;
	}
	w_options_print(argv[1]);
	return 0;
}

/*
 * Modules: shared objects with handlers (include/weir.h). Loaded once, before any worker runs;
 * never unloaded, for their statements and strings are known by pointer all over the process.
 */
#ifndef WEIR_SERVER_MODULE_H
#define WEIR_SERVER_MODULE_H

#include "common/options.h"
#include "server/route.h"

struct srv_module {
	char *path;
	const struct weir_module *module;
	bool started;
};

/*
 * Load a module by path (it holds a slash; dir is where a relative one starts), or by name: NAME.so
 * beside the program, in examples/ beside or above it, then in the module folder. Its routes join
 * the router; its start() runs.
 *
 * Errors   -W_EIO not found or not loadable; -W_EVERSION another ABI; -W_EINVAL, -W_ECONFLICT its
 *          routes; -W_EHANDLER start() refused. The fault says which file and what.
 */
int srv__module_load(const char *name, const char *dir, struct srv_router *router,
    struct srv_module *ret, struct w_fault *fault);
/* Call stop() of those that were started, last first; frees what was kept. */
void srv__modules_stop(struct srv_module *modules, unsigned count);

#endif

/* Modules. See module.h. */
#include "server/module.h"

#include <dlfcn.h>
#include <stdio.h>
#include <unistd.h>

#include "common/log.h"

#ifndef WEIR_MODULEDIR
#define WEIR_MODULEDIR "/usr/local/lib/weir"
#endif

/* Folder of the running program, without a slash at the end. */
static void
program_dir(char *to, size_t size)
{
	ssize_t len = readlink("/proc/self/exe", to, size - 1);
	char *slash;

	to[len > 0 ? len : 0] = '\0';
	slash = strrchr(to, '/');
	if (slash != NULL)
		*slash = '\0';
}

/* The file of a module; caller frees. NULL: nowhere, and *ret_tried tells where. */
static char *
find_file(const char *name, const char *from, char *tried, size_t size)
{
	static const char *const places[] = { "", "/examples", "/../examples" };
	char dir[4096];
	char *path;

	if (name[0] == '/')
		return w_xstrdup(name);
	if (strchr(name, '/') != NULL)
		return w_xasprintf("%s/%s", from, name);
	program_dir(dir, sizeof(dir));
	for (size_t i = 0; i < W_NELEM(places); i++) {
		path = w_xasprintf("%s%s/%s.so", dir, places[i], name);
		if (access(path, F_OK) == 0)
			return path;
		free(path);
	}
	path = w_xasprintf("%s/%s.so", WEIR_MODULEDIR, name);
	if (access(path, F_OK) == 0)
		return path;
	free(path);
	snprintf(tried, size, "%s and %s", dir, WEIR_MODULEDIR);
	return NULL;
}

static int
add_routes(struct srv_router *router, const struct weir_module *module, struct w_fault *fault)
{
	const struct weir_route *route;
	int rc;

	for (route = module->routes; route->pattern != NULL || route->method != NULL; route++) {
		rc = srv__router_add(router, module->name, route, fault);
		if (rc < 0)
			return rc;
	}
	return W_OK;
}

static int
check_module(const char *path, const struct weir_module *module, struct w_fault *fault)
{
	const char *why = dlerror();

	if (module == NULL)
		return w_fail(fault, -W_EIO,
		    "module %s: no symbol weir_module (%s); does it use WEIR_MODULE()?", path,
		    why != NULL ? why : "not found");
	if (module->abi != WEIR_ABI)
		return w_fail(fault, -W_EVERSION,
		    "module %s: built for ABI %u, this server has %u; build it again", path,
		    module->abi, WEIR_ABI);
	if (module->name == NULL || module->name[0] == '\0' || module->routes == NULL)
		return w_fail(fault, -W_EINVAL, "module %s: it has no name or no routes", path);
	return W_OK;
}

int
srv__module_load(const char *name, const char *dir, struct srv_router *router,
    struct srv_module *ret, struct w_fault *fault)
{
	W_AUTO(w_free) char *path = NULL;
	const struct weir_module *module;
	char tried[4200] = "";
	void *handle;
	int rc;

	path = find_file(name, dir, tried, sizeof(tried));
	if (path == NULL)
		return w_fail(fault, -W_EIO,
		    "module %s: no file %s.so in %.300s; give a path, or install it", name,
		    name, tried);
	handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (handle == NULL)
		return w_fail(fault, -W_EIO, "module %s: %s", path, dlerror());
	dlerror();
	module = dlsym(handle, "weir_module");
	rc = check_module(path, module, fault);
	if (rc == W_OK)
		rc = add_routes(router, module, fault);
	if (rc < 0)
		return rc;
	if (module->start != NULL && module->start() != 0)
		return w_fail(fault, -W_EHANDLER, "module %s: its start() refused", path);
	w_log(W_INFO, "", "module-loaded", "name=%s file=%s", module->name, path);
	*ret = (struct srv_module){ w_steal(&path), module, true };
	return W_OK;
}

void
srv__modules_stop(struct srv_module *modules, unsigned count)
{
	while (count-- > 0) {
		if (modules[count].started && modules[count].module->stop != NULL)
			modules[count].module->stop();
		free(modules[count].path);
	}
}

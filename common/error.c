/*
 * Everything about errors that the list in error.h says.
 */
#include <stdarg.h>
#include <stdio.h>

#include "common/error.h"

static const struct error_info {
	const char *name;
	int http;
	bool retry;
	const char *text;
} infos[] = {
	[W_OK] = { "OK", 200, false, "all is well" },
#define X(name, http, retry, text) [W_E##name] = { #name, http, retry, text },
	W_ERRORS(X)
#undef X
};

static const struct error_info unknown = { "UNKNOWN", 500, false, "unknown error" };

static const struct error_info *
info_of(int err)
{
	/* not -err: the least int has no positive twin */
	if (err <= -(int)W_ERR_COUNT || err >= (int)W_ERR_COUNT)
		return &unknown;
	return &infos[err < 0 ? -err : err];
}

const char *
w_err_name(int err)
{
	return info_of(err)->name;
}

const char *
w_err_text(int err)
{
	return info_of(err)->text;
}

int
w_err_http(int err)
{
	return info_of(err)->http;
}

bool
w_err_retry(int err)
{
	return info_of(err)->retry;
}

int
w_fail(struct w_fault *fault, int err, const char *fmt, ...)
{
	va_list ap;

	if (fault == NULL)
		return err;
	fault->err = err;
	va_start(ap, fmt);
	vsnprintf(fault->text, sizeof(fault->text), fmt, ap);
	va_end(ap);
	return err;
}

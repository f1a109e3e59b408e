/* What a handler asks about its request: parameters, fields, time, shard, memory, log. */
#include <stdarg.h>
#include <stdio.h>

#include "common/log.h"
#include "server/request.h"

struct weir_view
weir_method(const struct weir_request *pub)
{
	return srv__out_view(srv__of(pub)->head.method);
}

struct weir_view
weir_path(const struct weir_request *pub)
{
	return srv__out_view(srv__of(pub)->target.path);
}

struct weir_view
weir_request_id(const struct weir_request *pub)
{
	return srv__out_view(srv__of(pub)->head.id);
}

struct weir_view
weir_client(const struct weir_request *pub)
{
	return srv__out_view(srv__of(pub)->head.client);
}

const char *
weir_node(const struct weir_request *pub)
{
	return srv__of(pub)->worker->srv->name;
}

struct weir_view
weir_param(struct weir_request *pub, const char *name)
{
	const struct srv_match *match = &srv__of(pub)->match;
	struct w_view wanted = w_view_of(name);

	for (unsigned i = 0; i < match->route->param_count; i++)
		if (w_view_eq(match->route->params[i], wanted))
			return srv__out_view(match->values[i]);
	return (struct weir_view){ NULL, 0 };
}

struct weir_view
weir_query(struct weir_request *pub, const char *name)
{
	const struct srv_target *target = &srv__of(pub)->target;
	struct w_view wanted = w_view_of(name);

	for (unsigned i = 0; i < target->pair_count; i++)
		if (w_view_eq(target->pairs[i].name, wanted))
			return srv__out_view(target->pairs[i].value);
	return (struct weir_view){ NULL, 0 };
}

struct w_view
srv__field(const struct srv_request *req, struct w_view name)
{
	for (size_t i = 0; i < req->head.field_count; i++)
		if (w_view_ieq(req->head.fields[i].name, name))
			return req->head.fields[i].value;
	return (struct w_view){ NULL, 0 };
}

struct weir_view
weir_header(struct weir_request *pub, const char *name)
{
	struct srv_request *req = srv__of(pub);
	struct w_view wanted = w_view_of(name);

	if (w_view_ieq(wanted, W_VIEW("host")))
		return srv__out_view(req->head.authority);
	return srv__out_view(srv__field(req, wanted));
}

/* Prepare the 400 that the client gets when the handler returns the error. */
static int
refuse_number(struct srv_request *req, const char *what, const char *name, int64_t min, int64_t max)
{
	char *detail = w_arena_printf(&req->arena,
	    "%s %s: a whole number from %lld to %lld is wanted", what, name, (long long)min,
	    (long long)max);

	req->problem_status = 400;
	req->problem_detail = detail != NULL ? detail : "a number is out of range";
	return WEIR_EINVAL;
}

static int
read_number(struct srv_request *req, const char *what, const char *name, struct weir_view text,
    const int64_t range[2], int64_t *ret)
{
	int64_t value;

	if (w_view_i64(srv__in_view(text), &value) < 0 || value < range[0] || value > range[1])
		return refuse_number(req, what, name, range[0], range[1]);
	*ret = value;
	return WEIR_OK;
}

int
weir_param_int(struct weir_request *pub, const char *name, int64_t min, int64_t max, int64_t *ret)
{
	struct weir_view text = weir_param(pub, name);

	if (text.ptr == NULL)
		return WEIR_OK;
	return read_number(srv__of(pub), "path parameter", name, text, (int64_t[]){ min, max },
	    ret);
}

int
weir_query_int(struct weir_request *pub, const char *name, int64_t min, int64_t max, int64_t *ret)
{
	struct weir_view text = weir_query(pub, name);

	if (text.ptr == NULL)
		return WEIR_OK;
	return read_number(srv__of(pub), "query parameter", name, text, (int64_t[]){ min, max },
	    ret);
}

int64_t
weir_time_left(const struct weir_request *pub)
{
	w_usec left = srv__of(pub)->deadline - w_now();

	return left > 0 ? left : 0;
}

void
weir_shard(struct weir_request *pub, struct weir_view key)
{
	struct srv_request *req = srv__of(pub);

	req->shard = key.len > 0 ? w_arena_copy(&req->arena, srv__in_view(key)) :
	    (struct w_view){ NULL, 0 };
	if (req->shard.ptr == NULL)
		req->shard.len = 0;
}

void *
weir_alloc(struct weir_request *pub, size_t len)
{
	return w_arena_take(&srv__of(pub)->arena, len);
}

char *
weir_printf(struct weir_request *pub, const char *fmt, ...)
{
	struct srv_request *req = srv__of(pub);
	va_list args;
	char *to;
	int len;

	va_start(args, fmt);
	len = vsnprintf(NULL, 0, fmt, args);
	va_end(args);
	to = len >= 0 ? w_arena_take(&req->arena, (size_t)len + 1) : NULL;
	if (to == NULL)
		return NULL;
	va_start(args, fmt);
	vsnprintf(to, (size_t)len + 1, fmt, args);
	va_end(args);
	return to;
}

void
weir_log(struct weir_request *pub, const char *event, const char *fmt, ...)
{
	struct srv_request *req = srv__of(pub);
	char object[160], text[1024];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	snprintf(object, sizeof(object), "req=%.*s", W_VIEW_ARG(req->head.id));
	w_log(W_INFO, object, event, "%s", text);
}

/*
 * The control socket DIR/run/weir.sock: one line in, an answer, and the end of the connection.
 *
 *	status          one JSON object: {"nodes":[{"name","role","pid","process","restarts"}]}
 *	stop NODE       answers "ok" when the process is gone
 *	start NODE      answers "ok" when the process runs
 *	reload          answers a line for all that comes of it, as it comes; "error: ..." for what is wrong
 *	down            answers "ok"; the connection closes when everything has stopped
 *
 * The folder is its owner's alone (0700), so is the socket.
 */
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "cli/up.h"

#define LINE_MAX_BYTES 256

struct client {
	struct w_list node;
	struct up *up;
	uv_pipe_t pipe;
	char line[LINE_MAX_BYTES];
	size_t len;
	struct up_proc *await; /* answered when this one is down */
	bool reloads;          /* it is told what comes of a reload */
	char *answer;
	uv_write_t write;
	uv_shutdown_t shutdown;
};

static void
client_closed(uv_handle_t *handle)
{
	struct client *client = handle->data;

	free(client->answer);
	free(client);
}

static void
client_close(struct client *client)
{
	if (uv_is_closing((uv_handle_t *)&client->pipe))
		return;
	w_list_remove(&client->node);
	uv_close((uv_handle_t *)&client->pipe, client_closed);
}

static void
client_written(uv_write_t *write, int status)
{
	struct client *client = write->data;

	(void)status;
	/* After "down" the connection stays open until all is over; the other end waits for that. */
	if (!client->up->stopping)
		client_close(client);
}

static void
client_answer(struct client *client, char *answer)
{
	uv_buf_t buf = uv_buf_init(answer, (unsigned)strlen(answer));

	client->await = NULL;
	client->answer = answer;
	client->write.data = client;
	if (uv_write(&client->write, (uv_stream_t *)&client->pipe, &buf, 1, client_written) < 0)
		client_close(client);
}

static const char *const process_states[] = { "down", "running", "stopping", "waiting" };

static void
on_status(struct client *client, struct w_view rest)
{
	struct w_buf out = { 0 };
	struct w_json json;

	(void)rest;
	w_json_init(&json, &out);
	w_json_open(&json, '{');
	w_json_key(&json, "nodes");
	w_json_open(&json, '[');
	for (size_t i = 0; i < client->up->proc_count; i++) {
		const struct up_proc *proc = client->up->procs[i];

		w_json_open(&json, '{');
		w_json_key(&json, "name");
		w_json_text(&json, proc->member->name);
		w_json_key(&json, "role");
		w_json_text(&json, w_role_name(proc->member->role));
		w_json_key(&json, "pid");
		w_json_int(&json, proc->pid);
		w_json_key(&json, "process");
		w_json_text(&json, process_states[proc->state]);
		w_json_key(&json, "restarts");
		w_json_int(&json, (int64_t)proc->restarts);
		w_json_close(&json, '}');
	}
	w_json_close(&json, ']');
	w_json_close(&json, '}');
	w_buf_text(&out, "\n");
	w_buf_char(&out, '\0');
	client_answer(client, out.ptr);
}

static void
on_stop(struct client *client, struct w_view rest)
{
	struct up_proc *proc = cli__up_proc_find(client->up, rest);

	if (proc == NULL) {
		client_answer(client, w_xasprintf("error: no node '%.*s'\n", W_VIEW_ARG(rest)));
		return;
	}
	cli__up_proc_stop(proc);
	client->await = proc;
	cli__up_control_changed(client->up);
}

static void
on_start(struct client *client, struct w_view rest)
{
	struct up_proc *proc = cli__up_proc_find(client->up, rest);

	if (proc == NULL) {
		client_answer(client, w_xasprintf("error: no node '%.*s'\n", W_VIEW_ARG(rest)));
		return;
	}
	if (proc->state == P_STOPPING) {
		client_answer(client, w_xasprintf("error: %s is stopping; try again\n", proc->member->name));
		return;
	}
	cli__up_proc_start(proc);
	client_answer(client, w_xstrdup("ok\n"));
}

static void
on_reload(struct client *client, struct w_view rest)
{
	(void)rest;
	client->reloads = true;
	cli__up_reload(client->up);
}

static void
on_down(struct client *client, struct w_view rest)
{
	(void)rest;
	cli__up_procs_stop(client->up);
	client_answer(client, w_xstrdup("ok\n"));
}

static const struct {
	struct w_view word;
	void (*run)(struct client *client, struct w_view rest);
} words[] = {
	{ W_VIEW("status"), on_status },
	{ W_VIEW("stop"), on_stop },
	{ W_VIEW("start"), on_start },
	{ W_VIEW("reload"), on_reload },
	{ W_VIEW("down"), on_down },
};

static void
client_line(struct client *client, struct w_view line)
{
	struct w_view word;

	if (w_view_split(&line, ' ', &word))
		for (size_t i = 0; i < W_NELEM(words); i++)
			if (w_view_eq(word, words[i].word)) {
				words[i].run(client, line);
				return;
			}
	client_answer(client, w_xstrdup("error: unknown command\n"));
}

static void
client_room(uv_handle_t *handle, size_t hint, uv_buf_t *ret)
{
	struct client *client = handle->data;

	(void)hint;
	*ret = uv_buf_init(client->line + client->len, (unsigned)(LINE_MAX_BYTES - client->len));
}

static void
client_read(uv_stream_t *stream, ssize_t got, const uv_buf_t *buf)
{
	struct client *client = stream->data;
	char *end;

	(void)buf;
	if (got < 0) {
		client_close(client);
		return;
	}
	client->len += (size_t)got;
	end = memchr(client->line, '\n', client->len);
	if (end == NULL && client->len < LINE_MAX_BYTES)
		return;
	uv_read_stop(stream);
	client_line(client, (struct w_view){ client->line, end != NULL ? (size_t)(end - client->line) : 0 });
}

static void
on_client(uv_stream_t *server, int status)
{
	struct up *up = server->data;
	struct client *client;

	if (status < 0)
		return;
	client = w_xcalloc(1, sizeof(*client));
	client->up = up;
	w_list_push(&up->clients, &client->node);
	uv_pipe_init(&up->loop.uv, &client->pipe, 0);
	client->pipe.data = client;
	if (uv_accept(server, (uv_stream_t *)&client->pipe) < 0)
		client_close(client);
	else
		uv_read_start((uv_stream_t *)&client->pipe, client_room, client_read);
}

int
cli__up_control_open(struct up *up, struct w_fault *fault)
{
	W_AUTO(w_free) char *run = w_xasprintf("%s/run", up->dir);
	W_AUTO(w_free) char *old = w_xasprintf("%s/weir.sock", run);
	W_AUTO(w_close) int fd = open(run, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char path[64]; /* a socket's path is short (unix(7)), a folder's may be long */
	int rc;

	w_list_init(&up->clients);
	unlink(old);
	snprintf(path, sizeof(path), "/proc/self/fd/%d/weir.sock", fd);
	uv_pipe_init(&up->loop.uv, &up->control, 0);
	up->control.data = up;
	up->control_open = true;
	rc = uv_pipe_bind(&up->control, path);
	if (rc == 0)
		rc = uv_listen((uv_stream_t *)&up->control, 16, on_client);
	if (rc < 0)
		return w_fail(fault, -W_EIO, "control socket %s: %s", old, uv_strerror(rc));
	return W_OK;
}

void
cli__up_control_close(struct up *up)
{
	W_AUTO(w_free) char *path = w_xasprintf("%s/run/weir.sock", up->dir);
	struct w_list *pos, *next;

	if (!up->control_open)
		return;
	up->control_open = false;
	w_list_each_safe(pos, next, &up->clients)
		client_close(w_list_entry(pos, struct client, node));
	uv_close((uv_handle_t *)&up->control, NULL);
	unlink(path);
}

void
cli__up_control_changed(struct up *up)
{
	struct w_list *pos, *next;

	w_list_each_safe(pos, next, &up->clients) {
		struct client *client = w_list_entry(pos, struct client, node);

		if (client->await != NULL && client->await->state == P_DOWN)
			client_answer(client, w_xstrdup("ok\n"));
	}
}

/* --- what comes of a reload --- */

struct saying {
	uv_write_t write;
	char *text;
};

static void
said(uv_write_t *write, int status)
{
	struct saying *saying = w_container_of(write, struct saying, write);

	(void)status;
	free(saying->text);
	free(saying);
}

static void
say_to(struct client *client, const char *text)
{
	struct saying *saying = w_xcalloc(1, sizeof(*saying));
	uv_buf_t buf;

	saying->text = w_xasprintf("%s\n", text);
	buf = uv_buf_init(saying->text, (unsigned)strlen(saying->text));
	if (uv_write(&saying->write, (uv_stream_t *)&client->pipe, &buf, 1, said) < 0)
		said(&saying->write, 0);
}

void
cli__up_control_say(struct up *up, const char *fmt, ...)
{
	struct w_list *pos, *next;
	char text[2048];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	printf("weir: %s\n", text);
	w_list_each_safe(pos, next, &up->clients) {
		struct client *client = w_list_entry(pos, struct client, node);

		if (client->reloads)
			say_to(client, text);
	}
}

static void
client_shut(uv_shutdown_t *shutdown, int status)
{
	(void)status;
	client_close(shutdown->data);
}

/* What was said comes first. */
void
cli__up_control_reloaded(struct up *up)
{
	struct w_list *pos, *next;

	w_list_each_safe(pos, next, &up->clients) {
		struct client *client = w_list_entry(pos, struct client, node);

		if (!client->reloads)
			continue;
		client->reloads = false;
		client->shutdown.data = client;
		if (uv_shutdown(&client->shutdown, (uv_stream_t *)&client->pipe, client_shut) < 0)
			client_close(client);
	}
}

/* Requests, their answers, and the line of results; see load.h. */
#include "tests/load/load.h"

#include <arpa/inet.h>
#include <signal.h>
#include <stdarg.h>
#include <strings.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define ANSWER_MAX ((size_t)1 << 20)
#define CONNECTIONS_MAX 4096L
#define TIMEOUT_USUAL (30 * W_SEC)

static _Noreturn void
leave(int status, const char *fmt, va_list args)
{
	fputs("weir-load: ", stderr);
	vfprintf(stderr, fmt, args);
	fputc('\n', stderr);
	exit(status);
}

void
load_die(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	leave(1, fmt, args);
}

void
load_wrong(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	leave(2, fmt, args);
}

/* ---- begin and end ---- */

static volatile sig_atomic_t stopped;

static void
on_stop(int number W_UNUSED)
{
	stopped = 1;
}

bool
load_stopped(void)
{
	return stopped != 0;
}

/* 198.18.0.0/15: the hosts of a story. */
static bool
is_for_tests(const char *host)
{
	struct in_addr addr;

	return inet_pton(AF_INET, host, &addr) == 1 && (ntohl(addr.s_addr) >> 17) == 0xc612 >> 1;
}

static void
check_host(const char *url)
{
	static const char *const good_hosts[] = { "localhost", "127.0.0.1", "[::1]" };
	CURLU *parsed = curl_url();
	char *host = NULL;
	bool good = false;

	if (parsed == NULL || curl_url_set(parsed, CURLUPART_URL, url, 0) != CURLUE_OK ||
	    curl_url_get(parsed, CURLUPART_HOST, &host, 0) != CURLUE_OK)
		load_wrong("'%s' is not a URL", url);
	for (size_t i = 0; i < W_NELEM(good_hosts); i++)
		good = good || strcmp(host, good_hosts[i]) == 0;
	if (!good && !is_for_tests(host))
		load_wrong("'%s' is not on this machine: only the loopback interface is asked, "
			   "and 198.18.0.0/15",
		    url);
	curl_free(host);
	curl_url_cleanup(parsed);
}

static void
take_urls(struct load *load, const char *urls)
{
	W_AUTO(w_free) char *all = w_xstrdup(urls);
	char *rest = NULL;

	for (char *url = strtok_r(all, ",", &rest); url != NULL; url = strtok_r(NULL, ",", &rest)) {
		size_t len = strlen(url);

		if (load->bases == LOAD_URLS)
			load_wrong("more than %d URLs", LOAD_URLS);
		if (len > 0 && url[len - 1] == '/')
			url[len - 1] = '\0';
		check_host(url);
		load->base[load->bases++] = w_xstrdup(url);
	}
	if (load->bases == 0)
		load_wrong("no URL");
}

void
load_open(struct load *load, const struct load_options *opt)
{
	struct sigaction stop = { .sa_handler = on_stop };

	*load = (struct load){ .opt = opt, .timer = -1, .input = -1, .began = w_now() };
	sigaction(SIGTERM, &stop, NULL);
	if (opt->ca != NULL && access(opt->ca, R_OK) < 0)
		load_die("cannot read %s", opt->ca);
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		load_die("libcurl does not start");
	take_urls(load, opt->urls);
	load->multi = curl_multi_init();
	load->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (load->multi == NULL || load->timer < 0)
		load_die("no multi handle, or no timer");
	curl_multi_setopt(load->multi, CURLMOPT_MAXCONNECTS, CONNECTIONS_MAX);
}

void
load_close(struct load *load)
{
	curl_multi_cleanup(load->multi);
	w_close(&load->timer);
	for (unsigned i = 0; i < load->bases; i++)
		w_free(&load->base[i]);
	curl_global_cleanup();
}

bool
load_over(const struct load *load)
{
	return w_now() - load->began > (w_usec)load->opt->limit * W_SEC;
}

/* ---- what libcurl calls: the request's body, then lines of the header, then the answer's body ---- */

static size_t
give_body(char *to, size_t size, size_t count, void *arg)
{
	struct load_client *client = arg;
	size_t len = W_MIN(client->body.len - client->body_at, size * count);

	memcpy(to, client->body.ptr + client->body_at, len);
	client->body_at += len;
	return len;
}

/* The value when the line is of this field, else NULL. */
static const char *
field_value(const char *line, size_t len, const char *name)
{
	size_t skip = strlen(name);

	if (len <= skip || strncasecmp(line, name, skip) != 0)
		return NULL;
	while (skip < len && line[skip] == ' ')
		skip++;
	return line + skip;
}

static size_t
take_field(char *line, size_t size, size_t count, void *arg)
{
	struct load_client *client = arg;
	size_t len = size * count, end = len;
	const char *value = field_value(line, len, "location:");

	while (end > 0 && (line[end - 1] == '\r' || line[end - 1] == '\n'))
		end--;
	if (value != NULL)
		snprintf(client->location, sizeof(client->location), "%.*s",
		    (int)(line + end - value), value);
	value = field_value(line, len, "weir-replayed:");
	if (value != NULL)
		client->replayed = strncmp(value, "true", 4) == 0;
	return len;
}

static size_t
take_text(char *from, size_t size, size_t count, void *arg)
{
	struct load_client *client = arg;

	if (client->text.len + size * count > ANSWER_MAX)
		return 0;
	w_buf_add(&client->text, from, size * count);
	return size * count;
}

/* ---- clients ---- */

static void
client_init(struct load_client *client)
{
	const struct load *load = client->load;
	CURL *easy = client->easy = curl_easy_init();

	if (easy == NULL)
		load_die("no easy handle");
	curl_easy_setopt(easy, CURLOPT_PRIVATE, client);
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
	/* Balancers close what was idle for 60 s: who uses it again at that moment gets no answer. */
	curl_easy_setopt(easy, CURLOPT_MAXAGE_CONN, 30L);
	curl_easy_setopt(easy, CURLOPT_READFUNCTION, give_body);
	curl_easy_setopt(easy, CURLOPT_READDATA, client);
	curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, take_field);
	curl_easy_setopt(easy, CURLOPT_HEADERDATA, client);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_text);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, client);
	/* Else each client reads all certificates of the system, which takes longer than its first requests. */
	curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
	if (load->opt->ca != NULL)
		curl_easy_setopt(easy, CURLOPT_CAINFO, load->opt->ca);
	if (load->cookies)
		curl_easy_setopt(easy, CURLOPT_COOKIEFILE, "");
}

struct load_client *
load_clients_new(struct load *load, unsigned count, load_done *done, void *owner)
{
	struct load_client *clients = w_xcalloc(count, sizeof(*clients));

	for (unsigned i = 0; i < count; i++) {
		clients[i] = (struct load_client){
			.load = load, .done = done, .owner = owner, .number = i };
		client_init(&clients[i]);
	}
	return clients;
}

void
load_clients_free(struct load_client **clients, unsigned count)
{
	for (unsigned i = 0; *clients != NULL && i < count; i++) {
		struct load_client *client = &(*clients)[i];

		curl_multi_remove_handle(client->load->multi, client->easy);
		curl_easy_cleanup(client->easy);
		curl_slist_free_all(client->fields);
		w_buf_fini(&client->body);
		w_buf_fini(&client->text);
	}
	w_free(clients);
}

/* ---- one request ---- */

static void
add_field(struct load_client *client, const char *name, const char *value)
{
	W_AUTO(w_free) char *line = w_xasprintf("%s: %s", name, value);

	client->fields = curl_slist_append(client->fields, line);
}

static void
forget_answer(struct load_client *client)
{
	client->status = 0;
	client->why = NULL;
	client->location[0] = '\0';
	client->replayed = false;
	w_buf_clear(&client->text);
}

static void
set_method(struct load_client *client, const struct load_request *request)
{
	w_buf_clear(&client->body);
	client->body_at = 0;
	curl_easy_setopt(client->easy, CURLOPT_CUSTOMREQUEST, request->put ? "PUT" : NULL);
	if (request->post == NULL) {
		curl_easy_setopt(client->easy, CURLOPT_HTTPGET, 1L);
		return;
	}
	w_buf_text(&client->body, request->post);
	curl_easy_setopt(client->easy, CURLOPT_POST, 1L);
	curl_easy_setopt(client->easy, CURLOPT_POSTFIELDSIZE, (long)client->body.len);
	add_field(client, "Content-Type", "application/json");
}

void
load_send(struct load_client *client, const struct load_request *request)
{
	struct load *load = client->load;
	W_AUTO(w_free) char *url =
	    w_xasprintf("%s%s", load->base[request->base % load->bases], request->path);
	w_usec timeout = request->timeout > 0 ? request->timeout : TIMEOUT_USUAL;

	forget_answer(client);
	curl_slist_free_all(client->fields);
	client->fields = NULL;
	set_method(client, request);
	if (request->key != NULL)
		add_field(client, "Idempotency-Key", request->key);
	curl_easy_setopt(client->easy, CURLOPT_URL, url);
	curl_easy_setopt(client->easy, CURLOPT_HTTPHEADER, client->fields);
	curl_easy_setopt(client->easy, CURLOPT_TIMEOUT_MS, (long)(timeout / W_MSEC));
	client->sent = w_now();
	if (curl_multi_add_handle(load->multi, client->easy) != CURLM_OK)
		load_die("libcurl does not take a request to %s", url);
	load->flying++;
}

static void
end_request(struct load *load, CURL *easy, CURLcode code)
{
	struct load_client *client = NULL;

	curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&client);
	curl_multi_remove_handle(load->multi, easy);
	load->flying--;
	client->ended = w_now();
	/* A status whose answer was cut off is no answer. */
	if (code == CURLE_OK)
		curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &client->status);
	else
		client->why = curl_easy_strerror(code);
	if (client->status < 0 || client->status >= LOAD_STATUSES)
		client->status = LOAD_STATUSES - 1;
	client->done(client);
}

void
load_turn(struct load *load, w_usec until)
{
	struct itimerspec when = { .it_value = { until / W_SEC, until % W_SEC * 1000 } };
	struct curl_waitfd also[] = { { load->timer, CURL_WAIT_POLLIN, 0 },
		{ load->input, CURL_WAIT_POLLIN, 0 } };
	CURLMsg *message;
	bool ended = false;
	int running, left;

	if (curl_multi_perform(load->multi, &running) != CURLM_OK)
		load_die("libcurl's multi interface fails");
	while ((message = curl_multi_info_read(load->multi, &left)) != NULL)
		if (message->msg == CURLMSG_DONE) {
			end_request(load, message->easy_handle, message->data.result);
			ended = true;
		}
	if (ended || until <= w_now())
		return;
	/* Absolute and finer than poll's milliseconds; setting it takes back what it told before. */
	timerfd_settime(load->timer, TFD_TIMER_ABSTIME, &when, NULL);
	curl_multi_poll(load->multi, also, load->input >= 0 ? 2 : 1, 1000, NULL);
}

/* ---- answers and results ---- */

bool
load_answer_has(const struct load_client *client, const char *text)
{
	return client->text.len > 0 &&
	    memmem(client->text.ptr, client->text.len, text, strlen(text)) != NULL;
}

int64_t
load_answer_int(const struct load_client *client, const char *member)
{
	W_AUTO(w_free) char *quoted = w_xasprintf("\"%s\":", member);
	W_AUTO(w_free) char *text = w_xasprintf("%.*s", (int)client->text.len,
	    client->text.ptr != NULL ? client->text.ptr : "");
	const char *at = strstr(text, quoted);
	char *end = NULL;
	int64_t value = at != NULL ? strtoll(at + strlen(quoted), &end, 10) : -1;

	return end != NULL && end > at + strlen(quoted) ? value : -1;
}

void
load_result(struct w_json *json, struct w_buf *out, const char *mode)
{
	w_json_init(json, out);
	w_json_open(json, '{');
	w_json_key(json, "mode");
	w_json_text(json, mode);
}

/* {"201":7,"none":1}: how often each was the answer. */
void
load_result_statuses(struct w_json *json, const uint64_t *statuses)
{
	w_json_key(json, "statuses");
	w_json_open(json, '{');
	for (unsigned i = 0; i < LOAD_STATUSES; i++) {
		char name[16];

		if (statuses[i] == 0)
			continue;
		snprintf(name, sizeof(name), "%u", i);
		w_json_key(json, i > 0 ? name : "none");
		w_json_int(json, (int64_t)statuses[i]);
	}
	w_json_close(json, '}');
}

void
load_print(struct w_json *json)
{
	w_json_close(json, '}');
	printf("%.*s\n", (int)json->out->len, json->out->ptr);
	fflush(stdout);
}

static int
compare_times(const void *a, const void *b)
{
	const w_usec *one = a, *other = b;

	return (*one > *other) - (*one < *other);
}

w_usec
load_percentile(w_usec *times, size_t count, double share)
{
	if (count == 0)
		return 0;
	qsort(times, count, sizeof(*times), compare_times);
	return times[W_MIN(count - 1, (size_t)((double)count * share))];
}

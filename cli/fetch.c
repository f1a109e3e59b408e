#include <curl/curl.h>

#include "cli/cli.h"

#define FETCH_MAX (4 * 1024 * 1024)

static size_t
take(char *ptr, size_t size, size_t count, void *arg)
{
	struct w_buf *out = arg;

	w_buf_add(out, ptr, size * count);
	return w_buf_broken(out) ? 0 : size * count;
}

int
cli_fetch(const char *url, const char *ca, w_usec timeout, struct w_buf *ret, long *ret_status)
{
	CURL *curl = curl_easy_init();
	CURLcode code;

	*ret_status = 0;
	if (curl == NULL)
		return -W_EIO;
	ret->limit = FETCH_MAX;
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)(timeout / W_MSEC));
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, ret);
	if (ca != NULL)
		curl_easy_setopt(curl, CURLOPT_CAINFO, ca);
	code = curl_easy_perform(curl);
	if (code == CURLE_OK)
		curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, ret_status);
	curl_easy_cleanup(curl);
	w_buf_char(ret, '\0');
	if (!w_buf_broken(ret))
		ret->len--;
	return code == CURLE_OK ? W_OK : -W_EDOWN;
}

int
cli_ask_monitors(const struct w_cluster *cluster, const char *path, w_usec timeout, struct w_buf *ret)
{
	const struct w_member *monitor;

	for (unsigned i = 0; (monitor = w_cluster_nth(cluster, W_MONITOR, i)) != NULL; i++) {
		W_AUTO(w_free) char *url = w_xasprintf("http://%s%s", monitor->opt.monitor.http, path);
		long status;

		if (monitor->opt.monitor.http[0] == '\0')
			continue;
		w_buf_clear(ret);
		if (cli_fetch(url, NULL, timeout, ret, &status) == W_OK && status == 200)
			return W_OK;
	}
	return -W_EDOWN;
}

/*
 * The guestbook: messages that people leave, and counters that only grow.
 *
 *	GET    /messages         newest first; ?limit=1..100 (20), ?before=ID
 *	POST   /messages         {"author","body"} -> 201 with the row
 *	GET    /messages/{id}    PUT (as POST), DELETE
 *	POST   /counters/{name}  adds one -> {"name","value"}
 *	GET    /counters/{name}
 *	GET    /                 a page for people
 *
 * Its writes are exactly-once: sent again with the same Idempotency-Key they happen once, and give
 * the same answer. Its tables are in sql/010-guestbook.sql.
 */
#include <string.h>
#include <weir.h>

#define TEXT(array) ((struct weir_view){ array, sizeof(array) - 1 })
#define ISO_8601 "'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'"
#define ROW "id, author, body, to_char(created at time zone 'UTC', " ISO_8601 ") as created"

static const struct weir_stmt list_stmt = { "guestbook_list",
	"select " ROW " from guestbook.messages where id < $1::bigint "
	"order by id desc limit $2::int", 2 };
static const struct weir_stmt find_stmt = { "guestbook_find",
	"select " ROW " from guestbook.messages where id = $1::bigint", 1 };
static const struct weir_stmt add_stmt = { "guestbook_add",
	"insert into guestbook.messages (author, body) values ($1, $2) returning " ROW, 2 };
static const struct weir_stmt change_stmt = { "guestbook_change",
	"update guestbook.messages set author = $2, body = $3 where id = $1::bigint "
	"returning " ROW, 3 };
static const struct weir_stmt remove_stmt = { "guestbook_remove",
	"delete from guestbook.messages where id = $1::bigint returning id", 1 };
static const struct weir_stmt count_stmt = { "guestbook_count",
	"insert into guestbook.counters (name, value) values ($1, 1) "
	"on conflict (name) do update set value = counters.value + 1 returning name, value", 1 };
static const struct weir_stmt counter_stmt = { "guestbook_counter",
	"select name, value from guestbook.counters where name = $1", 1 };

/* ---- small words ---- */

static struct weir_view
number(struct weir_request *req, int64_t value)
{
	char *text = weir_printf(req, "%lld", (long long)value);

	return (struct weir_view){ text, text != NULL ? strlen(text) : 0 };
}

/* The one row of a result as the answer; none is a 404. */
static int
answer_row(struct weir_request *req, const struct weir_rows *rows, unsigned status)
{
	if (weir_rows_count(rows) == 0)
		return WEIR_ENOTFOUND;
	weir_out_row(req, rows, 0);
	return weir_out_send(req, status);
}

static int
message_id(struct weir_request *req, struct weir_view *ret)
{
	int64_t id = 0;
	int rc;

	rc = weir_param_int(req, "id", 1, INT64_MAX, &id);
	if (rc < 0)
		return rc;
	*ret = number(req, id);
	return ret->ptr != NULL ? WEIR_OK : WEIR_ENOMEM;
}

static int
message_texts(struct weir_request *req, struct weir_view *ret_author, struct weir_view *ret_body)
{
	int rc;

	rc = weir_json_text(req, "author", 1, 100, ret_author);
	if (rc < 0)
		return rc;
	return weir_json_text(req, "body", 1, 4000, ret_body);
}

/* ---- messages ---- */

static int
list_messages(struct weir_request *req)
{
	struct weir_rows *rows = NULL;
	int64_t limit = 20, before = INT64_MAX;
	struct weir_view params[2];
	int rc;

	rc = weir_query_int(req, "limit", 1, 100, &limit);
	if (rc == WEIR_OK)
		rc = weir_query_int(req, "before", 1, INT64_MAX, &before);
	if (rc < 0)
		return rc;
	params[0] = number(req, before);
	params[1] = number(req, limit);
	rc = weir_db_read(req, &list_stmt, params, &rows);
	if (rc < 0)
		return rc;
	weir_out_open(req, '[');
	for (int i = 0; i < weir_rows_count(rows); i++)
		weir_out_row(req, rows, i);
	weir_out_close(req, ']');
	return weir_out_send(req, 200);
}

static int
get_message(struct weir_request *req)
{
	struct weir_rows *rows = NULL;
	struct weir_view id;
	int rc;

	rc = message_id(req, &id);
	if (rc == WEIR_OK)
		rc = weir_db_read(req, &find_stmt, &id, &rows);
	return rc < 0 ? rc : answer_row(req, rows, 200);
}

static int
post_message(struct weir_request *req)
{
	struct weir_rows *rows = NULL;
	struct weir_view params[2], id;
	char *location;
	int rc;

	rc = message_texts(req, &params[0], &params[1]);
	if (rc == WEIR_OK)
		rc = weir_db_write(req, &add_stmt, params, &rows);
	if (rc < 0)
		return rc;
	id = weir_rows_text(rows, 0, 0);
	location = weir_printf(req, "/messages/%.*s", (int)id.len, id.ptr);
	if (location != NULL)
		weir_set_header(req, "location", location);
	return answer_row(req, rows, 201);
}

static int
put_message(struct weir_request *req)
{
	struct weir_rows *rows = NULL;
	struct weir_view params[3];
	int rc;

	rc = message_id(req, &params[0]);
	if (rc == WEIR_OK)
		rc = message_texts(req, &params[1], &params[2]);
	if (rc == WEIR_OK)
		rc = weir_db_write(req, &change_stmt, params, &rows);
	return rc < 0 ? rc : answer_row(req, rows, 200);
}

static int
delete_message(struct weir_request *req)
{
	struct weir_rows *rows = NULL;
	struct weir_view id;
	int rc;

	rc = message_id(req, &id);
	if (rc == WEIR_OK)
		rc = weir_db_write(req, &remove_stmt, &id, &rows);
	if (rc < 0)
		return rc;
	/* rows are what a replay gives back; how many were affected it does not know */
	return weir_rows_count(rows) > 0 ? WEIR_OK : WEIR_ENOTFOUND;
}

/* ---- counters ---- */

static int
counter_name(struct weir_request *req, struct weir_view *ret)
{
	static const char allowed[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-";

	*ret = weir_param(req, "name");
	if (ret->len > 0 && ret->len <= 100 && strspn(ret->ptr, allowed) == ret->len)
		return WEIR_OK;
	weir_problem(req, 400, "a counter's name is of 1 to 100 letters, digits, '_', '.' and '-'");
	return WEIR_EINVAL;
}

static int
post_counter(struct weir_request *req)
{
	struct weir_rows *rows = NULL;
	struct weir_view name;
	int rc;

	rc = counter_name(req, &name);
	if (rc == WEIR_OK)
		rc = weir_db_write(req, &count_stmt, &name, &rows);
	return rc < 0 ? rc : answer_row(req, rows, 200);
}

static int
get_counter(struct weir_request *req)
{
	struct weir_rows *rows = NULL;
	struct weir_view name;
	int rc;

	rc = counter_name(req, &name);
	if (rc == WEIR_OK)
		rc = weir_db_read(req, &counter_stmt, &name, &rows);
	return rc < 0 ? rc : answer_row(req, rows, 200);
}

/* ---- the page ---- */

static const char page_html[] =
    "<!doctype html>\n"
    "<html lang=\"en\">\n"
    "<head>\n"
    "<meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
    "<title>Guestbook</title>\n"
    "<link rel=\"stylesheet\" href=\"/guestbook.css\">\n"
    "<script src=\"/guestbook.js\" defer></script>\n"
    "</head>\n"
    "<body>\n"
    "<main>\n"
    "<h1>Guestbook</h1>\n"
    "<form id=\"form\">\n"
    "<label>Name <input id=\"author\" required maxlength=\"100\" autocomplete=\"name\"></label>\n"
    "<label>Message\n"
    "<textarea id=\"text\" required maxlength=\"4000\" rows=\"3\"></textarea></label>\n"
    "<button>Leave it</button>\n"
    "<p id=\"note\" role=\"status\"></p>\n"
    "</form>\n"
    "<ol id=\"messages\" aria-label=\"Messages, newest first\"></ol>\n"
    "<button id=\"more\" hidden>Older messages</button>\n"
    "</main>\n"
    "</body>\n"
    "</html>\n";

static const char page_css[] =
    ":root { color-scheme: light dark; }\n"
    "body { font: 16px/1.5 system-ui, sans-serif; margin: 0; }\n"
    "main { max-width: 40rem; margin: 0 auto; padding: 1rem; }\n"
    "form, li { border: 1px solid #8886; border-radius: .5rem; padding: .75rem 1rem; }\n"
    "label { display: block; margin-bottom: .5rem; }\n"
    "input, textarea { box-sizing: border-box; display: block; font: inherit; padding: .4rem; }\n"
    "input, textarea { width: 100%; }\n"
    "button { font: inherit; padding: .4rem 1rem; }\n"
    "ol { list-style: none; padding: 0; }\n"
    "li { margin: .75rem 0; overflow-wrap: anywhere; white-space: pre-wrap; }\n"
    "li b { margin-right: .5rem; }\n"
    "time { color: GrayText; font-size: .875rem; }\n"
    "#note { margin: .5rem 0 0; min-height: 1.5rem; }\n";

static const char page_js[] =
    "'use strict';\n"
    "const at = id => document.getElementById(id);\n"
    "let oldest = null;\n"
    "\n"
    "function element(name, text) {\n"
    "\tconst e = document.createElement(name);\n"
    "\te.textContent = text;\n"
    "\treturn e;\n"
    "}\n"
    "\n"
    "function item(message) {\n"
    "\tconst li = document.createElement('li');\n"
    "\tconst time = element('time', new Date(message.created).toLocaleString());\n"
    "\ttime.dateTime = message.created;\n"
    "\tli.append(element('b', message.author), time, element('div', message.body));\n"
    "\treturn li;\n"
    "}\n"
    "\n"
    "async function call(path, options) {\n"
    "\tconst answer = await fetch(path, options);\n"
    "\tconst body = await answer.json();\n"
    "\tif (!answer.ok)\n"
    "\t\tthrow new Error(body.detail || answer.statusText);\n"
    "\treturn body;\n"
    "}\n"
    "\n"
    "async function show() {\n"
    "\tconst rows = await call('/messages?limit=20' + (oldest ? '&before=' + oldest : ''));\n"
    "\tat('messages').append(...rows.map(item));\n"
    "\tif (rows.length)\n"
    "\t\toldest = rows[rows.length - 1].id;\n"
    "\tat('more').hidden = rows.length < 20;\n"
    "}\n"
    "\n"
    "async function leave(event) {\n"
    "\tevent.preventDefault();\n"
    "\tconst message = { author: at('author').value, body: at('text').value };\n"
    "\tconst row = await call('/messages', { method: 'POST', body: JSON.stringify(message),\n"
    "\t\theaders: { 'Content-Type': 'application/json' } });\n"
    "\tat('messages').prepend(item(row));\n"
    "\tat('text').value = '';\n"
    "\tat('note').textContent = 'Thank you.';\n"
    "}\n"
    "\n"
    "const tell = error => { at('note').textContent = error.message; };\n"
    "at('form').addEventListener('submit', event => leave(event).catch(tell));\n"
    "at('more').addEventListener('click', () => show().catch(tell));\n"
    "show().catch(tell);\n";

static int
page_part(struct weir_request *req, const char *type, struct weir_view text)
{
	weir_set_header(req, "content-security-policy",
	    "default-src 'none'; connect-src 'self'; script-src 'self'; style-src 'self'; "
	    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'");
	weir_set_header(req, "x-content-type-options", "nosniff");
	return weir_answer(req, 200, type, text, true);
}

static int
get_page(struct weir_request *req)
{
	return page_part(req, "text/html; charset=utf-8", TEXT(page_html));
}

static int
get_style(struct weir_request *req)
{
	return page_part(req, "text/css; charset=utf-8", TEXT(page_css));
}

static int
get_script(struct weir_request *req)
{
	return page_part(req, "text/javascript; charset=utf-8", TEXT(page_js));
}

static const struct weir_route routes[] = {
	{ "GET", "/", get_page, 0 },
	{ "GET", "/guestbook.css", get_style, 0 },
	{ "GET", "/guestbook.js", get_script, 0 },
	{ "GET", "/messages", list_messages, 0 },
	{ "POST", "/messages", post_message, WEIR_ONCE | WEIR_GROUPED },
	{ "GET", "/messages/{id}", get_message, 0 },
	{ "PUT", "/messages/{id}", put_message, WEIR_ONCE },
	{ "DELETE", "/messages/{id}", delete_message, WEIR_ONCE },
	{ "POST", "/counters/{name}", post_counter, WEIR_ONCE },
	{ "GET", "/counters/{name}", get_counter, 0 },
	{ 0 },
};

WEIR_MODULE("guestbook", routes, NULL, NULL);

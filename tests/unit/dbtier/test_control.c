/* Messages of the failover protocol: docs/protocol/04-failover.md, section 5. */
#include <stdio.h>

#include "dbtier/control.h"
#include "suites.h"

static const char order_text[] =
    "{\"v\":1,\"type\":\"order\",\"order\":\"prepare\",\"id\":12,\"term\":5,"
    "\"promoter\":\"monitor-1/1795341600000000\",\"cohort\":\"db-1,db-2,db-3/1\",\"joint\":\"db-1,db-2/0\",\"edition\":4,\"upstream\":\"\","
    "\"timeline\":0,\"lsn\":67111632,\"paused\":false,\"stamp\":0}";

static void
status_comes_back(void)
{
	W_AUTO(w_buf_fini) struct w_buf text = { 0 };
	struct dbt_status one = { .node = "db-2", .epoch = 1795341600000000, .seq = 7,
		.configured = "db-1/0", .promise = { .term = 5, .promoter = "monitor-1/1",
		.cohort = { .names = "db-1,db-2/1", .joint = "db-1/0", .edition = 7 },
		.stage = DBT_FOLLOWING, .upstream = "db-1", .paused = true, .stamp = 99 },
		.order = 12, .trouble = "a \"quoted\" word", .postgres = DBT_PG_FROZEN,
		.system = "7309112233445566778", .recovery = true, .timeline = 4, .lsn = 1ULL << 40,
		.streaming = true, .heard_ms = -1, .attached = 2 }, other = { 0 };

	dbt_status_format(&one, &text);
	CU_ASSERT(dbt_status_parse(w_buf_get(&text), &other, NULL) == W_OK);
	CU_ASSERT(memcmp(&one, &other, sizeof(one)) == 0);
}

static void
order_is_as_written(void)
{
	W_AUTO(w_buf_fini) struct w_buf text = { 0 };
	struct dbt_order order = { 0 };

	CU_ASSERT_FATAL(dbt_order_parse(w_view_of(order_text), &order, NULL) == W_OK);
	CU_ASSERT(order.kind == DBT_PREPARE && order.term == 5 && order.lsn == 67111632);
	CU_ASSERT_STRING_EQUAL(order.promoter, "monitor-1/1795341600000000");
	dbt_order_format(&order, &text);
	CU_ASSERT(w_view_eq(w_buf_get(&text), w_view_of(order_text)));
}

static void
commands_and_answers_come_back(void)
{
	W_AUTO(w_buf_fini) struct w_buf text = { 0 };
	struct dbt_command command = { .kind = DBT_CMD_PAUSE, .id = 3 }, same = { .node = "x" };
	struct dbt_answer answer = { .id = 3, .done = true, .text = "paused" }, again = { 0 };

	dbt_command_format(&command, &text);
	CU_ASSERT(dbt_command_parse(w_buf_get(&text), &same, NULL) == W_OK);
	CU_ASSERT(same.kind == DBT_CMD_PAUSE && same.node[0] == '\0' && same.id == 3);
	w_buf_clear(&text);
	dbt_answer_format(&answer, &text);
	CU_ASSERT(dbt_answer_parse(w_buf_get(&text), &again, NULL) == W_OK);
	CU_ASSERT(again.done && !again.failed && strcmp(again.text, "paused") == 0);
}

/* The order with one part replaced. */
static int
parse_with(const char *part, const char *by, struct dbt_order *ret, struct w_fault *fault)
{
	W_AUTO(w_buf_fini) struct w_buf text = { 0 };
	const char *at = strstr(order_text, part);

	CU_ASSERT_FATAL(at != NULL);
	w_buf_view(&text, (struct w_view){ order_text, (size_t)(at - order_text) });
	w_buf_text(&text, by);
	w_buf_text(&text, at + strlen(part));
	return dbt_order_parse(w_buf_get(&text), ret, fault);
}

static void
wrong_messages_are_refused(void)
{
	static const struct {
		const char *part, *by;
		int rc;
	} cases[] = {
		{ "\"v\":1", "\"v\":2", -W_EVERSION },
		{ "\"type\":\"order\"", "\"type\":\"status\"", -W_EINVAL },
		{ "\"order\":\"prepare\"", "\"order\":\"obey\"", -W_EINVAL },
		{ "\"term\":5", "\"term\":-5", -W_EINVAL },
		{ "\"term\":5", "\"term\":4294967296", -W_EINVAL },
		{ "\"term\":5", "\"term\":5.5", -W_EINVAL },
		{ "\"term\":5,", "", -W_EINVAL },
		{ "\"term\":5", "\"term\":5,\"term\":6", -W_EJSON },
		{ "\"lsn\":67111632", "\"lsn\":-1", -W_EINVAL },
		{ "\"paused\":false", "\"paused\":0", -W_EINVAL },
		{ "\"upstream\":\"\"", "\"upstream\":null", -W_EINVAL },
		{ "monitor-1/1795341600000000", "monitor-1\\u0000", -W_EJSON },
		{ "\"edition\":4", "\"edition\":-4", -W_EINVAL },
		{ "\"joint\":\"db-1,db-2/0\",", "", -W_EINVAL },
		{ "\"stamp\":0}", "\"stamp\":0", -W_EJSON },
		{ "\"upstream\":\"\"", "\"upstream\":\"0123456789012345678901234567890123456789012345678901234567890123\"", -W_EINVAL },
	};
	struct dbt_order order = { .id = 77 };
	struct w_fault fault;

	for (unsigned i = 0; i < W_NELEM(cases); i++) {
		fault = (struct w_fault){ 0 };
		CU_ASSERT_EQUAL(parse_with(cases[i].part, cases[i].by, &order, &fault), cases[i].rc);
		CU_ASSERT(fault.text[0] != '\0');
	}
	CU_ASSERT(order.id == 77);
}

static void
unknown_members_are_ignored(void)
{
	struct dbt_order order = { 0 };

	CU_ASSERT(parse_with("\"lsn\"", "\"color\":\"blue\",\"lsn\"", &order, NULL) == W_OK);
}

static void
type_is_told(void)
{
	char type[16];

	dbt_control_type(w_view_of(order_text), type);
	CU_ASSERT_STRING_EQUAL(type, "order");
	dbt_control_type(W_VIEW("{\"type\":\"0123456789abcdefg\"}"), type);
	CU_ASSERT_STRING_EQUAL(type, "");
	dbt_control_type(W_VIEW("[1]"), type);
	CU_ASSERT_STRING_EQUAL(type, "");
}

static void
cohorts_are_read(void)
{
	static const char *const wrong[] = { "", "/", "/0", "db-1", "db-1/", "db-1/x", "db-1/1", "db-1,db-2/2",
		"db-1,,db-2/1", "db-1,db-1/1", ",db-1/0", "db-1,/0", "db-1\nterm=9/0", "db-\"1/0", "db-1/0/0", "DB/0" };
	W_AUTO(w_buf_fini) struct w_buf many = { 0 };
	struct dbt_members members = { 0 };

	CU_ASSERT_FATAL(dbt_cohort_parse("db-1,db-2,db-3,a/2", &members) == W_OK);
	CU_ASSERT(members.count == 4 && members.quorum == 2 && strcmp(members.names[3], "a") == 0);
	CU_ASSERT(dbt_members_needed(&members) == 3);
	CU_ASSERT(dbt_cohort_parse("db-1,db-2,db-3,a/1", &members) == W_OK && dbt_members_needed(&members) == 3);
	CU_ASSERT(dbt_cohort_parse("a/0", &members) == W_OK && dbt_members_needed(&members) == 1);
	for (size_t i = 0; i < W_NELEM(wrong); i++)
		CU_ASSERT(dbt_cohort_parse(wrong[i], &members) == -W_EINVAL);
	for (unsigned i = 0; i <= DBT_NODES_MAX; i++)
		w_buf_printf(&many, "%sdb-%u", i > 0 ? "," : "", i);
	w_buf_text(&many, "/1");
	w_buf_char(&many, '\0');
	CU_ASSERT(dbt_cohort_parse(many.ptr, &members) == -W_ETOOBIG && members.count == 1);
}

static CU_TestInfo control_tests[] = {
	{ "a cohort is read, and what makes no sense is not", cohorts_are_read },
	{ "a status is read as it was written", status_comes_back },
	{ "an order is written as the specification has it", order_is_as_written },
	{ "commands and answers are read as they were written", commands_and_answers_come_back },
	{ "a message with a wrong member is refused with a reason", wrong_messages_are_refused },
	{ "members that nobody knows are ignored", unknown_members_are_ignored },
	{ "the type is told without reading the rest", type_is_told },
	CU_TEST_INFO_NULL
};

CU_SuiteInfo control_suites[] = {
	{ .pName = "dbtier/control", .pTests = control_tests },
	CU_SUITE_INFO_NULL
};

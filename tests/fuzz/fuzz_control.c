/*
 * Any bytes as a message between agents and promoters: taken whole, and then written and read again
 * without a difference, or refused with a reason.
 */
#include "dbtier/control.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
judge(int rc, const struct w_fault *fault)
{
	W_ASSERT(rc == W_OK || (fault->err == rc && fault->text[0] != '\0'));
}

#define TRY(type)                                                                      \
	static void try_##type(struct w_view json)                                     \
	{                                                                              \
		W_AUTO(w_buf_fini) struct w_buf text = { 0 };                          \
		struct dbt_##type one = { 0 }, other = { 0 };                          \
		struct w_fault fault = { 0 };                                          \
		int rc = dbt_##type##_parse(json, &one, &fault);                       \
                                                                                       \
		judge(rc, &fault);                                                     \
		if (rc < 0)                                                            \
			return;                                                        \
		dbt_##type##_format(&one, &text);                                      \
		W_ASSERT(dbt_##type##_parse(w_buf_get(&text), &other, NULL) == W_OK);  \
		W_ASSERT(memcmp(&one, &other, sizeof(one)) == 0);                      \
	}

TRY(status)
TRY(order)
TRY(command)
TRY(answer)

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct w_view json = { (const char *)data, size };
	char type[16];

	dbt_control_type(json, type);
	W_ASSERT(memchr(type, '\0', sizeof(type)) != NULL);
	try_status(json);
	try_order(json);
	try_command(json);
	try_answer(json);
	return 0;
}

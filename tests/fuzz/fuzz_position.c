/*
 * Positions, which clients send back, and the histories of timelines. The first byte chooses:
 * 'h' a history, anything else a position.
 */
#include "dbtier/topology.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
try_history(struct w_view text)
{
	struct dbt__history history;

	if (dbt__history_parse(1000, text, &history) < 0)
		return;
	W_ASSERT(history.count <= DBT_FORKS_MAX);
	for (unsigned i = 0; i < history.count; i++) {
		W_ASSERT(history.forks[i].timeline > 0 && history.forks[i].timeline < 1000);
		W_ASSERT(i == 0 || history.forks[i].timeline < history.forks[i - 1].timeline);
	}
}

/* What is accepted can be said again. */
static void
try_position(struct w_view text)
{
	struct dbt_position position, again;
	char said[DBT_POSITION_SIZE];

	if (dbt_position_parse(text, &position) < 0)
		return;
	W_ASSERT(dbt_position_format(position, said) == strlen(said));
	W_ASSERT(dbt_position_parse(w_view_of(said), &again) == W_OK);
	W_ASSERT(again.timeline == position.timeline && again.lsn == position.lsn);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct w_view text = { (const char *)data + (size > 0), size - (size > 0) };

	if (size == 0)
		return 0;
	if (data[0] == 'h')
		try_history(text);
	else
		try_position(text);
	return 0;
}

/* The statements that a worker has seen, what they cost, and their parameters. */
#include "dbtier/worker.h"

#define KNOWN_LEAST 64
#define COST_SHIFT 3 /* a new sample weighs one eighth */

static uint32_t
slot_of(const struct dbt_worker *worker, const struct dbt_stmt *stmt)
{
	uint64_t hash = (uint64_t)(uintptr_t)stmt * 0x9e3779b97f4a7c15u;

	return (uint32_t)(hash >> 32) & (worker->known_size * 2 - 1);
}

static void
insert(struct dbt_worker *worker, unsigned index)
{
	uint32_t slot = slot_of(worker, worker->known[index].stmt);

	while (worker->known_hash[slot] != 0)
		slot = (slot + 1) & (worker->known_size * 2 - 1);
	worker->known_hash[slot] = index + 1;
}

static void
grow(struct dbt_worker *worker)
{
	worker->known_size = worker->known_size > 0 ? worker->known_size * 2 : KNOWN_LEAST;
	worker->known = w_xrealloc(worker->known, worker->known_size * sizeof(*worker->known));
	free(worker->known_hash);
	worker->known_hash = w_xcalloc(worker->known_size * 2, sizeof(*worker->known_hash));
	for (unsigned i = 0; i < worker->known_count; i++)
		insert(worker, i);
}

/* A statement whose text is another than before is a new one, wherever it lives. */
unsigned
dbt__known_index(struct dbt_worker *worker, const struct dbt_stmt *stmt)
{
	uint32_t slot, found;

	if (worker->known_size > 0) {
		slot = slot_of(worker, stmt);
		while ((found = worker->known_hash[slot]) != 0) {
			if (worker->known[found - 1].stmt == stmt &&
			    worker->known[found - 1].sql == stmt->sql)
				return found - 1;
			slot = (slot + 1) & (worker->known_size * 2 - 1);
		}
	}
	if (worker->known_count == worker->known_size)
		grow(worker);
	worker->known[worker->known_count] = (struct dbt__known){ .stmt = stmt, .sql = stmt->sql };
	insert(worker, worker->known_count);
	return worker->known_count++;
}

static void
judge(struct dbt__known *known)
{
	if (known->cost > DBT__SLOW_COST)
		known->slow = true;
	else if (known->cost < DBT__FAST_COST)
		known->slow = false;
}

void
dbt__known_cost(struct dbt_worker *worker, unsigned index, w_usec cost)
{
	struct dbt__known *known = &worker->known[index];

	known->cost += (cost - known->cost) >> COST_SHIFT;
	judge(known);
}

void
dbt__known_slow(struct dbt_worker *worker, unsigned index, w_usec cost)
{
	struct dbt__known *known = &worker->known[index];

	known->cost = W_MAX(known->cost, cost);
	judge(known);
}

const char *const *
dbt__params_fill(struct dbt_worker *worker, const struct dbt_stmt *stmt,
    const struct w_view *params)
{
	size_t size = stmt->params * sizeof(char *);
	const char **values;
	char *at;

	for (unsigned i = 0; i < stmt->params; i++)
		size += params[i].len + 1;
	if (size > worker->scratch_size) {
		worker->scratch = w_xrealloc(worker->scratch, size * 2);
		worker->scratch_size = size * 2;
	}
	values = (const char **)(void *)worker->scratch;
	at = worker->scratch + stmt->params * sizeof(char *);
	for (unsigned i = 0; i < stmt->params; i++) {
		values[i] = params[i].ptr != NULL ? at : NULL;
		if (params[i].len > 0)
			memcpy(at, params[i].ptr, params[i].len);
		at += params[i].len;
		*at++ = '\0';
	}
	return values;
}

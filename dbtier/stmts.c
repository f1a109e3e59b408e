/* The statements that a worker has seen, and what they cost. */
#include <stdio.h>

#include "common/buf.h"
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

void
dbt__known_name(const struct dbt_stmt *stmt, unsigned index, unsigned generation,
    char to[DBT__NAME_SIZE])
{
	snprintf(to, DBT__NAME_SIZE, "%.40s_%u_%u", stmt->name, index, generation);
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
	worker->known[worker->known_count] = (struct dbt__known){
		.stmt = stmt,
		.sql = stmt->sql,
		.metric = w_meter_named(worker->meter,
		    worker->metrics + dbt__statement_metric(), DBT_STATEMENTS_MAX,
		    "statement", stmt->name),
	};
	dbt__known_name(stmt, worker->known_count, 0, worker->known[worker->known_count].name);
	insert(worker, worker->known_count);
	return worker->known_count++;
}

void
dbt__known_init(struct dbt_worker *worker)
{
	static const struct dbt_stmt *const brought[] = { &dbt__guard_stmt, &dbt__begin_stmt,
		&dbt__commit_stmt, &dbt__rollback_stmt, &dbt__position_stmt };

	for (unsigned i = 0; i < W_NELEM(brought); i++)
		(void)dbt__known_index(worker, brought[i]);
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

	w_meter_observe(worker->meter, known->metric, cost);
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

/*
 * Two statements in one: the effect, and the row that keeps what it returned. An effect that cannot
 * stand in a WITH (no RETURNING, a WITH of its own that writes) is PostgreSQL's to refuse.
 */
const struct dbt_stmt *
dbt__known_once(struct dbt_worker *worker, const struct dbt_stmt *stmt)
{
	unsigned index = dbt__known_index(worker, stmt); /* may move the table */
	struct dbt__known *known = &worker->known[index];
	struct dbt_stmt *once;

	if (known->no_once || known->once != NULL)
		return known->no_once ? NULL : known->once;
	once = w_xcalloc(1, sizeof(*once));
	once->name = w_xasprintf("%.40s_once", stmt->name);
	once->sql = w_xasprintf("WITH weir_effect AS (\n%s\n), weir_reply AS ("
	    "INSERT INTO weir.replies (key, nth, fingerprint, rows) SELECT $%u::text, $%u::smallint,"
	    " $%u::bytea, (SELECT array_agg(weir_effect::text) FROM weir_effect))"
	    " SELECT * FROM weir_effect", stmt->sql, stmt->params + 1, stmt->params + 2,
	    stmt->params + 3);
	once->params = stmt->params + DBT__ONCE_PARAMS;
	known->once = once;
	return once;
}

void
dbt__known_no_once(struct dbt_worker *worker, const struct dbt_stmt *stmt)
{
	unsigned index = dbt__known_index(worker, stmt);

	worker->known[index].no_once = true;
}

void
dbt__known_fini(struct dbt_worker *worker)
{
	for (unsigned i = 0; i < worker->known_count; i++) {
		struct dbt_stmt *once = worker->known[i].once;

		if (once == NULL)
			continue;
		free((void *)(uintptr_t)once->name);
		free((void *)(uintptr_t)once->sql);
		free(once);
	}
	free(worker->known);
	free(worker->known_hash);
}

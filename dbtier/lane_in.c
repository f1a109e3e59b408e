/* What the server says on a lane, message by message. See lane.c for their order. */
#include "dbtier/topology.h"
#include "dbtier/worker.h"

/* What the server answers now. */
static struct dbt__flight *
head_of(struct dbt__lane *lane)
{
	return dbt__lane_flight(lane, lane->at);
}

/* ---- statements ---- */

static bool
on_parsed(struct dbt__lane *lane, struct w_view body W_UNUSED)
{
	struct dbt__flight *flight = head_of(lane);

	flight->describes = flight->parsed < flight->parse_count ?
	    flight->parses[flight->parsed++] : DBT__UNNAMED;
	return true;
}

static bool
on_columns(struct dbt__lane *lane, struct w_view body)
{
	struct dbt__flight *flight = head_of(lane);
	struct dbt__columns **to = flight->describes == DBT__UNNAMED ? &flight->columns :
	    &lane->columns[flight->describes];

	dbt__columns_drop(to);
	return dbt__columns_parse(body, to) == W_OK;
}

static bool
on_no_columns(struct dbt__lane *lane, struct w_view body W_UNUSED)
{
	struct dbt__flight *flight = head_of(lane);

	if (flight->describes != DBT__UNNAMED)
		dbt__columns_drop(&lane->columns[flight->describes]);
	return true;
}

static bool
on_nothing(struct dbt__lane *lane W_UNUSED, struct w_view body W_UNUSED)
{
	return true;
}

/* ---- rows ---- */

static struct dbt_rows *
rows_of(struct dbt__lane *lane, struct dbt__flight *flight)
{
	bool unnamed = flight->columns != NULL;

	if (flight->rows != NULL)
		return flight->rows;
	flight->rows = dbt__rows_take(lane->worker->options->max_rows_bytes);
	flight->rows->columns = dbt__columns_hold(
	    unnamed ? flight->columns : lane->columns[flight->known]);
	return flight->rows;
}

/* The rest of it is thrown away; a read need not even be computed. */
static void
too_big(struct dbt__lane *lane, struct dbt__flight *flight)
{
	struct dbt__job *job = flight->job;

	flight->too_big = true;
	dbt__rows_clear(flight->rows);
	dbt__count(lane->worker, DBT_TOO_BIG);
	if (job->intent == DBT_WRITE || dbt__job_alone(job))
		return;
	flight->job = NULL;
	dbt__job_finish(job, -W_ETOOBIG);
	dbt__lane_cancel(lane);
}

/* The guard has passed, and tells how far the node is. */
static bool
on_guard_row(struct dbt__lane *lane, struct w_view body)
{
	const struct dbt_node *node = dbt__site_now(lane->pool->site);
	struct dbt_position *best = &lane->pool->site->replayed, seen = { 0 };
	struct w_view value;
	unsigned count;

	if (dbt__row_begin(&body, &count) < 0 || count != 2 || dbt__row_value(&body, &value) < 0 ||
	    dbt__row_value(&body, &value) < 0)
		return false;
	if (node == NULL)
		return true;
	/* A node that was rewound to another timeline has less than it had. */
	seen.timeline = node->timeline;
	if (dbt__lsn_parse(value, &seen.lsn) == W_OK &&
	    (seen.timeline != best->timeline || seen.lsn > best->lsn))
		*best = seen;
	return true;
}

static bool
on_statement_row(struct dbt__lane *lane, struct w_view body)
{
	struct dbt__flight *flight = head_of(lane);
	int rc;

	if (flight->job == NULL || flight->too_big)
		return true;
	rc = dbt__rows_add(rows_of(lane, flight), body);
	if (rc == -W_ETOOBIG)
		too_big(lane, flight);
	return rc != -W_EPROTO;
}

static bool
on_position_row(struct dbt__lane *lane, struct w_view body)
{
	return dbt__position_read(body, &head_of(lane)->position) == W_OK;
}

static bool
on_row(struct dbt__lane *lane, struct w_view body)
{
	static bool (*const take[DBT__STEPS + 1])(struct dbt__lane *lane, struct w_view body) = {
		[DBT__GUARD] = on_guard_row,
		[DBT__STATEMENT] = on_statement_row,
		[DBT__POSITION] = on_position_row,
	};
	enum dbt__step step = dbt__flight_step(head_of(lane));

	return take[step] != NULL && take[step](lane, body);
}

/* ---- the end of a statement ---- */

/* Somebody threw prepared statements away. */
static void
note_command(struct dbt__lane *lane, struct w_view tag)
{
	if (w_view_starts(tag, W_VIEW("DEALLOCATE")) || w_view_starts(tag, W_VIEW("DISCARD")))
		dbt__lane_forget_all(lane);
}

/*
 * A statement that ends the transaction of its group: what was before it is committed or undone, whatever
 * becomes of the rest. So nothing of the group may be run again.
 */
static bool
breaks_group(struct dbt__lane *lane, const struct dbt__flight *flight, struct w_view tag)
{
	static const char *const tags[] = { "COMMIT", "ROLLBACK", "PREPARE TRANSACTION" };

	if (!flight->more && !flight->follows)
		return false;
	for (unsigned i = 0; i < W_NELEM(tags); i++) {
		if (!w_view_starts(tag, w_view_of(tags[i])))
			continue;
		lane->worker->known[flight->known].bare = true;
		dbt__lane_lose(lane, "a statement ended the transaction of its group");
		return true;
	}
	return false;
}

/* One that takes portions has not sent its Sync yet. */
static void
end_portions(struct dbt__lane *lane, struct dbt__flight *flight)
{
	if (!flight->portions)
		return;
	flight->portions = false;
	dbt__put_sync(&lane->channel.out);
	dbt__lane_dirty(lane);
}

static bool
on_complete(struct dbt__lane *lane, struct w_view body)
{
	struct dbt__flight *flight = head_of(lane);
	enum dbt__step step = dbt__flight_step(flight);

	flight->steps &= (uint8_t)~(1u << step);
	if (step != DBT__STATEMENT)
		return step != DBT__STEPS;
	flight->complete = true;
	if (breaks_group(lane, flight, body))
		return true;
	if (flight->job != NULL)
		dbt__rows_tag(rows_of(lane, flight), body);
	note_command(lane, body);
	end_portions(lane, flight);
	lane->at += flight->more;
	return true;
}

static bool
on_portion(struct dbt__lane *lane, struct w_view body W_UNUSED)
{
	struct dbt__flight *flight = head_of(lane);

	if (!flight->portions)
		return false;
	if (flight->job == NULL || flight->too_big) {
		end_portions(lane, flight);
		return true;
	}
	flight->job->portion_here = true;
	w_fiber_wake(flight->job->fiber);
	return true;
}

/* ---- what it says besides ---- */

static bool
on_error(struct dbt__lane *lane, struct w_view body)
{
	struct dbt__flight *flight = lane->count > 0 ? head_of(lane) : NULL;
	struct dbt__error error = { 0 };
	struct dbt__said said;

	if (dbt__said_parse(body, &said) < 0)
		return false;
	dbt__error_keep(&said, &error);
	lane->ended |= error.goodbye;
	if (flight == NULL || flight->error != NULL)
		return true;
	flight->error = w_xcalloc(1, sizeof(error));
	*flight->error = error;
	end_portions(lane, flight);
	return true;
}

/* The server keeps quiet about a commit that its standbys have not got, except for a warning. */
static bool
on_notice(struct dbt__lane *lane, struct w_view body)
{
	struct dbt__said said;

	if (dbt__said_parse(body, &said) < 0)
		return false;
	if (lane->count > 0 && dbt__is_unreplicated(&said))
		head_of(lane)->unreplicated = true;
	return true;
}

/* A standby that was promoted tells its sessions, and so does a primary that is drained. */
static bool
on_setting(struct dbt__lane *lane, struct w_view body)
{
	struct w_view name, value;

	if (dbt__setting_parse(body, &name, &value) < 0)
		return false;
	if (w_view_eq(name, W_VIEW("in_hot_standby")))
		dbt__site_suspect(lane->pool->site);
	if (w_view_eq(name, W_VIEW("default_transaction_read_only")))
		lane->read_only = w_view_eq(value, W_VIEW("on"));
	return true;
}

/* ---- the end of a unit ---- */

static void
note_status(struct dbt__lane *lane, char status, const struct dbt__flight *flight)
{
	lane->status = status;
	if (status != 'E')
		lane->mending = false;
	else if (flight->wrapped)
		dbt__lane_mend(lane);
}

static void
note_idle(struct dbt__lane *lane)
{
	if (lane->count == 0 && lane->cancel == NULL)
		lane->canceled = false;
}

/* What it was to prepare and did not. Under names of before, that says nothing of what is prepared now. */
static void
unprepare(struct dbt__lane *lane, const struct dbt__flight *flight)
{
	if (flight->generation != lane->generation)
		return;
	for (unsigned i = flight->parsed; i < flight->parse_count; i++)
		lane->prepared[flight->parses[i]] = 0;
}

/* One less is in flight. */
static struct dbt__flight
take_off(struct dbt__lane *lane)
{
	struct dbt_worker *worker = lane->worker;
	struct dbt__flight *head = dbt__lane_flight(lane, 0), flight = *head;

	*head = (struct dbt__flight){ 0 };
	lane->head = (lane->head + 1) & lane->mask;
	lane->count--;
	worker->in_flight--;
	dbt__move(worker, DBT_IN_FLIGHT, -1);
	dbt__known_cost(worker, flight.known, worker->loop->now - lane->head_since);
	unprepare(lane, &flight);
	return flight;
}

/*
 * One that failed, or was rolled back with it: each goes on by itself. All of the group was done for nothing,
 * so the next ones are smaller: when one write of N fails, groups of about the root of N cost the least.
 */
static void
end_failed_group(struct dbt__lane *lane, struct dbt__flight *flights, unsigned count)
{
	struct dbt_worker *worker = lane->worker;

	dbt__count(worker, DBT_GROUPS_FAILED);
	dbt__group_most_set(worker, worker->group_most / 2);
	for (unsigned i = count; i-- > 0;) {
		const struct dbt__error *error = flights[i].error;

		if (error != NULL &&
		    (strcmp(error->sqlstate, "26000") == 0 || dbt__is_stale_plan(error)))
			dbt__lane_forget(lane, &flights[i]);
		if (flights[i].job != NULL)
			dbt__job_ungroup(flights[i].job);
	}
}

static void
end_flight(struct dbt__lane *lane, struct dbt__flight *flight)
{
	if (flight->job == NULL)
		return;
	if (flight->error == NULL || dbt__flight_step(flight) == DBT__POSITION)
		(void)rows_of(lane, flight);
	dbt__job_answer(flight->job, lane, flight);
}

/* What came at its end is of all that are in it. */
static void
end_group(struct dbt__lane *lane, struct dbt__flight *flights, unsigned count)
{
	const struct dbt__flight *last = &flights[count - 1];
	struct dbt_worker *worker = lane->worker;

	if (lane->grouped && last->error == NULL)
		dbt__group_most_set(worker, worker->group_most + 1);
	for (unsigned i = 0; i < count; i++) {
		flights[i].unreplicated |= last->unreplicated;
		flights[i].position = last->position;
		end_flight(lane, &flights[i]);
	}
}

/* Where an error leaves all undone. The question behind the COMMIT does not. */
static bool
is_undone(const struct dbt__flight *flights, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		if (flights[i].error != NULL)
			return dbt__flight_step(&flights[i]) != DBT__POSITION;
	return false;
}

static bool
on_ready_for_query(struct dbt__lane *lane, struct w_view body)
{
	struct dbt_worker *worker = lane->worker;
	struct dbt__flight unit[DBT__GROUP_MOST];
	unsigned count = dbt__lane_unit(lane);

	if (body.len != 1)
		return false;
	for (unsigned i = 0; i < count; i++)
		unit[i] = take_off(lane);
	lane->at = 0;
	lane->head_since = lane->idle_since = worker->loop->now;
	dbt__lane_set_stuck(lane, false);
	if (worker->queued > 0)
		worker->pump = true;
	note_status(lane, body.ptr[0], &unit[count - 1]);
	if (count > 1 && is_undone(unit, count))
		end_failed_group(lane, unit, count);
	else
		end_group(lane, unit, count);
	for (unsigned i = 0; i < count; i++)
		dbt__flight_clear(&unit[i]);
	note_idle(lane);
	if (lane->spoilt && !dbt__lane_awaited(lane))
		dbt__lane_lose(lane, "its session is read-only");
	return true;
}

/* ---- what is too long ---- */

#define MESSAGE_SLACK ((size_t)64 * 1024)

/* What is there of a message that must not be held is dropped, and so is what will come of it. */
static void
skip_message(struct dbt__channel *channel, size_t size)
{
	channel->skip = size - dbt__channel_rest(channel).len;
	channel->parsed = channel->in.len;
}

static void
skip_rest(struct dbt__channel *channel)
{
	size_t len = W_MIN(channel->skip, dbt__channel_rest(channel).len);

	channel->parsed += len;
	channel->skip -= len;
}

/* A message is there in part. A row that is longer than a whole result may be is not waited for. */
static bool
take_part(struct dbt__lane *lane)
{
	struct dbt__channel *channel = &lane->channel;
	struct w_view rest = dbt__channel_rest(channel);
	size_t size = dbt__message_size(rest);
	struct dbt__flight *flight;

	if (size <= lane->worker->options->max_rows_bytes + MESSAGE_SLACK)
		return true;
	if (rest.ptr[0] != 'D' || lane->count == 0)
		return false;
	flight = head_of(lane);
	skip_message(channel, size);
	if (flight->job == NULL || flight->too_big)
		return true;
	(void)rows_of(lane, flight);
	too_big(lane, flight);
	return true;
}

/* ---- all of it ---- */

/* What is not here (COPY, above all) nobody asked for. */
static const struct {
	char type;
	bool in_unit; /* comes only as an answer */
	bool (*take)(struct dbt__lane *lane, struct w_view body);
} messages[] = {
	{ 'D', true, on_row },
	{ 'C', true, on_complete },
	{ '2', true, on_nothing }, /* BindComplete */
	{ 'Z', true, on_ready_for_query },
	{ '1', true, on_parsed },
	{ 't', true, on_nothing }, /* ParameterDescription */
	{ 'T', true, on_columns },
	{ 'n', true, on_no_columns },
	{ 's', true, on_portion },
	{ 'I', true, on_complete }, /* EmptyQueryResponse */
	{ 'E', false, on_error },
	{ 'N', false, on_notice },
	{ 'S', false, on_setting },
	{ 'A', false, on_nothing }, /* NotificationResponse */
};

static bool
take_message(struct dbt__lane *lane, const struct dbt__message *message)
{
	for (size_t i = 0; i < W_NELEM(messages); i++)
		if (messages[i].type == message->type)
			return (lane->count > 0 || !messages[i].in_unit) &&
			    messages[i].take(lane, message->body);
	return false;
}

bool
dbt__lane_take(struct dbt__lane *lane)
{
	size_t len = lane->channel.in.len;
	struct dbt__message message;
	struct w_view rest;
	int rc = 0;

	skip_rest(&lane->channel);
	rest = dbt__channel_rest(&lane->channel);
	while (lane->state == DBT__OPEN && (rc = dbt__message_parse(&rest, &message)) > 0) {
		lane->channel.parsed = len - rest.len;
		if (!take_message(lane, &message))
			return false;
	}
	return rc == 0 && lane->state == DBT__OPEN ? take_part(lane) : rc >= 0;
}

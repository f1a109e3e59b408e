/*
 * The exposition format 0.0.4: every metric of every node that is there, with the labels node,
 * role and cluster.
 *
 * 1. A family stands in one piece, with one HELP and one TYPE: reports are sorted by name, so
 *    all nodes are walked at once like the piles of a merge.
 * 2. Histograms become classic ones: of the buckets that nodes have, eight to a factor of two,
 *    every eighth is shown, from 64 us to 67 s. Their bounds are exact.
 *
 * Source: https://prometheus.io/docs/instrumenting/exposition_formats/
 */
#include <math.h>
#include <stdio.h>

#include "monitor/show.h"

#define LE_FIRST 6 /* 2^6 us */
#define LE_LAST 26 /* 2^26 us */

#define OWN_UP W_VIEW("weir_up")
#define OWN_ALERT W_VIEW("weir_alert_firing")

static void
put_number(struct w_buf *out, double value)
{
	struct w_json json;

	/* the JSON writer's shortest form is one that the format reads, too */
	w_json_init(&json, out);
	w_json_real(&json, value);
}

static void
put_escaped(struct w_buf *out, struct w_view text, bool quote)
{
	for (size_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];

		if (c == '\\' || (quote && c == '"'))
			w_buf_char(out, '\\');
		if (c == '\n')
			w_buf_text(out, "\\n");
		else
			w_buf_char(out, c);
	}
}

static void
put_label(struct w_buf *out, const char *name, const char *value)
{
	w_buf_text(out, name);
	w_buf_text(out, "=\"");
	put_escaped(out, w_view_of(value), true);
	w_buf_char(out, '"');
}

static void
put_header(struct w_buf *out, struct w_view name, struct w_view help, const char *type)
{
	w_buf_text(out, "# HELP ");
	w_buf_view(out, name);
	w_buf_char(out, ' ');
	put_escaped(out, help, false);
	w_buf_text(out, "\n# TYPE ");
	w_buf_view(out, name);
	w_buf_char(out, ' ');
	w_buf_text(out, type);
	w_buf_char(out, '\n');
}

static void
put_node_labels(struct w_buf *out, const struct mon_state *state, const struct mon_node *node)
{
	put_label(out, "cluster", mon_state_cluster(state));
	w_buf_char(out, ',');
	put_label(out, "node", node->name);
	w_buf_char(out, ',');
	put_label(out, "role", w_role_name(node->role));
}

/* What all lines of one histogram or metric share. */
struct line {
	struct w_buf *out;
	const struct mon_state *state;
	const struct mon_node *node;
	const struct mon_metric *metric;
};

static void
begin_line(const struct line *line, const char *suffix)
{
	w_buf_view(line->out, line->metric->name);
	w_buf_text(line->out, suffix);
	w_buf_char(line->out, '{');
	put_node_labels(line->out, line->state, line->node);
	if (line->metric->labels.len > 0) {
		w_buf_char(line->out, ',');
		w_buf_view(line->out, line->metric->labels);
	}
}

static void
end_line(const struct line *line, double value)
{
	w_buf_text(line->out, "} ");
	put_number(line->out, value);
	w_buf_char(line->out, '\n');
}

static void
put_histogram(const struct line *line)
{
	const struct mon_metric *metric = line->metric;
	uint64_t below = 0;
	unsigned b = 0;

	for (unsigned power = LE_FIRST; power <= LE_LAST; power++) {
		for (; b < metric->bucket_count && metric->buckets[b].index <= power * 8 + 1; b++)
			below += metric->buckets[b].count;
		begin_line(line, "_bucket");
		w_buf_text(line->out, ",le=\"");
		put_number(line->out, ldexp(1.0, (int)power) / W_SEC);
		w_buf_char(line->out, '"');
		end_line(line, (double)below);
	}
	begin_line(line, "_bucket");
	w_buf_text(line->out, ",le=\"+Inf\"");
	end_line(line, (double)metric->count);
	begin_line(line, "_sum");
	end_line(line, (double)metric->sum / W_SEC);
	begin_line(line, "_count");
	end_line(line, (double)metric->count);
}

/* ---- families ---- */

struct walk {
	struct w_buf *out;
	const struct mon_state *state;
	unsigned *at; /* per node: first metric that is not written yet */
};

/* A node that is down says nothing any more; its last values are no values of now. */
static const struct mon_metric *
metric_at(const struct walk *walk, unsigned i)
{
	const struct mon_node *node = mon_state_nth(walk->state, i);

	if (node->life == MON_DOWN || walk->at[i] >= node->last->count)
		return NULL;
	return &node->last->metrics[walk->at[i]];
}

/* The least name that is left: a metric of it, or NULL at the end. */
static const struct mon_metric *
next_family(const struct walk *walk)
{
	const struct mon_metric *least = NULL;

	for (unsigned i = 0; i < mon_state_count(walk->state); i++) {
		const struct mon_metric *metric = metric_at(walk, i);

		if (metric != NULL &&
		    (least == NULL || strcmp(metric->name.ptr, least->name.ptr) < 0))
			least = metric;
	}
	return least;
}

/* Where two nodes disagree about a type, the first one's stands and the other's is left out. */
static void
put_family(struct walk *walk, const struct mon_metric *first, bool hidden)
{
	static const char *const types[] = {
		[W_COUNTER] = "counter", [W_GAUGE] = "gauge", [W_HISTOGRAM] = "histogram"
	};

	if (!hidden)
		put_header(walk->out, first->name, first->help, types[first->type]);
	for (unsigned i = 0; i < mon_state_count(walk->state); i++) {
		const struct mon_metric *metric;

		for (; (metric = metric_at(walk, i)) != NULL && w_view_eq(metric->name, first->name);
		     walk->at[i]++) {
			const struct line line = { walk->out, walk->state,
				mon_state_nth(walk->state, i), metric };

			if (hidden || metric->type != first->type)
				continue;
			if (metric->type == W_HISTOGRAM) {
				put_histogram(&line);
				continue;
			}
			begin_line(&line, "");
			end_line(&line, metric->value);
		}
	}
}

/* ---- what the monitor adds ---- */

static void
put_up(struct w_buf *out, const struct mon_state *state)
{
	put_header(out, OWN_UP, W_VIEW("Whether the node reports and is up."), "gauge");
	for (unsigned i = 0; i < mon_state_count(state); i++) {
		const struct mon_node *node = mon_state_nth(state, i);

		w_buf_view(out, OWN_UP);
		w_buf_char(out, '{');
		put_node_labels(out, state, node);
		w_buf_printf(out, "} %d\n", node->life == MON_UP);
	}
}

static void
put_alerts(struct w_buf *out, const struct mon_rules *rules)
{
	put_header(out, OWN_ALERT, W_VIEW("Alerts that fire now."), "gauge");
	for (unsigned i = 0; i < mon_rules_alert_count(rules); i++) {
		const struct mon_alert *alert = mon_rules_alert(rules, i);

		if (alert->phase != MON_FIRING)
			continue;
		w_buf_view(out, OWN_ALERT);
		w_buf_char(out, '{');
		put_label(out, "cluster", alert->cluster);
		w_buf_char(out, ',');
		put_label(out, "alertname", alert->rule);
		w_buf_char(out, ',');
		put_label(out, "severity", alert->severity);
		if (alert->node[0] != '\0') {
			w_buf_char(out, ',');
			put_label(out, "node", alert->node);
			w_buf_char(out, ',');
			put_label(out, "role", alert->role);
		}
		w_buf_text(out, "} 1\n");
	}
}

void
mon_show_metrics(struct w_buf *out, const struct mon_state *state, const struct mon_rules *rules)
{
	W_AUTO(w_free) unsigned *at = w_xcalloc(mon_state_count(state) + 1, sizeof(*at));
	struct walk walk = { out, state, at };
	const struct mon_metric *first;

	put_up(out, state);
	put_alerts(out, rules);
	while ((first = next_family(&walk)) != NULL)
		put_family(&walk, first,
		    w_view_eq(first->name, OWN_UP) || w_view_eq(first->name, OWN_ALERT));
}

/*
 * The monitor's page: one fetch a second, shown in place. Rows are made once and only their texts
 * change, so that nothing jumps and screen readers are told of alerts alone.
 */
"use strict";

const PERIOD = 1000;      /* ms between two looks */
const PATIENCE = 3000;    /* ms until a look has failed */
const POINTS = 600;

const $ = (id) => document.getElementById(id);

/* ---- texts ---- */

const DASH = "–";

function number(value, digits) {
	if (value === null || value === undefined)
		return DASH;
	return value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

function rate(value) {
	return value === null || value === undefined ? DASH : number(value, value < 100 ? 1 : 0);
}

function milliseconds(seconds) {
	if (seconds === null || seconds === undefined)
		return DASH;
	const ms = seconds * 1000;
	return ms >= 10000 ? number(seconds, 1) + " s" : number(ms, ms < 10 ? 2 : ms < 100 ? 1 : 0) + " ms";
}

function bytes(value) {
	if (value === null || value === undefined)
		return DASH;
	const units = ["B", "KiB", "MiB", "GiB", "TiB"];
	let unit = 0;
	for (; value >= 1024 && unit < units.length - 1; unit++)
		value /= 1024;
	return number(value, unit > 0 && value < 100 ? 1 : 0) + " " + units[unit];
}

function percent(ratio) {
	return ratio === null || ratio === undefined ? DASH : number(ratio * 100, 1) + " %";
}

function clock(microseconds) {
	return new Date(microseconds / 1000).toLocaleTimeString("en-GB");
}

/* Each server judges by itself whether a database may serve. */
function fit(node) {
	if (!node.seen_by)
		return DASH;
	return node.fit_for + " of " + node.seen_by + (node.gated_by > 0 ? ", waits for standbys" : "");
}

function seen(node) {
	if (node.seen_ms === null)
		return "never";
	return node.seen_ms < 2000 ? "now" : number(node.seen_ms / 1000, 0) + " s ago";
}

/* What its agent agreed to, and what it is doing about it. */
function stage(node) {
	if (!node.stage)
		return DASH;
	return node.stage + ", term " + node.term + (node.busy ? ", " + node.busy : "");
}

function failoverState(cluster) {
	const failover = cluster.failover;
	if (!failover)
		return DASH;
	return failover.degraded || (failover.paused ? "paused" : failover.state);
}

/* ---- elements ---- */

function element(tag, className, text) {
	const made = document.createElement(tag);
	if (className)
		made.className = className;
	if (text !== undefined)
		made.textContent = text;
	return made;
}

function setText(target, text) {
	if (target.textContent !== text)
		target.textContent = text;
}

function setClass(target, name) {
	if (target.className !== name)
		target.className = name;
}

/* ---- nodes ---- */

const common = [
	{ title: "CPU", of: (n) => percent(n.cpu) },
	{ title: "Memory", of: (n) => bytes(n.rss) },
	{ title: "Seen", of: seen },
];

const serving = [
	{ title: "Requests/s", of: (n) => rate(n.requests_per_second) },
	{ title: "5xx/s", of: (n) => rate(n.errors_per_second), bad: (n) => n.errors_per_second > 0 },
	{ title: "In flight", of: (n) => number(n.in_flight, 0) },
	{ title: "p50", of: (n) => milliseconds(n.p50) },
	{ title: "p99", of: (n) => milliseconds(n.p99) },
];

const databases = [
	{ title: "Database", left: true, state: (n) => n.database },
	{ title: "Stage", left: true, of: stage },
	{ title: "Timeline", of: (n) => number(n.timeline, 0) },
	{ title: "Lag", of: (n) => bytes(n.lag_bytes) },
	{ title: "Fit for", of: fit, bad: (n) => n.fit_for < n.seen_by },
	{ title: "Transactions/s", of: (n) => rate(n.transactions_per_second) },
	{ title: "Sessions", of: (n) => number(n.sessions, 0) },
];

const roles = [
	{ role: "balancer", title: "Balancers", columns: serving.concat(common) },
	{ role: "server", title: "Servers", columns: serving.concat(common) },
	{ role: "database", title: "Databases", columns: databases.concat(common) },
	{ role: "monitor", title: "Monitors", columns: common },
];

const stateColumn = { title: "State", left: true, state: (n) => n.state };

function makeTable(kind) {
	const section = element("section");
	const title = element("h2", "", kind.title);
	title.id = "role-" + kind.role;
	section.setAttribute("aria-labelledby", title.id);

	const box = element("div", "table");
	box.tabIndex = 0; /* so that keys can scroll it */
	box.setAttribute("role", "region");
	box.setAttribute("aria-labelledby", title.id);
	const table = element("table");
	const head = element("tr");
	const first = element("th", "", "Node");
	first.scope = "col";
	head.append(first);
	kind.all = [stateColumn].concat(kind.columns);
	for (const column of kind.all) {
		const cell = element("th", column.left ? "left" : "", column.title);
		cell.scope = "col";
		head.append(cell);
	}
	const thead = element("thead");
	thead.append(head);
	kind.body = element("tbody");
	kind.rows = new Map();
	table.append(thead, kind.body);
	box.append(table);
	section.append(title, box);
	kind.section = section;
	$("roles").append(section);
}

function makeRow(kind, node) {
	const row = element("tr");
	const name = element("th", "", node.name);
	name.scope = "row";
	row.append(name);
	const cells = kind.all.map((column) => {
		const cell = element("td", column.left ? "left" : "");
		if (column.state)
			cell.append(element("span", "state"));
		row.append(cell);
		return cell;
	});
	kind.body.append(row);
	return { row, cells };
}

function showState(cell, column, node) {
	const state = column.state(node);
	const text = state === "down" && node.reason ? "down, " + node.reason : state;
	setText(cell.firstChild, text);
	setClass(cell.firstChild, "state " + state);
}

function showNode(kind, node) {
	if (!kind.rows.has(node.name))
		kind.rows.set(node.name, makeRow(kind, node));
	const { row, cells } = kind.rows.get(node.name);
	setClass(row, node.state);
	kind.all.forEach((column, i) => {
		if (column.state) {
			showState(cells[i], column, node);
			return;
		}
		setText(cells[i], column.of(node));
		setClass(cells[i], column.bad && column.bad(node) ? "bad" : column.left ? "left" : "");
	});
}

function showNodes(nodes) {
	for (const kind of roles) {
		const mine = nodes.filter((node) => node.role === kind.role);
		if (!kind.body)
			makeTable(kind);
		kind.section.hidden = mine.length === 0;
		mine.forEach((node) => showNode(kind, node));
		const names = new Set(mine.map((node) => node.name));
		for (const [name, made] of kind.rows) {
			if (names.has(name))
				continue;
			made.row.remove();
			kind.rows.delete(name);
		}
	}
}

/* ---- the cluster ---- */

const tiles = [
	{ title: "Requests/s", of: (c) => rate(c.requests_per_second) },
	{ title: "p50, last 10 s", of: (c) => milliseconds(c.windows["10s"].p50) },
	{ title: "p99, last 10 s", of: (c) => milliseconds(c.windows["10s"].p99) },
	{ title: "5xx", of: (c) => percent(c.ratio_5xx), bad: (c) => c.ratio_5xx > 0 },
	{ title: "Nodes up", of: (c) => c.nodes_up + " of " + c.nodes, bad: (c) => c.nodes_up < c.nodes },
	{ title: "Primary", of: (c) => c.primary || "none", bad: (c, has) => has && !c.primary, database: true },
	{ title: "Failover", of: failoverState, bad: (c) => Boolean(c.failover && c.failover.degraded), database: true },
	{ title: "Worst replica lag", of: (c) => bytes(c.lag_bytes), database: true },
	{ title: "Memory, all nodes", of: (c) => bytes(c.rss) },
];

function showTiles(cluster, hasDatabase) {
	for (const tile of tiles) {
		if (!tile.box) {
			tile.box = element("div");
			tile.value = element("dd");
			tile.box.append(element("dt", "", tile.title), tile.value);
			$("tiles").append(tile.box);
		}
		tile.box.hidden = Boolean(tile.database) && !hasDatabase;
		setText(tile.value, tile.of(cluster));
		setClass(tile.box, tile.bad && tile.bad(cluster, hasDatabase) ? "bad" : "");
	}
}

function showVerdict(snapshot) {
	const firing = snapshot.alerts.filter((alert) => alert.state === "firing");
	const critical = firing.some((alert) => alert.severity === "critical");
	const cluster = snapshot.cluster;
	const verdict = $("verdict");

	if (firing.length > 0) {
		setText(verdict, firing.length === 1 ? "1 alert fires" : firing.length + " alerts fire");
		setClass(verdict, "verdict " + (critical ? "bad" : "warn"));
	} else if (cluster.nodes_up < cluster.nodes) {
		setText(verdict, cluster.nodes - cluster.nodes_up + " of " + cluster.nodes + " nodes not up");
		setClass(verdict, "verdict warn");
	} else {
		setText(verdict, "All well");
		setClass(verdict, "verdict good");
	}
}

/* ---- alerts ---- */

function alertItem(alert) {
	const item = element("li", alert.severity + " " + alert.state);
	const state = alert.state === "firing" ? "" : alert.state + ", ";
	item.append(element("span", "name", alert.name));
	item.append(element("span", "", alert.summary));
	item.append(element("span", "when", alert.ends ? clock(alert.starts) + " to " + clock(alert.ends)
	    : state + alert.severity + " since " + clock(alert.starts)));
	return item;
}

let shownAlerts = null;

function showAlerts(alerts) {
	const key = JSON.stringify(alerts.map((a) => [a.fingerprint, a.state, a.starts]));

	if (key === shownAlerts)
		return;
	shownAlerts = key;
	const rank = { critical: 0, warning: 1, info: 2 };
	const sorted = alerts.slice().sort((a, b) =>
	    (a.state === "pending") - (b.state === "pending") || rank[a.severity] - rank[b.severity] || a.starts - b.starts);
	$("alerts").replaceChildren(...sorted.map(alertItem));
	$("no-alerts").hidden = alerts.length > 0;
	showResolved();
}

async function showResolved() {
	try {
		const answer = await get("/api/alerts");
		$("resolved-list").replaceChildren(...answer.resolved.slice(0, 10).map(alertItem));
		$("resolved").hidden = answer.resolved.length === 0;
	} catch (error) {
		shownAlerts = null; /* again with the next look */
	}
}

/* ---- failover ---- */

function moveItem(move) {
	const item = element("li", "info");
	item.append(element("span", "name", move.name));
	item.append(element("span", "", (move.node ? move.node + ", " : "") + "term " + move.term +
	    (move.why ? ": " + move.why : "")));
	item.append(element("span", "when", clock(move.time) +
	    (move.took_ms === null ? "" : ", took " + milliseconds(move.took_ms / 1000))));
	return item;
}

function describeFailover(failover) {
	const leader = failover.leader ? failover.leader + " leads term " + failover.term : "nobody leads";
	return leader + ", " + failover.state + (failover.paused ? ", paused" : "") +
	    "; " + failover.fresh + " of " + failover.cohort + " agents heard, " + failover.needed + " needed" +
	    (failover.spare ? ", one may be lost" : ", none may be lost") +
	    (failover.degraded ? "; degraded: " + failover.degraded : "") +
	    (failover.last_gap_ms === null ? "" : "; last gap " + milliseconds(failover.last_gap_ms / 1000));
}

/* Troubles that agents tell of. */
function troubleItem(node) {
	const item = element("li", "warning");
	item.append(element("span", "name", node.name));
	item.append(element("span", "", node.trouble));
	return item;
}

let shownTroubles = "[]";

function showTroubles(nodes) {
	const troubled = nodes.filter((node) => node.trouble);
	const key = JSON.stringify(troubled.map((node) => [node.name, node.trouble]));

	if (key === shownTroubles)
		return;
	shownTroubles = key;
	$("troubles").replaceChildren(...troubled.map(troubleItem));
}

let shownMoves = null;

async function showFailover(snapshot) {
	const failover = snapshot.cluster.failover;

	$("failover").hidden = !failover;
	if (!failover)
		return;
	setText($("failover-state"), describeFailover(failover));
	showTroubles(snapshot.nodes);
	/* counted from the monitor's start, so the last one's time is needed, too */
	const key = failover.moves + " " + (failover.last ? failover.last.time : 0);
	if (key === shownMoves)
		return;
	const answer = await get("/api/failover");
	$("moves").replaceChildren(...answer.moves.slice(0, 10).map(moveItem));
	shownMoves = key;
}

/* ---- charts ---- */

const charts = [];
const lines = [
	{ canvas: "chart-requests", sets: [
		{ label: "requests/s", series: "requests_per_second", colour: "--chart-1", scale: 1 },
		{ label: "5xx/s", series: "errors_per_second", colour: "--chart-2", scale: 1 }] },
	{ canvas: "chart-latency", sets: [
		{ label: "p50 ms", series: "p50", colour: "--chart-1", scale: 1000 },
		{ label: "p99 ms", series: "p99", colour: "--chart-3", scale: 1000 }] },
];

function colour(name) {
	return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function makeChart(line) {
	const chart = new window.Chart($(line.canvas), {
		type: "line",
		data: { datasets: line.sets.map((set) => ({ label: set.label, data: [], borderWidth: 1.6,
			pointRadius: 0, pointHitRadius: 8, spanGaps: false })) },
		options: {
			animation: false, parsing: false, normalized: true, responsive: true,
			maintainAspectRatio: false, interaction: { mode: "index", intersect: false },
			scales: {
				x: { type: "linear", bounds: "data", ticks: { maxTicksLimit: 6, maxRotation: 0,
					callback: (value) => clock(value * 1000).slice(0, 5) } },
				y: { beginAtZero: true, ticks: { maxTicksLimit: 5 } },
			},
			plugins: {
				legend: { position: "top", align: "end", labels: { boxWidth: 14, boxHeight: 2 } },
				tooltip: { callbacks: { title: (items) => clock(items[0].parsed.x * 1000) } },
			},
		},
	});
	charts.push({ chart, line });
}

function paintCharts() {
	for (const { chart, line } of charts) {
		line.sets.forEach((set, i) => {
			chart.data.datasets[i].borderColor = colour(set.colour);
			chart.data.datasets[i].backgroundColor = colour(set.colour);
		});
		for (const axis of Object.values(chart.options.scales)) {
			axis.grid = { color: colour("--line") };
			axis.ticks.color = colour("--soft");
		}
		chart.options.plugins.legend.labels.color = colour("--soft");
		chart.update("none");
	}
}

/* x is in milliseconds since 1970. */
function addPoints(of, times) {
	for (const { chart, line } of charts) {
		line.sets.forEach((set, i) => {
			const data = chart.data.datasets[i].data;
			const values = of(set.series);
			times.forEach((time, at) => {
				const value = values[at];
				data.push({ x: time, y: value === null || value === undefined ? NaN : value * set.scale });
			});
			data.splice(0, Math.max(0, data.length - POINTS));
		});
		const last = times[times.length - 1];
		chart.options.scales.x.min = last - POINTS * 1000;
		chart.options.scales.x.max = last;
		chart.update("none");
	}
}

let lastPoint = 0; /* ms; 0: the history is wanted */

async function loadHistory() {
	const history = await get("/api/history?series=requests_per_second,errors_per_second,p50,p99&tier=1s");
	const count = history.series.p50.length;

	charts.forEach(({ chart }) => chart.data.datasets.forEach((set) => { set.data = []; }));
	if (count === 0)
		return;
	const end = history.end / 1000;
	addPoints((series) => history.series[series],
	    Array.from({ length: count }, (none, i) => end - (count - 1 - i) * 1000));
	lastPoint = end;
}

async function feedCharts(snapshot) {
	if (charts.length === 0)
		return;
	const now = snapshot.time / 1000, cluster = snapshot.cluster;
	/* After a gap, a hidden tab for one, what the monitor kept is better than a straight line. */
	if (lastPoint === 0 || now - lastPoint > 5000 || now < lastPoint) {
		await loadHistory();
		return;
	}
	const values = { requests_per_second: cluster.requests_per_second,
		errors_per_second: cluster.errors_per_second,
		p50: cluster.windows["1s"].p50, p99: cluster.windows["1s"].p99 };
	addPoints((series) => [values[series]], [now]);
	lastPoint = now;
}

/* ---- the look ---- */

async function get(path) {
	const stop = new AbortController();
	const timer = setTimeout(() => stop.abort(), PATIENCE);

	try {
		const answer = await fetch(path, { signal: stop.signal, cache: "no-store" });
		if (!answer.ok)
			throw new Error("status " + answer.status);
		return await answer.json();
	} finally {
		clearTimeout(timer);
	}
}

let lastNews = null;

function showStale(stale) {
	document.body.classList.toggle("is-stale", stale);
	$("stale").hidden = !stale;
	if (!stale)
		return;
	setText($("stale"), lastNews === null ? "The monitor does not answer."
	    : "No news since " + clock(lastNews) + ": the monitor does not answer. What is below is of then.");
	setText($("verdict"), "No news");
	setClass($("verdict"), "verdict bad");
}

async function look() {
	try {
		const snapshot = await get("/api/snapshot");
		lastNews = snapshot.time;
		showStale(false);
		const name = snapshot.cluster.name;
		setText($("cluster-name"), name);
		document.title = (snapshot.cluster.alerts_firing > 0 ? "(" + snapshot.cluster.alerts_firing + ") " : "") +
		    name + " – Weir";
		setText($("clock"), clock(snapshot.time));
		showVerdict(snapshot);
		showAlerts(snapshot.alerts);
		showTiles(snapshot.cluster, snapshot.nodes.some((node) => node.role === "database"));
		showNodes(snapshot.nodes);
		await showFailover(snapshot);
		await feedCharts(snapshot);
	} catch (error) {
		lastPoint = 0;
		showStale(true);
	}
}

async function run() {
	const begun = performance.now();

	await look();
	setTimeout(run, Math.max(100, PERIOD - (performance.now() - begun)));
}

if (window.Chart) {
	$("charts").hidden = false;
	lines.forEach(makeChart);
	paintCharts();
	window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paintCharts);
}
run();

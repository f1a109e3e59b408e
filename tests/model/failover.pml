/*
 * The failover protocol of docs/protocol/04-failover.md, small enough that spin looks at every order of events.
 *
 * Three nodes, quorum 1, two promoters. tests/model/run searches it; `make model` runs that.
 *
 * WAL      A node's log is a set of entries, numbered in the order in which they were written anywhere. tl[] is
 *          the timeline of its last entry, lsn[] how many there are: (tl, lsn) is what agents report as (timeline,
 *          lsn). An entry is a commit, or the marker with which a promotion begins its timeline. PostgreSQL knows
 *          no terms: whoever is connected to a primary and has an entry of its timeline acknowledges it.
 * Orders   A bit, or a set of nodes, that is never taken back. An agent may take an order at any time from then
 *          on, again, or never: so orders are lost, repeated, delayed and reordered. follow goes to every node
 *          once a round has elected: that is also adopt, whichever promoter sends it. resume may come whenever
 *          its receiver would take it.
 * Statuses A promoter keeps what a fenced agent said, whatever has become of that agent since, and decides by any
 *          part of it that is enough: statuses are late or lost. Its choice of a term rests on old ones.
 * Time     None: anybody may be suspected at any time, any wait may be too short.
 * Agents   What an agent has promised is durable. An agent that dies and starts again goes on from there, so its
 *          death needs no step. With -DWINDOWS what PostgreSQL is made to do for a promise is another step, and
 *          anything may come in between. Without it both are one: but for the timeline, which may go on in
 *          between, a promise that nothing was done for yet is like an order that comes later.
 * Promoters  Giving up and dying are the same: the votes are forgotten, another round begins. A round is a
 *          (term, promoter); a restarted promoter has a new epoch, so it never takes up an old one. Its using an
 *          old term under its new name is that term in the other promoter's hands.
 *
 * The moves of section 6, which tests/house/moves.sh compares with the table there:
 *
 * move: init         not modelled: the first leader and its followers are there at the start
 * move: suspect      no step: always possible
 * move: prepare      send_prepare()
 * move: cascade      take_cascade(), with -DCASCADES: to any follower of the same term that has as much
 * move: turn         take_turn(), with -DTURNS: to whoever has promised this round or a later term; with
 *                    -DCASCADES stay(): who streams from there promises, and goes on
 * move: elect        elect()
 * move: established  acknowledge(): the first entry of a timeline that a standby acknowledges
 * move: adopt        take_follow()
 * move: resume       take_resume()
 * move: change       not modelled: the cohort stays; the simulation of tests/unit/dbtier/ searches it
 * move: heal         no step of its own: prepare while a leader is well
 * move: give up      no step of its own: prepare while another round is open
 *
 * Left out: clones and nodes without data, pause, drain (a switchover is a prepare while the leader is well), lost
 * disks.
 *
 * Properties, each an assertion:
 * 1. KEPT       whoever acknowledges has all that was ever acknowledged
 * 2. ONE        nothing is acknowledged on a timeline after a later one was established
 * 3. UNCUT      no rewind removes an acknowledged commit
 * 4. TIMELINE   a timeline has one author; 5. FORWARD  no promise goes down
 * 6. PROGRESS   (-DPROGRESS) from any state, once faults have stopped and with one node lost or none, every run
 *               ends with an established leader. Then nobody writes, and when nothing is left to do and no leader
 *               is well, a promoter begins one more round. The search also shows that no run is endless.
 *
 * -DONLY_LOSS leaves KEPT alone, to tell what a mistake costs in the end.
 *
 * An acknowledgement is counted when a standby that streams has the entry. One that reaches the client later, as
 * that of a frozen primary does that thaws, is of a commit that all later leaders have.
 *
 * Bounds: TERMS, COMMITS, FAULTS (deaths of a primary). Mistakes and holes: see tests/model/run.
 */
#ifndef TERMS
#define TERMS 3
#endif
#ifndef COMMITS
#define COMMITS 2
#endif
#ifndef FAULTS
#define FAULTS 1
#endif
#ifndef NEEDED
#ifdef SMALL_QUORUM
#define NEEDED 1
#else
#define NEEDED 2
#endif
#endif

#define NODES 3
#define NOBODY 3
#define ENTRIES 8			/* bits of a log */

/* Round 0 is that of the first leader. Later ones: two a term, one for each promoter. */
#ifdef PROGRESS
#define LAST_TERM (TERMS + 1)		/* kept for when faults have stopped */
#else
#define LAST_TERM TERMS
#endif
#define ROUNDS (1 + 2 * (LAST_TERM - 1))
#define ROUND(p, term) (1 + 2 * ((term) - 2) + (p))
#define TERM(r) (((r) + 3) / 2)		/* 0: 1; 1, 2: 2; 3, 4: 3 */

#define FENCED 0
#define FOLLOWING 1
#define LEADING 2

/* What an agent keeps. */
byte promise[NODES];			/* a round */
byte stage[NODES], upstream[NODES];

/* PostgreSQL. What it has is on disk. */
bit up[NODES], primary[NODES];
byte source[NODES];			/* whom it streams from */
byte log[NODES], tl[NODES], lsn[NODES];
byte timeline[ENTRIES];			/* of an entry */
byte entries, commits, faults;

/* Promoters, and what they have sent. */
byte round[2];
byte said[6];				/* POSITION of who is fenced in this round */
bit prepared[ROUNDS];
byte elected[ROUNDS];			/* nodes, as bits, that were told to promote */

/* What nobody knows. */
byte acked, established;
bit author[ENTRIES + 1];
bit calm;
byte gone = NOBODY;

hidden byte bits, other, i;		/* within a step */

#ifdef COMPARE_EARLY
byte early[6];
#endif
#ifdef SELF_PROMOTE
bit led[NODES];
#define MAY_DIE(x) (primary[x] || led[x])
#else
#define MAY_DIE(x) primary[x]
#endif

#define LOWEST(set) ((set) & -(set))
#define HAS(set, x) (((set) >> (x)) & 1)
#define MANY(set) (HAS(set, 0) + HAS(set, 1) + HAS(set, 2))
#define HERE(x) (gone != (x))

#define MISSING(x, u) (log[u] & ~log[x])
#define PREFIX(x, u) ((log[x] & ~log[u]) == 0 && (MISSING(x, u) == 0 || log[x] < LOWEST(MISSING(x, u))))
#define STREAMS(x) (up[x] && !primary[x] && source[x] != NOBODY && up[source[x]] && PREFIX(x, source[x]))
#define ANSWERS(x, u) (primary[u] && tl[x] == tl[u] && (log[x] & ~acked) != 0)
#define IDLE(x) (up[x] && !primary[x] && source[x] == NOBODY)

#if defined(SKIP_FENCE)
#define WINDOWS
#define SETTLED(x) (stage[x] == FENCED && up[x] && !primary[x]) /* its walreceiver may still be there */
#else
#define SETTLED(x) (stage[x] == FENCED && IDLE(x))
#endif

/* A follower of a node that leads again in a later term has WAL of that term, though it never promised it. */
#if defined(IGNORE_TIMELINE) || defined(TAKE_BLINDLY)
#define MAY_PREPARE(x, r) (TERM(r) > TERM(promise[x]))
#define MAY_FOLLOW(x, r) (TERM(r) > TERM(promise[x]) || (TERM(r) == TERM(promise[x]) && stage[x] != LEADING))
#else
#define MAY_PREPARE(x, r) (TERM(r) > TERM(promise[x]) && TERM(r) > tl[x])
#define MAY_FOLLOW(x, r) ((TERM(r) > TERM(promise[x]) || (TERM(r) == TERM(promise[x]) && stage[x] != LEADING)) && \
	TERM(r) >= tl[x])
#endif
#if defined(IGNORE_TIMELINE) || defined(REWIND_BLINDLY)
#define MAY_CUT(x) true
#else
#define MAY_CUT(x) (tl[x] <= TERM(promise[x]))
#endif
#if defined(IGNORE_TIMELINE) || defined(PROMOTE_BLINDLY)
#define MAY_LEAD(t, r) true
#else
#define MAY_LEAD(t, r) ((t) < TERM(r))
#endif

#ifdef WINDOWS
#define CAN_TURN(x, u) true
#else
#define CAN_TURN(x, u) (up[u] && HERE(u))
#endif
#ifdef RESUME_BLINDLY
#define MUST_PROMOTE(x) false
#else
#define MUST_PROMOTE(x) (tl[x] < TERM(promise[x]))
#endif
#define POSITION(x) (tl[x] * 16 + lsn[x])
#ifdef COMPARE_EARLY
#define SAYS(p, x) early[3 * p + x]
#else
#define SAYS(p, x) POSITION(x)
#endif
#ifdef REUSE_TERM
#define MAY_USE(p, r) (round[p] != (r))
#else
#define MAY_USE(p, r) (!prepared[r])
#endif

inline agree(x, r) {
	assert(TERM(r) >= TERM(promise[x]));	/* FORWARD */
	promise[x] = r
}

inline append(x, t) {
	timeline[entries] = t;
	log[x] = log[x] | (1 << entries);
	lsn[x]++;
	tl[x] = t;
	entries++
}

inline measure(x) {
	tl[x] = 1;
	lsn[x] = 0;
	for (i : 0 .. ENTRIES - 1) {
		if
		:: HAS(log[x], i) -> tl[x] = timeline[i]; lsn[x]++
		:: else
		fi
	}
	i = 0
}

/* u is a primary, and a standby has these entries, the last of them of the timeline that u writes. */
inline acknowledge(u, had) {
	assert((acked & ~log[u]) == 0);		/* KEPT */
#ifndef ONLY_LOSS
	assert(tl[u] >= established);		/* ONE */
#endif
	if
	:: tl[u] != established -> printf("established: %d, timeline %d\n", u, tl[u])
	:: else
	fi;
	acked = acked | had;
	established = tl[u]
}

/*
 * PostgreSQL
 */

inline write(x) {
	d_step {
		HERE(x) && !calm && up[x] && primary[x] && commits < COMMITS && entries < ENTRIES ->
		printf("%d writes entry %d on timeline %d\n", x, entries, tl[x]);
		commits++;
		append(x, tl[x])
	}
}

inline stream(x) {
	d_step {
		HERE(x) && STREAMS(x) && (MISSING(x, source[x]) != 0 || ANSWERS(x, source[x])) ->
		other = source[x];
		if
		:: MISSING(x, other) != 0 ->
			log[x] = log[x] | LOWEST(MISSING(x, other));
			measure(x);
			printf("%d has %d entries from %d, the last of timeline %d\n", x, lsn[x], other, tl[x])
		:: else
		fi;
		if
		:: ANSWERS(x, other) -> acknowledge(other, log[x])
		:: else
		fi
	}
}

/* A standby that dies is like one that is slow. */
inline die(x) {
	d_step {
		!calm && faults < FAULTS && up[x] && MAY_DIE(x) ->
		printf("PostgreSQL of %d dies\n", x);
		faults++;
		up[x] = 0
	}
}

inline promote(x) {
	printf("%d is promoted to timeline %d\n", x, TERM(promise[x]));
#ifndef ONLY_LOSS
	assert(tl[x] < TERM(promise[x]) && !author[TERM(promise[x])]);	/* TIMELINE */
#endif
	author[TERM(promise[x])] = 1;
	up[x] = 1;
	primary[x] = 1;
	source[x] = NOBODY;
	append(x, TERM(promise[x]))
}

/* Turn to u, when need be cut to what both have. */
inline turn(x, u) {
	if
	:: !PREFIX(x, u) ->
		bits = log[x] & (LOWEST(log[x] ^ log[u]) - 1);
		printf("%d is rewound to %d\n", x, u);
#ifndef ONLY_LOSS
		assert((log[x] & ~bits & acked) == 0);	/* UNCUT */
#endif
		log[x] = bits;
		measure(x)
	:: else
	fi;
	printf("%d turns to %d\n", x, u);
	up[x] = 1;
	primary[x] = 0;
	source[x] = u
}

/*
 * Agents
 */

/* Tell whoever has asked. Promoters keep what they have heard. */
inline answer(x) {
	if
	:: round[0] == promise[x] && round[0] != 0 -> said[x] = SAYS(0, x)
	:: else
	fi;
	if
	:: round[1] == promise[x] && round[1] != 0 -> said[3 + x] = SAYS(1, x)
	:: else
	fi
}

inline fence(x) {
	up[x] = 1;
	primary[x] = 0;
	source[x] = NOBODY;
	printf("%d is fenced at (%d, %d)\n", x, tl[x], lsn[x]);
	answer(x)
}

inline take_prepare(x, r) {
	d_step {
		HERE(x) && prepared[r] && MAY_PREPARE(x, r) ->
		printf("%d takes prepare, term %d of promoter %d\n", x, TERM(r), (r + 1) % 2);
		agree(x, r);
		stage[x] = FENCED;
		upstream[x] = NOBODY;
#ifndef WINDOWS
		fence(x)
#else
		if
		:: SETTLED(x) -> answer(x)
		:: else
		fi
#endif
	}
}

inline do_fence(x) {
	d_step {
		HERE(x) && stage[x] == FENCED && !IDLE(x) ->
		fence(x)
	}
}

inline take_promote(x) {
	d_step {
		HERE(x) && SETTLED(x) && HAS(elected[promise[x]], x) && MAY_LEAD(tl[x], promise[x]) ->
		printf("%d takes promote, term %d\n", x, TERM(promise[x]));
		stage[x] = LEADING;
		promote(x)
	}
}

inline take_promote_and_die(x) {
	d_step {
		!calm && faults < FAULTS && SETTLED(x) && HAS(elected[promise[x]], x) && MAY_LEAD(tl[x], promise[x]) ->
		printf("%d takes promote, term %d, and its PostgreSQL dies first\n", x, TERM(promise[x]));
		faults++;
		stage[x] = LEADING;
		up[x] = 0
	}
}

inline take_follow(x, u, r) {
	d_step {
		HERE(x) && HAS(elected[r], u) && MAY_FOLLOW(x, r) && CAN_TURN(x, u) &&
		    (promise[x] != r || stage[x] != FOLLOWING || upstream[x] != u) ->
		printf("%d takes follow %d, term %d\n", x, u, TERM(r));
		agree(x, r);
		stage[x] = FOLLOWING;
		upstream[x] = u;
#ifndef WINDOWS
		turn(x, u)
#endif
	}
}

#if defined(CASCADE_BLINDLY) || defined(STAY_BLINDLY)
#define CASCADES
#endif
#ifdef CASCADES
#define TURNS
#endif

/* The target of a switchover is followed before it is elected: by who is not ahead of it. */
#ifdef TURN_BLINDLY
#define TURNS
#define NOT_BEYOND(x, u) true
#else
#define NOT_BEYOND(x, u) PREFIX(x, u)
#endif
inline take_turn(x, u) {
	d_step {
		HERE(x) && !calm && promise[x] != 0 && SETTLED(x) && CAN_TURN(x, u) && !primary[u] && NOT_BEYOND(x, u) &&
		    (promise[u] == promise[x] || TERM(promise[u]) > TERM(promise[x])) ->
		printf("%d turns to %d before its election, term %d\n", x, u, TERM(promise[x]));
		stage[x] = FOLLOWING;
		upstream[x] = u;
#ifndef WINDOWS
		turn(x, u)
#endif
	}
}

/* It is even while its leader still leads: by who acknowledges nothing to that one any more. */
#ifdef CASCADE_BLINDLY
#define HAS_NO_MORE(x, u) true
#else
#define HAS_NO_MORE(x, u) PREFIX(x, u)
#endif
inline take_cascade(x, u) {
	d_step {
		HERE(x) && !calm && stage[x] == FOLLOWING && stage[u] == FOLLOWING &&
		    TERM(promise[u]) == TERM(promise[x]) && upstream[x] != u && CAN_TURN(x, u) && !primary[u] &&
		    HAS_NO_MORE(x, u) ->
		printf("%d is to follow %d, which does not lead, in term %d\n", x, u, TERM(promise[x]));
		upstream[x] = u;
#ifndef WINDOWS
		turn(x, u)
#endif
	}
}

/*
 * Then it needs no fence when that one has promised another term, and is a standby: all that it gets comes from
 * there. The order may come so late that u has been promoted.
 */
#ifdef STAY_BLINDLY
#define GETS_ALL_FROM(x, u) true
#else
#define GETS_ALL_FROM(x, u) (upstream[x] == (u) && source[x] == (u))
#endif
inline stay(x, u, r) {
	d_step {
		HERE(x) && !calm && prepared[r] && stage[x] == FOLLOWING && GETS_ALL_FROM(x, u) && up[x] && !primary[x] &&
		    TERM(r) > TERM(promise[x]) && MAY_FOLLOW(x, r) && PREFIX(x, u) &&
		    (!primary[u] || tl[u] >= TERM(r)) && (promise[u] == r || TERM(promise[u]) > TERM(r)) ->
		printf("%d goes on behind %d in term %d\n", x, u, TERM(r));
		agree(x, r);
		upstream[x] = u;
		answer(x)
	}
}

/* A standby that was not elected is no reason to throw anything away. */
#define IS_CHOSEN(u, r) (primary[u] || HAS(elected[r], u))
inline do_follow(x) {
	d_step {
		HERE(x) && stage[x] == FOLLOWING && up[upstream[x]] && HERE(upstream[x]) &&
		    (!up[x] || primary[x] || source[x] != upstream[x] || !PREFIX(x, upstream[x])) &&
		    (PREFIX(x, upstream[x]) || (MAY_CUT(x) && IS_CHOSEN(upstream[x], promise[x]))) ->
		turn(x, upstream[x])
	}
}

/* A leader that died before its promotion was done has an older timeline still, and must not write on that. */
inline take_resume(x) {
	d_step {
		HERE(x) && stage[x] == LEADING && !up[x] && entries < ENTRIES ->
		printf("%d takes resume, term %d, on timeline %d\n", x, TERM(promise[x]), tl[x]);
		if
		:: MUST_PROMOTE(x) -> promote(x)
		:: else -> up[x] = 1; primary[x] = 1; source[x] = NOBODY
		fi
	}
}

/*
 * Promoters
 */

inline forget(p) {
	round[p] = 0;
	said[3 * p] = 0;
	said[3 * p + 1] = 0;
	said[3 * p + 2] = 0
}

inline ask(p, r) {
	forget(p);
	round[p] = r;
	prepared[r] = 1
}

/* The term before it has been seen by somebody, and somebody would agree. Promoter 0 is who comes first. */
inline send_prepare(p, term) {
	d_step {
		!calm && term <= TERMS && MAY_USE(p, ROUND(p, term)) &&
		    (p == 0 || prepared[ROUND(0, 2)]) &&
		    (term == 2 || prepared[ROUND(0, term - 1)] || prepared[ROUND(1, term - 1)]) &&
		    (TERM(promise[0]) < term || TERM(promise[1]) < term || TERM(promise[2]) < term) ->
		printf("promoter %d: prepare, term %d\n", p, term);
		ask(p, ROUND(p, term));
#ifdef COMPARE_EARLY
		early[3 * p] = POSITION(0);
		early[3 * p + 1] = POSITION(1);
		early[3 * p + 2] = POSITION(2);
#endif
#ifdef REUSE_TERM
		/* Who is fenced in this term already says so again. */
		for (i : 0 .. NODES - 1) {
			if
			:: promise[i] == ROUND(p, term) && SETTLED(i) -> said[3 * p + i] = POSITION(i)
			:: else
			fi
		}
		i = 0
#endif
	}
}

/* Some of the answers have come, enough of them, and w's is the highest of these. Of equal ones any may win. */
#define NOT_AHEAD(p, x, w) (said[3 * (p) + (x)] != 0 && said[3 * (p) + (x)] <= said[3 * (p) + (w)])
inline elect(p, w) {
	d_step {
		said[3 * p + w] != 0 && MAY_LEAD(said[3 * p + w] / 16, round[p]) &&
		    NOT_AHEAD(p, 0, w) + NOT_AHEAD(p, 1, w) + NOT_AHEAD(p, 2, w) >= NEEDED ->
		printf("promoter %d: elect %d, term %d\n", p, w, TERM(round[p]));
		elected[round[p]] = elected[round[p]] | (1 << w);
		forget(p)
	}
}

/*
 * Mistakes that are steps of their own
 */

#ifdef FORGET_TERM
/* For data without a promise the term is its timeline: that of the first leader is enough here. */
inline mistake(x) {
	d_step {
		promise[x] != 0 && tl[x] == 1 && stage[x] != LEADING ->
		printf("the agent of %d starts again, without its promise\n", x);
		promise[x] = 0
	}
}
#elif defined(SELF_PROMOTE)
/* Whoever led once starts PostgreSQL as a primary, whatever it has promised since. */
inline mistake(x) {
	d_step {
		led[x] && !up[x] ->
		printf("%d is a primary again without asking, on timeline %d\n", x, tl[x]);
		up[x] = 1;
		primary[x] = 1;
		source[x] = NOBODY;
		stage[x] = LEADING
	}
}
#else
inline mistake(x) {
	false
}
#endif

/*
 * Progress
 */

#define FOLLOWS_WELL(x, u) ((x) != (u) && HERE(x) && STREAMS(x) && source[x] == (u) && log[x] == log[u])
#define LEADS_WELL(u) (HERE(u) && stage[u] == LEADING && up[u] && primary[u] && tl[u] == established && \
	(FOLLOWS_WELL(0, u) || FOLLOWS_WELL(1, u) || FOLLOWS_WELL(2, u)))
#define ALL_WELL (LEADS_WELL(0) || LEADS_WELL(1) || LEADS_WELL(2))

#ifdef PROGRESS
/* From now on nothing dies, nobody writes. who has died for good. */
inline faults_stop(who) {
	d_step {
		!calm ->
		printf("faults have stopped; lost: %d\n", who);
		calm = 1;
		gone = who;
		forget(0);
		forget(1);
		faults = 0;
		commits = 0;
		if
		:: who != NOBODY -> up[who] = 0
		:: else
		fi
	}
}
#else
inline faults_stop(who) {
	false
}
#endif

inline last_round() {
	d_step {
		printf("promoter 0: prepare, the last term\n");
		assert(!prepared[ROUND(0, LAST_TERM)]);	/* PROGRESS */
		ask(0, ROUND(0, LAST_TERM))
	}
}


init {
	d_step {
		stage[0] = LEADING;
		primary[0] = 1;
		author[1] = 1;
		for (i : 0 .. NODES - 1) {
			up[i] = 1;
			tl[i] = 1
		}
		i = 0;
		stage[1] = FOLLOWING;
		stage[2] = FOLLOWING;
		source[0] = NOBODY;
		upstream[0] = NOBODY;
		established = 1
#ifdef SELF_PROMOTE
		;
		led[0] = 1
#endif
	}
end:	do
	:: stream(0) :: stream(1) :: stream(2)
	:: write(0) :: write(1) :: write(2)
	:: die(0) :: die(1) :: die(2)
	:: mistake(0) :: mistake(1) :: mistake(2)

	:: take_prepare(0, 1) :: take_prepare(1, 1) :: take_prepare(2, 1)
	:: take_prepare(0, 2) :: take_prepare(1, 2) :: take_prepare(2, 2)
	:: take_follow(0, 1, 1) :: take_follow(0, 2, 1) :: take_follow(1, 0, 1)
	:: take_follow(1, 2, 1) :: take_follow(2, 0, 1) :: take_follow(2, 1, 1)
	:: take_follow(0, 1, 2) :: take_follow(0, 2, 2) :: take_follow(1, 0, 2)
	:: take_follow(1, 2, 2) :: take_follow(2, 0, 2) :: take_follow(2, 1, 2)
	:: send_prepare(0, 2) :: send_prepare(1, 2)
#if LAST_TERM > 2
	:: take_prepare(0, 3) :: take_prepare(1, 3) :: take_prepare(2, 3)
	:: take_prepare(0, 4) :: take_prepare(1, 4) :: take_prepare(2, 4)
	:: take_follow(0, 1, 3) :: take_follow(0, 2, 3) :: take_follow(1, 0, 3)
	:: take_follow(1, 2, 3) :: take_follow(2, 0, 3) :: take_follow(2, 1, 3)
	:: take_follow(0, 1, 4) :: take_follow(0, 2, 4) :: take_follow(1, 0, 4)
	:: take_follow(1, 2, 4) :: take_follow(2, 0, 4) :: take_follow(2, 1, 4)
	:: send_prepare(0, 3) :: send_prepare(1, 3)
#endif
#if LAST_TERM > 3
	:: take_prepare(0, 5) :: take_prepare(1, 5) :: take_prepare(2, 5)
	:: take_prepare(0, 6) :: take_prepare(1, 6) :: take_prepare(2, 6)
	:: take_follow(0, 1, 5) :: take_follow(0, 2, 5) :: take_follow(1, 0, 5)
	:: take_follow(1, 2, 5) :: take_follow(2, 0, 5) :: take_follow(2, 1, 5)
	:: take_follow(0, 1, 6) :: take_follow(0, 2, 6) :: take_follow(1, 0, 6)
	:: take_follow(1, 2, 6) :: take_follow(2, 0, 6) :: take_follow(2, 1, 6)
	:: send_prepare(0, 4) :: send_prepare(1, 4)
#endif
#ifdef TURNS
	:: take_turn(0, 1) :: take_turn(0, 2) :: take_turn(1, 0)
	:: take_turn(1, 2) :: take_turn(2, 0) :: take_turn(2, 1)
#endif
#ifdef CASCADES
	:: take_cascade(0, 1) :: take_cascade(0, 2) :: take_cascade(1, 0)
	:: take_cascade(1, 2) :: take_cascade(2, 0) :: take_cascade(2, 1)
	:: stay(0, 1, 1) :: stay(0, 2, 1) :: stay(1, 0, 1) :: stay(1, 2, 1) :: stay(2, 0, 1) :: stay(2, 1, 1)
	:: stay(0, 1, 2) :: stay(0, 2, 2) :: stay(1, 0, 2) :: stay(1, 2, 2) :: stay(2, 0, 2) :: stay(2, 1, 2)
#if LAST_TERM > 2
	:: stay(0, 1, 3) :: stay(0, 2, 3) :: stay(1, 0, 3) :: stay(1, 2, 3) :: stay(2, 0, 3) :: stay(2, 1, 3)
	:: stay(0, 1, 4) :: stay(0, 2, 4) :: stay(1, 0, 4) :: stay(1, 2, 4) :: stay(2, 0, 4) :: stay(2, 1, 4)
#endif
#endif
	:: take_promote(0) :: take_promote(1) :: take_promote(2)
	:: take_resume(0) :: take_resume(1) :: take_resume(2)
	:: do_fence(0) :: do_fence(1) :: do_fence(2)
	:: do_follow(0) :: do_follow(1) :: do_follow(2)
	:: take_promote_and_die(0) :: take_promote_and_die(1) :: take_promote_and_die(2)

	:: elect(0, 0) :: elect(0, 1) :: elect(0, 2) :: elect(1, 0) :: elect(1, 1) :: elect(1, 2)

	:: faults_stop(0) :: faults_stop(1) :: faults_stop(2) :: faults_stop(NOBODY)
	:: else ->
		if
		:: calm && !ALL_WELL -> last_round()
		:: else -> break
		fi
	od
}

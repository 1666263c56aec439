/*
 * The engine of packlock (blocking.go, registry.go, queue.go, hold.go) for the
 * model checker Spin. ./check runs it in the configurations it lists; README.md
 * says what is stated and what is left out.
 *
 * How it corresponds to the Go code:
 *
 *	a section under entry.mu	one atomic step. The loops that lock the entry of
 *	or registry.mu			a lock whose entry may change (acquire, lockEntry)
 *					come to "the entry as it is under mu".
 *	a kernel call			two steps outside of it, its begin and its end;
 *					anything may happen between and around them
 *	go func() in startThreadLocked,	one process per entry, idle while the turn is not
 *	go poll()			its own: that there is never a second one is asserted
 *	waiter				the number of its goroutine: it has at most one
 *	waiter.ready, got		a channel for one message
 *	context				its end is a choice of the goroutine that asks for
 *					it: nobody else ever does
 *	clock				a choice: the slice may end, and the last look may
 *					be too old, whenever somebody asks
 *	stepping aside			nothing: a delay has no state, and between any two
 *					steps the others may make as many as they like
 *
 * A goroutine acquires and releases any number of times, in any manner that the
 * configuration allows, and may stop for good whenever it has nothing.
 */

/* The configuration. */
#ifndef G0
#define G0	2	/* goroutines of process 0 */
#endif
#ifndef G1
#define G1	0	/* goroutines of process 1 */
#endif
#ifndef FOREIGN
#define FOREIGN	0	/* 1: one more process, which uses the bare kernel's lock */
#endif
#ifndef FILES
#define FILES	1	/* FILES-1 times the sidecar is replaced */
#endif
#ifndef SLICE
#define SLICE	1	/* hand-overs in a slice */
#endif
#ifndef CANCELS
#define CANCELS	0	/* 1: contexts end */
#endif
#ifndef TRIES
#define TRIES	0	/* 1: TryAcquire */
#endif
#ifndef BLOCKS
#define BLOCKS	0	/* 1: AcquireBlocking */
#endif
#ifndef POLLS
#define POLLS	0	/* 1: there may be no room for a thread */
#endif
#ifndef ERRORS
#define ERRORS	0	/* so many kernel calls fail */
#endif
#ifndef CLOSES
#define CLOSES	0	/* 1: Lock.Close */
#endif
#ifndef DRAINS
#define DRAINS	0	/* 1: WaitDrained */
#endif
#ifndef NAMES
#define NAMES	1	/* 2: another Lock on the sidecar by a name that stays */
#endif
#ifndef FAIR
#define FAIR	0	/* 1: the kernel passes nobody over twice, for the properties that
			   say "eventually". Only for two processes. */
#endif
#ifndef CONSTANT
#define CONSTANT 0	/* 1: goroutine 0 only calls Acquire, without a context that ends */
#endif

/* The engine, broken on purpose. */
#ifndef MUT_UNLOCK_WHILE_PARKED
#define MUT_UNLOCK_WHILE_PARKED	0
#endif
#ifndef MUT_FORGET_NEXT_WAIT
#define MUT_FORGET_NEXT_WAIT	0
#endif
#ifndef MUT_KEEP_AFTER_CANCEL
#define MUT_KEEP_AFTER_CANCEL	0
#endif
#ifndef MUT_PARK_CLOSED
#define MUT_PARK_CLOSED		0
#endif

#define GOROUTINES	(G0 + G1)
#define PROC(g)		((g) >= G0)		/* the process of a goroutine */
#define ENTRIES		(2 * FILES)		/* one per process and file */
#define ENTRY(p, f)	((p) * FILES + (f))
#define FILE(e)		((e) % FILES)
#define PROCESS(e)	((e) / FILES)

/* Each process has one Lock; if there is something to be told apart by it, the
   last goroutine of process 0 has a Lock of its own, number 2. */
#define SPARE		(CLOSES || NAMES > 1)
#define LOCK(g)		((SPARE && (g) == G0 - 1) -> 2 : PROC(g))
#define PATH(l)		(NAMES > 1 && (l) == 2)
#define PROCESSOF(l)	((l) == 1)

mtype:Turn = { free, taken, blocked, parked, polled, draining };
mtype:Progress = { queued, hasTurn, locked, granted, handedOver, lost, failed };
mtype:Manner = { parking, blocking, trying };
mtype:Call = { quick, waiting };
mtype:Stage = { idle, waits, holds, stopped };

/* The kernel. A descriptor is that of an entry, or the foreigner's. */
#define FOREIGNER	ENTRIES
byte owner[FILES];		/* 1 + the descriptor that has the lock on the file, or 0 */
byte owed[FILES];		/* FAIR: 1 + the descriptor that was passed over, or 0 */
mtype:Call inCall[ENTRIES + 1];	/* the call that is under way on the descriptor, or 0 */
bool opened[ENTRIES];		/* the descriptor, and so the entry, is open */
byte foreignFile;		/* what the foreigner has opened */
byte at_[2];			/* the file at each path */
byte errorsLeft = ERRORS;

/* Entries, each as under its mu. The set of locks is those not closed whose
   lentry it is. */
mtype:Turn turn[ENTRIES];
byte hold[ENTRIES];		/* 1 + the goroutine whose hold is live, or 0 */
byte sliceLeft[ENTRIES];
bool drained[ENTRIES];		/* somebody waits on the channel drained */
chan queue[ENTRIES] = [GOROUTINES] of { byte };

/* Locks. */
byte lentry[3];
bool closed[3];

chan ready[GOROUTINES] = [1] of { mtype:Progress };

/* What only the properties look at. */
#define THREAD	255
byte whose[ENTRIES];		/* who has the turn: 1 + goroutine, THREAD, or 0 */
byte held[FILES];		/* live holds on the file, in all processes */
mtype:Stage stage[GOROUTINES];
chan line[2] = [GOROUTINES] of { byte };	/* who acquires, in order of arrival */
bool drainWaits;

/* Scratch inside one atomic step. */
hidden byte n, x, y;

/*
 * The kernel.
 */

#define MAYTAKE(f, fd)	(owner[f] == 0 && (!FAIR || owed[f] == 0 || owed[f] == (fd) + 1))

/* begins begins a call on the descriptor of e. The assertions are the one-call
   invariant. */
inline begins(e, me, how) {
	atomic {
		assert(opened[e]);
		assert(inCall[e] == 0);
		assert(whose[e] == me);
		inCall[e] = how
	}
}

/* takes gives the lock on f to fd, whoever else may be waiting. */
inline takes(f, fd) {
	assert(owner[f] == 0);
	owner[f] = fd + 1;
	if
	:: FAIR ->
		owed[f] = 0;
		y = 0;
		do
		:: y <= ENTRIES ->
			if
			:: y != fd && inCall[y] == waiting &&
			   ((y == FOREIGNER && foreignFile == f) || (y < ENTRIES && FILE(y) == f)) ->
				owed[f] = y + 1
			:: else
			fi;
			y++
		:: else -> break
		od;
		y = 0
	:: else
	fi
}

/* try sets ok, and at = failed if the kernel fails. */
inline try(e, me) {
	begins(e, me, quick);
	atomic {
		if
		:: MAYTAKE(FILE(e), e) -> takes(FILE(e), e); ok = true
		:: !MAYTAKE(FILE(e), e) -> ok = false
		:: errorsLeft > 0 -> errorsLeft--; err = true
		fi;
		inCall[e] = 0
	}
}

/* block returns when e has the lock, in any order of all that wait, or fails. */
inline block(e, me) {
	begins(e, me, waiting);
	atomic {
		if
		:: MAYTAKE(FILE(e), e) -> takes(FILE(e), e)
		:: errorsLeft > 0 -> errorsLeft--; err = true
		fi;
		inCall[e] = 0
	}
}

inline unlock(e, me) {
	begins(e, me, quick);
	atomic {
		assert(owner[FILE(e)] == e + 1);
		if
		:: owner[FILE(e)] == e + 1 -> owner[FILE(e)] = 0
		:: else
		fi;
		inCall[e] = 0
	}
}

/*
 * The queue.
 */

inline pushFront(e, w) {
	assert(!queue[e]??[eval(w)]);
	n = len(queue[e]);
	queue[e]!w;
	do
	:: n > 0 -> queue[e]?x; queue[e]!x; n--
	:: else -> break
	od;
	x = 0
}

/* popFront sets d to 1 + the first waiter, or 0. */
inline popFront(e) {
	if
	:: queue[e]?d -> d++
	:: len(queue[e]) == 0 -> d = 0
	fi
}

/* deliver wakes waiter d-1. */
inline deliver(what) {
	atomic {
		assert(empty(ready[d - 1]));	/* the send never blocks */
		ready[d - 1]!what;
		d = 0
	}
}

/* enqueueLocked: the caller is inside atomic. */
inline enqueueLocked(e, w) {
	assert(turn[e] != free);
	assert(!queue[e]??[eval(w)]);
	if
	:: turn[e] == parked && len(queue[e]) == 0 -> endDrainLocked(e)	/* adopted */
	:: else
	fi;
	queue[e]!w
}

inline endDrainLocked(e) {
	drained[e] = false
}

#define DRAINING(e)	((turn[e] == parked && len(queue[e]) == 0) || turn[e] == draining)

/*
 * The turn.
 */

/* beginSlice: the counter; that the time is over is a choice in giveBackLocked. */
inline beginSlice(e) {
	sliceLeft[e] = SLICE
}

/* unusedLocked. Pins are left out, and so are dead entries. */
#define USES(l, e)	(lentry[l] == (e) && !closed[l])
#define UNUSED(e)	(opened[e] && turn[e] == free && !USES(0, e) && !USES(1, e) && !USES(2, e))

/* retire closes the file. The closing itself comes after mu is unlocked, but
   nobody can find the entry any more. */
inline retire(e) {
	if
	:: UNUSED(e) -> assert(inCall[e] == 0 && owner[FILE(e)] != e + 1); opened[e] = false
	:: else
	fi
}

/* pass gives up the turn, with nothing locked. passLocked is its part under mu. */
inline passLocked(e, me) {
	assert(whose[e] == me && owner[FILE(e)] != e + 1);
	endDrainLocked(e);
	popFront(e);
	if
	:: d != 0 -> turn[e] = taken; whose[e] = d
	:: else -> turn[e] = free; whose[e] = 0
	fi
}

inline passRest(e) {
	if
	:: d != 0 -> deliver(hasTurn)
	:: d == 0 && UNUSED(e) -> atomic { retire(e) }	/* asked again, as by then somebody may have come */
	:: d == 0 && !UNUSED(e)
	fi
}

/* grantLocked, without the sending. */
inline grantLocked(e) {
	popFront(e);
	assert(!drained[e]);
	turn[e] = taken;
	hold[e] = d;
	whose[e] = d
}

/* giveBackLocked gives up the turn and the kernel's lock: first its part under
   mu, which sets d if it hands over, then the rest. */
inline giveBackLocked(e, me) {
	assert(whose[e] == me && owner[FILE(e)] == e + 1);
	hold[e] = 0;
	if
	:: len(queue[e]) > 0 && sliceLeft[e] > 0 -> sliceLeft[e]--; grantLocked(e)
	:: d = 0	/* nobody queues, or the slice is over, by count or by time */
	fi
}

inline giveBackRest(e, me) {
	if
	:: d != 0 -> deliver(handedOver)
	:: else ->
		unlock(e, me);
		/* stepping aside is here */
		atomic { passLocked(e, me) };
		passRest(e)
	fi
}

/* room is threads.take. */
inline park(e, g, hadQueued) {
	atomic {
		if
		:: closed[LOCK(g)] && !MUT_PARK_CLOSED ->
			leave(g);
			passLocked(e, g + 1);
			at = failed
		:: else ->
			assert(whose[e] == g + 1 && turn[e] == taken);
			/* who waits through a closed Lock would not be turned away */
			assert(!closed[LOCK(g)]);
			pushFront(e, g);
			if
			:: MUT_FORGET_NEXT_WAIT && hadQueued
			:: !(MUT_FORGET_NEXT_WAIT && hadQueued) -> turn[e] = parked; whose[e] = THREAD
			:: POLLS -> turn[e] = polled; whose[e] = THREAD
			fi;
			at = queued
		fi
	}
}

/*
 * What the properties count.
 */

inline arrive(g) {
	line[PROC(g)]!g;
	stage[g] = waits
}

inline leave(g) {
	if
	:: line[PROC(g)]??[eval(g)] -> line[PROC(g)]??eval(g)
	:: !line[PROC(g)]??[eval(g)]
	fi
}

/*
 * Acquire, TryAcquire and AcquireBlocking, and Release.
 *
 * w says that there is a waiter, ended that the context has ended. Leaving
 * acquire with an error goes to "nothing".
 */
proctype goroutine(byte g) {
	mtype:Manner manner;
	mtype:Progress at;
	byte e, to, d;
	bool w, waited, ended, ok, err;

	do
	:: atomic {
		/* acquire, up to its loop */
		if
		:: manner = parking
		:: TRIES && !(CONSTANT && g == 0) -> manner = trying
		:: BLOCKS && !(CONSTANT && g == 0) -> manner = blocking
		fi;
		e = lentry[LOCK(g)];
		assert(opened[e] || closed[LOCK(g)]);
		if
		:: closed[LOCK(g)] -> goto nothing
		:: !closed[LOCK(g)] && turn[e] == free ->
			turn[e] = taken;
			whose[e] = g + 1;
			arrive(g);
			at = hasTurn
		:: !closed[LOCK(g)] && turn[e] != free && manner == trying -> goto nothing
		:: !closed[LOCK(g)] && turn[e] != free && manner != trying ->
			w = true;
			arrive(g);
			enqueueLocked(e, g);
			at = queued
		fi
	   }

	   do
	   :: at == queued ->
		/* wait */
		if
		:: ready[g]?at
		:: CANCELS && manner == parking && !(CONSTANT && g == 0) ->
			atomic {
				ended = true;
				e = lentry[LOCK(g)];
				if
				:: queue[e]??[eval(g)] ->
					queue[e]??eval(g);
					leave(g);
					if
					:: MUT_UNLOCK_WHILE_PARKED && turn[e] == parked && len(queue[e]) == 0 -> goto mutation
					:: else
					fi;
					goto nothing
				:: !queue[e]??[eval(g)]
				fi
			}
			ready[g]?at
		fi;
		atomic {
			e = lentry[LOCK(g)];
			/* Once taken out of the queue it is in no other. */
			assert(!queue[e]??[eval(g)]);
			assert(at == failed || whose[e] == g + 1);
			if
			:: CANCELS && manner == parking && !(CONSTANT && g == 0) -> ended = true
			:: !ended
			fi;
			if
			:: ended && at == hasTurn ->
				leave(g);
				passLocked(e, g + 1)
			:: ended && (at == granted || at == handedOver) ->
				leave(g);
				if
				:: MUT_KEEP_AFTER_CANCEL -> goto nothing
				:: else
				fi;
				giveBackLocked(e, g + 1)
			:: at == failed -> leave(g)
			:: !ended && at != failed
			fi
		}
		if
		:: ended && at == hasTurn -> passRest(e); goto nothing
		:: ended && (at == granted || at == handedOver) -> giveBackRest(e, g + 1); goto nothing
		:: at == failed -> goto nothing
		:: !ended && at != failed
		fi

	   :: at == hasTurn ->
		try(e, g + 1);
		if
		:: err || (!ok && manner == trying) ->
			atomic { leave(g); passLocked(e, g + 1) };
			passRest(e);
			goto nothing
		:: !err && ok ->
			atomic { ok = false; beginSlice(e); at = locked }
		:: !err && !ok && manner == blocking ->
			/* entry.block */
			atomic { turn[e] = blocked; waited = true };
			block(e, g + 1);
			beginSlice(e);
			turn[e] = taken;
			if
			:: err ->
				atomic { leave(g); passLocked(e, g + 1) };
				passRest(e);
				goto nothing
			:: else -> at = locked
			fi
		:: !err && !ok && (manner == parking || (manner == blocking && POLLS)) ->
			park(e, g, w);
			if
			:: at == failed -> passRest(e); goto nothing
			:: else -> w = true
			fi
		fi

	   :: at == locked || at == granted || at == handedOver ->
		/* verify. A hand-over may trust the last look, and so may an acquire
		   that did not have to wait, if the file has kept a link elsewhere. */
		atomic {
			if
			:: at_[PATH(LOCK(g))] == FILE(e) -> ok = true
			:: at_[PATH(LOCK(g))] != FILE(e) -> ok = false
			:: FILES > 1 && (at == handedOver || !(w || waited)) -> ok = true
			:: errorsLeft > 0 -> errorsLeft--; err = true
			fi
		}
		if
		:: !err && ok -> break
		:: err || !ok ->
			hold[e] = 0;
			unlock(e, g + 1);
			if
			:: err ->
				atomic { leave(g); passLocked(e, g + 1) };
				passRest(e);
				goto nothing
			:: else -> at = lost
			fi
		fi

	   :: at == lost ->
		/* relocate: the opening, then what is done under the three mutexes. */
		atomic {
			if
			:: to = ENTRY(PROC(g), at_[PATH(LOCK(g))])
			:: errorsLeft > 0 -> errorsLeft--; err = true
			fi
		}
		atomic {
			if
			:: err || closed[LOCK(g)] ->
				err = true;
				leave(g);
				passLocked(e, g + 1)
			:: !err && !closed[LOCK(g)] && to == e -> at = hasTurn
			:: !err && !closed[LOCK(g)] && to != e ->
				assert(whose[e] == g + 1);
				opened[to] = true;	/* entryLocked */
				x = 0;
				do
				:: x < 3 && USES(x, e) && PATH(x) == PATH(LOCK(g)) -> lentry[x] = to; x++
				:: x < 3 && !(USES(x, e) && PATH(x) == PATH(LOCK(g))) -> x++
				:: x == 3 -> x = 0; break
				od;
				if
				:: turn[to] == free -> turn[to] = taken; whose[to] = g + 1; at = hasTurn
				:: turn[to] != free && manner == trying -> leave(g); at = failed
				:: turn[to] != free && manner != trying -> w = true; enqueueLocked(to, g); at = queued
				fi;
				y = len(queue[e]);
				do
				:: y > 0 ->
					queue[e]?x;
					if
					:: PATH(LOCK(x)) == PATH(LOCK(g)) -> enqueueLocked(to, x)
					:: else -> queue[e]!x
					fi;
					y--
				:: else -> x = 0; break
				od;
				passLocked(e, g + 1)
			fi
		}
		if
		:: err || to != e -> passRest(e)
		:: !err && to == e
		fi;
		if
		:: err || at == failed -> goto nothing
		:: else -> atomic { e = to; to = 0 }
		fi
	   od;

	   /* finish, up to the return, from which on the hold is live */
	   atomic {
		ok = false;
		if
		:: at == locked && closed[LOCK(g)] ->
			leave(g);
			giveBackLocked(e, g + 1)
		:: at == locked && !closed[LOCK(g)] -> hold[e] = g + 1; at = granted
		:: else
		fi;
		if
		:: at != locked ->
			assert(hold[e] == g + 1 && whose[e] == g + 1 && owner[FILE(e)] == e + 1);
			assert(NAMES > 1 || line[PROC(g)]?[eval(g)]);	/* first come, first served */
			leave(g);
			held[FILE(e)]++;
			assert(held[FILE(e)] == 1);	/* exclusion */
			stage[g] = holds
		:: else
		fi
	   }
	   if
	   :: at == locked -> giveBackRest(e, g + 1)
	   :: else ->
		/* Release */
		atomic {
			assert(hold[e] == g + 1 && owner[FILE(e)] == e + 1);
			held[FILE(e)]--;
			stage[g] = idle;
			giveBackLocked(e, g + 1)
		};
		giveBackRest(e, g + 1)
	   fi;
	   goto nothing;

mutation:  unlock(e, g + 1);

nothing:   atomic {
		/* Who leaves has no turn and is in no queue. */
		x = 0;
		do
		:: x < ENTRIES -> assert(whose[x] != g + 1 && !queue[x]??[eval(g)]); x++
		:: else -> x = 0; break
		od;
		stage[g] = idle;
		manner = 0; at = 0; e = 0; to = 0; d = 0;
		w = false; waited = false; ended = false; ok = false; err = false
	   }
	:: stage[g] = stopped; break
	od
}

/* The parked thread of e, and its poller. */
proctype thread(byte e) {
	byte d;
	bool ok, err;

end:	do
	:: turn[e] == parked ->
		block(e, THREAD);
		goto granted_
	:: turn[e] == polled ->
		/* poll, after a delay of any length */
		atomic {
			if
			:: len(queue[e]) == 0 -> turn[e] = taken; ok = true; passLocked(e, THREAD)
			:: len(queue[e]) > 0 -> turn[e] = parked	/* there is room by now */
			:: len(queue[e]) > 0
			fi
		}
		if
		:: ok -> ok = false; passRest(e)
		:: !ok && turn[e] == parked
		:: !ok && turn[e] == polled ->
			try(e, THREAD);
			if
			:: ok || err -> ok = false; goto granted_
			:: else
			fi
		fi
	od;

granted_:
	atomic {
		beginSlice(e);
		if
		:: !err && len(queue[e]) > 0 -> grantLocked(e)
		:: !err && len(queue[e]) == 0 -> turn[e] = draining
		:: err ->
			popFront(e);
			turn[e] = taken;
			if
			:: d != 0 -> leave(d - 1)
			:: else
			fi
		fi
	}
	if
	:: !err && d != 0 -> deliver(granted)
	:: !err && d == 0 ->
		unlock(e, THREAD);
		atomic { passLocked(e, THREAD) };
		passRest(e)
	:: err ->
		if
		:: d != 0 -> deliver(failed)
		:: else
		fi;
		atomic { err = false; passLocked(e, THREAD) };
		passRest(e)
	fi;
	goto end
}

/* Another process, with nothing but a descriptor that it opens each time. */
proctype foreigner() {
	do
	:: atomic { foreignFile = at_[0]; inCall[FOREIGNER] = waiting };
		atomic {
			MAYTAKE(foreignFile, FOREIGNER) -> takes(foreignFile, FOREIGNER);
			inCall[FOREIGNER] = 0;
			held[foreignFile]++;
			assert(held[foreignFile] == 1)
		};
		atomic { held[foreignFile]--; owner[foreignFile] = 0; foreignFile = 0 }
	:: break
	od
}

/* Somebody puts a new file in the sidecar's place. */
proctype replacer() {
	do
	:: at_[0] < FILES - 1 -> at_[0] = at_[0] + 1
	:: break
	od
}

/* Lock.Close of Lock 0, at any time. */
proctype closer() {
	byte e, d, turnedAway;

	atomic {
		e = lentry[0];
		closed[0] = true;
		y = len(queue[e]);
		do
		:: y > 0 ->
			queue[e]?x;
			if
			:: LOCK(x) == 0 -> turnedAway = turnedAway | (1 << x); leave(x)
			:: else -> queue[e]!x
			fi;
			y--
		:: else -> x = 0; break
		od;
		retire(e)
	}
	do
	:: turnedAway & (1 << d) -> turnedAway = turnedAway & ~(1 << d); d++; deliver(failed)
	:: turnedAway && !(turnedAway & (1 << d)) -> d++
	:: !turnedAway -> break
	od
}

/* WaitDrained. Only one at a time, so that drained[e] is its channel. */
proctype drainWaiter() {
	byte e;

	do
	:: atomic {
		e = lentry[0];
		if
		:: !closed[0] && DRAINING(e) -> drained[e] = true; drainWaits = true
		:: else -> goto next_
		fi
	   }
	   atomic { !drained[e] -> drainWaits = false }
next_:	   e = 0
	:: break
	od
}

init {
	atomic {
		n = 0;
		do
		:: n < ENTRIES -> turn[n] = free; opened[n] = FILE(n) == 0; n++
		:: else -> break
		od;
		lentry[0] = ENTRY(0, 0);
		lentry[1] = ENTRY(1, 0);
		lentry[2] = ENTRY(0, 0);
		if
		:: !SPARE -> closed[2] = true
		:: else
		fi;
		n = 0;
		do
		:: n < GOROUTINES -> stage[n] = idle; run goroutine(n); n++
		:: else -> break
		od;
		n = 0;
		do
		:: n < ENTRIES && (n < FILES || G1 > 0) -> run thread(n); n++
		:: else -> n = 0; break
		od;
		if :: FOREIGN -> run foreigner() :: else fi;
		if :: FILES > 1 -> run replacer() :: else fi;
		if :: CLOSES -> run closer() :: else fi;
		if :: DRAINS -> run drainWaiter() :: else fi
	}

	/* When nothing moves any more, everybody has stopped and nothing is left. */
	atomic {
		timeout;
		n = 0;
		do
		:: n < GOROUTINES -> assert(stage[n] == stopped && empty(ready[n])); n++
		:: else -> break
		od;
		n = 0;
		do
		:: n < ENTRIES ->
			assert(turn[n] == free && len(queue[n]) == 0 && !drained[n]);
			assert(hold[n] == 0 && inCall[n] == 0 && whose[n] == 0);
			assert(opened[n] == (USES(0, n) || USES(1, n) || USES(2, n)));
			n++
		:: else -> break
		od;
		n = 0;
		do
		:: n < FILES -> assert(owner[n] == 0 && held[n] == 0); n++
		:: else -> n = 0; break
		od;
		assert(empty(line[0]) && empty(line[1]) && !drainWaits)
	}
}

/* The properties that are more than an assertion, all under weak fairness but
   the first. */
ltl exclusion	{ [] (held[0] <= 1) }
ltl noneForgotten { [] (stage[0] == waits -> <> (stage[0] == holds)) }
ltl letsGo	{ [] <> (owner[0] != 1) }
ltl drains	{ [] (DRAINING(0) -> <> !DRAINING(0)) }

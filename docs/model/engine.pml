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
#ifndef PATIENT
#define PATIENT 0	/* 1: goroutine 0 only calls Acquire, without a context that ends */
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
#define LOCK(g)		(PROC(g) + 2 * (SPARE && (g) == G0 - 1))
#define PATH(l)		(NAMES > 1 && (l) == 2)
#define PROCESSOF(l)	((l) == 1)

mtype:Turn = { free, taken, blocked, parked, polled, draining };
mtype:Progress = { queued, hasTurn, locked, granted, handedOver, lost, failed };
mtype:Manner = { parking, blocking, trying };
mtype:Stage = { idle, waits, holds, stopped };

/* The kernel. A descriptor is that of an entry, or the foreigner's. */
#define FOREIGNER	ENTRIES
byte owner[FILES];		/* 1 + the descriptor that has the lock on the file, or 0 */
byte owed[FILES];		/* FAIR: 1 + the descriptor that was passed over, or 0 */
bool inBlock[ENTRIES + 1];	/* a call of block is under way on the descriptor */
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
bool stopping;			/* nobody begins anything new */

/* Scratch inside one atomic step. */
hidden byte n, x, y;

/*
 * The kernel. A call that does not wait is one step: while it is under way the
 * turn is its caller's, which is asserted here and wherever the turn is passed
 * on, and so any other call would fail the assertion.
 */

#define MAYTAKE(f, fd)	(owner[f] == 0 && (!FAIR || owed[f] == 0 || owed[f] == (fd) + 1))

/* mayCall is the one-call invariant: no call during another, and none but by
   whoever has the turn. */
inline mayCall(e, me) {
	assert(opened[e] && !inBlock[e] && whose[e] == me)
}

/* takes gives the lock on f to fd, whoever else may be waiting for it. */
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
			:: y != fd && inBlock[y] &&
			   ((y == FOREIGNER && foreignFile == f) || (y < ENTRIES && FILE(y) == f)) ->
				owed[f] = y + 1
			:: else
			fi;
			y++
		:: else -> y = 0; break
		od
	:: else
	fi
}

/* try sets ok, or err if the kernel fails. The caller is inside atomic. */
inline try(e, me) {
	mayCall(e, me);
	if
	:: MAYTAKE(FILE(e), e) -> takes(FILE(e), e); ok = true
	:: !MAYTAKE(FILE(e), e) -> ok = false
	:: errorsLeft > 0 -> errorsLeft--; err = true
	fi
}

/* block begins to wait, and in another step ends with the lock, in any order of
   those who wait for it, or sets err. */
inline block(e, me) {
	atomic { mayCall(e, me); inBlock[e] = true };
	atomic {
		if
		:: MAYTAKE(FILE(e), e) -> takes(FILE(e), e)
		:: errorsLeft > 0 -> errorsLeft--; err = true
		fi;
		inBlock[e] = false
	}
}

/* unlock: the caller is inside atomic. */
inline unlock(e, me) {
	mayCall(e, me);
	assert(owner[FILE(e)] == e + 1);
	if
	:: owner[FILE(e)] == e + 1 -> owner[FILE(e)] = 0
	:: else
	fi;
	sliceLeft[e] = 0	/* says nothing until the next beginSlice */
}

/*
 * Sections under mu: the callers are inside atomic.
 */

inline pushFront(e, w) {
	assert(!queue[e]??[eval(w)]);
	n = len(queue[e]);
	queue[e]!w;
	do
	:: n > 0 -> queue[e]?x; queue[e]!x; n--
	:: else -> x = 0; break
	od
}

/* popFront sets d to 1 + the first waiter, or 0. */
inline popFront(e) {
	if
	:: queue[e]?d -> d++
	:: len(queue[e]) == 0 -> d = 0
	fi
}

/* deliver tells waiter d-1 what it got. In the code the send comes right after
   mu is unlocked. Here it is part of the section, because in between the waiter
   can do nothing, and nobody else cares. */
inline deliver(got) {
	assert(len(ready[d - 1]) == 0);	/* the send never blocks */
	ready[d - 1]!got;
	d = 0
}

inline endDrainLocked(e) {
	drained[e] = false
}

#define DRAINING(e)	((turn[e] == parked && len(queue[e]) == 0) || turn[e] == draining)

inline enqueueLocked(e, w) {
	assert(turn[e] != free);
	assert(!queue[e]??[eval(w)]);
	if
	:: turn[e] == parked && len(queue[e]) == 0 -> endDrainLocked(e)	/* adopted */
	:: else
	fi;
	queue[e]!w
}

/* UNUSED is unusedLocked, but for pins and dead entries, which are left out. */
#define USES(l, e)	(lentry[l] == (e) && !closed[l])
#define UNUSED(e)	(opened[e] && turn[e] == free && !USES(0, e) && !USES(1, e) && !USES(2, e))

/* retire asks again, because since pass somebody may have come or closed it. */
inline retire(e) {
	if
	:: UNUSED(e) ->
		assert(!inBlock[e] && owner[FILE(e)] != e + 1);
		opened[e] = false
	:: else
	fi
}

inline beginSlice(e) {
	sliceLeft[e] = SLICE
}

/* pass gives up the turn, with nothing locked. What follows must retire e if it
   is UNUSED then. */
inline pass(e, me) {
	assert(whose[e] == me && owner[FILE(e)] != e + 1);
	endDrainLocked(e);
	popFront(e);
	if
	:: d != 0 -> turn[e] = taken; whose[e] = d; deliver(hasTurn)
	:: else -> turn[e] = free; whose[e] = 0
	fi
}

inline grantLocked(e, got) {
	assert(!drained[e]);
	popFront(e);
	turn[e] = taken;
	hold[e] = d;
	whose[e] = d;
	deliver(got)
}

/* giveBackLocked gives up the turn and the kernel's lock. It ends at nothing, or
   outside of mu at unlocking. */
inline giveBackLocked(e, g) {
	assert(whose[e] == g + 1 && owner[FILE(e)] == e + 1);
	hold[e] = 0;
	leave(g);
	if
	:: len(queue[e]) > 0 && sliceLeft[e] > 0 ->
		sliceLeft[e]--;
		grantLocked(e, handedOver);
		goto nothing
	:: goto unlocking	/* nobody queues, or the slice is over, by count or by time */
	fi
}

/* park fails if the Lock was closed meanwhile. */
inline park(e, g) {
	if
	:: closed[LOCK(g)] && !MUT_PARK_CLOSED -> goto passing
	:: else
	fi;
	assert(whose[e] == g + 1 && turn[e] == taken);
	assert(!closed[LOCK(g)]);	/* or Close would not turn it away */
	pushFront(e, g);
	if
	:: !(MUT_FORGET_NEXT_WAIT && w) -> turn[e] = parked; whose[e] = THREAD
	:: MUT_FORGET_NEXT_WAIT && w -> skip
	:: POLLS -> turn[e] = polled; whose[e] = THREAD
	fi;
	w = true;
	at = queued
}

#define CTXENDS(g)	(CANCELS && manner == parking && !(PATIENT && (g) == 0))

/*
 * What only the properties look at.
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
 * Acquire, TryAcquire or AcquireBlocking, and then Release. The ways out are
 *
 *	unlocking	with the turn and the kernel's lock, neither of them wanted
 *	passing		with the turn
 *	nothing		without
 */
proctype goroutine(byte g) {
	mtype:Manner manner;
	mtype:Progress at;
	byte e, to;
	byte d;		/* 1 + the waiter taken out of the queue */
	bool w;		/* there is a waiter: it has been in the queue */
	bool waited;	/* on its own thread; blocked, in the code */
	bool ok, err;

end:	do
	:: FAIR -> skip	/* or it would have to acquire again, to be fair */
	:: atomic {
		!stopping;
		/* acquire, up to its loop */
		if
		:: manner = parking
		:: TRIES && !(PATIENT && g == 0) -> manner = trying
		:: BLOCKS && !(PATIENT && g == 0) -> manner = blocking
		fi;
		e = lentry[LOCK(g)];
		if
		:: closed[LOCK(g)] -> goto nothing
		:: else
		fi;
		assert(opened[e]);
		if
		:: turn[e] == free ->
			turn[e] = taken;
			whose[e] = g + 1;
			arrive(g);
			at = hasTurn
		:: turn[e] != free && manner == trying -> goto nothing
		:: turn[e] != free && manner != trying ->
			arrive(g);
			w = true;
			enqueueLocked(e, g);
			at = queued
		fi
	   }

	   do
	   :: at == queued ->
		atomic {
			/* wait. The end of the context that finds w not queued any more
			   waits for the message, and so comes to the same as one
			   after it. */
			if
			:: ready[g]?at -> e = lentry[LOCK(g)]
			:: CTXENDS(g) && queue[lentry[LOCK(g)]]??[eval(g)] ->
				e = lentry[LOCK(g)];
				queue[e]??eval(g);
				leave(g);
				if
				:: MUT_UNLOCK_WHILE_PARKED && turn[e] == parked && len(queue[e]) == 0 -> goto mutation
				:: else -> goto nothing
				fi
			fi;
			assert(!queue[e]??[eval(g)]);
			if
			:: at == failed -> goto nothing
			:: at != failed -> assert(whose[e] == g + 1)
			:: at != failed && CTXENDS(g) ->
				/* It wins over what was granted. */
				if
				:: at == hasTurn -> goto passing
				:: MUT_KEEP_AFTER_CANCEL && at != hasTurn -> goto nothing
				:: else -> giveBackLocked(e, g)
				fi
			fi
		}

	   :: at == hasTurn ->
		atomic {
			try(e, g + 1);
			if
			:: err || (!ok && manner == trying) -> goto passing
			:: !err && ok -> ok = false; beginSlice(e); at = locked
			:: !err && !ok && manner != trying
			fi
		}
		if
		:: at == locked
		:: at != locked && manner == blocking ->
			/* entry.block */
			atomic { turn[e] = blocked; waited = true };
			block(e, g + 1);
			atomic {
				beginSlice(e);
				turn[e] = taken;
				if
				:: err -> goto passing
				:: else -> at = locked
				fi
			}
		:: at != locked && (manner == parking || POLLS) -> atomic { park(e, g) }
		fi

	   :: at == locked || at == granted || at == handedOver ->
		atomic {
			/* verify. A hand-over may trust the last look, and so may an
			   acquire that had no need to wait, if the file has kept another
			   link. */
			if
			:: at_[PATH(LOCK(g))] == FILE(e) -> ok = true
			:: at_[PATH(LOCK(g))] != FILE(e)
			:: FILES > 1 && (at == handedOver || !(w || waited)) -> ok = true
			:: errorsLeft > 0 -> errorsLeft--; err = true
			fi;
			if
			:: ok && at == locked && closed[LOCK(g)] -> giveBackLocked(e, g)
			:: ok && at == locked && !closed[LOCK(g)] -> hold[e] = g + 1; break
			:: ok && at != locked -> break
			:: !ok -> hold[e] = 0
			fi
		}
		if
		:: err -> goto unlocking
		:: else -> atomic { unlock(e, g + 1); at = lost }
		fi

	   :: at == lost ->
		/* relocate opens the file, and then does the rest under three mutexes. */
		atomic {
			if
			:: to = ENTRY(PROC(g), at_[PATH(LOCK(g))])
			:: errorsLeft > 0 -> errorsLeft--; goto passing
			fi
		}
		atomic {
			if
			:: closed[LOCK(g)] -> goto passing
			:: !closed[LOCK(g)] && to == e -> at = hasTurn
			:: !closed[LOCK(g)] && to != e ->
				assert(whose[e] == g + 1);
				opened[to] = true;	/* if there was no such entry yet */
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
				od
			fi
		}
		if
		:: at == failed -> goto passing
		:: at != failed && to != e ->
			atomic { pass(e, g + 1) };
			atomic { retire(e); e = to }
		:: at != failed && to == e
		fi
	   od;

	   /* The acquire returns. */
	   atomic {
		assert(hold[e] == g + 1 && whose[e] == g + 1 && owner[FILE(e)] == e + 1);
		assert(NAMES > 1 || line[PROC(g)]?[eval(g)]);	/* first come, first served */
		leave(g);
		stage[g] = holds;
		held[FILE(e)]++;
		assert(held[FILE(e)] == 1);	/* exclusion */
		at = 0; to = 0; w = false; waited = false; ok = false
	   }

	   /* Release */
	   atomic {
		assert(hold[e] == g + 1 && owner[FILE(e)] == e + 1);
		held[FILE(e)]--;
		stage[g] = idle;
		giveBackLocked(e, g)
	   }

mutation:  skip;
	   atomic { unlock(e, g + 1); goto nothing }

unlocking: skip;	/* in no section any more: a goto from one atomic to another would be one */
	   atomic { unlock(e, g + 1) };
	   /* stepping aside is here */

passing:   skip;
	   atomic {
		leave(g);
		pass(e, g + 1);
		if
		:: !UNUSED(e) -> goto nothing
		:: UNUSED(e)
		fi
	   }
	   atomic { retire(e) };

nothing:   atomic {
		/* Who has nothing is in no queue and has no turn. */
		do
		:: x < ENTRIES -> assert(whose[x] != g + 1 && !queue[x]??[eval(g)]); x++
		:: else -> x = 0; break
		od;
		leave(g);
		stage[g] = idle;
		manner = 0; at = 0; e = 0; to = 0; d = 0;
		w = false; waited = false; ok = false; err = false
	   }
	od
}

/* The parked thread of e, or its poller. */
proctype thread(byte e) {
	byte d;
	bool ok, err;

end:	do
	:: turn[e] == parked ->
		block(e, THREAD);
		break
	:: atomic { turn[e] == polled ->
		/* poll, after a delay of any length */
		if
		:: len(queue[e]) == 0 -> turn[e] = taken; pass(e, THREAD)
		:: len(queue[e]) > 0 -> turn[e] = parked	/* there is room by now */
		:: len(queue[e]) > 0 -> goto asks
		fi }
		goto retires
	od;
	goto granted_;

asks:	atomic {
		try(e, THREAD);
		if
		:: ok || err -> ok = false
		:: else -> goto end
		fi
	}

granted_:
	atomic {
		beginSlice(e);
		if
		:: !err && len(queue[e]) > 0 -> grantLocked(e, granted); goto end
		:: !err && len(queue[e]) == 0 -> turn[e] = draining
		:: err ->
			turn[e] = taken;
			popFront(e);
			if
			:: d != 0 -> leave(d - 1); deliver(failed)
			:: else
			fi;
			goto passes
		fi
	}
	atomic { unlock(e, THREAD) };
passes:	skip;
	atomic { err = false; pass(e, THREAD) };
retires: atomic { retire(e) };
	goto end
}

/* Another process, with nothing but a descriptor that it opens each time. */
proctype foreigner() {
end:	do
	:: FAIR -> skip
	:: atomic { !stopping; foreignFile = at_[0]; inBlock[FOREIGNER] = true };
		atomic {
			MAYTAKE(foreignFile, FOREIGNER);
			takes(foreignFile, FOREIGNER);
			inBlock[FOREIGNER] = false;
			held[foreignFile]++;
			assert(held[foreignFile] == 1)
		}
		atomic { held[foreignFile]--; owner[foreignFile] = 0; foreignFile = 0 }
	od
}

/* Somebody puts a new file in the sidecar's place. */
proctype replacer() {
end:	do
	:: at_[0] < FILES - 1 && !stopping -> at_[0] = at_[0] + 1
	od
}

/* Close of Lock 0, at any time. */
proctype closer() {
	byte e, d;

end:	atomic {
		!stopping;
		e = lentry[0];
		closed[0] = true;
		y = len(queue[e]);
		do
		:: y > 0 ->
			queue[e]?x;
			if
			:: LOCK(x) == 0 -> leave(x); d = x + 1; deliver(failed)
			:: else -> queue[e]!x
			fi;
			y--
		:: else -> x = 0; break
		od;
		retire(e)
	}
}

/* WaitDrained. Only one at a time, so that drained[e] is its channel. */
proctype drainWaiter() {
	byte e;

end:	do
	:: FAIR -> skip
	:: atomic {
		!stopping;
		e = lentry[0];
		if
		:: !closed[0] && DRAINING(e) -> drained[e] = true; drainWaits = true
		:: else -> e = 0; goto end
		fi
	   }
	   atomic { !drained[e] -> drainWaits = false; e = 0 }
	od
}

init {
	atomic {
		do
		:: n < ENTRIES -> turn[n] = free; opened[n] = FILE(n) == 0; n++
		:: else -> n = 0; break
		od;
		lentry[0] = ENTRY(0, 0);
		lentry[1] = ENTRY(1, 0);
		lentry[2] = ENTRY(0, 0);
		closed[2] = !SPARE;
		do
		:: n < GOROUTINES -> stage[n] = idle; run goroutine(n); n++
		:: else -> n = 0; break
		od;
		do
		:: n < ENTRIES && (n < FILES || G1 > 0) -> run thread(n); n++
		:: else -> n = 0; break
		od;
		if :: FOREIGN -> run foreigner() :: else fi;
		if :: FILES > 1 -> run replacer() :: else fi;
		if :: CLOSES -> run closer() :: else fi;
		if :: DRAINS -> run drainWaiter() :: else fi
	}
	!FAIR;
	stopping = true;

	/* Once nothing moves any more, everybody is through and nothing is left. */
	atomic {
		timeout;
		do
		:: n < GOROUTINES -> assert(stage[n] == idle && len(ready[n]) == 0); n++
		:: else -> n = 0; break
		od;
		do
		:: n < ENTRIES ->
			assert(turn[n] == free && len(queue[n]) == 0 && !drained[n]);
			assert(hold[n] == 0 && !inBlock[n] && whose[n] == 0);
			assert(opened[n] == (USES(0, n) || USES(1, n) || USES(2, n)));
			n++
		:: else -> n = 0; break
		od;
		do
		:: n < FILES -> assert(owner[n] == 0 && held[n] == 0); n++
		:: else -> n = 0; break
		od;
		assert(len(line[0]) == 0 && len(line[1]) == 0 && !drainWaits)
	}
}

/*
 * What is to happen eventually, under weak fairness. Goroutine 0 stands for all
 * that are not cancelled: noneForgotten is run with PATIENT. LAST is the entry of
 * process 0 for the last file.
 */
#define LAST	ENTRY(0, FILES - 1)

ltl noneForgotten {
	[] (stage[0] == waits -> <> (stage[0] == holds || (stage[0] == idle && closed[LOCK(0)])))
}

ltl letsGo {
	([] <> (owner[0] != 1)) && ([] <> (owner[FILES - 1] != LAST + 1))
}

ltl drains {
	([] (DRAINING(0) -> <> !DRAINING(0))) && ([] (DRAINING(LAST) -> <> !DRAINING(LAST))) &&
	([] (drainWaits -> <> !drainWaits))
}

/*
 * The engine of packlock (acquire.go, entry.go, queue.go, blocking.go, orphan.go, registry.go, hold.go) for the
 * model checker Spin. ./check runs it in its configurations; README.md says what
 * is stated and what is left out.
 *
 * How it corresponds to the Go code:
 *
 *	a section under entry.mu	one atomic step. The loop that locks the entry of
 *	or registry.mu			a lock whose entry may change (lockEntry) comes
 *					to "the entry as it is under mu"; arrive, which
 *					looks a second time in queueUp, to the last look
 *	a kernel call			a step of its own; block is two, and anything may
 *					happen between them
 *	acquire and its acquisition	the loop of goroutine, on its progress at
 *	lookFrom, relocate(nil)		one step: the file that it looked at, because lost
 *					files stay lost here; that it opened, one that has
 *					been at the path since
 *	who has nothing, and arrives	begins anew, from nothing: after lookFrom, and when
 *	again				its Lock was moved during AcquireBlocking
 *	watch				one process per entry whose file can be lost, for as
 *					long as somebody queues; that it looks in vain is
 *					no step
 *	waiter				the number of its goroutine, which has at most one
 *	waiter.ready, got		a channel for one message
 *	the parked thread, the poller	one process per entry, idle while the turn is not
 *					its own: that no second one is begun is asserted
 *	context				its end is a choice of the goroutine that asks for
 *					it, as nobody else does
 *	clock				a choice: whenever somebody asks, the slice may be
 *					over, and the last look too old
 *	stepsAside, asksAgain	nothing: a delay has no state, and between any two
 *					steps the others may make as many as they like
 *
 * A goroutine acquires and releases any number of times, in any manner that the
 * configuration allows.
 */

/* The configuration. */
#ifndef G0
#define G0	2	/* goroutines of process 0 */
#endif
#ifndef G1
#define G1	0	/* goroutines of process 1 */
#endif
#ifndef FOREIGN
#define FOREIGN	0	/* 1: one more process, with a bare kernel's lock */
#endif
#ifndef FILES
#define FILES	1	/* FILES-1 times the sidecar is replaced */
#endif
#ifndef NAMES
#define NAMES	1	/* the last goroutine of process 0 has a Lock by another name,
			   under which there always is 2: the first file, 3: the last */
#endif
#ifndef SLICE
#define SLICE	1	/* hand-overs in a slice: sliceHandOvers */
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
#ifndef CLOSES
#define CLOSES	0	/* 1: Close of the Lock of process 0; 2: the last goroutine of
			   process 0 has another one, which stays open */
#endif
#ifndef DRAINS
#define DRAINS	0	/* 1: WaitDrained */
#endif
#ifndef ERRORS
#define ERRORS	0	/* so many kernel calls fail */
#endif
#ifndef FAIR
#define FAIR	0	/* 1: for what happens eventually: the kernel passes nobody
			   over twice (with two processes, not more), and nobody
			   has to acquire */
#endif
#ifndef PATIENT
#define PATIENT	0	/* 1: goroutine 0 only calls Acquire, and is not cancelled */
#endif
#ifndef HANGS
#define HANGS	0	/* 1: the foreign process may never release a file that is lost;
			   2: nor may any goroutine, but a PATIENT one */
#endif
#ifndef KEEPS
#define KEEPS	0	/* 1: the foreign process may never release */
#endif

/* The engine, broken on purpose. */
#ifndef MUT_UNLOCK_WHILE_PARKED
#define MUT_UNLOCK_WHILE_PARKED	0	/* who leaves the queue last unlocks, to get the thread back */
#endif
#ifndef MUT_FORGET_NEXT_WAIT
#define MUT_FORGET_NEXT_WAIT	0	/* who has been in the queue starts no thread */
#endif
#ifndef MUT_KEEP_AFTER_CANCEL
#define MUT_KEEP_AFTER_CANCEL	0	/* who is cancelled keeps what it was handed over */
#endif
#ifndef MUT_PARK_CLOSED
#define MUT_PARK_CLOSED		0	/* park does not ask whether the Lock was closed */
#endif
#ifndef MUT_GRANT_PAST_SLICE
#define MUT_GRANT_PAST_SLICE	0	/* what the parked thread granted to one who is
					   cancelled is granted on, whatever the slice says */
#endif

#ifndef MUT_NOBODY_WATCHES
#define MUT_NOBODY_WATCHES	0	/* there is no watch */
#endif
#ifndef MUT_LEAVE_WAITERS
#define MUT_LEAVE_WAITERS	0	/* relocate without the turn moves nothing but Locks */
#endif
#ifndef MUT_FROM_UNDER
#define MUT_FROM_UNDER		0	/* it does not ask whether an acquire is under way */
#endif

/* must is assert, but for the runs that show that what follows from an assertion
   is found without it, too. */
#ifdef EXCLUSION_ONLY
#define must(x)	skip
#else
#define must(x)	assert(x)
#endif

#define GOROUTINES	(G0 + G1)
#define PROC(g)		((g) >= G0)	/* the process of a goroutine */
#define ENTRIES		(2 * FILES)	/* one per process and file */
#define ENTRY(p, f)	((p) * FILES + (f))
#define FILE(e)		((e) % FILES)

/* A process has one Lock, 0 or 1, or process 0 a second one, 2. */
#define LOCKS		3
#define SPARE		(CLOSES > 1 || NAMES > 1)
#define LOCK(g)		(PROC(g) + 2 * (SPARE && (g) == G0 - 1))
#define PATH(l)		(NAMES > 1 && (l) == 2)

mtype:Turn = { free, taken, blocked, parked, polled, draining };
mtype:Progress = { queued, hasTurn, locked, granted, handedOver, lost, failed };
mtype:Manner = { parking, blocking, trying };
mtype:Stage = { idle, waits, holds };

/* The kernel. A descriptor is that of an entry, or the foreign process's. */
#define FOREIGNER	ENTRIES
byte owner[FILES];		/* 1 + the descriptor that has the lock on the file, or 0 */
byte owed[FILES];		/* 1 + the descriptor that was passed over, or 0: see FAIR */
bool inBlock[ENTRIES + 1];	/* a call of block is under way on the descriptor */
bool opened[ENTRIES];		/* the descriptor is open, and its entry in the registry */
byte foreignFile;
byte fileAt[2];			/* the file at each path */
byte errorsLeft = ERRORS;

/* Entries. The set entry.locks is those not closed whose lentry is the entry. */
mtype:Turn turn[ENTRIES];
byte hold[ENTRIES];		/* 1 + the goroutine whose hold it is, or 0 for nil */
byte handOvers[ENTRIES];
bool drained[ENTRIES];		/* there is a channel drained */
chan queue[ENTRIES] = [GOROUTINES] of { byte };

/* Locks. */
byte lentry[LOCKS];
bool closed[LOCKS];

byte hentry[GOROUTINES];	/* hold.entry of the hold in the making, or live */
chan ready[GOROUTINES] = [1] of { mtype:Progress };

/* What only the properties look at. */
#define THREAD	255
byte whose[ENTRIES];		/* whose the turn is: 1 + goroutine, THREAD, or 0 */
byte held[FILES];		/* live holds on the file, of all processes */
mtype:Stage stage[GOROUTINES];
chan line[2] = [GOROUTINES] of { byte };	/* who acquires, in order of arrival */
bool drainWaits;
bool stopping;			/* nobody begins anything new */

/* Used and left 0 within one atomic step. */
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
	must(opened[e] && !inBlock[e] && whose[e] == me)	/* not everywhere */
}

/* takes gives the lock on f to fd, whoever else may be waiting for it. */
inline takes(f, fd) {
	must(owner[f] == 0);
	owner[f] = fd + 1;
	if
	:: FAIR ->
		owed[f] = 0;
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

/* callTry is file.try: it sets ok, or err. The caller is inside atomic. */
inline callTry(e, me) {
	mayCall(e, me);
	if
	:: MAYTAKE(FILE(e), e) -> takes(FILE(e), e); ok = true
	:: !MAYTAKE(FILE(e), e) -> ok = false
	:: errorsLeft > 0 -> errorsLeft--; err = true
	fi
}

/* callBlock is file.block. It begins to wait, and in another step ends with the
   lock, in any order of those who wait for it, or sets err. */
inline callBlock(e, me) {
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
	must(owner[FILE(e)] == e + 1);
	if
	:: owner[FILE(e)] == e + 1 -> owner[FILE(e)] = 0
	:: else
	fi;
	handOvers[e] = 0	/* says nothing until the next begin */
}

/*
 * Sections under mu: the callers are inside atomic.
 */

inline pushFront(e, w) {
	must(!queue[e]??[eval(w)]);
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
	must(len(ready[d - 1]) == 0);	/* the send never blocks */
	ready[d - 1]!got;
	d = 0
}

inline endDrainLocked(e) {
	drained[e] = false
}

/* drainingLocked */
#define DRAINING(e)	((turn[e] == parked && len(queue[e]) == 0) || turn[e] == draining)

inline enqueueLocked(e, w) {
	must(turn[e] != free && !queue[e]??[eval(w)]);
	if
	:: turn[e] == parked && len(queue[e]) == 0 -> drained[e] = false	/* adopted; not everywhere */
	:: else
	fi;
	queue[e]!w
}

/* unusedLocked, but for pins and dead entries, which are left out */
#define USES(l, e)	(lentry[l] == (e) && !closed[l])
#define UNUSED(e)	(opened[e] && turn[e] == free && !USES(0, e) && !USES(1, e) && !USES(2, e))

/* retire asks again, because since pass somebody may have come or closed it. */
inline retire(e) {
	if
	:: UNUSED(e) ->
		must(!inBlock[e] && owner[FILE(e)] != e + 1);
		opened[e] = false
	:: else
	fi
}

inline begin(e) {
	handOvers[e] = 0
}

/* takeLocked gives the turn to goroutine who-1. */
inline takeLocked(e, who) {
	turn[e] = taken;
	hold[e] = who;
	whose[e] = who;
	hentry[who - 1] = e
}

/* grantLocked gives the turn, and the kernel's lock unless got is hasTurn, to the
   first in the queue. */
inline grantLocked(e, got) {
	must(!drained[e]);
	popFront(e);
	takeLocked(e, d);
	deliver(got)
}

/* pass gives up the turn, with nothing locked. What follows must retire e if it
   is UNUSED then. */
inline pass(e, me) {
	must(whose[e] == me && owner[FILE(e)] != e + 1);
	endDrainLocked(e);
	if
	:: len(queue[e]) > 0 -> grantLocked(e, hasTurn)
	:: else -> turn[e] = free; hold[e] = 0; whose[e] = 0
	fi
}

/* giveBackLocked gives up the turn and the kernel's lock, to the next as what is
   said. It ends at nothing, or outside of mu at unlocking. */
inline giveBackLocked(e, g, as) {
	must(whose[e] == g + 1 && owner[FILE(e)] == e + 1);
	hold[e] = 0;
	goes(g);
	if
	:: len(queue[e]) > 0 && (handOvers[e] < SLICE || (MUT_GRANT_PAST_SLICE && as == granted)) ->	/* handsOver */
		if
		:: handOvers[e] < SLICE -> handOvers[e]++
		:: else	/* MUT_GRANT_PAST_SLICE */
		fi;
		grantLocked(e, as);
		goto nothing
	:: goto unlocking	/* nobody queues, or the slice is over, by count or by time */
	fi
}

/* queues: goroutine g is in a queue now, and has nothing. */
inline queues(g) {
	waited = true;
	hentry[g] = 0;
	at = queued
}

/* park gives the turn to a thread or, without room for one, to a poller. */
inline park(e, g) {
	if
	:: closed[LOCK(g)] && !MUT_PARK_CLOSED -> goto passing
	:: else
	fi;
	must(whose[e] == g + 1 && turn[e] == taken && hold[e] == g + 1);
	must(!closed[LOCK(g)]);	/* or Close would not turn it away */
	pushFront(e, g);
	hold[e] = 0;
	if
	:: !(MUT_FORGET_NEXT_WAIT && waited) -> turn[e] = parked; whose[e] = THREAD
	:: MUT_FORGET_NEXT_WAIT && waited
	:: POLLS -> turn[e] = polled; whose[e] = THREAD
	fi;
	queues(g)
}

/*
 * The file that is lost.
 */

/* LOST: the file of e is not the one at the path of Lock l. */
#define LOST(l, e)	(fileAt[PATH(l)] != FILE(e))

/* acquiringLocked */
#define ACQUIRING(e)	(turn[e] == taken && (hold[e] == 0 || stage[hold[e] - 1] != holds))

/* turnAway tells those in the queue that they wait in vain, if it is so for x. */
inline turnAway(e, inVain) {
	y = len(queue[e]);
	do
	:: y > 0 ->
		queue[e]?x;
		if
		:: inVain -> goes(x); d = x + 1; deliver(failed)
		:: else -> queue[e]!x	/* not everywhere */
		fi;
		y--
	:: else -> x = 0; break
	od
}

/* moveLocks, moveFirst and moveWaiters are moveLocked. Who has the turn of e, and
   keeps it, takes that of to, or queues there, instead of moveFirst. */
inline moveLocks(e, to, l) {
	opened[to] = true;	/* if there was no such entry yet */
	do
	:: x < LOCKS && USES(x, e) && PATH(x) == PATH(l) -> lentry[x] = to; x++
	:: x < LOCKS && !(USES(x, e) && PATH(x) == PATH(l)) -> x++
	:: x == LOCKS -> x = 0; break
	od
}

inline moveFirst(e, to, l) {
	y = len(queue[e]);
	do
	:: y > 0 ->
		queue[e]?x;
		if
		:: PATH(LOCK(x)) == PATH(l) && turn[to] == free ->
			d = x + 1;
			takeLocked(to, d);
			deliver(hasTurn)
		:: else -> queue[e]!x
		fi;
		y--
	:: else -> x = 0; break
	od
}

inline moveWaiters(e, to, l) {
	y = len(queue[e]);
	do
	:: y > 0 ->
		queue[e]?x;
		if
		:: PATH(LOCK(x)) == PATH(l) -> enqueueLocked(to, x)
		:: else -> queue[e]!x
		fi;
		y--
	:: else -> x = 0; break
	od
}

/* What relocate has opened, if nothing. */
#define NOTHING	ENTRIES

/* lookFrom, by way of Lock l, which has lost the file of e; to is used for what
   relocate, without the turn, has opened. */
inline lookFrom(e, to, l) {
	if
	:: to = ENTRY(e / FILES, fileAt[PATH(l)])
	:: FILE(e) + 1 < fileAt[PATH(l)] -> to = e + 1
	:: errorsLeft > 0 -> errorsLeft--; to = NOTHING
	:: errorsLeft > 0 -> errorsLeft--; to = NOTHING; turnAway(e, PATH(LOCK(x)) == PATH(l))	/* no such directory */
	fi;
	if
	:: to != NOTHING -> relocate(e, to, l)
	:: to == NOTHING
	fi;
	to = 0
}

inline relocate(e, to, l) {
	if
	:: lentry[l] != e || closed[l]
	:: lentry[l] == e && !closed[l] && ACQUIRING(e) && !MUT_FROM_UNDER
	:: lentry[l] == e && !closed[l] && !(ACQUIRING(e) && !MUT_FROM_UNDER) ->
		moveLocks(e, to, l);
		if
		:: !MUT_LEAVE_WAITERS -> moveFirst(e, to, l); moveWaiters(e, to, l)
		:: MUT_LEAVE_WAITERS
		fi;
		if
		:: turn[e] == blocked && lentry[LOCK(whose[e] - 1)] != e ->
			goes(whose[e] - 1)	/* it cannot be called off, and comes again */
		:: else
		fi;
		must(turn[e] != free)	/* or retire would be next */
	fi
}

/* The line of all who acquire, for the properties. */
inline comes(g) {
	line[PROC(g)]!g;
	stage[g] = waits
}

inline goes(g) {
	if
	:: line[PROC(g)]??[eval(g)] -> line[PROC(g)]??eval(g)	/* not everywhere */
	:: !line[PROC(g)]??[eval(g)]
	fi
}

/* It had to wait, and in the end was in no queue where Close could tell it. */
#define UNTOLD	((waited || onThread) && at == locked)

#define CTXENDS(g)	(CANCELS && manner == parking && !(PATIENT && (g) == 0))

/*
 * acquire, and then Release. The ways out are
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
	bool waited;	/* in the queue */
	bool onThread;	/* or on its own thread; acquisition.waited is both */
	bool ok, err;

end:	do
	:: FAIR && !stopping	/* or it would have to begin, to be fair */
	:: atomic {
		!stopping;
		if
		:: manner = parking
		:: TRIES && !(PATIENT && g == 0) -> manner = trying
		:: BLOCKS && !(PATIENT && g == 0) -> manner = blocking
		fi;

		/* arrive, queueUp */
		e = lentry[LOCK(g)];
		if
		:: closed[LOCK(g)] -> goto nothing
		:: else
		fi;
		must(opened[e]);
		if
		:: turn[e] == free ->
			takeLocked(e, g + 1);
			comes(g);
			at = hasTurn
		:: turn[e] != free && LOST(LOCK(g), e) ->
			/* It was not free when the look was found to be due. */
			lookFrom(e, to, LOCK(g));
			goto nothing
		:: turn[e] != free && manner == trying -> goto nothing
		:: turn[e] != free && manner != trying ->
			comes(g);
			enqueueLocked(e, g);
			queues(g);
			e = 0
		fi
	   }

	   do
	   :: at == queued ->
		/* wait. If the context ends and w is not queued any more, it waits for
		   the message all the same: as if the context had ended after it. */
		atomic {
			if
			:: ready[g]?at -> e = hentry[g]
			:: CTXENDS(g) && queue[lentry[LOCK(g)]]??[eval(g)] ->
				/* leave */
				e = lentry[LOCK(g)];
				queue[e]??eval(g);
				goes(g);
				if
				:: MUT_UNLOCK_WHILE_PARKED && turn[e] == parked && len(queue[e]) == 0 -> goto mutation
				:: else -> goto nothing
				fi
			fi;
			must(!queue[e]??[eval(g)]);
			if
			:: at == failed -> goto nothing
			:: at != failed -> must(whose[e] == g + 1)
			:: at != failed && CTXENDS(g) ->
				/* giveBack: the end of the context wins */
				if
				:: at == hasTurn -> goto passing
				:: MUT_KEEP_AFTER_CANCEL && at != hasTurn -> goto nothing
				/* What was granted was not verified, and is handed on so. */
				:: !MUT_KEEP_AFTER_CANCEL && at != hasTurn -> giveBackLocked(e, g, at)
				fi
			fi
		}

	   :: at == hasTurn ->
		/* try, after stepsAside */
		atomic {
			callTry(e, g + 1);
			if
			:: err || (!ok && manner == trying) -> goto passing
			:: !err && ok -> ok = false; begin(e); at = locked
			:: !err && !ok && manner != trying
			:: !err && !ok && LOST(LOCK(g), e) -> at = lost	/* by a look */
			:: !err && !ok && CTXENDS(g) -> goto passing
			fi
		}
		if
		:: at != hasTurn
		:: at == hasTurn && manner == blocking ->
			/* entry.block */
			atomic { turn[e] = blocked; hold[e] = 0; onThread = true };
			callBlock(e, g + 1);
			atomic {
				begin(e);
				takeLocked(e, g + 1);
				if
				:: err -> goto passing
				:: else -> at = locked
				fi
			}
		:: at == hasTurn && (manner == parking || POLLS) -> atomic { park(e, g); e = 0 }
		fi

	   :: at == locked || at == granted || at == handedOver ->
		/* verify, and finish, which may be later. A hand-over may trust the last look, and
		   so may an acquire that had no need to wait, if the file has kept a
		   link elsewhere. */
		atomic {
			if
			:: fileAt[PATH(LOCK(g))] == FILE(e) -> ok = true
			:: fileAt[PATH(LOCK(g))] != FILE(e)
			:: FILES > 1 && (at == handedOver || !(waited || onThread)) -> ok = true
			:: errorsLeft > 0 -> errorsLeft--; err = true
			fi;
			if
			:: ok && CTXENDS(g) -> giveBackLocked(e, g, handedOver)	/* it wins */
			:: ok && UNTOLD && closed[LOCK(g)] -> giveBackLocked(e, g, handedOver)
			:: ok && !(UNTOLD && closed[LOCK(g)]) -> break
			:: !ok
			fi
		}
		if
		:: err -> goto unlocking
		:: else -> atomic { unlock(e, g + 1); at = lost }
		fi

	   :: at == lost ->
		/* reopen: relocate opens the file, and does the rest under all the mutexes */
		atomic {
			if
			:: to = ENTRY(PROC(g), fileAt[PATH(LOCK(g))])
			:: errorsLeft > 0 -> errorsLeft--; goto passing
			fi
		}
		atomic {
			if
			:: lentry[LOCK(g)] != e -> must(onThread); at = 0	/* somebody else has moved it */
			:: lentry[LOCK(g)] == e && closed[LOCK(g)] -> goto passing
			:: lentry[LOCK(g)] == e && !closed[LOCK(g)] && to == e -> at = hasTurn
			:: lentry[LOCK(g)] == e && !closed[LOCK(g)] && to != e ->
				must(whose[e] == g + 1);
				moveLocks(e, to, LOCK(g));
				if
				:: turn[to] == free -> takeLocked(to, g + 1); at = hasTurn
				:: turn[to] != free && manner == trying -> goes(g); at = failed
				:: turn[to] != free && manner != trying -> enqueueLocked(to, g); queues(g)
				fi;
				moveWaiters(e, to, LOCK(g))
			fi
		}
		if
		:: at == failed -> goto passing
		:: at != failed && to != e ->
			atomic { pass(e, g + 1) };
			atomic {
				retire(e);
				e = to;
				to = 0;
				if
				:: at == 0 -> goto nothing
				:: at == queued -> e = 0
				:: at == hasTurn
				fi
			}
		:: at != failed && to == e -> to = 0
		fi
	   od;

	   /* The acquire returns its hold, which is live from here to Release. */
	   atomic {
		must(hold[e] == g + 1 && whose[e] == g + 1 && owner[FILE(e)] == e + 1);
		must(NAMES > 1 || line[PROC(g)]?[eval(g)]);	/* first come, first served */
		goes(g);
		stage[g] = holds;
		held[FILE(e)]++;
		assert(held[FILE(e)] == 1);	/* exclusion */
		at = 0; to = 0; waited = false; onThread = false; ok = false
	   }
	   do
	   :: HANGS > 1 && !(PATIENT && g == 0) && LOST(LOCK(g), e) && !stopping
	   :: atomic {
		must(hold[e] == g + 1 && owner[FILE(e)] == e + 1);
		held[FILE(e)]--;
		stage[g] = idle;
		giveBackLocked(e, g, handedOver)
	      }
	   od;

mutation:  skip;
	   atomic { unlock(e, g + 1); goto nothing }

unlocking: skip;	/* because a goto from atomic to atomic would be one step */
	   atomic { unlock(e, g + 1) };

passing:   skip;
	   atomic {
		goes(g);
		pass(e, g + 1);
		if
		:: !UNUSED(e) -> goto nothing
		:: UNUSED(e)
		fi
	   }
	   atomic { retire(e) };

nothing:   atomic {
		/* Who has nothing has no turn and is in no queue. */
		do
		:: x < ENTRIES -> must(whose[x] != g + 1 && !queue[x]??[eval(g)]); x++
		:: else -> x = 0; break
		od;
		goes(g);
		stage[g] = idle;
		hentry[g] = 0;
		manner = 0; at = 0; e = 0; to = 0; d = 0;
		waited = false; onThread = false; ok = false; err = false
	   }
	od
}

/* The parked thread of e, or its poller. */
proctype thread(byte e) {
	byte d;
	bool ok, err;

end:	do
	:: turn[e] == parked ->
		callBlock(e, THREAD);
		goto wasGranted
	:: atomic { turn[e] == polled ->
		/* poll, after a delay of any length */
		if
		:: len(queue[e]) == 0 -> turn[e] = taken; goto passing
		:: len(queue[e]) > 0 -> turn[e] = parked; goto end	/* there is room by now */
		:: len(queue[e]) > 0
		fi }
		atomic {
			callTry(e, THREAD);
			if
			:: ok || err -> ok = false; goto wasGranted
			:: else
			fi
		}
	od;

wasGranted: skip;
	atomic {
		/* granted */
		begin(e);
		if
		:: !err && len(queue[e]) > 0 -> grantLocked(e, granted); goto end
		:: !err && len(queue[e]) == 0 && turn[e] == parked -> turn[e] = draining
		:: !err && len(queue[e]) == 0 && turn[e] == polled -> turn[e] = taken
		:: err ->
			err = false;
			turn[e] = taken;
			popFront(e);
			if
			:: d != 0 -> goes(d - 1); deliver(failed)
			:: else
			fi;
			goto passing
		fi
	}
	atomic { unlock(e, THREAD) };

passing: skip;
	atomic {
		pass(e, THREAD);
		if
		:: !UNUSED(e) -> goto end
		:: UNUSED(e)
		fi
	}
	atomic { retire(e); goto end }
}

/* The watch of e. */
#define AWAY(l, e)	(USES(l, e) && LOST(l, e))

proctype watch(byte e) {
	byte l, to;
	byte d;

end:	do
	:: atomic {
		len(queue[e]) > 0 && (AWAY(0, e) || AWAY(1, e) || AWAY(2, e)) ->
		if
		:: AWAY(0, e)
		:: AWAY(1, e) -> l = 1
		:: AWAY(2, e) -> l = 2
		fi;
		lookFrom(e, to, l);
		l = 0
	   }
	od
}

/* Another process, with nothing but a descriptor that it opens each time. */
proctype foreigner() {
end:	do
	:: FAIR && !stopping
	:: atomic { !stopping; foreignFile = fileAt[0]; inBlock[FOREIGNER] = true };
		atomic {
			MAYTAKE(foreignFile, FOREIGNER);
			takes(foreignFile, FOREIGNER);
			inBlock[FOREIGNER] = false;
			held[foreignFile]++;
			assert(held[foreignFile] == 1)
		}
		do
		:: (KEEPS || (HANGS && foreignFile != fileAt[0])) && !stopping
		:: atomic { held[foreignFile]--; owner[foreignFile] = 0; foreignFile = 0 };
			break
		od
	od
}

/* Somebody puts a new file in the sidecar's place. */
proctype replacer() {
end:	do
	:: FAIR && !stopping
	:: atomic { fileAt[0] < FILES - 1 && !stopping -> fileAt[0] = fileAt[0] + 1 }
	od
}

/* Close of Lock 0, at any time. */
proctype closer() {
	byte e, d;

end:	do
	:: FAIR && !stopping
	:: atomic {
		!stopping;
		e = lentry[0];
		closed[0] = true;
		turnAway(e, LOCK(x) == 0);
		retire(e);
		break
	   }
	od
}

/* WaitDrained, one at a time, so that drained[e] is what this one waits for. */
proctype drainWaiter() {
	byte e;

end:	do
	:: FAIR && !stopping
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
		:: n < ENTRIES -> turn[n] = free; n++
		:: else -> n = 0; break
		od;
		fileAt[1] = (NAMES > 2) * (FILES - 1);
		closed[2] = !SPARE;
		do
		:: n < LOCKS ->
			lentry[n] = ENTRY(n == 1, fileAt[PATH(n)]);
			opened[lentry[n]] = true;
			n++
		:: else -> n = 0; break
		od;
		do
		:: n < GOROUTINES -> stage[n] = idle; run goroutine(n); n++
		:: else -> n = 0; break
		od;
		do
		:: n < ENTRIES && (n < FILES || G1 > 0) -> run thread(n); n++
		:: else -> n = 0; break
		od;
		do
		:: n < ENTRIES && (n < FILES || G1 > 0) ->
			if
			:: FILE(n) < FILES - 1 && !MUT_NOBODY_WATCHES -> run watch(n)
			:: else
			fi;
			n++
		:: else -> n = 0; break
		od;
		if :: FOREIGN -> run foreigner() :: else fi;
		if :: FILES > 1 -> run replacer() :: else fi;
		if :: CLOSES -> run closer() :: else fi;
		if :: DRAINS -> run drainWaiter() :: else fi
	}
end:	!FAIR;
	stopping = true;

	/* Once nothing moves any more, everybody is through and nothing is left. */
	atomic {
		timeout;
		do
		:: n < GOROUTINES -> must(stage[n] == idle && len(ready[n]) == 0); n++
		:: else -> n = 0; break
		od;
		do
		:: n < ENTRIES ->
			must(turn[n] == free && len(queue[n]) == 0 && !drained[n]);
			must(hold[n] == 0 && !inBlock[n] && whose[n] == 0);
			must(opened[n] == (USES(0, n) || USES(1, n) || USES(2, n)));
			n++
		:: else -> n = 0; break
		od;
		do
		:: n < FILES -> must(owner[n] == 0 && held[n] == 0); n++
		:: else -> n = 0; break
		od;
		must(len(line[0]) == 0 && len(line[1]) == 0 && !drainWaits)
	}
}

/*
 * What is to happen eventually, under weak fairness. Goroutine 0, being PATIENT,
 * stands for all who are not cancelled. LAST is the entry of process 0 for the
 * last file.
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

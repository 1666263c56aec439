/*
 * The engine of packlock (acquire.go, entry.go, queue.go, blocking.go, poller.go,
 * location.go, relocate.go, watch.go, registry.go, hold.go, all.go) for the model checker
 * Spin. ./check runs it in its configurations. README.md lists what is stated and what
 * is left out. All acquires are exclusive here: shared holds have a model of their own,
 * shared.pml.
 *
 * How it corresponds to the Go code:
 *
 *	a section under entry.mu	one atomic step. lockEntry, the loop that locks the
 *	or registry.mu			entry of a Lock that may move, becomes "the entry as
 *					it is under mu". arrive, which decides again in
 *					queueUp, becomes the last decision
 *	a kernel call			a step of its own. block is two, and anything may
 *					happen between them
 *	acquire and its acquisition	the loop of goroutine, on the acquire's state
 *	AcquireAll			the same loop, once for each file. After the first hold
 *					it arrives again, and done releases the first file
 *	check, checkAndMove,		one process per entry whose file can be lost. The check
 *	relocate(loc, nil)		and the move are one step, because a file that is lost
 *					stays lost here. The file that relocate opens may be
 *					any that has been at the path since. The end of the
 *					check is a step of its own with SLOWCHECKS
 *	watch				the same process: it checks by itself while there are
 *					waiters and the file is lost. A check for waiters that
 *					moves nothing is no step
 *	check.done			a flag of each goroutine that waits for the check
 *	an acquire that has nothing,	begins again: after it waited for a check, and when
 *	and arrives again		its Lock was moved during AcquireBlocking
 *	location			the open Locks of one path at an entry, which move
 *					together
 *	waiter				the number of its goroutine, which has at most one
 *	waiter.ready, got		a channel for one message
 *	the parked thread, the poller	one process per entry, idle while the turn is not
 *					its own. That no second one starts is asserted
 *	context				its end is a choice of the goroutine that reads it,
 *					because no other goroutine does
 *	clock				a choice: at each decision the slice may be over, and
 *					the last check of the path too old
 *	shouldYield, shouldReoffer,	nothing: a delay has no state, and between any two
 *	shouldSpin			steps the others may take any number of steps
 *
 * A goroutine acquires and releases any number of times, in each mode that the
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
#define FOREIGN	0	/* 1: one more process, which uses the kernel's lock directly */
#endif
#ifndef FILES
#define FILES	1	/* the lock file is replaced FILES-1 times */
#endif
#ifndef PATHS
#define PATHS	1	/* the last goroutine of process 0 has a Lock of a different path,
			   which always leads to 2: the first file, 3: the last */
#endif
#ifndef ALL
#define ALL	0	/* AcquireAll of two paths. With 3 FILES, the first path leads to
			   the first file and then to the last, the second path always to
			   the one in the middle. 1: by all goroutines, 2: or they call
			   Acquire for the first path */
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
#ifndef SLOWCHECKS
#define SLOWCHECKS	0	/* 1: between what a check finds and its end, other goroutines
			   may take steps, and come to wait for it */
#endif
#ifndef BLOCKS
#define BLOCKS	0	/* 1: AcquireBlocking */
#endif
#ifndef POLLS
#define POLLS	0	/* 1: there may be no room for a thread */
#endif
#ifndef CLOSES
#define CLOSES	0	/* 1: Close of the Lock of process 0; 2: the last goroutine of
			   process 0 has a Lock of its own, which stays open */
#endif
#ifndef DRAINS
#define DRAINS	0	/* 1: WaitDrained of the Lock of process 0; 2: of the second one */
#endif
#ifndef ERRORS
#define ERRORS	0	/* how many kernel calls fail */
#endif
#ifndef FAIR
#define FAIR	0	/* 1: for what must happen eventually: the kernel passes over no
			   waiter twice (with two processes, not more), and no goroutine
			   must acquire */
#endif
#ifndef PATIENT
#define PATIENT	0	/* 1: goroutine 0 uses no TryAcquire and no AcquireBlocking, and is
			   not cancelled */
#endif
#ifndef HANGS
#define HANGS	0	/* 1: the foreign process may never release a file that is lost;
			   2: nor may any goroutine except a PATIENT one */
#endif
#ifndef KEEPS
#define KEEPS	0	/* 1: the foreign process may never release */
#endif

/* The engine, broken on purpose. */
#ifndef MUT_UNLOCK_WHILE_PARKED
#define MUT_UNLOCK_WHILE_PARKED	0	/* the last waiter to leave the queue unlocks, to get the
					   thread back */
#endif
#ifndef MUT_FORGET_NEXT_WAIT
#define MUT_FORGET_NEXT_WAIT	0	/* an acquire that has been in the queue starts no thread */
#endif
#ifndef MUT_KEEP_AFTER_CANCEL
#define MUT_KEEP_AFTER_CANCEL	0	/* a cancelled waiter keeps what it was handed over */
#endif
#ifndef MUT_PARK_CLOSED
#define MUT_PARK_CLOSED		0	/* park ignores that the Lock was closed */
#endif
#ifndef MUT_GRANT_PAST_SLICE
#define MUT_GRANT_PAST_SLICE	0	/* what the parked thread granted to a cancelled waiter
					   is granted to the next, even after the slice */
#endif
#ifndef MUT_NO_WATCH
#define MUT_NO_WATCH		0	/* there is no watch */
#endif
#ifndef MUT_LEAVE_WAITERS
#define MUT_LEAVE_WAITERS	0	/* relocate without the turn moves only Locks */
#endif
#ifndef MUT_FROM_UNDER
#define MUT_FROM_UNDER		0	/* it ignores that an acquire is under way */
#endif
#ifndef MUT_CHECK_FORGETS
#define MUT_CHECK_FORGETS	0	/* a check finds the file lost and moves nothing */
#endif
#ifndef MUT_ONE_CHECK
#define MUT_ONE_CHECK		0	/* an acquire is refused after one check, which may have
					   begun before the acquire */
#endif
#ifndef MUT_KEEP_DRAIN
#define MUT_KEEP_DRAIN		0	/* a move does not wake WaitDrained */
#endif
#ifndef MUT_OUT_OF_ORDER
#define MUT_OUT_OF_ORDER	0	/* AcquireAll goes on with a file that has a different
					   place in the order */
#endif

/* must is assert, except in the run that shows that the consequence of a failed
   assertion is found without the assertion, too. */
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

/* A process has one Lock, 0 or 1, and may have a second one, 2 or 3. */
#define LOCKS		4
#define DRAINED		(DRAINS > 1 -> 2 : 0)	/* the Lock of WaitDrained */
#define SECOND(l)	(((l) == 2 && (CLOSES > 1 || PATHS > 1 || ALL)) || ((l) == 3 && ALL))
#define PATH(l)		((PATHS > 1 || ALL) && (l) > 1)
#if ALL
#define LOCK(g)		lockOf[g]
#else
#define LOCK(g)		(PROC(g) + 2 * (SECOND(2) && (g) == G0 - 1))
#endif

mtype:Turn = { turnFree, turnTaken, turnBlocked, turnParked, turnPolled, turnUnlocking };
mtype:AcquireState = { nothing, queued, hasTurn, locked, granted, handedOver, lost };
mtype:WaitMode = { parking, blocking, trying };
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

/* Entries. The locations of an entry are the open Locks whose lentry it is, by path. */
mtype:Turn turn[ENTRIES];
byte hold[ENTRIES];		/* 1 + the goroutine whose hold it is, or 0 for nil */
bool returned[ENTRIES];		/* hold.returned */
byte handOvers[ENTRIES];
bool drained[ENTRIES];		/* there is a channel drained */
bool checking[ENTRIES];		/* the location of path 0 has a check under way */
chan queue[ENTRIES] = [GOROUTINES] of { byte };

/* Locks. */
byte lentry[LOCKS];
bool closed[LOCKS];

/* Acquires. */
byte hentry[GOROUTINES];	/* hold.entry of the hold in the making, or live */
chan ready[GOROUTINES] = [1] of { mtype:AcquireState };
byte awaited[GOROUTINES];	/* 1 + the entry whose check the goroutine waits for, or 0 */
byte lockOf[GOROUTINES];	/* with ALL: the Lock that the goroutine acquires, or acquired last */
byte place[GOROUTINES];		/* 1 + the entry of path 0 when AcquireAll put the files in
				   order, or 0: it calls Acquire */

/* What only the properties read. */
#define THREAD	255
byte whose[ENTRIES];		/* the owner of the turn: 1 + goroutine, THREAD, or 0 */
byte held[FILES];		/* live holds on the file, of all processes */
mtype:Stage stage[GOROUTINES];
chan line[2] = [GOROUTINES] of { byte };	/* the acquires under way, in order of arrival */
byte foundLost[GOROUTINES];	/* 1 + the entry whose file was lost when a TryAcquire arrived,
				   if the checks since must have moved its Lock, or 0 */
byte drainAt;			/* 1 + the entry at which WaitDrained waits, or 0 */
bool stopping;			/* no process begins a new operation */

/* Used and left 0 within one atomic step. */
hidden byte n, x, y;

/*
 * The kernel. A call that does not wait is one step. While it is under way its caller
 * has the turn, which is asserted here and where the turn is passed on. So any other
 * call would fail the assertion.
 */

#define MAYTAKE(f, fd)	(owner[f] == 0 && (!FAIR || owed[f] == 0 || owed[f] == (fd) + 1))

/* mayCall is the one-call invariant: no call during another, and only by the owner
   of the turn. */
inline mayCall(e, me) {
	must(opened[e] && !inBlock[e] && whose[e] == me)	/* not everywhere */
}

/* takes gives the lock on f to fd, even if others wait for it. */
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
   lock, in any order of the waiters, or sets err. */
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
	handOvers[e] = 0	/* has no meaning until the next startSlice */
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

/* deliver wakes waiter d-1 with what it got. In the code the send comes right after
   mu is unlocked. Here it is part of the section, because in between the waiter
   can do nothing, and no other goroutine can tell. */
inline deliver(got) {
	must(len(ready[d - 1]) == 0);	/* the send never blocks */
	ready[d - 1]!got;
	d = 0
}

inline endDrainLocked(e) {
	drained[e] = false
}

/* drainingLocked */
#define DRAINING(e)	((turn[e] == turnParked && len(queue[e]) == 0) || turn[e] == turnUnlocking)

inline enqueueLocked(e, w) {
	must(turn[e] != turnFree && !queue[e]??[eval(w)]);
	if
	:: turn[e] == turnParked && len(queue[e]) == 0 -> endDrainLocked(e)	/* adopted; not everywhere */
	:: else
	fi;
	queue[e]!w
}

/* unusedLocked, without pins and unusable entries, which are left out */
#define USES(l, e)	(lentry[l] == (e) && !closed[l])
#define USED(e)		(USES(0, e) || USES(1, e) || USES(2, e) || USES(3, e))
#define UNUSED(e)	(opened[e] && turn[e] == turnFree && !USED(e))

/* retire decides again, because another goroutine may have used or closed it since pass. */
inline retire(e) {
	if
	:: UNUSED(e) ->
		must(!inBlock[e] && owner[FILE(e)] != e + 1);
		opened[e] = false
	:: else
	fi
}

inline startSlice(e) {
	handOvers[e] = 0
}

/* takeLocked gives the turn to goroutine next-1. */
inline takeLocked(e, next) {
	turn[e] = turnTaken;
	hold[e] = next;
	returned[e] = false;
	whose[e] = next;
	hentry[next - 1] = e
}

/* grantLocked gives the turn, and the kernel's lock unless got is hasTurn or lost, to
   the first in the queue. */
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
	:: else -> turn[e] = turnFree; hold[e] = 0; whose[e] = 0; returned[e] = false
	fi
}

/* giveBackLocked gives up the turn and the kernel's lock. It ends at done, or outside
   of mu at unlockAndPass. */
inline giveBackLocked(e, g, as) {
	must(whose[e] == g + 1 && owner[FILE(e)] == e + 1);
	hold[e] = 0;
	returned[e] = false;
	goes(g);
	if
	:: len(queue[e]) > 0 && (handOvers[e] < SLICE || (MUT_GRANT_PAST_SLICE && as == granted)) ->	/* tryHandOver */
		if
		:: handOvers[e] < SLICE -> handOvers[e]++
		:: else	/* MUT_GRANT_PAST_SLICE */
		fi;
		grantLocked(e, as);
		goto done
	:: goto unlockAndPass	/* the queue is empty, or the slice is over, by count or by time */
	fi
}

/* queues: goroutine g is in a queue now, and has nothing. */
inline queues(g) {
	waited = true;
	hentry[g] = 0;
	state = queued
}

/* park gives the turn to a thread or, without room for one, to a poller. */
inline park(e, g) {
	if
	:: closed[LOCK(g)] && !MUT_PARK_CLOSED -> goto passOn
	:: else
	fi;
	must(whose[e] == g + 1 && turn[e] == turnTaken && hold[e] == g + 1);
	must(!closed[LOCK(g)]);	/* or Close would not wake it */
	pushFront(e, g);
	hold[e] = 0;
	if	/* startKernelWaitLocked */
	:: !(MUT_FORGET_NEXT_WAIT && waited) -> turn[e] = turnParked; whose[e] = THREAD
	:: MUT_FORGET_NEXT_WAIT && waited
	:: POLLS -> turn[e] = turnPolled; whose[e] = THREAD
	fi;
	queues(g)
}

/*
 * The lock file that is lost.
 */

/* LOST: the file of e is not the one at the path. */
#define LOST(path, e)	(fileAt[path] != FILE(e))

/* MAYLOSE: path 0 may lead to the file of e, and not forever. */
#define MAYLOSE(e)	(FILE(e) < FILES - 1 && !(ALL && FILE(e) == 1))

/* The location of path 0 at e has an open Lock. */
#define LOCATED(e)	(USES(0, e) || USES(1, e) || (PATH(2) == 0 && USES(2, e)))

/* acquiringLocked */
#define ACQUIRING(e)	(turn[e] == turnTaken && (hold[e] == 0 || !returned[e]))

/* ORDERED: the acquire of goroutine g must not go on with a different entry. */
#define ORDERED(g)	(ALL && place[g] != 0 && !MUT_OUT_OF_ORDER)

/* turnAway ends the waits in the queue of e of the waiters x for which match holds. */
inline turnAway(e, match) {
	y = len(queue[e]);
	do
	:: y > 0 ->
		queue[e]?x;
		if
		:: match -> goes(x); d = x + 1; deliver(nothing)
		:: else -> queue[e]!x	/* not everywhere */
		fi;
		y--
	:: else -> x = 0; break
	od
}

/* moveLocks, moveFirst and moveWaiters are moveLocked. An acquire that has the turn of
   e, and keeps it, takes that of to, or queues there, instead of moveFirst. */
inline moveLocks(e, to, path) {
	opened[to] = true;	/* if there was no such entry yet */
	do
	:: x < LOCKS && USES(x, e) && PATH(x) == path -> lentry[x] = to; x++
	:: x < LOCKS && !(USES(x, e) && PATH(x) == path) -> x++
	:: x == LOCKS -> x = 0; break
	od
}

inline moveFirst(e, to, path) {
	y = len(queue[e]);
	do
	:: y > 0 ->
		queue[e]?x;
		if
		:: PATH(LOCK(x)) == path && turn[to] == turnFree && !ORDERED(x) ->
			d = x + 1;
			takeLocked(to, d);
			deliver(hasTurn)
		:: else -> queue[e]!x
		fi;
		y--
	:: else -> x = 0; break
	od
}

inline moveWaiters(e, to, path) {
	y = len(queue[e]);
	do
	:: y > 0 ->
		queue[e]?x;
		if
		:: PATH(LOCK(x)) == path && !ORDERED(x) -> enqueueLocked(to, x)
		:: PATH(LOCK(x)) == path && ORDERED(x) -> goes(x); d = x + 1; deliver(nothing)	/* errMoved */
		:: else -> queue[e]!x
		fi;
		y--
	:: else -> x = 0; break
	od;
	if
	:: !MUT_KEEP_DRAIN -> endDrainLocked(e)
	:: MUT_KEEP_DRAIN
	fi
}

/* The entry of what relocate has opened, if nothing. */
#define NOTHING	ENTRIES

/* checkAndMove is that of the location of path 0 at e, from which to is the entry of what
   relocate has opened. */
inline checkAndMove(e, to) {
	if
	:: !LOST(0, e)
	:: LOST(0, e) && MUT_CHECK_FORGETS
	:: LOST(0, e) && !MUT_CHECK_FORGETS ->
		if
		:: to = ENTRY(e / FILES, fileAt[0])
		:: FILE(e) + 1 < fileAt[0] && !ALL -> to = e + 1
		:: errorsLeft > 0 -> errorsLeft--; to = NOTHING
		:: errorsLeft > 0 -> errorsLeft--; to = NOTHING; turnAway(e, PATH(LOCK(x)) == 0)	/* no such directory */
		fi;
		relocate(e, to);
		to = 0
	fi
}

inline relocate(e, to) {
	if
	:: !LOCATED(e)
	:: LOCATED(e) && (to == NOTHING || (ACQUIRING(e) && !MUT_FROM_UNDER)) ->
		do
		:: TRIES && x < GOROUTINES && foundLost[x] == e + 1 -> foundLost[x] = 0; x++
		:: TRIES && x < GOROUTINES && foundLost[x] != e + 1 -> x++
		:: !TRIES || x == GOROUTINES -> x = 0; break
		od
	:: LOCATED(e) && to != NOTHING && !(ACQUIRING(e) && !MUT_FROM_UNDER) ->
		moveLocks(e, to, 0);
		if
		:: !MUT_LEAVE_WAITERS -> moveFirst(e, to, 0); moveWaiters(e, to, 0)
		:: MUT_LEAVE_WAITERS
		fi;
		if
		:: turn[e] == turnBlocked && lentry[LOCK(whose[e] - 1)] != e ->
			goes(whose[e] - 1)	/* its wait cannot be ended, and it arrives again */
		:: else
		fi;
		retire(e)
	fi
}

/* The acquires under way, for the properties. */
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

/* It waited, and at the end was in no queue where Close could have found it. */
#define UNSEEN	((waited || onThread) && state == locked)

#define CTXENDS(g)	(CANCELS && mode == parking && !(PATIENT && (g) == 0))

/* FIRST is the entry of the first file of AcquireAll, while the acquire is for the
   second. */
#define PLACE0(g)	(place[g] - 1)
#define FIRST(g)	(PATH(LOCK(g)) -> PLACE0(g) : ENTRY(PROC(g), 1))
#define HASFIRST(g, e)	(ALL && first && (e) == FIRST(g))

inline inOrder(g) {
	place[g] = 1 + lentry[PROC(g)];
	lockOf[g] = PROC(g) + 2 * (FILE(lentry[PROC(g)]) > 1)
}

/*
 * acquire, and then Release. The ways out are
 *
 *	unlockAndPass	with the turn and the kernel's lock, both to be given up
 *	passOn		with the turn
 *	done		with nothing
 */
proctype goroutine(byte g) {
	mtype:WaitMode mode;
	mtype:AcquireState state;
	byte e, to;
	byte d;		/* 1 + the waiter taken out of the queue */
	byte checks;	/* that the acquire has waited for */
	bool waited;	/* in the queue */
	bool onThread;	/* or on its own thread; acquisition.waited is both */
	bool ok, err;
	bool moved;	/* errMoved: AcquireAll starts again */
	bool first;	/* AcquireAll holds the first file */

end:	do
	:: FAIR && !stopping	/* or it would have to begin, to be fair */
	:: atomic {
		!stopping;
		if
		:: ALL != 1 -> mode = parking; lockOf[g] = PROC(g) * (ALL > 0)
		:: TRIES && !(PATIENT && g == 0) -> mode = trying
		:: BLOCKS && !(PATIENT && g == 0) -> mode = blocking
		:: ALL -> mode = parking; inOrder(g)
		fi;

arrive:		/* arrive, queueUp */
		e = lentry[LOCK(g)];
		if
		:: closed[LOCK(g)] -> goto done
		:: ORDERED(g) && !PATH(LOCK(g)) && PLACE0(g) != e -> moved = true; goto done
		:: else
		fi;
		must(opened[e]);
		if
		:: turn[e] == turnFree ->
			takeLocked(e, g + 1);
			comes(g);
			state = hasTurn;
			checks = 0;
			foundLost[g] = 0
		:: turn[e] != turnFree && mode == trying ->
			if
			:: goto done	/* no check is due, or too many others hang */
			:: MAYLOSE(e) && PATH(LOCK(g)) == 0 && checks < 2 - MUT_ONE_CHECK ->
				/* checkLocked, await */
				checking[e] = true;
				awaited[g] = e + 1;
				stage[g] = waits;
				foundLost[g] = (checks == 0 && LOST(0, e) -> e + 1 : foundLost[g])
			:: MAYLOSE(e) && PATH(LOCK(g)) == 0 && checks == 2 - MUT_ONE_CHECK ->
				must(foundLost[g] != e + 1);
				goto done
			fi;
			e = 0
		:: turn[e] != turnFree && mode != trying ->
			comes(g);
			enqueueLocked(e, g);
			if	/* checkLocked, if a check is due */
			:: LOST(PATH(LOCK(g)), e) && turn[e] != turnTaken -> checking[e] = true
			:: skip
			fi;
			queues(g);
			e = 0
		fi
	   }

	   do
	   :: state == 0 ->
		atomic { awaited[g] == 0 -> checks++; goto arrive }

	   :: state == queued ->
		/* waitInQueue. If the context ends and the waiter is not queued any more, it
		   waits for the message nevertheless, as if the context had ended after it. */
		atomic {
			if
			:: ready[g]?state -> e = hentry[g]
			:: CTXENDS(g) && queue[lentry[LOCK(g)]]??[eval(g)] ->
				/* leave */
				e = lentry[LOCK(g)];
				queue[e]??eval(g);
				goes(g);
				if
				:: MUT_UNLOCK_WHILE_PARKED && turn[e] == turnParked && len(queue[e]) == 0 -> goto mutation
				:: else -> goto done
				fi
			fi;
			must(!queue[e]??[eval(g)]);
			if
			:: state == nothing -> moved = ORDERED(g); goto done
			:: state != nothing -> must(whose[e] == g + 1)
			:: state != nothing && CTXENDS(g) ->
				/* giveBack: the end of the context wins */
				if
				:: state == hasTurn || state == lost -> goto passOn
				:: MUT_KEEP_AFTER_CANCEL && (state == granted || state == handedOver) -> goto done
				/* No acquire has verified what was granted. It is passed on as it is. */
				:: !MUT_KEEP_AFTER_CANCEL && (state == granted || state == handedOver) -> giveBackLocked(e, g, state)
				fi
			fi
		}

	   :: state == hasTurn ->
		/* try, which may yield before */
		atomic {
			callTry(e, g + 1);
			if
			:: err && LOST(PATH(LOCK(g)), e) -> err = false; state = lost	/* errFileLost */
			:: err || (!ok && mode == trying) -> goto passOn
			:: !err && ok -> ok = false; startSlice(e); state = locked
			:: !err && !ok && mode != trying
			:: !err && !ok && LOST(PATH(LOCK(g)), e) -> state = lost	/* by a check */
			:: !err && !ok && CTXENDS(g) -> goto passOn
			fi
		}
		if
		:: state != hasTurn
		:: state == hasTurn && mode == blocking ->
			/* entry.block */
			atomic { turn[e] = turnBlocked; hold[e] = 0; onThread = true };
			callBlock(e, g + 1);
			atomic {
				startSlice(e);
				takeLocked(e, g + 1);
				if
				:: err && LOST(PATH(LOCK(g)), e) -> err = false; state = lost	/* errFileLost */
				:: err -> goto passOn
				:: !err -> state = locked
				fi
			}
		:: state == hasTurn && (mode == parking || POLLS) -> atomic { park(e, g); e = 0 }
		fi

	   :: state == locked || state == granted || state == handedOver ->
		/* verify, and finish, which may be later. A hand-over may trust the last check,
		   and so may an acquire that did not wait, if the file is linked elsewhere. */
		atomic {
			if
			:: lentry[LOCK(g)] == e && !LOST(PATH(LOCK(g)), e) -> ok = true
			:: lentry[LOCK(g)] != e || LOST(PATH(LOCK(g)), e)
			:: lentry[LOCK(g)] == e && FILES > 1 && (state == handedOver || !(waited || onThread)) -> ok = true
			:: errorsLeft > 0 -> errorsLeft--; err = true
			fi;
			if
			:: ok && CTXENDS(g) -> giveBackLocked(e, g, handedOver)	/* it wins */
			:: ok && UNSEEN && closed[LOCK(g)] -> giveBackLocked(e, g, handedOver)
			:: ok && !(UNSEEN && closed[LOCK(g)]) -> break
			:: !ok
			fi
		}
		if
		:: err -> goto unlockAndPass
		:: else -> atomic { unlock(e, g + 1); state = lost }
		fi

	   :: state == lost ->
		/* moveOn: relocate opens the file, and does the rest under all the mutexes */
		atomic {
			if
			:: to = ENTRY(PROC(g), fileAt[PATH(LOCK(g))])
			:: errorsLeft > 0 -> errorsLeft--; goto passOn
			fi
		}
		atomic {
			if
			:: lentry[LOCK(g)] != e -> must(onThread); state = nothing	/* its Lock has moved already */
			:: lentry[LOCK(g)] == e && closed[LOCK(g)] -> goto passOn
			:: lentry[LOCK(g)] == e && !closed[LOCK(g)] && to == e -> state = hasTurn
			:: lentry[LOCK(g)] == e && !closed[LOCK(g)] && to != e ->
				must(whose[e] == g + 1);
				moveLocks(e, to, PATH(LOCK(g)));
				if
				:: turn[to] == turnFree -> takeLocked(to, g + 1); state = hasTurn
				:: turn[to] != turnFree && (mode == trying || ORDERED(g)) -> goes(g); state = nothing
				:: turn[to] != turnFree && !(mode == trying || ORDERED(g)) -> enqueueLocked(to, g); queues(g)
				fi;
				moveWaiters(e, to, PATH(LOCK(g)))
			fi
		}
		if
		:: to != e ->
			atomic { pass(e, g + 1) };
			atomic {
				retire(e);
				e = to;
				to = 0;
				moved = ORDERED(g);
				if
				:: state == nothing -> goto done
				:: state == hasTurn && ORDERED(g) -> goto passOn
				:: state == hasTurn && !ORDERED(g)
				:: state == queued -> e = 0
				fi
			}
		:: to == e -> to = 0
		fi
	   od;

	   /* The acquire returns its hold, which is live from here to Release. */
	   atomic {
		must(hold[e] == g + 1 && whose[e] == g + 1 && owner[FILE(e)] == e + 1);
		must(lentry[LOCK(g)] == e);	/* no Lock moves from under its acquire */
		must(PATHS > 1 || ALL || line[PROC(g)]?[eval(g)]);	/* first come, first served */
		goes(g);
		returned[e] = true;
		held[FILE(e)]++;
		assert(held[FILE(e)] == 1);	/* exclusion */
		state = 0; to = 0; waited = false; onThread = false; ok = false;
		if
		:: ALL && place[g] && !first ->
			first = true;
			place[g] = (PATH(LOCK(g)) -> place[g] : e + 1);	/* MUT_OUT_OF_ORDER */
			lockOf[g] = 2 * !PATH(LOCK(g)) + PROC(g)
		:: else -> stage[g] = holds
		fi
	   }
	   do
	   :: ALL && stage[g] == waits -> goto second
	   :: HANGS > 1 && !(PATIENT && g == 0) && LOST(PATH(LOCK(g)), e) && !stopping
	   :: atomic {
		stage[g] == holds ->
		must(hold[e] == g + 1 && owner[FILE(e)] == e + 1);
		held[FILE(e)]--;
		stage[g] = idle;
		giveBackLocked(e, g, handedOver)
	      }
	   od;

second:	   atomic { goto arrive };

mutation:  skip;
	   atomic { unlock(e, g + 1); goto done }

unlockAndPass: skip;	/* because a goto from atomic to atomic would be one step */
	   atomic { unlock(e, g + 1) };

passOn:	   skip;
	   atomic {
		goes(g);
		pass(e, g + 1);
		if
		:: !UNUSED(e) -> goto done
		:: UNUSED(e)
		fi
	   }
	   atomic { retire(e) };

done:	   atomic {
		/* It has no turn, except that of the first file, and is in no queue. */
		do
		:: x < ENTRIES -> must((whose[x] != g + 1 || HASFIRST(g, x)) && !queue[x]??[eval(g)]); x++
		:: else -> x = 0; break
		od;
		goes(g);
		hentry[g] = 0;
		state = 0; e = 0; to = 0; d = 0; checks = 0;
		waited = false; onThread = false; ok = false; err = false;
		foundLost[g] = 0;
		if
		:: ALL && first ->
			/* AcquireAll on an error, or Holds.Release, releases the first file last. */
			first = false;
			e = FIRST(g);
			must(hold[e] == g + 1 && owner[FILE(e)] == e + 1);
			held[FILE(e)]--;
			giveBackLocked(e, g, handedOver)
		:: ALL && !first && moved -> moved = false; goto again
		:: !(ALL && (first || moved))
		fi;
		place[g] = 0;
		lockOf[g] = 0;
		stage[g] = idle;
		mode = 0
	   }
	od;

again:	atomic { inOrder(g); goto arrive }
}

/* The parked thread of e, or its poller. */
proctype thread(byte e) {
	byte d;
	bool ok, err;

end:	do
	:: turn[e] == turnParked ->
		callBlock(e, THREAD);
		goto waitEnded
	:: atomic { turn[e] == turnPolled ->
		/* poll, after a delay of any length */
		if
		:: len(queue[e]) == 0 -> turn[e] = turnTaken; goto passOn
		:: len(queue[e]) > 0 -> turn[e] = turnParked; goto end	/* there is room by now */
		:: len(queue[e]) > 0
		fi }
		atomic {
			callTry(e, THREAD);
			if
			:: ok || err -> ok = false; goto waitEnded
			:: else
			fi
		}
	od;

waitEnded: skip;
	atomic {
		/* kernelWaitEnded */
		startSlice(e);
		if
		:: !err && len(queue[e]) > 0 -> grantLocked(e, granted); goto end
		:: !err && len(queue[e]) == 0 && turn[e] == turnParked -> turn[e] = turnUnlocking
		:: !err && len(queue[e]) == 0 && turn[e] == turnPolled -> turn[e] = turnTaken
		:: err && len(queue[e]) > 0 && LOST(0, e) -> err = false; grantLocked(e, lost); goto end	/* errFileLost */
		:: err ->
			err = false;
			turn[e] = turnTaken;
			popFront(e);
			if
			:: d != 0 -> goes(d - 1); deliver(nothing)
			:: else
			fi;
			goto passOn
		fi
	}
	atomic { unlock(e, THREAD) };

passOn: skip;
	atomic {
		pass(e, THREAD);
		if
		:: !UNUSED(e) -> goto end
		:: UNUSED(e)
		fi
	}
	atomic { retire(e); goto end }
}

/* A check by the watch would move something, or report an error. */
#define WATCHED(e)	(len(queue[e]) > 0 && LOCATED(e) && LOST(0, e) && (!ACQUIRING(e) || MUT_FROM_UNDER))

inline endCheck(e) {
	checking[e] = false;
	do
	:: TRIES && x < GOROUTINES && awaited[x] == e + 1 -> awaited[x] = 0; x++
	:: TRIES && x < GOROUTINES && awaited[x] != e + 1 -> x++
	:: !TRIES || x == GOROUTINES -> x = 0; break
	od
}

/* The goroutine of a check of path 0 at e, and the watch, which begins one. */
proctype check(byte e) {
	byte to;
	byte d;

end:	do
	:: atomic {
		checking[e] || (WATCHED(e) && !MUT_NO_WATCH) ->
		checking[e] = true;
		checkAndMove(e, to);
		if
		:: SLOWCHECKS -> goto slow
		:: !SLOWCHECKS -> endCheck(e)
		fi
	   }
	od;

slow:	skip;
	atomic { endCheck(e) };
	goto end
}

/* Another process, with only a descriptor that it opens each time. */
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

/* Another program puts a new file in the lock file's place. */
proctype replacer() {
end:	do
	:: FAIR && !stopping
	:: atomic { fileAt[0] < FILES - 1 && !stopping -> fileAt[0] = fileAt[0] + 1 + (ALL > 0) }
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

/* WaitDrained, one at a time, so that drained[e] is what this one waits for. One that
   returns at once is no step. */
proctype drainWaiter() {
end:	do
	:: FAIR && !stopping
	:: atomic {
		!stopping && !closed[DRAINED] && DRAINING(lentry[DRAINED]) ->
		drainAt = 1 + lentry[DRAINED];
		drained[lentry[DRAINED]] = true;
		goto drainsOn
	   }
	od;

drainsOn: atomic { !drained[drainAt - 1] -> drainAt = 0 };
	atomic {
		if
		:: DRAINING(lentry[DRAINED]) ->
			drainAt = 1 + lentry[DRAINED];
			drained[lentry[DRAINED]] = true;
			goto drainsOn
		:: else -> goto end
		fi
	}
}

init {
	atomic {
		do
		:: n < ENTRIES -> turn[n] = turnFree; n++
		:: else -> n = 0; break
		od;
		fileAt[1] = (ALL -> 1 : (PATHS > 2) * (FILES - 1));
		do
		:: n < LOCKS ->
			closed[n] = n > 1 && !SECOND(n);
			lentry[n] = ENTRY(n % 2, fileAt[PATH(n)]);
			opened[lentry[n]] = opened[lentry[n]] || !closed[n];
			n++
		:: else -> n = 0; break
		od;
		do
		:: n < GOROUTINES ->
			stage[n] = idle;
			run goroutine(n);
			n++
		:: else -> n = 0; break
		od;
		do
		:: n < ENTRIES && (n < FILES || G1 > 0) -> run thread(n); n++
		:: else -> n = 0; break
		od;
		do
		:: n < ENTRIES && (n < FILES || G1 > 0) ->
			if
			:: MAYLOSE(n) -> run check(n)
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

	/* When nothing moves any more, all operations have ended and nothing is left. */
	atomic {
		timeout;
		do
		:: n < GOROUTINES -> must(stage[n] == idle && len(ready[n]) == 0); n++
		:: else -> n = 0; break
		od;
		do
		:: n < ENTRIES ->
			must(turn[n] == turnFree && len(queue[n]) == 0 && !drained[n]);
			must(hold[n] == 0 && !inBlock[n] && whose[n] == 0 && !checking[n]);
			must(opened[n] == USED(n));
			n++
		:: else -> n = 0; break
		od;
		do
		:: n < FILES -> must(owner[n] == 0 && held[n] == 0); n++
		:: else -> n = 0; break
		od;
		must(len(line[0]) == 0 && len(line[1]) == 0 && drainAt == 0)
	}
}

/*
 * What must happen eventually, under weak fairness. Goroutine 0, being PATIENT,
 * stands for all that are not cancelled. LAST is the entry of process 0 for the
 * last file.
 */
#define LAST	ENTRY(0, FILES - 1)

ltl noneForgotten {
	[] (stage[0] == waits -> <> (stage[0] == holds || (stage[0] == idle && closed[LOCK(0)])))
}

ltl releases {
	([] <> (owner[0] != 1)) && ([] <> (owner[FILES - 1] != LAST + 1))
}

ltl drains {
	([] (DRAINING(0) -> <> !DRAINING(0))) && ([] (DRAINING(LAST) -> <> !DRAINING(LAST))) &&
	([] (drainAt != 0 -> <> (drainAt == 0)))
}

ltl wakes {
	[] ((drainAt != 0 && lentry[0] != drainAt - 1) -> <> (drainAt == 0))
}

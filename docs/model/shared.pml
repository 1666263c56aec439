/*
 * Shared holds (group.go, orphan.go, intent.go, courtesy.go, and what of acquire.go, trying.go, entry.go,
 * queue.go, blocking.go, poller.go and registry.go concerns them) for the model checker
 * Spin, in a model of their own: with those of engine.pml, the states would be too many.
 * The lock file is never lost here, no acquire is an AcquireBlocking or part of an
 * AcquireSets, and no goroutine acquires what it holds. ./check runs it in its
 * configurations. README.md lists what is stated and what is left out.
 *
 * It corresponds to the Go code as engine.pml does, and:
 *
 *	Hold.shared			wantsShared of the goroutine
 *	entry.shared			kind
 *	entry.group			members, closing, and member of each goroutine. owners
 *					is for re-entry, which is left out
 *	entry.active, spare,	numbers of descriptions. A process has two at most, and
 *	orphan.file			a goroutine's number for 0 is 1, as in the other fields
 *	toShared			a step of its own, without mu
 *	openSpare			a step of its own, taken by the process of the
 *					description that is opened
 *	the watch			tries again after a description could not be opened
 *	verify, verifyJoined		always confirm the file
 *
 * With INTENT, a process also lets others know that it waits for the lock exclusively
 * (intent.go, courtesy.go):
 *
 *	intent.wanted, board		wanted, and announced, the lock on a byte of the file
 *	updateIntent			one process for each entry, so that its calls are made one
 *					after the other
 *	shouldAsk, mustAsk		a choice, but the second or so in a row must ask
 *	announcementAge, maxYield	after so many polls (BOUND) a reader yields no more
 *	yield				the process of the description, as the poller. By its next
 *					poll a call that waits has been granted a lock that is free
 *	rival				there is one
 *	sliceEnded, renewIntent		left out
 */

/* The configuration. */
#ifndef G0
#define G0	2	/* goroutines of process 0 */
#endif
#ifndef G1
#define G1	0	/* goroutines of process 1 */
#endif
#ifndef READS
#define READS	255	/* which goroutines acquire shared: a bit each */
#endif
#ifndef WRITES
#define WRITES	255	/* which ones acquire exclusively */
#endif
#ifndef FOREIGN
#define FOREIGN	0	/* one more process, which uses the kernel's lock directly. 1: it
			   locks exclusively; 2: shared; 3: either */
#endif
#ifndef KEEPS
#define KEEPS	0	/* 1: it may never release the lock if it is shared */
#endif
#ifndef CONVERTS
#define CONVERTS	1	/* 0: the kernel converts no lock */
#endif
#ifndef SLICE
#define SLICE	1	/* hand-overs in a slice: sliceHandOvers */
#endif
#ifndef CANCELS
#define CANCELS	0	/* which goroutines' contexts end: a bit each */
#endif
#ifndef TRIES
#define TRIES	0	/* 1: TryAcquire and TryAcquireShared */
#endif
#ifndef POLLS
#define POLLS	0	/* 1: there may be no room for a thread */
#endif
#ifndef CLOSES
#define CLOSES	0	/* 1: Close of the Lock of process 0; 2: the last goroutine of
			   process 0 has a Lock of its own, which stays open */
#endif
#ifndef DRAINS
#define DRAINS	0	/* 1: WaitDrained of a Lock of process 0 that stays open */
#endif
#ifndef ERRORS
#define ERRORS	0	/* how many kernel calls fail */
#endif
#ifndef FDS
#define FDS	2	/* descriptions of a process. More than 2 shows what needs no more */
#endif
#ifndef INTENT
#define INTENT	0	/* 1: exclusive waiters announce themselves to other processes */
#endif
#ifndef SKIPS
#define SKIPS	1	/* how often in a row it is too early to ask for an intent */
#endif
#ifndef STOPS
#define STOPS	0	/* 1: a process may be stopped, while it waits for the kernel, for
			   any time */
#endif
#ifndef BOUND
#define BOUND	0	/* after how many polls a reader yields no more; 0: it goes on */
#endif
#ifndef FAIR
#define FAIR	0	/* for what must happen eventually: no goroutine must acquire, and the
			   kernel does not pass over a waiter twice, with two processes, to
			   grant the lock 1: exclusively; 2: at all. Linux lets any number of
			   shared locks pass over an exclusive waiter */
#endif
#ifndef PATIENT
#define PATIENT	0	/* 1: goroutine 0 never tries, and is not cancelled */
#endif

/* The engine, broken on purpose: in the way that the environment variable BROKEN has the
   number of. */
hidden byte broken;
#define MUT_JOIN_PAST_QUEUE	(broken == 1)	/* an acquire joins the group although others wait */
#define MUT_NO_ADMISSION	(broken == 2)	/* a waiter that gives up does not admit those behind it */
#define MUT_CLOSE_FORGETS	(broken == 3)	/* nor does Close */
#define MUT_ANY_MEMBER_UNLOCKS	(broken == 4)	/* not only the last member gives back the lock */
#define MUT_LAST_KEEPS	(broken == 5)	/* nor does the last one */
#define MUT_ANY_KIND	(broken == 6)	/* a release hands the lock over to a waiter of any kind */
#define MUT_HEAD_AS_BEFORE	(broken == 7)	/* who is first is not checked again after a conversion */
#define MUT_GRANT_ANY_KIND	(broken == 8)	/* the parked thread grants the lock to a waiter of any kind */
#define MUT_STAY_BEHIND	(broken == 9)	/* shared waiters do not go past an orphaned wait */
#define MUT_NO_ADOPTION	(broken == 10)	/* an orphaned wait that was left behind is not adopted */
#define MUT_MANY_ORPHANS	(broken == 11)	/* an orphaned wait is left behind although there is one */
#define MUT_ADOPT_LATE	(broken == 12)	/* it is adopted although it releases the lock already */
#define MUT_NEVER_DRAINED	(broken == 13)	/* its end does not wake WaitDrained */
#define MUT_DRAIN_UNSEEN	(broken == 14)	/* a parked thread that was adopted by a waiter of the other kind does not wake WaitDrained when its wait ends */
#define MUT_CLOSED_FOR_GOOD	(broken == 15)	/* closing outlasts the group */
#define MUT_NO_ASKING	(broken == 16)	/* members do not ask for an intent */
#define MUT_ASK_LATER	(broken == 17)	/* after a group has closed, it is too early to ask again */
#define MUT_LATE_WITHDRAWAL	(broken == 18)	/* a withdrawal may come after a newer announcement */
#define MUT_KEEP_INTENT	(broken == 19)	/* an intent is not withdrawn when its waiters give up */
#define MUT_YIELD_FOREVER	(broken == 20)	/* a reader stays out as long as there is an intent */

/* must is assert, except in the runs that show that the consequence of a failed
   assertion is found without the assertion, too: with the environment variable
   EXCLUSION_ONLY. */
hidden byte exclusionOnly;
#define must(x)	assert((x) || exclusionOnly != 0)

#define GOROUTINES	(G0 + G1)
#define MAXG		4
#define PROC(g)		((g) >= G0)
#define LOCK(g)		(PROC(g) + 2 * (CLOSES == 2 && (g) == G0 - 1))	/* 2: the second of process 0 */

/* Descriptions: those of process e from FDS * e on, and the foreign process's. */
#define FOREIGNER	(2 * FDS)

mtype:Turn = { turnFree, turnTaken, turnShared, turnParked, turnPolled, turnUnlocking };
mtype:AcquireState = { nothing, queued, hasTurn, mustWait, locked, granted, handedOver, joined, wanted, leaves, yields };
mtype:Stage = { idle, waits, holds };
mtype:Grip = { none, shared, exclusive };

/* The kernel. */
mtype:Grip grip[FOREIGNER + 1];	/* what the description has */
byte owed;			/* 1 + the description that was passed over, or 0: see FAIR */
bool inBlock[FOREIGNER + 1];	/* a call of block is under way on the description */
bool blockShared[FOREIGNER + 1];	/* of this kind */
byte errorsLeft = ERRORS;
bool announced[2];
bool isWanted[2];			/* intent.wanted */
bool stopped;			/* process 1 is */

/* Entries, one per process. */
mtype:Turn turn[2];
byte hold[2];			/* 1 + the goroutine whose hold it is, or 0 for nil */
bool kind[2];
byte members[2];
bool closing[2];
byte activeFile[2];
byte orphan[2];			/* orphan.file: 1 + the description, or 0 for nil */
bool unlocking[2];		/* orphan.unlocking */
bool opening[2];		/* orphan.opening */
byte spare[2];			/* 1 + the description, or 0 for nil */
byte handOvers[2];
bool drained;			/* entry 0 has a channel drained */
bool opened[2];
bool runs[FOREIGNER];		/* there is a thread for the description */
byte asks[2];			/* how often it was too early to ask since the last time */
bool yielding[2];		/* the poller yields */
byte polls[2];			/* how often it has */
chan queue[2] = [MAXG] of { byte };

/* Acquires. */
bool wantsShared[MAXG];
bool member[MAXG];
chan ready[GOROUTINES] = [1] of { mtype:AcquireState };
bool closed[3];

/* What only the properties read. */
#define THREAD	255
#define GROUP	254
byte whose[2];			/* the owner of the turn: 1 + goroutine, THREAD, GROUP, or 0 */
byte heldShared, heldExclusive;	/* live holds, of all processes */
mtype:Stage stage[GOROUTINES];
chan line[2] = [MAXG] of { byte };	/* the acquires under way that are not served, in order
				   of arrival */
bool drainWaits;		/* WaitDrained waits */
bool stopping;			/* no process begins a new operation */

/* Used within one atomic step. */
hidden byte n, x, y, w;

/*
 * The kernel.
 */

#define LOCKED(how, fd)	((fd) <= FOREIGNER && grip[fd] == how)
#define ANY(how)	(LOCKED(how, 0) || LOCKED(how, 1) || LOCKED(how, 2) || LOCKED(how, 3) || \
			 LOCKED(how, 4) || LOCKED(how, 5) || LOCKED(how, 6))
#define MAYTAKE(fd, sh)	(!ANY(exclusive) && (sh || !ANY(shared)) && \
			 (owed == 0 || owed == (fd) + 1 || (sh && FAIR < 2)))

/* mayCall is the one-call invariant: no call during another on the same description, and
   none but by the owner of the turn. While the turn is the group's, there is none. */
inline mayCall(e, fd, me) {
	must(opened[e] && activeFile[e] == fd && !inBlock[fd] && whose[e] == me)
}

/* takes gives the lock to fd, even if others wait for it. */
inline takes(fd, sh) {
	must(grip[fd] == none);
	grip[fd] = (sh -> shared : exclusive);
	if
	:: FAIR && (!sh || FAIR == 2 || owed == fd + 1) ->
		owed = 0;
		y = 0;
		do
		:: y <= FOREIGNER ->
			if
			:: y != fd && inBlock[y] && !(sh && blockShared[y]) -> owed = y + 1
			:: else
			fi;
			y++
		:: else -> break
		od
	:: else
	fi
}

/* callTry sets ok, or err. The caller is inside atomic. */
inline callTry(e, fd, me) {
	mayCall(e, fd, me);
	if
	:: MAYTAKE(fd, kind[e]) -> takes(fd, kind[e]); ok = true
	:: !MAYTAKE(fd, kind[e])
	:: errorsLeft > 0 -> errorsLeft--; err = true
	fi
}

/* callUnlock: the caller is inside atomic. */
inline callUnlock(e, me) {
	mayCall(e, activeFile[e], me);
	must(grip[activeFile[e]] == (kind[e] -> shared : exclusive));
	grip[activeFile[e]] = none;
	handOvers[e] = 0	/* has no meaning until the next startSlice */
}

/*
 * Sections under mu: the callers are inside atomic.
 */

#define HEAD(e, g)	((g) < GOROUTINES && queue[e]?[g])
#define SHAREDHEAD(e)	((HEAD(e, 0) && wantsShared[0]) || (HEAD(e, 1) && wantsShared[1]) || \
			 (HEAD(e, 2) && wantsShared[2]) || (HEAD(e, 3) && wantsShared[3]))
#define EXCLUSIVEHEAD(e)	(len(queue[e]) > 0 && !SHAREDHEAD(e))

inline pushFront(e, g) {
	must(!queue[e]??[eval(g)]);
	n = len(queue[e]);
	queue[e]!g;
	do
	:: n > 0 -> queue[e]?x; queue[e]!x; n--
	:: else -> break
	od
}

/* deliver wakes waiter w with what it got. As in engine.pml it is part of the section. */
inline deliver(got) {
	must(len(ready[w]) == 0);	/* the send never blocks */
	ready[w]!got
}

inline endDrainLocked(e) {
	drained = drained && e != 0
}

/* drainingLocked */
#define PASSABLE(e)	(turn[e] == turnParked && !kind[e] && SHAREDHEAD(e))
#define DRAINING(e)	((turn[e] == turnParked && len(queue[e]) == 0) || PASSABLE(e) || turn[e] == turnUnlocking || orphan[e] != 0)

/* The acquires under way that are not served yet, for the properties. */
inline goes(g) {
	if
	:: line[PROC(g)]??[eval(g)] -> line[PROC(g)]??eval(g)	/* not everywhere */
	:: !line[PROC(g)]??[eval(g)]
	fi
}

/* takeLocked gives the turn to goroutine g. */
inline takeLocked(e, g) {
	turn[e] = turnTaken;
	hold[e] = g + 1;
	whose[e] = g + 1;
	kind[e] = wantsShared[g]
}

#define JOINABLE(e)	(turn[e] == turnShared && (len(queue[e]) == 0 || MUT_JOIN_PAST_QUEUE) && !closing[e])

/* joinLocked serves goroutine g, as far as the order goes. No acquire that came before it
   waits any more. */
inline joinLocked(e, g) {
	must(turn[e] == turnShared && !member[g]);
	must(line[e]?[eval(g)] || len(line[e]) == 0);	/* first come, first served; not everywhere */
	goes(g);
	members[e]++;
	member[g] = true
}

inline admitLocked(e) {
	do
	:: turn[e] == turnShared && !closing[e] && SHAREDHEAD(e) ->
		queue[e]?w;
		joinLocked(e, w);
		deliver(joined)
	:: else -> break
	od
}

/* passOrphanLocked */
inline passOrphanLocked(e) {
	if
	:: PASSABLE(e) && (orphan[e] == 0 || MUT_MANY_ORPHANS) && !MUT_STAY_BEHIND ->
		if
		:: spare[e] == 0 -> opening[e] = true
		:: spare[e] != 0 ->
			orphan[e] = activeFile[e] + 1;
			activeFile[e] = spare[e] - 1;
			spare[e] = 0;
			queue[e]?w;
			takeLocked(e, w);
			deliver(hasTurn)
		fi
	:: else
	fi
}

/* setWantedLocked. There is always a rival. */
inline setWantedLocked(e) {
	isWanted[e] = INTENT && EXCLUSIVEHEAD(e) &&
		(turn[e] == turnShared || ((turn[e] == turnParked || turn[e] == turnPolled) && !kind[e]))
}

inline headChangedLocked(e) {
	admitLocked(e);
	passOrphanLocked(e);
	setWantedLocked(e);
	if
	:: !DRAINING(e) -> endDrainLocked(e)
	:: else
	fi
}

inline enqueueLocked(e, g) {
	must(turn[e] != turnFree && !queue[e]??[eval(g)]);
	if
	:: turn[e] == turnParked && len(queue[e]) == 0 && (kind[e] || !wantsShared[g]) -> endDrainLocked(e)	/* adopted */
	:: else
	fi;
	queue[e]!g;
	if
	:: len(queue[e]) == 1 -> headChangedLocked(e)
	:: else
	fi
}

/* grantLocked gives the turn, and the kernel's lock unless got is hasTurn, to the first in
   the queue. */
inline grantLocked(e, got) {
	queue[e]?w;
	takeLocked(e, w);
	deliver(got)
}

/* unusedLocked, without pins and unusable entries, which are left out */
#define USED(e)		(e == 1 || !closed[0] || CLOSES == 2)
#define UNUSED(e)	(opened[e] && turn[e] == turnFree && !USED(e) && orphan[e] == 0)

/* retire decides again, because another goroutine may have used or closed it since pass. */
inline retire(e) {
	if
	:: UNUSED(e) ->
		must(!inBlock[activeFile[e]] && grip[activeFile[e]] == none);
		must(spare[e] == 0 || (!inBlock[spare[e] - 1] && grip[spare[e] - 1] == none));
		opened[e] = false;
		spare[e] = 0
	:: else
	fi
}

/* pass gives up the turn, with nothing locked. What follows must retire e if it is UNUSED
   then. */
inline pass(e, me) {
	must(whose[e] == me && grip[activeFile[e]] == none);
	endDrainLocked(e);
	kind[e] = false;	/* has no meaning until the next owner */
	if
	:: len(queue[e]) > 0 -> grantLocked(e, hasTurn)
	:: else -> turn[e] = turnFree; hold[e] = 0; whose[e] = 0; setWantedLocked(e)
	fi
}

/* giveBackLocked gives up the turn and the kernel's lock. It ends at done, or goes on
   outside of mu at converts or unlockAndPass. */
inline giveBackLocked(e, me, as) {
	must(whose[e] == me && grip[activeFile[e]] == (kind[e] -> shared : exclusive));
	hold[e] = 0;
	if
	:: len(queue[e]) > 0 && handOvers[e] < SLICE ->	/* tryHandOver, fitsHeadLocked */
		handOvers[e]++;
		if
		:: kind[e] == SHAREDHEAD(e) || MUT_ANY_KIND -> grantLocked(e, as); goto done
		:: kind[e] && !SHAREDHEAD(e) && !MUT_ANY_KIND -> goto unlockAndPass
		:: !kind[e] && SHAREDHEAD(e) && CONVERTS && !MUT_ANY_KIND -> grants = as; goto converts
		:: !kind[e] && SHAREDHEAD(e) && !CONVERTS && !MUT_ANY_KIND -> goto unlockAndPass
		fi
	:: goto unlockAndPass	/* the queue is empty, or the slice is over, by count or by time */
	fi
}

/* leaveLocked: the last member has the turn, and gives it back. */
inline leaveLocked(e, g) {
	must(turn[e] == turnShared && member[g]);
	member[g] = false;
	members[e]--;
	if
	:: (members[e] > 0 && !MUT_ANY_MEMBER_UNLOCKS) || MUT_LAST_KEEPS -> goto done
	:: else
	fi;
	turn[e] = turnTaken;
	whose[e] = g + 1;
	if
	:: closing[e] ->
		/* others are waited for, or the next group would have it again */
		closing[e] = MUT_CLOSED_FOR_GOOD;
		asks[e] = (MUT_ASK_LATER -> 0 : SKIPS);
		goto unlockAndPass
	:: else
	fi;
	giveBackLocked(e, g + 1, handedOver)
}

/* unused sets x to a description of e that is not open. */
inline unused(e) {
	x = FDS * e;
	do
	:: x == activeFile[e] || x + 1 == orphan[e] || runs[x] -> x++
	:: else -> break
	od
}

/* openSpare, after an open that failed, or not */
inline openSpare(e) {
	opening[e] = false;
	if
	:: opened[e] -> unused(e); spare[e] = x + 1; passOrphanLocked(e)
	:: !opened[e]
	:: errorsLeft > 0 -> errorsLeft--
	fi
}

#define WATCHED(e)	(PASSABLE(e) && orphan[e] == 0 && !opening[e] && !MUT_STAY_BEHIND)

inline startThreadLocked(e) {
	must(!runs[activeFile[e]]);
	assert(runs[FDS * e] + runs[FDS * e + 1] + (FDS > 2 && runs[FDS * e + FDS - 1]) < 2);	/* two threads at most */
	turn[e] = turnParked;
	whose[e] = THREAD;
	runs[activeFile[e]] = true;
	blockShared[activeFile[e]] = kind[e];
	setWantedLocked(e)
}

/* adoptOrphanLocked, or what startKernelWaitLocked does else */
inline adoptOrphanLocked(e) {
	if
	:: !kind[e] && orphan[e] != 0 && (!unlocking[e] || MUT_ADOPT_LATE) && !MUT_NO_ADOPTION ->
		spare[e] = activeFile[e] + 1;
		activeFile[e] = orphan[e] - 1;
		orphan[e] = 0;
		turn[e] = turnParked;
		whose[e] = THREAD;
		endDrainLocked(e);
		setWantedLocked(e)
	:: kind[e] || orphan[e] == 0 || (unlocking[e] && !MUT_ADOPT_LATE) || MUT_NO_ADOPTION ->
		startThreadLocked(e)
	:: POLLS && (kind[e] || orphan[e] == 0 || unlocking[e]) ->
		turn[e] = turnPolled;
		whose[e] = THREAD;
		setWantedLocked(e)
	fi
}

/* turnAway is that of Close: it ends the waits in the queue of e by Lock 0. */
inline turnAway(e) {
	y = len(queue[e]);
	do
	:: y > 0 ->
		queue[e]?w;
		if
		:: LOCK(w) == 0 -> goes(w); deliver(nothing)
		:: else -> queue[e]!w
		fi;
		y--
	:: else -> break
	od
}

/* It waited, and at the end was in no queue where Close could have found it. */
#define UNSEEN(g)	(waited && state == locked && closed[LOCK(g)])

#define CTXENDS(g)	((CANCELS >> (g)) & 1 && !trying)

/* INTENTS: an acquire of e finds the announcement of a different process. */
#define INTENTS(e)	(INTENT && announced[1 - (e)] && (BOUND == 0 || polls[e] < BOUND || MUT_YIELD_FOREVER))

/* findIntent sets found. */
inline findIntent(e) {
	found = INTENTS(e);
	asks[e] = 0;
	if
	:: !announced[1 - (e)] -> polls[e] = 0
	:: else
	fi
}

/* The process of e is stopped. */
#define STOPPED(e)	(STOPS && (e) == 1 && stopped)

/* convert is toShared, and what fitsHeadLocked does then. */
inline convert(e, me) {
	atomic {
		mayCall(e, activeFile[e], me);
		must(grip[activeFile[e]] == exclusive);
		if
		:: grip[activeFile[e]] = shared; kind[e] = true
		:: errorsLeft > 0 -> errorsLeft--; err = true
		fi
	}
	atomic {
		if
		:: !err && len(queue[e]) > 0 && (SHAREDHEAD(e) || MUT_HEAD_AS_BEFORE) -> grantLocked(e, grants); grants = 0; goto done
		:: err || !SHAREDHEAD(e) -> grants = 0; err = false; goto unlockAndPass
		fi
	}
}

/* kernelWaitEnded is that of the parked thread or the poller, on the active description of
   e. */
inline kernelWaitEnded(e) {
	must(whose[e] == THREAD);
	isWanted[e] = false;
	handOvers[e] = 0;
	if
	:: !err && PASSABLE(e) && !MUT_DRAIN_UNSEEN -> endDrainLocked(e)	/* it was not gone past, and is adopted now */
	:: else
	fi;
	if
	:: !err && len(queue[e]) > 0 && (kind[e] == SHAREDHEAD(e) || MUT_GRANT_ANY_KIND) ->
		must(!drained || orphan[0] != 0 || e != 0);
		grantLocked(e, granted);
		goto done
	:: !err && len(queue[e]) > 0 && kind[e] != SHAREDHEAD(e) && !MUT_GRANT_ANY_KIND ->
		turn[e] = turnTaken;
		giveBackLocked(e, THREAD, granted)
	:: !err && len(queue[e]) == 0 ->
		turn[e] = (turn[e] == turnParked -> turnUnlocking : turnTaken);
		goto unlockAndPass
	:: err ->
		err = false;
		turn[e] = turnTaken;
		if
		:: queue[e]?w -> goes(w); deliver(nothing)
		:: len(queue[e]) == 0
		fi;
		goto passOn
	fi
}

/*
 * acquire, and then Release. The ways out are those of engine.pml, and
 *
 *	converts	with the turn and an exclusive lock, to be converted for the first in
 *			the queue
 */
proctype goroutine(byte g) {
	mtype:AcquireState state, grants;
	bool trying;
	bool waited;	/* in the queue */
	bool asked;	/* yieldsToWriter was called */
	bool found;	/* an announcement */
	bool ok, err;
	bool again;	/* it has left a group that is wanted, and arrives again */

end:	do
	:: FAIR && !stopping	/* or it would have to begin, to be fair */
	:: atomic {
		!stopping;
		if
		:: (READS >> g) & 1 -> wantsShared[g] = true
		:: (WRITES >> g) & 1 -> wantsShared[g] = false
		fi;
		if
		:: trying = false
		:: TRIES && !(PATIENT && g == 0) -> trying = true
		fi;

arrive:		/* arrive, queueUp */
		if
		:: closed[LOCK(g)] -> goto done
		:: else
		fi;
		must(opened[PROC(g)]);
		if
		:: turn[PROC(g)] == turnFree ->
			takeLocked(PROC(g), g);
			line[PROC(g)]!g;
			stage[g] = waits;
			state = hasTurn
		:: wantsShared[g] && JOINABLE(PROC(g)) ->
			joinLocked(PROC(g), g);
			stage[g] = waits;
			state = joined
		:: turn[PROC(g)] != turnFree && !(wantsShared[g] && JOINABLE(PROC(g))) && trying -> goto done
		:: turn[PROC(g)] != turnFree && !(wantsShared[g] && JOINABLE(PROC(g))) && !trying ->
			line[PROC(g)]!g;
			stage[g] = waits;
			enqueueLocked(PROC(g), g);
			waited = true;
			state = queued
		fi
	   }

	   do
	   :: state == queued ->
		atomic {
			if
			:: ready[g]?state
			:: CTXENDS(g) && queue[PROC(g)]??[eval(g)] ->
				/* leave */
				queue[PROC(g)]??eval(g);
				goes(g);
				if
				:: !MUT_NO_ADMISSION -> headChangedLocked(PROC(g))
				:: MUT_NO_ADMISSION
				fi;
				goto done
			fi;
			if
			:: state == nothing -> goto done
			:: state != nothing
			:: state != nothing && CTXENDS(g) ->
				/* giveBack: the end of the context wins */
				if
				:: state == hasTurn -> goto passOn
				:: state == joined -> leaveLocked(PROC(g), g)
				:: state == granted || state == handedOver -> goes(g); giveBackLocked(PROC(g), g + 1, state)
				fi
			fi
		}

	   :: state == hasTurn ->
		/* try, which may yield before */
		if
		:: wantsShared[g] && INTENT && !asked ->
			/* yieldsToWriter */
			atomic {
				if
				:: asks[PROC(g)] < SKIPS -> asks[PROC(g)]++
				:: findIntent(PROC(g))
				fi;
				if
				:: found && trying -> goto passOn
				:: found && !trying -> state = yields
				:: !found -> asked = true
				fi
			}
		:: !(wantsShared[g] && INTENT && !asked)
		fi;
		if
		:: state == yields
		:: else ->
			atomic {
				kind[PROC(g)] = wantsShared[g];
				callTry(PROC(g), activeFile[PROC(g)], g + 1);
				if
				:: err || (!ok && trying) -> goto passOn
				:: ok -> ok = false; handOvers[PROC(g)] = 0; state = locked
				:: !err && !ok && !trying -> state = mustWait
				:: !err && !ok && CTXENDS(g) -> goto passOn
				fi
			}
		fi

	   :: state == mustWait || state == yields ->
		/* park */
		atomic {
			if
			:: closed[LOCK(g)] -> goto passOn
			:: else
			fi;
			must(whose[PROC(g)] == g + 1 && turn[PROC(g)] == turnTaken && hold[PROC(g)] == g + 1);
			pushFront(PROC(g), g);
			hold[PROC(g)] = 0;
			if	/* startKernelWaitLocked */
			:: state == mustWait -> adoptOrphanLocked(PROC(g))
			:: state == yields ->
				turn[PROC(g)] = turnPolled;
				whose[PROC(g)] = THREAD;
				yielding[PROC(g)] = true
			fi;
			waited = true;
			asked = false;
			found = false;
			state = queued
		}

	   :: state == locked || state == granted || state == handedOver ->
		/* finish */
		atomic {
			must(turn[PROC(g)] == turnTaken && hold[PROC(g)] == g + 1);
			must(grip[activeFile[PROC(g)]] == (wantsShared[g] -> shared : exclusive));
			if
			:: CTXENDS(g) || UNSEEN(g) -> goes(g); giveBackLocked(PROC(g), g + 1, handedOver)
			:: !UNSEEN(g) && wantsShared[g] ->
				/* openGroup */
				must(members[PROC(g)] == 0 && (!closing[PROC(g)] || INTENT));
				turn[PROC(g)] = turnShared;
				hold[PROC(g)] = 0;
				whose[PROC(g)] = GROUP;
				joinLocked(PROC(g), g);
				admitLocked(PROC(g));
				setWantedLocked(PROC(g));
				break
			:: !UNSEEN(g) && !wantsShared[g] ->
				isWanted[PROC(g)] = false;	/* withdrawIntent */
				must(line[PROC(g)]?[eval(g)]);	/* first come, first served */
				goes(g);
				break
			fi
		}

	   :: state == joined ->
		/* stay, and finish */
		atomic {
			must(turn[PROC(g)] == turnShared && member[g]);
			if
			:: INTENT && !MUT_NO_ASKING && asks[PROC(g)] >= SKIPS -> findIntent(PROC(g))
			:: INTENT && !MUT_NO_ASKING && asks[PROC(g)] < SKIPS -> asks[PROC(g)]++
			:: !INTENT || MUT_NO_ASKING
			fi;
			if
			:: found -> found = false; state = wanted
			:: !found && CTXENDS(g) -> leaveLocked(PROC(g), g)
			:: !found -> break
			fi
		}

	   :: state == wanted ->
		/* mustClose */
		atomic { closing[PROC(g)] = true; state = leaves };
		atomic {
			again = true;
			leaveLocked(PROC(g), g)
		}
	   od;

	   /* The acquire returns its hold, which is live from here to Release. */
	   atomic {
		must(grip[activeFile[PROC(g)]] == (wantsShared[g] -> shared : exclusive));
		if
		:: wantsShared[g] -> heldShared++; must(member[g])
		:: else -> heldExclusive++; must(hold[PROC(g)] == g + 1)
		fi;
		assert(heldExclusive == 0 || (heldExclusive == 1 && heldShared == 0));	/* exclusion */
		state = 0; waited = false; asked = false; found = false;
		stage[g] = holds
	   }
	   atomic {
		stage[g] = idle;
		if
		:: wantsShared[g] -> heldShared--; leaveLocked(PROC(g), g)
		:: else -> heldExclusive--; giveBackLocked(PROC(g), g + 1, handedOver)
		fi
	   }

converts: skip;	/* because a goto from atomic to atomic would be one step */
	   convert(PROC(g), g + 1);

unlockAndPass: skip;
	   atomic { callUnlock(PROC(g), g + 1) };

passOn:	   skip;
	   atomic {
		goes(g);
		pass(PROC(g), g + 1);
		if
		:: !UNUSED(PROC(g)) -> goto done
		:: UNUSED(PROC(g))
		fi
	   }
	   atomic { retire(PROC(g)) };

done:	   atomic {
		must(whose[PROC(g)] != g + 1 && !queue[PROC(g)]??[eval(g)] && (!member[g] || MUT_LAST_KEEPS));
		must(!line[PROC(g)]??[eval(g)]);
		state = 0; grants = 0; waited = false; asked = false; found = false; ok = false; err = false;
		if
		:: again -> again = false; goto arrives
		:: else
		fi;
		stage[g] = idle;
		trying = false;
		wantsShared[g] = false
	   }
	od;

arrives: atomic { goto arrive }
}

/* orphanEndedLocked, from where the file is unlocked on, if it was locked */
inline orphanEndedLocked(e, fd) {
	must(orphan[e] == fd + 1);
	orphan[e] = 0;
	unlocking[e] = false;
	if
	:: !MUT_NEVER_DRAINED -> endDrainLocked(e)
	:: MUT_NEVER_DRAINED
	fi;
	if
	:: !err -> spare[e] = fd + 1; passOrphanLocked(e)	/* not everywhere */
	:: err -> err = false	/* not everywhere */
	fi;
	if
	:: UNUSED(e) -> goto retires	/* not everywhere */
	:: else -> goto done
	fi
}

/* A call that waits is about to be granted the lock, which is free. */
#define WAITS(fd)	((fd) < FOREIGNER && inBlock[fd] && !STOPPED((fd) / FDS))
#define PROMPT(e)	(FAIR && !ANY(exclusive) && !ANY(shared) && (WAITS(0) || WAITS(1) || WAITS(2) || WAITS(3)))

/* The thread that is parked on the description fd of e; the poller, if fd is the active
   one; and the opening of fd, if it is not. */
proctype thread(byte e; byte fd) {
	mtype:AcquireState grants;
	bool ok, err;
	bool found;	/* an announcement */

end:	do
	:: atomic { runs[fd] ->
		must(!inBlock[fd]);
		inBlock[fd] = true
	   }
	   atomic {
		!STOPPED(e);
		if
		:: MAYTAKE(fd, blockShared[fd]) -> takes(fd, blockShared[fd])
		:: errorsLeft > 0 -> errorsLeft--; err = true
		fi;
		inBlock[fd] = false
	   }
	   atomic {
		runs[fd] = false;
		blockShared[fd] = false;
		if
		:: orphan[e] != fd + 1 -> must(activeFile[e] == fd); kernelWaitEnded(e)
		:: orphan[e] == fd + 1 && err -> orphanEndedLocked(e, fd)
		:: orphan[e] == fd + 1 && !err -> unlocking[e] = true
		fi
	   }
	   goto orphanUnlocks

	:: atomic { turn[e] == turnPolled && yielding[e] && activeFile[e] == fd && !STOPPED(e) && !PROMPT(e) ->
		/* yield */
		if
		:: !SHAREDHEAD(e) -> yielding[e] = false; turn[e] = turnTaken; goto passOn
		:: SHAREDHEAD(e) -> findIntent(e)
		fi;
		polls[e] = (found && polls[e] < BOUND -> polls[e] + 1 : polls[e])
	   }
	   atomic {
		kind[e] = true;
		callTry(e, fd, THREAD);
		if
		:: err || (ok && !found) -> ok = false; found = false; yielding[e] = false; kernelWaitEnded(e)
		:: ok && found -> ok = false; found = false
		:: !err && !ok ->
			found = false;
			if
			:: SHAREDHEAD(e) -> yielding[e] = false; adoptOrphanLocked(e)
			:: else
			fi;
			goto end
		fi
	   }
	   atomic { callUnlock(e, THREAD) }

	:: atomic { turn[e] == turnPolled && !yielding[e] && activeFile[e] == fd && !STOPPED(e) ->
		/* poll, after a delay of any length */
		if
		:: len(queue[e]) == 0 -> turn[e] = turnTaken; goto passOn
		:: len(queue[e]) > 0 ->
			kind[e] = SHAREDHEAD(e);
			setWantedLocked(e);
			if
			:: adoptOrphanLocked(e)
			:: POLLS && (kind[e] || orphan[e] == 0 || unlocking[e])
			fi
		fi;
		if
		:: turn[e] == turnParked -> goto end
		:: else
		fi
	   }
	   atomic {
		callTry(e, fd, THREAD);
		if
		:: ok || err -> ok = false; kernelWaitEnded(e)
		:: else
		fi
	   }

	:: atomic { (opening[e] || WATCHED(e)) && activeFile[e] != fd && !runs[fd] && spare[e] == 0 && orphan[e] != fd + 1 -> openSpare(e) }
	od;

orphanUnlocks: skip;
	atomic {
		must(opened[e] && grip[fd] == exclusive);
		grip[fd] = none
	}
	atomic { orphanEndedLocked(e, fd) };

converts: skip;
	convert(e, THREAD);

unlockAndPass: skip;
	atomic { callUnlock(e, THREAD) };

passOn: skip;
	atomic {
		pass(e, THREAD);
		if
		:: !UNUSED(e) -> goto end
		:: UNUSED(e)
		fi
	}
retires: skip;
	atomic { retire(e) };

done:	goto end
}

/* updateIntent, whoever calls it */
proctype announce(byte e) {
	bool up, late;

end:	do
	:: atomic { isWanted[e] && !up && !STOPPED(e) -> up = true };
		announced[e] = true
	:: atomic { !isWanted[e] && up && !MUT_KEEP_INTENT && !STOPPED(e) -> up = false };
		if
		:: announced[e] = false
		:: MUT_LATE_WITHDRAWAL -> late = true
		fi
	:: late -> atomic { announced[e] = false; late = false }	/* MUT_LATE_WITHDRAWAL */
	od
}

/* Another process, with only a descriptor that it opens each time. */
proctype foreigner() {
end:	do
	:: FAIR && !stopping
	:: atomic {
		!stopping;
		if
		:: FOREIGN != 1 -> blockShared[FOREIGNER] = true
		:: FOREIGN != 2
		fi;
		inBlock[FOREIGNER] = true
	   };
		atomic {
			MAYTAKE(FOREIGNER, blockShared[FOREIGNER]);
			takes(FOREIGNER, blockShared[FOREIGNER]);
			inBlock[FOREIGNER] = false;
			if
			:: blockShared[FOREIGNER] -> heldShared++
			:: else -> heldExclusive++
			fi;
			assert(heldExclusive == 0 || (heldExclusive == 1 && heldShared == 0))
		}
		do
		:: KEEPS && blockShared[FOREIGNER] && !stopping
		:: atomic {
			if
			:: blockShared[FOREIGNER] -> heldShared--
			:: else -> heldExclusive--
			fi;
			grip[FOREIGNER] = none;
			blockShared[FOREIGNER] = false
		   };
			break
		od
	od
}

/* Close of Lock 0, at any time. */
proctype closer() {
end:	do
	:: FAIR && !stopping
	:: atomic {
		!stopping;
		closed[0] = true;
		turnAway(0);
		if
		:: !MUT_CLOSE_FORGETS -> headChangedLocked(0)
		:: MUT_CLOSE_FORGETS
		fi;
		retire(0);
		break
	   }
	od
}

/* WaitDrained, one at a time, as in engine.pml. */
proctype drainWaiter() {
end:	do
	:: FAIR && !stopping
	:: atomic { !stopping && opened[0] && DRAINING(0) -> drained = true; drainWaits = true };
		goto drainsOn
	od;

drainsOn: atomic { !drained -> drainWaits = false };
	atomic {
		if
		:: DRAINING(0) -> drained = true; drainWaits = true; goto drainsOn
		:: else -> goto end
		fi
	}
}

/* Process 1 is stopped while it waits for the kernel, once, for any time or forever. */
proctype stopper() {
end:	atomic { turn[1] == turnParked && !stopping -> stopped = true };
	do
	:: FAIR && !stopping
	:: stopped = false; break
	od
}

/* What holds between any two steps. */
proctype always(byte e) {
end:	atomic {
		(members[e] > 0) != (turn[e] == turnShared) ||
		(turn[e] == turnShared && !closing[e] && SHAREDHEAD(e)) ||
		(closing[e] && turn[e] != turnShared) ||
		(turn[e] == turnFree && len(queue[e]) > 0) ||
		(turn[e] == turnShared && grip[activeFile[e]] != shared) ||
		(e == 0 && drained && !DRAINING(0) && turn[0] != turnParked && turn[0] != turnTaken);
		must(false)
	}
}

init {
	atomic {
		c_code {
			broken = getenv("BROKEN") ? atoi(getenv("BROKEN")) : 0;
			exclusionOnly = getenv("EXCLUSION_ONLY") != 0;
		};
		do
		:: n < 2 ->
			turn[n] = turnFree;
			activeFile[n] = FDS * n;
			opened[n] = true;
			n++
		:: else -> n = 0; break
		od;
		do
		:: n <= FOREIGNER -> grip[n] = none; n++
		:: else -> n = 0; break
		od;
		do
		:: n < GOROUTINES -> stage[n] = idle; run goroutine(n); n++
		:: else -> n = 0; break
		od;
		do
		:: n < (G1 > 0 -> FOREIGNER : FDS) -> run thread(n / FDS, n); n++
		:: else -> n = 0; break
		od;
		if :: !FAIR -> run always(0); run always(1) :: else fi;
		if :: INTENT -> run announce(0); run announce(1) :: else fi;
		if :: FOREIGN -> run foreigner() :: else fi;
		if :: CLOSES -> run closer() :: else fi;
		if :: DRAINS -> run drainWaiter() :: else fi;
		if :: STOPS -> run stopper() :: else fi
	}
end:	!FAIR;
	stopping = true;

	/* When nothing moves any more, all operations have ended and nothing is left. */
	atomic {
		timeout;
		do
		:: n < GOROUTINES -> must(stage[n] == idle && len(ready[n]) == 0 && !member[n]); n++
		:: else -> n = 0; break
		od;
		do
		:: n < 2 ->
			must(turn[n] == turnFree && len(queue[n]) == 0 && hold[n] == 0 && whose[n] == 0);
			must(members[n] == 0 && !closing[n] && orphan[n] == 0 && !unlocking[n] && !opening[n] && !yielding[n] && !isWanted[n]);
			must(opened[n] == USED(n) && len(line[n]) == 0 && !announced[n]);
			n++
		:: else -> n = 0; break
		od;
		do
		:: n <= FOREIGNER -> must(grip[n] == none && !inBlock[n]); n++
		:: else -> n = 0; break
		od;
		must(!drained && !drainWaits && heldShared == 0 && heldExclusive == 0)
	}
}

/*
 * What must happen eventually, under weak fairness. Goroutine 0, being PATIENT, stands for
 * all that are not cancelled.
 */
ltl noneForgotten {
	[] (stage[0] == waits -> <> (stage[0] == holds || (stage[0] == idle && closed[LOCK(0)])))
}

/* No process keeps the kernel's lock, unless its holds overlap without end: this is for
   configurations with one goroutine that acquires shared, as is the next. */
ltl releases {
	[] <> (grip[0] == none && grip[1] == none)
}

/* Each orphaned wait ends or is adopted, though there may be a next one by then. */
#define ALONE	(turn[0] == turnParked && len(queue[0]) == 0)

ltl drains {
	([] (ALONE -> <> !ALONE)) && ([] (drainWaits -> <> !drainWaits)) &&
	([] (orphan[0] == 1 -> <> (orphan[0] != 1))) && ([] (orphan[0] == 2 -> <> (orphan[0] != 2)))
}

package packlock

import "time"

// fairness is how one process shares the kernel's lock with others. It owns the
// times that this takes and is told the clock, so there is no kernel, no mutex
// and no goroutine in it. It belongs to the owner of its entry's turn.
//
// flock(2) grants the lock to the first process that tries it after an unlock. The
// process that unlocks is always faster than one that must be woken: it barges in, and
// the others starve. So:
//
//   - A rival is another process that held the lock when we tried it, within the
//     last rivalMemory.
//   - We keep the lock no longer than a slice: the first release after its end unlocks
//     it. Only if there is a rival do we yield then: the next acquire pauses before it
//     tries the lock, so that a waiter elsewhere has the time to wake and take it.
//   - With many waiters, the one that the kernel woke may run late and be requeued last.
//     So an acquire that yielded after a long hold and got the lock nevertheless reoffers
//     it: it unlocks it for another pause, up to reofferLimit times.
//   - Without a rival, we yield once in probeTime, to find out. We do not even do that
//     while the lock is released so often that a waiter slips in anyway.
//   - If the lock has been free for a moment, others had their chance.
//   - TryAcquire must not wait and never yields. Nor does a poller, whose tries
//     are far apart as it is.
//   - Where holds are short, an acquire that finds the lock held spins: it tries a few
//     times more before it parks.
type fairness struct {
	// lockedAt is when the kernel's lock was last taken: the start of the slice.
	lockedAt int64

	// handOvers is how often the lock was handed over since.
	handOvers int

	// changedAt is when the lock was last taken, handed over or, with trackRelease,
	// released.
	changedAt int64

	// lastIrregularAt is when the lock was last taken more than yieldPause after the
	// time before.
	lastIrregularAt int64

	// trackRelease is set while yielding needs to know when the lock is released, for
	// which the clock must be read.
	trackRelease bool

	// yieldedAt is when other processes last had their chance at the lock.
	yieldedAt int64

	// rivalAt is when another process was last seen to hold the lock.
	rivalAt int64

	// reoffers is set if the lock may be reoffered at all. On a network, to release the
	// lock and acquire it again takes as long as a hold.
	reoffers bool

	// reofferLimit is how often the lock is reoffered to rivals that did not take it
	// in the first pause. It grows, up to maxReoffers, each time the lock is found held
	// and each time a wait for it ends, and is halved when no rival took it: rivals may
	// be known, but not wait.
	reofferLimit int
}

const (
	// A hand-over keeps the kernel's lock, and other processes out, for no
	// system call and about a tenth of the time that unlocking and locking
	// takes. The slice bounds how long they are kept out, and is long enough
	// that the bound costs next to nothing: 256 hand-overs of an empty section
	// take some 100 µs, and unlocking and locking 1 or 2 µs.
	sliceTime      = time.Millisecond
	sliceHandOvers = 256

	// A woken thread needs some 20 to 50 µs until it runs; a pause takes that
	// long and what the kernel adds to a sleep, on Linux another 50 µs. A shorter
	// one lets no waiter in; during a longer one the lock lies idle.
	yieldPause = 30 * time.Microsecond

	// To park and be woken takes some 40 µs. If the last hold of this process was
	// shorter than shortHold, those of others may be, too: an acquire tries up to
	// maxSpins times more before it parks, and for no longer than shortHold. Where a
	// call takes much longer, as on a network, that is once at most.
	shortHold = 10 * time.Microsecond
	maxSpins  = 12

	// After a hold of longHold, a lock that is reoffered again and again is idle for a
	// small part of the time. After shorter ones it would be for a large one, and
	// for nothing: each of the many unlocks of a slice has woken a waiter, and put it
	// at the end of the line, so that there is no order left to keep.
	// A slice of several holds is followed by the next one soon, and then the lock is
	// reoffered a quarter as often, or it would be idle for a sixth of the time.
	longHold    = sliceTime / 4
	maxReoffers = 64
	reofferTime = 8 * sliceTime

	// How long a process that was seen to compete counts as a rival.
	rivalMemory = time.Second

	// Without a known rival we yield once in probeTime, at the price of less than a
	// hundredth of the time. While the lock has, for a sliceTime, been taken again, and
	// so released, within yieldPause each time, not even that: a waiter is woken as
	// often, and soon gets it.
	probeTime = 10 * time.Millisecond
)

// newFairness returns that of a lock that no process is known to have held, at time t.
// Whether it may be reoffered is for the file system to say.
func newFairness(t int64, reoffers bool) fairness {
	long := t - int64(rivalMemory)
	return fairness{
		lockedAt:        long - int64(shortHold),
		changedAt:       long,
		lastIrregularAt: long,
		trackRelease:    true,
		rivalAt:         long,
		reoffers:        reoffers,
	}
}

// rival reports whether another process is known to compete at time t.
func (f *fairness) rival(t int64) bool { return t-f.rivalAt < int64(rivalMemory) }

// shouldYield reports whether an acquire that is about to try the lock at time t should
// pause first, for yieldPause. It needs trackRelease. mayPause is false for an acquire
// that must not wait. announced is set if rivals would announce that they wait: a pause is
// for those that do not, and once in probeTime is enough.
func (f *fairness) shouldYield(t int64, mayPause, announced bool) bool {
	if t-f.changedAt > int64(yieldPause) { // free all the while
		f.yieldedAt = t
		return false
	}
	since := time.Duration(t - f.yieldedAt)
	if f.rival(t) && !announced {
		return mayPause && since >= sliceTime
	}
	return mayPause && since >= probeTime
}

// shouldReoffer reports whether an acquire that yielded and got the lock nevertheless, at
// time t, unlocks it for another pause, having done that n times, for took nanoseconds. On a
// host that wakes its threads late, a pause takes long as well, so the limit is in time
// and not in pauses alone.
func (f *fairness) shouldReoffer(n int, took, t int64) bool {
	most, limit := maxReoffers, reofferTime
	if f.handOvers > 0 {
		most, limit = maxReoffers/4, reofferTime/4
	}
	return f.reoffers && n < min(f.reofferLimit, most) && took < int64(limit) && f.rival(t) &&
		f.changedAt-f.lockedAt >= int64(longHold)
}

// reofferFailed notes that no rival took the lock, which was reoffered n times, by
// time t.
func (f *fairness) reofferFailed(n int, t int64) {
	f.yieldedAt = t
	if n > 0 {
		f.reofferLimit /= 2
	}
}

// yielded notes that other processes had their chance until time t.
func (f *fairness) yielded(t int64) { f.yieldedAt = t }

// sawRival notes that another process held the lock at time t.
func (f *fairness) sawRival(t int64) {
	if !f.rival(t) {
		f.reofferLimit = 0 // it grew with others
	}
	f.rivalAt = t
	f.reofferLimit = min(2*f.reofferLimit+1, maxReoffers)
}

// shouldSpin reports whether an acquire that found the lock held tries once more before
// it parks, having done that n times already, for took nanoseconds. If it gets the
// lock, that was no chance for the others: some may be parked.
func (f *fairness) shouldSpin(n int, took int64) bool {
	return f.trackRelease && f.changedAt-f.lockedAt < int64(shortHold) &&
		n < maxSpins && took < int64(shortHold)
}

// startSlice begins a slice: the kernel's lock was taken at time t.
func (f *fairness) startSlice(t int64) {
	rival := f.rival(t)
	if t-f.lockedAt > int64(yieldPause) {
		if !f.trackRelease && !rival {
			// It was held or free for long, and which is not known. It may have been
			// free, and for the next acquire it will be known.
			f.yieldedAt = t
		}
		f.lastIrregularAt = t
	}
	// A process that has taken the lock again within yieldPause for a sliceTime is
	// likely to go on like this. It need not yield, nor know when it releases: to read
	// the clock would take a fortieth of such a cycle. (A sliceTime is less than
	// probeTime, or each pause would be the reason for the next.) With a rival about,
	// every cycle counts.
	f.trackRelease = rival || t-f.lastIrregularAt < int64(sliceTime)
	f.lockedAt = t
	f.changedAt = t
	f.handOvers = 0
}

// startSliceAfterWait begins a slice at time t, when another process released the lock.
func (f *fairness) startSliceAfterWait(t int64) {
	f.rivalAt = t // all the while: it is no new one, however long the wait was
	f.sawRival(t)
	f.yieldedAt = t
	f.startSlice(t)
}

// tryHandOver counts a hand-over at time t and reports whether it is within the slice.
// If not, the lock must be unlocked.
func (f *fairness) tryHandOver(t int64) bool {
	f.changedAt = t
	f.handOvers++
	return f.handOvers <= sliceHandOvers && t-f.lockedAt < int64(sliceTime)
}

// released notes, with trackRelease, that the kernel's lock was released at time t. Other
// processes had no chance before.
func (f *fairness) released(t int64) { f.changedAt = t }

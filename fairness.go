package packlock

import "time"

// fairness is how one process shares the kernel's lock with others. It owns the
// times that this takes and is told the clock, so there is no kernel, no mutex
// and no goroutine in it. It belongs to whoever has the turn of its entry.
//
// flock(2) gives the lock to whoever asks first after an unlock. The one who
// unlocks is always faster than the one who has to be woken: it barges in, and
// the others starve. So:
//
//   - A rival is another process that had the lock when we asked, within the
//     last rivalMemory.
//   - While there is a rival, we keep the lock no longer than a slice. At its end
//     we step aside: whoever is about to ask for the lock again pauses first, so
//     that a waiter elsewhere has the time to wake and take it.
//   - A waiter may be late, the more so the more there are, and who comes late goes
//     to the end of the kernel's line. So who stepped aside after a long hold and got
//     the lock all the same lets it go for another pause, as long as it has patience.
//   - While there is none, we offer the lock once in probeTime, to find out. We do
//     not even do that while the lock is let go so often that a waiter slips in
//     anyway.
//   - If the lock has been free for a moment, others had their chance.
//   - Who must not wait never pauses: TryAcquire. Nor does a poller, whose tries
//     are far apart as it is.
//   - Where holds are short, who finds the lock taken asks a few times more before
//     it parks.
type fairness struct {
	// lockedAt is when the kernel's lock was last taken: the start of the slice.
	lockedAt int64

	// handOvers is how often the lock was handed over since.
	handOvers int

	// changedAt is when the lock was last taken, handed over or, if timed, let go.
	changedAt int64

	// unevenAt is when the lock was last taken more than asideTime after the time
	// before.
	unevenAt int64

	// timed says that stepping aside needs to know when the lock is let go, for
	// which the clock has to be read.
	timed bool

	// sharedAt is when other processes last had their chance at the lock.
	sharedAt int64

	// rivalAt is when another process was last seen to have the lock.
	rivalAt int64

	// patience is how often the lock is offered again to rivals that did not take it
	// in the first pause. It grows, up to patienceMax, each time the lock is found taken
	// and each time a wait for it ends, and is halved when nobody came: rivals may be
	// known, but not wait.
	patience int
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
	// long and what the kernel adds to a sleep, on Linux another 50 µs. Shorter,
	// it lets nobody in; longer, the lock lies idle.
	asideTime = 30 * time.Microsecond

	// To park and be woken takes some 40 µs. Who last let go of the lock within
	// shortHold of taking it, and so may expect no worse of others, asks up to
	// tryAgainMax times more before it parks, and for no longer than shortHold:
	// where a call takes much longer, as on a network, once at most.
	shortHold   = 10 * time.Microsecond
	tryAgainMax = 12

	// After a hold of longHold, a lock that is offered again and again is idle for a
	// small part of the time. After shorter ones it would be for a large one, and
	// for nothing: each of the many unlocks of a slice has woken a waiter, and put it
	// at the end of the line, so that there is no order left to be kept.
	longHold    = sliceTime / 4
	patienceMax = 16

	// How long a process that was seen to compete is taken to do so.
	rivalMemory = time.Second

	// Where no other process is known to compete, the lock is offered once in
	// probeTime, at the price of less than a hundredth of the time. Once it has,
	// for a sliceTime, been taken anew, and so let go, within asideTime each time,
	// not even that: a waiter is woken as often, and soon in luck.
	probeTime = 10 * time.Millisecond
)

// newFairness returns that of a lock that nobody is known to have had, at time t.
func newFairness(t int64) fairness {
	long := t - int64(rivalMemory)
	return fairness{
		lockedAt:  long - int64(shortHold),
		changedAt: long,
		unevenAt:  long,
		timed:     true,
		rivalAt:   long,
	}
}

// rival reports whether another process is known to compete at time t.
func (f *fairness) rival(t int64) bool { return t-f.rivalAt < int64(rivalMemory) }

// stepsAside reports whether who is about to ask for the lock at time t is to
// pause first, for asideTime. It is asked only if timed. mayPause says that the
// caller may wait.
func (f *fairness) stepsAside(t int64, mayPause bool) bool {
	if t-f.changedAt > int64(asideTime) { // free all the while
		f.sharedAt = t
		return false
	}
	had := time.Duration(t - f.sharedAt)
	if f.rival(t) {
		return mayPause && had >= sliceTime
	}
	return mayPause && had >= probeTime
}

// offersAgain reports whether who stepped aside and got the lock all the same, at
// time t, lets it go for another pause, having done so n times, for took nanoseconds:
// where a pause takes as long as a slice, it does so twice at most.
func (f *fairness) offersAgain(n int, took, t int64) bool {
	return n < f.patience && took < 2*int64(sliceTime) && f.rival(t) && f.changedAt-f.lockedAt >= int64(longHold)
}

// offeredInVain notes that nobody took the lock, which was offered n times more, by
// time t.
func (f *fairness) offeredInVain(n int, t int64) {
	f.sharedAt = t
	if n > 0 {
		f.patience /= 2
	}
}

// shared notes that other processes had their chance until time t.
func (f *fairness) shared(t int64) { f.sharedAt = t }

// busy notes that another process had the lock at time t.
func (f *fairness) busy(t int64) {
	if !f.rival(t) {
		f.patience = 0 // that was with others
	}
	f.rivalAt = t
	f.patience = min(2*f.patience+1, patienceMax)
}

// asksAgain reports whether who found the lock taken asks once more before it
// parks, having asked so n times already, for took nanoseconds. That it gets the
// lock so is not a chance for the others: some may be parked.
func (f *fairness) asksAgain(n int, took int64) bool {
	return f.timed && f.changedAt-f.lockedAt < int64(shortHold) &&
		n < tryAgainMax && took < int64(shortHold)
}

// begin begins a slice: the kernel's lock was taken at time t.
func (f *fairness) begin(t int64) {
	rival := f.rival(t)
	if t-f.lockedAt > int64(asideTime) {
		if !f.timed && !rival {
			// It was held or free for long, nobody knows which. It may have been
			// free, and for the next one it will be known.
			f.sharedAt = t
		}
		f.unevenAt = t
	}
	// Who has taken it anew within asideTime for a sliceTime is likely to go on
	// so, and need not step aside, nor know when it lets go: to read the clock
	// would take a fortieth of such a cycle. (A sliceTime is less than probeTime,
	// or each pause would be the reason for the next.) With a rival about, every
	// cycle counts.
	f.timed = rival || t-f.unevenAt < int64(sliceTime)
	f.lockedAt = t
	f.changedAt = t
	f.handOvers = 0
}

// beginAfterWait begins a slice at time t, when another process let the lock go.
func (f *fairness) beginAfterWait(t int64) {
	f.rivalAt = t // all the while: it is no new one, however long the wait was
	f.busy(t)
	f.sharedAt = t
	f.begin(t)
}

// handsOver counts a hand-over at time t and reports whether it keeps within the
// slice. If not, the lock is to be let go.
func (f *fairness) handsOver(t int64) bool {
	f.changedAt = t
	f.handOvers++
	return f.handOvers <= sliceHandOvers && t-f.lockedAt < int64(sliceTime)
}

// letGo notes, if timed, that the kernel's lock was let go at time t. Only from
// then on had anybody else a chance.
func (f *fairness) letGo(t int64) { f.changedAt = t }

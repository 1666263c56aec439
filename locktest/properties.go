package locktest

import (
	"errors"
	"fmt"
	"os"
	"time"
)

// A property is something that a lock can have.
type property struct {
	name  string
	claim Claims // 0: what has it not is no lock
	of    kind   // whose it is

	// needs are the properties, earlier ones, without which this one says
	// nothing.
	needs []string

	do func(x *exam) (detail string, err error)
}

// kind is a set of what is tested.
type kind int

const (
	ofFileSystems kind = 1 << iota // by Check
	ofLocks                        // by Run and Test
	ofSharedLocks                  // a lock that is never acquired shared does without
)

// The names of those that others need.
const (
	nameLocks    = "locks"
	nameExcludes = "excludes"
	nameHandles  = "excludes handles"
	nameTries    = "try never waits"
	nameWakes    = "blocks and wakes"
	nameKill     = "released on kill"
	nameCancels  = "cancelled returns"
	nameTakes    = "cancelled takes nothing"
	nameLeaves   = "cancelled leaves nothing"
	nameContends = "excludes under contention"

	nameShares         = "shares"
	nameSharedExcludes = "shared excludes"
	nameSharedHandles  = "shared excludes handles"
	nameSharedWakes    = "shared blocks and wakes"
	nameTogether       = "readers get in together"
)

// properties are all there are, in the order in which they are examined.
var properties = []property{
	{nameLocks, 0, ofFileSystems | ofLocks, nil, locks},
	{"identity is stable", 0, ofFileSystems, []string{nameLocks}, identity},
	{nameExcludes, 0, ofFileSystems | ofLocks, []string{nameLocks}, excludes},
	{nameHandles, ExcludesHandles, ofLocks, []string{nameLocks}, excludesHandles},
	{nameTries, TryNeverWaits, ofFileSystems | ofLocks, []string{nameExcludes}, tries},
	{nameWakes, 0, ofFileSystems | ofLocks, []string{nameExcludes}, wakes},
	{"no polling", NoPolling, ofLocks, []string{nameExcludes}, polls},
	{"released on close", 0, ofFileSystems | ofLocks, []string{nameWakes}, releasedOnClose},
	{"released on exit", 0, ofFileSystems | ofLocks, []string{nameWakes}, releasedOnExit},
	{nameKill, 0, ofFileSystems | ofLocks, []string{nameWakes}, releasedOnKill},
	{"not inherited", NotInherited, ofFileSystems | ofLocks, []string{nameKill}, notInherited},
	{"handed to a child", HandsOver, ofFileSystems | ofLocks, []string{nameKill}, handedOn},
	{"second unlock is harmless", SecondUnlockIsHarmless, ofLocks, []string{nameExcludes}, secondUnlock},
	{"one lock by any path", OneLockByAnyPath, ofFileSystems | ofLocks, []string{nameExcludes}, anyPath},
	{nameCancels, Cancels, ofLocks, []string{nameExcludes}, cancelReturns},
	{nameTakes, Cancels, ofLocks, []string{nameCancels}, cancelTakesNothing},
	{nameLeaves, CancelLeavesNothing, ofLocks, []string{nameExcludes}, cancelLeavesNothing},
	{"no thread for each waiter", NoThreadPerWaiter, ofLocks, []string{nameExcludes}, noThreads},
	{"first come, first served", FirstComeFirstServed, ofLocks, []string{nameHandles, nameWakes}, inOrder},
	{"notices loss while idle", NoticesLoss, ofLocks, []string{nameExcludes}, lossWhileIdle},
	{"notices loss while held", NoticesLoss, ofLocks, []string{nameExcludes}, lossWhileHeld},
	{"notices loss while it waits", NoticesLoss, ofLocks, []string{nameWakes}, lossWhileWaiting},
	{"refuses odd files", RefusesOddFiles, ofLocks, []string{nameLocks}, refusesOddFiles},
	{nameContends, 0, ofLocks, []string{nameWakes}, contention},
	{nameShares, Shares, ofFileSystems | ofLocks | ofSharedLocks, []string{nameLocks}, shares},
	{nameSharedExcludes, 0, ofFileSystems | ofLocks | ofSharedLocks, []string{nameExcludes, nameShares}, sharedExcludes},
	{nameSharedHandles, ExcludesHandles, ofLocks | ofSharedLocks, []string{nameHandles, nameShares}, sharedHandles},
	{"try shared never waits", TryNeverWaits, ofFileSystems | ofLocks | ofSharedLocks, []string{nameTries, nameSharedExcludes, nameShares}, triesShared},
	{nameSharedWakes, 0, ofFileSystems | ofLocks | ofSharedLocks, []string{nameWakes, nameSharedExcludes, nameShares}, sharedWakes},
	{"shared released on kill", 0, ofFileSystems | ofLocks | ofSharedLocks, []string{nameKill, nameSharedWakes, nameShares}, sharedReleasedOnKill},
	{nameTogether, Shares, ofFileSystems | ofLocks | ofSharedLocks, []string{nameSharedWakes, nameShares}, together},
	{"cancelled among readers", Cancels, ofLocks | ofSharedLocks, []string{nameTakes, nameLeaves, nameTogether}, cancelAmongReaders},
	{"readers queue", ReadersQueue, ofLocks | ofSharedLocks, []string{nameSharedHandles}, readersQueue},
	{"readers queue for others", ReadersQueueForOthers, ofLocks | ofSharedLocks, []string{nameSharedWakes}, readersQueueForOthers},
	{"writers get in", WritersGetIn, ofLocks | ofSharedLocks, []string{nameSharedHandles}, writersGetIn},
	{"writers get in beside others", WritersGetInBesideOthers, ofLocks | ofSharedLocks, []string{nameSharedWakes}, writersGetInBesideOthers},
	{"upgrade keeps the lock", KeepsOnUpgrade, ofLocks | ofSharedLocks, []string{nameSharedExcludes}, upgrade},
	{"shared under contention", 0, ofLocks | ofSharedLocks, []string{nameContends, nameSharedWakes}, sharedContention},
}

// What the properties are made of.

// A handleOf is one Locker in a process, and how it is going to lock.
type handleOf struct {
	*process
	x      *exam
	n      int // its number there
	shared bool
}

// reader returns the same handle, which is going to lock shared, and writer one that is
// going to lock exclusively.

func (h handleOf) reader() handleOf {
	h.shared = true
	return h
}

func (h handleOf) writer() handleOf {
	h.shared = false
	return h
}

// start starts a process that opens the lock file at path.
func (x *exam) start(path string) (handleOf, error) {
	p, err := startProcess(x.ctx, x.role)
	if err != nil {
		return handleOf{}, err
	}
	x.processes = append(x.processes, p)
	return handleOf{p, x, 0, false}.another(path)
}

// another opens one more in the same process.
func (h handleOf) another(path string) (handleOf, error) {
	h.n++
	_, err := h.ask("open", order{Do: doOpen, Path: path})
	return h, err
}

// ask gives an order and waits for the answer.
func (h handleOf) ask(what string, o order) (answer, error) {
	o.Handle, o.Shared = h.n, h.shared
	c, err := h.tell(o)
	if err != nil {
		return answer{}, h.ended(what)
	}
	return h.await(h.x.ctx, what, c, h.x.bounds.answer)
}

// startHolder starts a process that has the lock of the file at path.
func (x *exam) startHolder(path string) (handleOf, error) {
	h, err := x.start(path)
	if err == nil {
		err = h.take()
	}
	return h, err
}

// startPair starts a process that has the lock and one that has it only open.
func (x *exam) startPair() (holder, other handleOf, err error) {
	if holder, err = x.startHolder(x.scratch); err == nil {
		other, err = x.start(x.scratch)
	}
	return holder, other, err
}

var errTaken = errors.New("a process took the lock while another had it")

// take takes the lock, which nobody has.
func (h handleOf) take() error {
	said, err := h.ask("trying the lock, which is free", order{Do: doTry})
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return h.lockFree(h.x.bounds.answer)
	case err != nil:
		return err
	case said.Busy:
		return errors.New("the lock is busy although it is free")
	}
	return nil
}

// lockFree takes the lock by waiting for it if need be, which somebody may be
// about to let go.
func (h handleOf) lockFree(bound time.Duration) error {
	return h.lock("waiting for the lock, which is free", bound)
}

func (h handleOf) lock(what string, bound time.Duration) error {
	c, err := h.tell(order{Do: doLock, Handle: h.n, Shared: h.shared})
	if err != nil {
		return h.ended("lock")
	}
	for {
		said, err := h.await(h.x.ctx, what, c, bound)
		if err != nil || !said.Waits {
			return err
		}
	}
}

// refused has h try the lock, which another has. Where there is no trying, h
// waits for it afterwards, for good.
func (h handleOf) refused() error {
	said, err := h.ask("trying the lock, which another has", order{Do: doTry})
	if errors.Is(err, errors.ErrUnsupported) {
		w, err := h.park()
		if err != nil {
			return err
		}
		return w.stays(100 * time.Millisecond)
	}
	if err == nil && !said.Busy {
		err = errTaken
	}
	return err
}

func (h handleOf) unlock() (answer, error) { return h.ask("unlock", order{Do: doUnlock}) }

// A waiter is a handle that waits for the lock.
type waiter struct {
	handleOf
	c <-chan answer
}

// park has h wait for the lock, which another has.
func (h handleOf) park() (waiter, error) {
	c, err := h.tell(order{Do: doLock, Handle: h.n, Shared: h.shared})
	if err != nil {
		return waiter{}, h.ended("lock")
	}
	said, err := h.await(h.x.ctx, "beginning to wait for the lock", c, h.x.bounds.answer)
	if err == nil && !said.Waits {
		err = errTaken
	}
	w := waiter{h, c}
	if err != nil {
		return w, err
	}
	// It is about to call the kernel, and nothing tells when it has.
	return w, w.stays(5 * time.Millisecond)
}

// stays returns errTaken if w has the lock within that time.
func (w waiter) stays(d time.Duration) error {
	_, err := w.await(w.x.ctx, "", w.c, d)
	switch {
	case errors.As(err, new(hang)):
		return nil
	case err == nil:
		return errTaken
	}
	return err
}

// woken waits until w has the lock, and returns how long after it was let go.
func (w waiter) woken(free time.Time) (time.Duration, error) {
	said, err := w.await(w.x.ctx, "waiting for the lock, which is free", w.c, w.x.bounds.wake)
	if err != nil {
		return 0, fmt.Errorf("a process that waited did not get the lock when it was free: %w", err)
	}
	took := max(0, said.At.Sub(free)) // the clock may have been set
	w.x.latencies = append(w.x.latencies, took)
	return took, nil
}

// rounded returns d with as many digits as mean anything.
func rounded(d time.Duration) time.Duration {
	switch {
	case d < time.Millisecond:
		return d.Round(time.Microsecond)
	case d < time.Second:
		return d.Round(100 * time.Microsecond)
	}
	return d.Round(100 * time.Millisecond)
}

// sameFile reports whether the file at path is that of info.
func sameFile(path string, info os.FileInfo) (bool, error) {
	there, err := os.Lstat(path)
	return err == nil && os.SameFile(info, there), err
}

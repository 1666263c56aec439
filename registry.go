package packlock

import (
	"io/fs"
	"sync"
	"sync/atomic"
)

// process is the registry of this process.
var process = newRegistry(osKernel{})

// registry is the process-wide table of sidecars. It is keyed by the identity
// of the open file and not by its path, so that whoever opens the same file, by
// whatever name, meets at the same entry.
//
// Lock order: registry.mu, then entry.mu; two entries at once only under
// registry.mu.
type registry struct {
	kernel  kernel
	threads threadCap
	waiters sync.Pool // of *waiter, none of them queued

	mu sync.Mutex // guards the following
	// entries holds every entry whose file stays open. Its file being open, an
	// entry's identity is not another file's.
	entries map[fileID]*entry
}

func newRegistry(k kernel) *registry {
	r := &registry{kernel: k, entries: make(map[fileID]*entry)}
	r.waiters.New = func() any { return new(waiter) }
	return r
}

// attach opens the sidecar of l and makes its entry that of l.
func (r *registry) attach(l *lock) error {
	l.looked.Store(now())
	f, err := r.kernel.open(l.path)
	if err != nil {
		return err
	}
	r.mu.Lock()
	e := r.entryLocked(f)
	e.mu.Lock()
	e.locks[l] = struct{}{}
	l.entry.Store(e)
	e.mu.Unlock()
	r.mu.Unlock()
	if e.file != f {
		f.close()
	}
	return nil
}

// entryLocked returns the entry of the file that f has open: f's own if there
// was none.
func (r *registry) entryLocked(f file) *entry {
	e := r.entries[f.id()]
	if e == nil {
		e = newEntry(r, f)
		r.entries[e.id] = e
	}
	return e
}

// relocate finds the entry of the file that is at the path of a now, the one of
// from having been lost, and moves there whatever came to from by that path: the
// Lock of a, those that share its path, and their waiters in their order. The
// caller, a, has the turn of from, with nothing locked, and keeps it.
//
// If nobody has the turn of the new entry, a gets it. Otherwise its waiter, if it
// has one, is queued there, ahead of those who had waited behind it. Whoever has
// the lock of the new file already gets ErrReentrant.
func (r *registry) relocate(from *entry, a *acquisition) (to *entry, turn bool, err error) {
	l := a.lock
	looked := now()
	f, err := r.kernel.open(l.path)
	if err != nil {
		return nil, false, err
	}

	r.mu.Lock()
	from.mu.Lock()
	if l.closed {
		from.mu.Unlock()
		r.mu.Unlock()
		f.close()
		return nil, false, fs.ErrClosed
	}
	to = r.entryLocked(f)
	if to == from { // renamed away and back again
		from.mu.Unlock()
		r.mu.Unlock()
		f.close()
		return from, true, nil
	}

	to.mu.Lock()
	if !from.dead {
		to.counts.reopened.Add(1)
	}
	for moving := range from.locks {
		if moving.path == l.path {
			delete(from.locks, moving)
			to.locks[moving] = struct{}{}
			moving.entry.Store(to)
			moving.looked.Store(looked)
		}
	}
	if len(from.locks) == 0 {
		to.counts.add(&from.counts)
	}
	if to.turn == turnFree {
		to.takeLocked(a.hold, a.caller)
		turn = true
	} else if to.heldByLocked(a.caller, a.marks) {
		err = ErrReentrant
	} else if a.waiter != nil {
		to.enqueueLocked(a.waiter)
	}
	var refused []*waiter
	for _, behind := range from.queue.removeFunc(func(w *waiter) bool { return w.lock.path == l.path }) {
		if to.heldByLocked(behind.owner, behind.marks) {
			refused = append(refused, behind)
		} else {
			to.enqueueLocked(behind)
		}
	}
	to.mu.Unlock()
	from.mu.Unlock()
	r.mu.Unlock()
	for _, w := range refused {
		w.err = ErrReentrant
		w.deliver(failed)
	}
	if to.file != f {
		f.close()
	}
	return to, turn, err
}

// retire closes the file of e and forgets e, if nobody uses it any more.
func (r *registry) retire(e *entry) {
	r.mu.Lock()
	e.mu.Lock()
	retired := r.retireLocked(e)
	e.mu.Unlock()
	r.mu.Unlock()
	if retired {
		e.file.close()
	}
}

// retireLocked is the part of retire under the registry's mu and the entry's;
// it reports whether the caller is to close the file.
func (r *registry) retireLocked(e *entry) bool {
	if !e.unusedLocked() {
		return false
	}
	e.closed = true
	if r.entries[e.id] == e {
		delete(r.entries, e.id)
	}
	return true
}

// bury makes e dead, because its file would not unlock: the file is closed,
// which lets the lock go, and whoever comes by e finds its sidecar lost and
// opens it anew. The caller has the turn.
func (r *registry) bury(e *entry) {
	r.mu.Lock()
	e.mu.Lock()
	e.dead = true
	// A pin may put off the closing, but nobody is to find e from now on.
	delete(r.entries, e.id)
	e.mu.Unlock()
	r.mu.Unlock()
	r.retire(e)
}

// close is Lock.Close.
func (l *lock) close() error {
	r := l.reg
	r.mu.Lock() // and so l.entry cannot change
	e := l.entry.Load()
	e.mu.Lock()
	if l.closed {
		e.mu.Unlock()
		r.mu.Unlock()
		return &fs.PathError{Op: "close", Path: l.path, Err: fs.ErrClosed}
	}
	l.closed = true
	delete(e.locks, l)
	turnedAway := e.queue.removeFunc(func(w *waiter) bool { return w.lock == l })
	e.abandonLocked()
	retired := r.retireLocked(e)
	e.mu.Unlock()
	r.mu.Unlock()

	for _, w := range turnedAway {
		w.err = fs.ErrClosed
		w.deliver(failed)
	}
	if retired {
		if err := e.file.close(); err != nil {
			return &fs.PathError{Op: "close", Path: l.path, Err: err}
		}
	}
	return nil
}

// maxParked bounds the threads of this process that are parked in the kernel.
// It is far below the 10,000 threads at which the Go runtime gives up, and
// beyond what a process that waits for its packs one after another comes to.
const maxParked = 512

// threadCap counts the parked threads.
type threadCap struct{ n atomic.Int32 }

// take reports whether there is room for one more, and counts it.
func (t *threadCap) take() bool {
	if t.n.Add(1) <= maxParked {
		return true
	}
	t.n.Add(-1)
	return false
}

func (t *threadCap) give() { t.n.Add(-1) }

package torture

import (
	"errors"
	"io/fs"
	"os"
	"sync"
	"time"

	"packlock"
)

// A flaw makes the lock a broken one, or the process that uses it, to see
// whether it is found. The zero flaw is none.
type flaw struct {
	Kind  string
	Blind map[string]bool // without these witnesses
}

const (
	flawBarge      = "barge"      // enters the section without the lock
	flawStale      = "stale"      // does not look whether the locked file is the one at the path
	flawDeaf       = "deaf"       // waits for a file whether or not it is still at the path
	flawHang       = "hang"       // waits and is never woken
	flawExit       = "exit"       // ends
	flawMiscount   = "miscount"   // reports a section that there was not
	flawDescriptor = "descriptor" // leaves a file open
	flawGoroutine  = "goroutine"  // leaves a goroutine

	flawBargeShared = "barge shared" // enters the section as a reader without the lock
	flawStaleShared = "stale shared" // as flawStale, but shared
	flawLostGroup   = "lost group"   // joins readers of a file that was lost long before
	flawLone        = "lone"         // has every reader acquire exclusively
	flawMeek        = "meek"         // has a writer acquire shared
	flawMisread     = "misread"      // reports a shared section that there was not
	flawAnnounced   = "announced"    // leaves a writer announced
)

// left is what flawDescriptor and flawAnnounced leave open.
var left struct {
	mu    sync.Mutex
	files []*os.File
}

// stale is the lock of flawStale.
var stale struct {
	mu   sync.Mutex
	lock *rawLock
}

func (f flaw) install(w *worker) (err error) {
	if f.Kind == flawStale || f.Kind == flawStaleShared {
		stale.lock, err = openRaw(w.site.sidecar(packFiled))
	}
	return err
}

// really returns how an acquire of the given kind is made.
func (f flaw) really(k kind) kind {
	if f.Kind == flawLone {
		return exclusive
	}
	return k
}

// acquire acquires by one of the Locks of a pack, with the flaw.
func (f flaw) acquire(h *hand, p int, k kind) (*packlock.Hold, error) {
	if f.Kind != "" && h.oneIn(200) {
		switch f.Kind {
		case flawBarge:
			h.pass(p, nil, exclusive)
		case flawBargeShared:
			h.pass(p, nil, shared)
		case flawMeek:
			hold, err := h.lock(p).AcquireShared(background)
			if h.outcome(background, p, err, granted) == granted {
				h.pass(p, hold, exclusive)
				h.release(hold)
			}
		case flawStale:
			stale.mu.Lock()
			if err := stale.lock.lock(); err != nil {
				return nil, err
			}
			h.pass(packFiled, nil, exclusive)
			stale.lock.unlock()
			stale.mu.Unlock()
		case flawStaleShared:
			stale.mu.Lock()
			if err := stale.lock.lockShared(); err != nil {
				return nil, err
			}
			h.pass(packFiled, nil, shared)
			stale.lock.unlock()
			stale.mu.Unlock()
		case flawLostGroup:
			if err := f.joinLost(h); err != nil {
				return nil, err
			}
		case flawDeaf:
			if err := waitDeaf(h.site.sidecar(packLost)); err != nil {
				return nil, err
			}
		case flawHang:
			select {}
		case flawExit:
			os.Exit(0)
		case flawMiscount:
			h.notes[p].done++
		case flawMisread:
			h.notes[p].read++
		case flawDescriptor:
			file, err := os.Open(h.site.counter(p, 0))
			if err != nil {
				return nil, err
			}
			keep(file)
		case flawAnnounced:
			file, err := announce(h.site.sidecar(packStill))
			if err != nil {
				return nil, err
			}
			keep(file)
		case flawGoroutine:
			go func() { select {} }()
		}
	}
	return h.acquireBy(background, h.lock(p), k)
}

// joinLost keeps a shared hold of packLost until its file is lost. Then it goes through the
// section with it, as if it had acquired it at that moment.
func (f flaw) joinLost(h *hand) error {
	hold, err := h.lock(packLost).AcquireShared(background)
	if h.outcome(background, packLost, err, granted) != granted {
		return err
	}
	for left := newPatience(time.Second); hold.Check() == nil && !left.over(); {
		time.Sleep(10 * time.Millisecond)
	}
	time.Sleep(200 * time.Millisecond)
	h.begin(acquiring)
	h.pass(packLost, hold, shared)
	h.release(hold)
	return nil
}

// keep leaves the file open.
func keep(file *os.File) {
	left.mu.Lock()
	defer left.mu.Unlock()
	left.files = append(left.files, file)
}

// waitDeaf waits for the lock of the sidecar that was at path a moment ago.
func waitDeaf(path string) error {
	l, err := openRaw(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer l.close()
	time.Sleep(10 * time.Millisecond)
	return l.lock()
}

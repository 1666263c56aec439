package torture

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"packlock"
)

// An assignment is what a worker is told first.
type assignment struct {
	Dir, Packs    string
	Seed          uint64
	Process, Life int // which of the processes; how many times it was killed before
	Processes     int // that are alive at a time
	Goroutines    int
	Patience      time.Duration
	Prompt        bool // see terrain
	Unshared      bool // see terrain
	Flaw          flaw
}

// Orders. Each is answered by a report when it was carried out, except for
// work, which lasts until the next.
const (
	orderWork  = "work"
	orderRest  = "rest"
	orderCheck = "check"
)

// A report is what a worker says.
type report struct {
	Order     string // carried out
	Violation string // instead: what was seen
	Dump      string // and what the goroutines were doing then
	Failure   string // instead: why this cannot go on, through no fault of the lock
}

// A worker is a process that is tortured.
type worker struct {
	assignment
	site     site
	board    *board
	sections [packs]*section
	hands    []*hand
	level    census // at rest

	// locks are several for each pack, by different paths. The first stays open
	// for good, so that the Stats do. The others are closed now and then, and
	// opened anew.
	locks [packs][]*atomic.Pointer[packlock.Lock]
	ways  [packs][]way // by which they are opened

	// readers is how many of a hundred acquires of each pack are shared, until the next rest.
	readers [packs]int

	// What Stats has to say of packStill.
	granted, cancelled atomic.Uint64

	elsewhere chan detached // holds to be released by another goroutine
	stop      chan struct{}
	all       sync.WaitGroup

	mu     sync.Mutex // guards output and the tally on the board
	output *json.Encoder
}

// Work is the life of a process that Run starts. It ends when its standard
// input does.
func Work() {
	w := &worker{output: json.NewEncoder(os.Stdout)}
	w.failed(w.work())
}

func (w *worker) work() error {
	in := bufio.NewScanner(os.Stdin)
	if !in.Scan() {
		return fmt.Errorf("workers are started by another process, and not by hand: %w", in.Err())
	}
	if err := json.Unmarshal(in.Bytes(), &w.assignment); err != nil {
		return err
	}
	orders := make(chan string)
	go func() {
		for in.Scan() {
			orders <- in.Text()
		}
		os.Exit(1) // whoever started us is gone
	}()
	if err := w.open(); err != nil {
		return err
	}
	for {
		switch order := <-orders; order {
		case orderWork:
			w.start()
		case orderRest:
			close(w.stop)
			w.all.Wait()
			for _, s := range w.sections {
				s.forget()
			}
			w.say(report{Order: order})
		case orderCheck:
			w.check()
			w.say(report{Order: order})
		}
	}
}

func (w *worker) say(r report) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.output.Encode(r)
}

// violated reports what was seen and never returns: what there is to see now
// stays so.
func (w *worker) violated(format string, args ...any) {
	buf := make([]byte, 1<<20)
	w.say(report{
		Violation: fmt.Sprintf(format, args...),
		Dump:      string(buf[:runtime.Stack(buf, true)]),
	})
	select {}
}

// failed reports what is in the way and ends the process.
func (w *worker) failed(err error) {
	w.say(report{Failure: err.Error()})
	os.Exit(1)
}

func (w *worker) open() error {
	w.site = site{w.Dir, w.Packs}
	var err error
	if w.board, err = openBoard(w.Dir, w.Process, w.Life, w.Goroutines+1); err != nil {
		return err
	}
	for p := range packs {
		w.sections[p] = newSection(w.site, p, w.Patience, w.Flaw.Blind, seats(w.Processes, w.Goroutines))
		if _, err := w.sections[p].at(0); err != nil {
			return err
		}
		w.ways[p] = w.site.ways(p)
		for _, way := range w.ways[p] {
			l, err := way.openAtLast(p, w.Patience)
			if err != nil {
				return err
			}
			lock := new(atomic.Pointer[packlock.Lock])
			lock.Store(l)
			w.locks[p] = append(w.locks[p], lock)
		}
	}
	for i := range w.Goroutines + 1 { // the last releases what others acquired
		w.hands = append(w.hands, &hand{
			worker: w,
			scribe: scribe{board: w.board, index: i, seat: w.seat() + i},
			rng:    rand.New(rand.NewPCG(w.Seed, uint64(w.Process)<<48|uint64(w.Life)<<16|uint64(i))),
		})
	}
	if err := w.Flaw.install(w); err != nil {
		return err
	}
	// The goroutines and descriptors that the runtime needs are there from now
	// on.
	w.settle()
	w.level = takeCensus(w.Packs)
	return nil
}

// start has the hands work until stop is closed.
func (w *worker) start() {
	w.stop = make(chan struct{})
	w.elsewhere = make(chan detached)
	for p := range w.readers {
		w.readers[p] = []int{10, 50, 90, 98}[w.hands[0].rng.IntN(4)]
	}
	var hands sync.WaitGroup
	for _, h := range w.hands[:w.Goroutines] {
		hands.Go(h.work)
	}
	w.all.Go(w.hands[w.Goroutines].releaseOthers)
	w.all.Go(func() {
		hands.Wait()
		close(w.elsewhere)
	})
}

// check looks for what should not be there when nobody does anything.
func (w *worker) check() {
	ctx, cancel := withPatience(context.Background(), w.Patience)
	for p := range packs {
		// Acquired once each, the locks of a pack are all at the same file again.
		for i := range w.locks[p] {
			l := w.locks[p][i].Load()
			ways := []func(context.Context) (*packlock.Hold, error){l.Acquire, l.AcquireShared}
			if w.Unshared {
				ways = ways[:1]
			}
			for _, acquire := range ways {
				hold, err := acquire(ctx)
				if err != nil {
					w.violated("at rest: Acquire of %s: %v", l.Path(), err)
				}
				if err := hold.Check(); err != nil {
					w.violated("at rest: %v", err)
				}
				if err := hold.Release(); err != nil {
					w.violated("at rest: %v", err)
				}
				if p == packStill {
					w.granted.Add(1)
				}
			}
		}
	}
	for p := range packs {
		first := w.locks[p][0].Load()
		if err := first.WaitDrained(ctx); err != nil {
			w.violated("at rest: %v; %+v", err, first.Stats())
		}
		stats := first.Stats()
		switch {
		case stats.Waiting != 0 || stats.Parked || stats.Draining || stats.SharedHolds != 0:
			w.violated("at rest: a goroutine waits for %s, or holds it: %+v", first.Path(), stats)
		case stats.HandedOver > stats.Contended || stats.Contended > stats.Acquired || stats.Drained > stats.KernelWaits:
			w.violated("at rest: Stats of %s contradict themselves: %+v", first.Path(), stats)
		case p == packStill && (stats.Acquired != w.granted.Load() || stats.Cancelled != w.cancelled.Load()):
			w.violated("at rest: %d acquires were granted and %d cancelled, but Stats of %s are %+v",
				w.granted.Load(), w.cancelled.Load(), first.Path(), stats)
		}
		for i := range w.locks[p] {
			l := w.locks[p][i].Load()
			if other := l.Stats(); other != stats {
				w.violated("at rest: Stats of %s are %+v, of %s %+v", first.Path(), stats, l.Path(), other)
			}
		}
	}
	if err := w.tell(); err != nil {
		w.failed(err)
	}
	cancel()
	if now := w.settle(); !w.within(now) {
		w.violated("at rest: %+v, at the beginning %+v", now, w.level)
	}
}

// settle waits until goroutines have ended and what is unreachable is closed,
// as it is at the beginning if level is set, and returns what remains.
func (w *worker) settle() (now census) {
	for left := newPatience(w.Patience); ; time.Sleep(5 * time.Millisecond) {
		runtime.GC() // a Lock that was dropped is closed by its cleanup
		now = takeCensus(w.Packs)
		if w.level == (census{}) || w.within(now) || left.over() {
			return now
		}
	}
}

// tell puts the sums of Stats on the board.
func (w *worker) tell() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	var t tally
	for p := range packs {
		s := w.locks[p][0].Load().Stats()
		t[tallyKernelWaits] += s.KernelWaits
		t[tallyHandedOver] += s.HandedOver
		t[tallyAdopted] += s.Adopted
		t[tallyDrained] += s.Drained
		t[tallyReopened] += s.Reopened
	}
	return w.board.writeTally(t)
}

// within reports whether a census shows no more than there was at the beginning.
// Threads that the runtime once needed stay, idle: no more than there can be system
// calls at a time, one by each of the goroutines, two that are parked for each of the
// files there are of a pack, and what the runtime needs for itself. Of packLost there
// is a file for everybody who may hold one. A lock file may be open three times at rest: to lock
// it, to go past an orphaned wait, and for announcements.
func (w *worker) within(c census) bool {
	const runtimes = 16
	most := w.level.Threads + w.Goroutines + 2*(2*packs+w.Processes*w.Goroutines+maxHung) + runtimes
	return c.Goroutines <= w.level.Goroutines && c.Descriptors <= w.level.Descriptors &&
		c.LockFiles <= 3*packs && c.Locking == 0 && c.Threads <= most
}

// A way is one path to a sidecar.
type way struct {
	path    string
	file    bool // of the sidecar; else of the pack
	options []packlock.Option
}

func (w way) open() (*packlock.Lock, error) {
	if w.file {
		return packlock.OpenFile(w.path, w.options...)
	}
	return packlock.Open(w.path)
}

// openAtLast opens the way as soon as there is a pack at its end.
func (w way) openAtLast(p int, patience time.Duration) (*packlock.Lock, error) {
	for left := newPatience(patience); ; time.Sleep(time.Millisecond) {
		l, err := w.open()
		missing := errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrExist)
		if !missing || !vanishes(p) || left.over() {
			return l, err
		}
	}
}

// ways returns the ways to the sidecar of a pack.
func (s site) ways(p int) []way {
	pack := s.pack(p)
	ways := []way{
		{path: pack},
		{path: filepath.Join(pack, packlock.FileName), file: true},
		{path: pack + string(filepath.Separator) + ".." + string(filepath.Separator) + packNames[p]},
		{path: filepath.Join(pack, packlock.FileName), file: true, options: []packlock.Option{packlock.WithAnyFile()}},
	}
	for _, w := range []way{{path: s.link(p)}, {path: s.hardLink(p), file: true}} {
		if _, err := os.Lstat(w.path); err == nil {
			ways = append(ways, w)
		}
	}
	return ways
}

package locktest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"packlock/internal/goid"
)

// What a child does by itself. What it does is its reply in JSON.
const (
	scriptSleeps  = "counting how often it sleeps"
	scriptCancels = "beginning to wait and giving up"
	scriptWaits   = "waiting with many goroutines"
	scriptOrder   = "waiting in order"
	scriptContend = "contending"
	scriptRead    = "sharing the lock again and again"
)

func (l *life) script(o order) (json.RawMessage, error) {
	var reply any
	var err error
	var w waits
	var s stress
	var enough int64
	var r reading
	asked := map[string]any{scriptSleeps: &enough, scriptContend: &s, scriptRead: &r}[o.Path]
	if asked == nil {
		asked = &w
	}
	if err := json.Unmarshal(o.Script, asked); err != nil {
		return nil, err
	}
	switch o.Path {
	case scriptSleeps:
		reply, err = countSleeps(enough)
	case scriptCancels:
		reply, err = l.giveUp(w)
	case scriptWaits:
		reply, err = l.wait(w)
	case scriptOrder:
		reply, err = l.queue(w)
	case scriptContend:
		reply, err = l.contend(s)
	case scriptRead:
		return l.read(o.ID, r)
	default:
		err = fmt.Errorf("no script %q", o.Path)
	}
	if err != nil {
		return nil, err
	}
	return json.Marshal(reply)
}

// countSleeps returns how often this process went to sleep in the window of time
// in which it did so least, of those up to the first with no more than enough.
func countSleeps(enough int64) (least int64, err error) {
	for range sleepWindows {
		before, err := sleeps()
		if err != nil {
			return 0, err
		}
		time.Sleep(sleepWindow)
		after, err := sleeps()
		if err != nil {
			return 0, err
		}
		if n := after - before; least == 0 || n < least {
			least = n
		}
		if least <= enough {
			break
		}
	}
	return least, nil
}

// A census is how many there are in this process, or how many more than before.
type census struct {
	Threads    *int // nil: the system does not tell
	Files      *int
	Goroutines *int
}

func (c census) most() int {
	most := 0
	for _, n := range []*int{c.Threads, c.Files, c.Goroutines} {
		if n != nil {
			most = max(most, *n)
		}
	}
	return most
}

func (c census) String() string {
	said := fmt.Sprintf("goroutines %d", *c.Goroutines)
	if c.Threads != nil {
		said += fmt.Sprintf(", threads %d", *c.Threads)
	}
	if c.Files != nil {
		said += fmt.Sprintf(", files %d", *c.Files)
	}
	return said
}

func takeCensus() census {
	goroutines := runtime.NumGoroutine()
	return census{Threads: threads(), Files: files(), Goroutines: &goroutines}
}

func (c census) since(before census) census {
	minus := func(now, then *int) *int {
		if now == nil || then == nil {
			return nil
		}
		more := max(0, *now-*then)
		return &more
	}
	return census{minus(c.Threads, before.Threads), minus(c.Files, before.Files), minus(c.Goroutines, before.Goroutines)}
}

// atATime is how many goroutines begin to wait before the first of them are
// cancelled.
const atATime = 50

// giveUp begins to wait and gives up, and returns what is left of it.
func (l *life) giveUp(w waits) (census, error) {
	fewProcessors()
	before := takeCensus()
	for range w.Waits / atATime {
		var all sync.WaitGroup
		failed := make(chan error, atATime)
		ctx, cancel := context.WithCancel(context.Background())
		for range atATime {
			h, err := l.lib.Open(w.Path)
			if err != nil {
				cancel()
				return census{}, err
			}
			if !w.Cancel {
				go h.Lock(ctx)
				continue
			}
			all.Go(func() {
				err := h.Lock(ctx)
				if !errors.Is(err, context.Canceled) {
					failed <- fmt.Errorf("a cancelled Lock returned: %v", err)
				}
				if err := h.Close(); err != nil {
					failed <- err
				}
			})
		}
		time.Sleep(5 * time.Millisecond) // that most of them wait is enough
		cancel()
		all.Wait()
		select {
		case err := <-failed:
			return census{}, err
		default:
		}
	}
	return settled(before), nil
}

// fewProcessors keeps the runtime from having a thread for each of many
// processors, which would be taken for those of the waits.
func fewProcessors() { runtime.GOMAXPROCS(min(4, runtime.GOMAXPROCS(0))) }

// settled returns what there is more than before, when that gets no less.
func settled(before census) census {
	more := takeCensus().since(before)
	for range 20 {
		time.Sleep(10 * time.Millisecond)
		if now := takeCensus().since(before); now.most() <= more.most() {
			more = now
		}
	}
	return more
}

// wait has goroutines wait, and returns what there is more for it.
func (l *life) wait(w waits) (census, error) {
	fewProcessors()
	before := takeCensus()
	started := make(chan uint64)
	var ids []uint64
	for range w.Waits {
		h, err := l.lib.Open(w.Path)
		if err != nil {
			return census{}, err
		}
		go func() {
			started <- goid.Get()
			h.Lock(context.Background())
		}()
		ids = append(ids, <-started)
	}
	awaitBlocked(ids, nil)
	return takeCensus().since(before), nil
}

// queue has goroutines wait one after the other for a lock that is then let go
// and wanted again, and returns in which order they had it.
func (l *life) queue(w waits) (order []int, err error) {
	var all []Locker
	for range w.Waits + 1 {
		h, err := l.lib.Open(w.Path)
		if err != nil {
			return nil, err
		}
		defer h.Close()
		all = append(all, h)
	}
	first := all[0]
	if err := first.Lock(context.Background()); err != nil {
		return nil, err
	}
	var mu sync.Mutex
	have := func(n int, h Locker) error {
		err := h.Lock(context.Background())
		if err != nil {
			return err
		}
		mu.Lock()
		order = append(order, n)
		mu.Unlock()
		return h.Unlock()
	}
	failed := make(chan error, w.Waits)
	for i, h := range all[1:] {
		id, done := make(chan uint64, 1), make(chan struct{})
		go func() {
			defer close(done)
			id <- goid.Get()
			failed <- have(i+1, h)
		}()
		awaitBlocked([]uint64{<-id}, done)
	}
	if err := first.Unlock(); err != nil {
		return nil, err
	}
	if err := have(0, first); err != nil {
		return nil, err
	}
	for range w.Waits {
		if err := <-failed; err != nil {
			return nil, err
		}
	}
	return order, nil
}

// contendAtLeast is how often a process counts, however slow it is.
const contendAtLeast = 100

// contend counts for that long.
func (l *life) contend(s stress) (got strain, err error) {
	locker, err := l.lib.Open(s.Path)
	if err != nil {
		return got, err
	}
	h := &handle{Locker: locker}
	defer h.Close()
	f, err := os.OpenFile(s.Counter, os.O_WRONLY, 0)
	if err != nil {
		return got, err
	}
	defer f.Close()
	for end := time.Now().Add(s.For); got.Operations < contendAtLeast || time.Now().Before(end); got.Operations++ {
		reads := s.Readers && got.Operations%4 != 0
		asked := time.Now()
		if err := h.lock(context.Background(), reads); err != nil {
			return got, err
		}
		got.Worst = max(got.Worst, time.Since(asked))
		n, err := readCounter(s.Counter)
		if n := got.Operations % 8; n == 0 || reads && n == 1 {
			time.Sleep(time.Millisecond) // another that is not kept out has time to come in between
		}
		switch {
		case err != nil:
		case reads:
			var again int
			if again, err = readCounter(s.Counter); err == nil && again != n {
				err = fmt.Errorf("a reader saw %d change to %d", n, again)
			}
		default:
			got.Writes++
			_, err = f.WriteAt([]byte(counterText(n+1)), 0)
		}
		if err = errors.Join(err, h.Unlock()); err != nil {
			return got, err
		}
	}
	return got, nil
}

// reading is how many goroutines share the lock, over and over, for as long as this process
// lives.
type reading struct {
	Path    string
	Readers int
}

// read answers once when each of them has held the lock, and does not return.
func (l *life) read(id int, r reading) (json.RawMessage, error) {
	var holding atomic.Int32
	failed := make(chan error)
	var began sync.WaitGroup
	for range r.Readers {
		locker, err := l.lib.Open(r.Path)
		if err != nil {
			return nil, err
		}
		h := &handle{Locker: locker}
		began.Add(1)
		go func() {
			for i := 0; ; i++ {
				err := h.lock(context.Background(), true)
				if err == nil {
					if i == 0 {
						began.Done()
					}
					overlap(&holding)
					err = h.Unlock()
				}
				if err != nil {
					failed <- err
				}
			}
		}()
	}
	go func() {
		began.Wait()
		l.say(answer{ID: id, Waits: true})
	}()
	return nil, <-failed
}

// overlap returns when a reader has held the lock for a while, and holding counts another
// one. If none comes, it returns nevertheless. That is counted in sleeps and not in time,
// as a busy machine may stop all readers at once.
func overlap(holding *atomic.Int32) {
	holding.Add(1)
	time.Sleep(10*time.Millisecond + rand.N(20*time.Millisecond))
	for range 20 {
		if n := holding.Load(); n > 1 && holding.CompareAndSwap(n, n-1) {
			return
		}
		time.Sleep(time.Millisecond)
	}
	holding.Add(-1)
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"packlock"
	"packlock/internal/contend"
)

// The tasks of which a process does more and more.
const (
	taskServe    = "serve"
	taskPacks    = "packs"
	taskLate     = "late"
	taskParallel = "parallel"
)

// growRequest is what they are asked: N of what grows, in the lock file at Path, or
// in the packs in the directory Path, which are named by packPath.
type growRequest struct {
	Library string
	Path    string
	N       int

	First    int           // taskLate: that many wait before the others
	Duration time.Duration // taskParallel
}

func packPath(dir string, i int) string {
	return filepath.Join(dir, strconv.Itoa(i), packlock.FileName)
}

// makePacks makes the first n packs in dir.
func makePacks(dir string, n int) error {
	for i := range n {
		path := packPath(dir, i)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			return err
		}
		if err := os.WriteFile(path, nil, 0o666); err != nil {
			return err
		}
	}
	return nil
}

// decodeGrow returns what the request of a task asks for.
func decodeGrow(ask json.RawMessage) (l library, r growRequest, err error) {
	if err := json.Unmarshal(ask, &r); err != nil {
		return library{}, r, err
	}
	i := indexOf(r.Library)
	if i < 0 {
		return library{}, r, fmt.Errorf("no library %q", r.Library)
	}
	return libraries[i], r, nil
}

// waiters are goroutines that wait for locks.
type waiters struct {
	asking atomic.Int64
	begun  int64
	ended  chan error // of each, once it had its lock and let it go
}

// begin has one more goroutine wait for the lock that open opens. had, if not nil,
// is called when it has it.
func (w *waiters) begin(open func() (contend.Locker, error), had func()) {
	w.begun++
	go func() {
		l, err := open()
		w.asking.Add(1)
		if err != nil {
			w.ended <- err
			return
		}
		held, err := l.Lock(context.Background())
		if err == nil {
			if had != nil {
				had()
			}
			err = held.Release()
		}
		w.ended <- err
	}()
}

// settled waits until all wait and returns the usage of the process.
func (w *waiters) settled() (usage, error) {
	for w.asking.Load() < w.begun {
		time.Sleep(time.Millisecond)
	}
	u, err := measureUsage()
	if err != nil {
		return usage{}, err
	}
	select {
	case err := <-w.ended:
		return usage{}, fmt.Errorf("a wait ended: %v", err)
	default:
		return u, nil
	}
}

// await returns when all have had their lock.
func (w *waiters) await() error {
	for range w.begun {
		if err := <-w.ended; err != nil {
			return err
		}
	}
	return nil
}

// serveReply is what growingWaits replies with.
type serveReply struct {
	Added  usage         // by those who wait
	Served time.Duration // from the release until all have had the lock
}

// growingWaits is the task of a process in which N goroutines wait for one lock. It
// is another open file of the process that has it, which to the kernel is as good
// as another process.
func growingWaits(ask json.RawMessage) (any, error) {
	l, r, err := decodeGrow(ask)
	if err != nil {
		return nil, err
	}
	held, err := holdRaw(r.Path)
	if err != nil {
		return nil, err
	}
	open, err := l.opener(r.Path)
	if err != nil {
		return nil, err
	}
	before, err := baseline()
	if err != nil {
		return nil, err
	}
	w := &waiters{ended: make(chan error, r.N)}
	for range r.N {
		w.begin(open, nil)
	}
	after, err := w.settled()
	if err != nil {
		return nil, err
	}
	start := time.Now()
	if err := held.Release(); err != nil {
		return nil, err
	}
	if err := w.await(); err != nil {
		return nil, err
	}
	return serveReply{after.since(before), time.Since(start)}, nil
}

// packsReply is what growingPacks replies with. Times are of one of the packs.
type packsReply struct {
	Idle, Held                    usage // of all, beyond that before
	Open, Acquire, Release, Close time.Duration
}

// growingPacks is the task of a process that has N packs open, holds them all, and
// closes them.
func growingPacks(ask json.RawMessage) (any, error) {
	l, r, err := decodeGrow(ask)
	if err != nil {
		return nil, err
	}
	lockers := make([]contend.Locker, r.N)
	holds := make([]contend.Held, r.N)
	paths := make([]string, r.N)
	for i := range paths {
		paths[i] = packPath(r.Path, i)
	}
	before, err := baseline()
	if err != nil {
		return nil, err
	}
	each := func(what func(i int) error) (time.Duration, error) {
		start := time.Now()
		for i := range r.N {
			if err := what(i); err != nil {
				return 0, fmt.Errorf("pack %d: %w", i, err)
			}
		}
		return time.Since(start) / time.Duration(r.N), nil
	}
	var reply packsReply
	reply.Open, err = each(func(i int) error { lockers[i], err = l.Open(paths[i]); return err })
	if err != nil {
		return nil, err
	}
	if reply.Idle, err = measureUsage(); err != nil {
		return nil, err
	}
	reply.Acquire, err = each(func(i int) error { holds[i], err = lockers[i].Lock(context.Background()); return err })
	if err != nil {
		return nil, err
	}
	if reply.Held, err = measureUsage(); err != nil {
		return nil, err
	}
	if reply.Release, err = each(func(i int) error { return holds[i].Release() }); err != nil {
		return nil, err
	}
	reply.Close, err = each(func(i int) error {
		if c, ok := lockers[i].(io.Closer); ok {
			return c.Close()
		}
		return nil
	})
	reply.Idle, reply.Held = reply.Idle.since(before), reply.Held.since(before)
	return reply, err
}

// readyFile is what a process creates in the directory of the packs when it waits
// for all of them.
const readyFile = "ready"

// lateReply is what waitingForPacks replies with.
type lateReply struct {
	Added usage   // by those who wait
	Had   []int64 // when each pack was had, by the clock of the machine, in nanoseconds
}

// waitingForPacks is the task of a process that waits for N packs, which another
// process has, with a goroutine for each. The first of them wait before the others
// begin to.
func waitingForPacks(ask json.RawMessage) (any, error) {
	l, r, err := decodeGrow(ask)
	if err != nil {
		return nil, err
	}
	before, err := baseline()
	if err != nil {
		return nil, err
	}
	reply := lateReply{Had: make([]int64, r.N)}
	w := &waiters{ended: make(chan error, r.N)}
	for i := range r.N {
		if i == r.First {
			if _, err := w.settled(); err != nil {
				return nil, err
			}
		}
		w.begin(func() (contend.Locker, error) { return l.Open(packPath(r.Path, i)) },
			func() { reply.Had[i] = time.Now().UnixNano() })
	}
	after, err := w.settled()
	if err != nil {
		return nil, err
	}
	reply.Added = after.since(before)
	if err := os.WriteFile(filepath.Join(r.Path, readyFile), nil, 0o666); err != nil {
		return nil, err
	}
	return reply, w.await()
}

// holdPacks locks the first n packs in dir.
func holdPacks(dir string, n int) (held []contend.Held, err error) {
	for i := range n {
		h, err := holdRaw(packPath(dir, i))
		if err != nil {
			return held, err
		}
		held = append(held, h)
	}
	return held, nil
}

// late has a process wait for packs, releases them one after the other, and returns
// how late each was had, and what the waiting added. Those that began to wait last
// are released first, while the others still wait.
func late(ctx context.Context, r growRequest) (times []time.Duration, added usage, err error) {
	held, err := holdPacks(r.Path, r.N)
	defer func() {
		for _, h := range held {
			h.(io.Closer).Close()
		}
	}()
	if err != nil {
		return nil, usage{}, err
	}
	ready := filepath.Join(r.Path, readyFile)
	if err := os.Remove(ready); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, usage{}, err
	}
	var reply lateReply
	ended := make(chan error, 1)
	go func() { ended <- program.Call(ctx, taskLate, r, &reply) }()
	for {
		if _, err := os.Stat(ready); err == nil {
			break
		}
		select {
		case err := <-ended:
			return nil, usage{}, fmt.Errorf("it ended before the packs were released: %v", err)
		case <-time.After(time.Millisecond):
		}
	}
	released := make([]int64, r.N)
	for i := r.N - 1; i >= 0; i-- {
		released[i] = time.Now().UnixNano()
		if err := held[i].Release(); err != nil {
			return nil, usage{}, err
		}
		time.Sleep(time.Millisecond)
	}
	if err := <-ended; err != nil {
		return nil, usage{}, err
	}
	for i := range released {
		times = append(times, time.Duration(reply.Had[i]-released[i]))
	}
	return times, reply.Added, nil
}

// parallel is the task of a process of which N goroutines lock a pack each, which
// nobody else wants. It replies with how many times a second they do, together.
func parallel(ask json.RawMessage) (any, error) {
	l, r, err := decodeGrow(ask)
	if err != nil {
		return nil, err
	}
	lockers := make([]contend.Locker, r.N)
	for i := range lockers {
		if lockers[i], err = l.Open(packPath(r.Path, i)); err != nil {
			return nil, err
		}
	}
	var over atomic.Bool
	var total atomic.Int64
	failed := make(chan error, r.N)
	var all sync.WaitGroup
	start := time.Now()
	for _, l := range lockers {
		all.Go(func() {
			n := int64(0)
			for ; !over.Load(); n++ {
				held, err := l.Lock(context.Background())
				if err == nil {
					err = held.Release()
				}
				if err != nil {
					failed <- err
					return
				}
			}
			total.Add(n)
		})
	}
	time.Sleep(r.Duration)
	over.Store(true)
	all.Wait()
	took := time.Since(start)
	select {
	case err := <-failed:
		return nil, err
	default:
		return float64(total.Load()) / took.Seconds(), nil
	}
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"packlock/internal/contend"
)

// The two tasks that a process does while another has the lock.
const (
	taskWait   = "wait"
	taskCancel = "cancel"
)

// waitRequest is what they are asked.
type waitRequest struct {
	Library string
	Path    string
	Waits   int
}

// usage is what a process uses, or how much more than before.
type usage struct {
	Threads int
	Files   int
	Memory  int // of Go's heap and stacks
	RSS     int // of the whole process
}

func (u usage) since(before usage) usage {
	return usage{u.Threads - before.Threads, u.Files - before.Files, u.Memory - before.Memory, u.RSS - before.RSS}
}

// measureUsage waits until the number of threads stays the same and returns
// the usage.
func measureUsage() (usage, error) {
	var u usage
	for same := 0; same < 6; same++ {
		time.Sleep(50 * time.Millisecond)
		threads, rss, err := status()
		if err != nil {
			return usage{}, err
		}
		if threads != u.Threads {
			same = 0
		}
		u.Threads, u.RSS = threads, rss
	}
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	u.Memory = int(m.HeapInuse + m.StackInuse)
	files, err := os.ReadDir("/proc/self/fd")
	u.Files = len(files)
	return u, err
}

// status returns what the kernel says of this process.
func status() (threads, rss int, err error) {
	const file = "/proc/self/status"
	if _, err := fmt.Sscan(field(file, "Threads"), &threads); err != nil {
		return 0, 0, fmt.Errorf("threads in %s: %w", file, err)
	}
	if _, err := fmt.Sscan(field(file, "VmRSS"), &rss); err != nil {
		return 0, 0, fmt.Errorf("memory in %s: %w", file, err)
	}
	return threads, rss << 10, nil
}

// baseline returns the usage before what is to be measured. It has the runtime make
// the threads that it makes sooner or later anyway, so that they are not taken for
// those of the waits.
func baseline() (usage, error) {
	var all sync.WaitGroup
	for range 4 * runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for end := time.Now().Add(20 * time.Millisecond); time.Now().Before(end); {
				runtime.Gosched()
			}
		})
	}
	runtime.GC()
	all.Wait()
	return measureUsage()
}

// opener returns what opens the Locker of each waiter: its own where a library
// needs that, else the one for all.
func (l library) opener(path string) (func() (contend.Locker, error), error) {
	if l.PerGoroutine {
		return func() (contend.Locker, error) { return l.Open(path) }, nil
	}
	shared, err := l.Open(path)
	return func() (contend.Locker, error) { return shared, nil }, err
}

// decode returns what the request of a task asks for.
func decode(ask json.RawMessage) (l library, r waitRequest, open func() (contend.Locker, error), err error) {
	if err := json.Unmarshal(ask, &r); err != nil {
		return library{}, r, nil, err
	}
	i := slices.IndexFunc(libraries, func(l library) bool { return l.Name == r.Library })
	if i < 0 {
		return library{}, r, nil, fmt.Errorf("no library %q", r.Library)
	}
	open, err = libraries[i].opener(r.Path)
	return libraries[i], r, open, err
}

// costOfWaits is the task of a process whose goroutines all wait for a lock
// that another process has. It replies with the usage that they add.
func costOfWaits(ask json.RawMessage) (any, error) {
	_, r, open, err := decode(ask)
	if err != nil {
		return nil, err
	}
	before, err := baseline()
	if err != nil {
		return nil, err
	}
	w := &waiters{ended: make(chan error, r.Waits)}
	for range r.Waits {
		w.begin(open, nil)
	}
	after, err := w.settled()
	if err != nil {
		return nil, err
	}
	return after.since(before), nil
}

// cancelReply is what costOfCancels replies with.
type cancelReply struct {
	Left  usage             // beyond that before
	Times contend.Histogram // from the cancelling to the return
}

// costOfCancels is the task of a process whose goroutines begin to wait for a
// lock that another process has, some at a time, and are then cancelled one
// after the other. It replies with what is left of them.
func costOfCancels(ask json.RawMessage) (any, error) {
	l, r, open, err := decode(ask)
	if err != nil {
		return nil, err
	}
	before, err := baseline()
	if err != nil {
		return nil, err
	}
	const atATime = 100
	type wait struct {
		cancel   context.CancelFunc
		returned chan error
		at       time.Time // of its return
	}
	var reply cancelReply
	for range r.Waits / atATime {
		waits := make([]wait, atATime)
		var asking atomic.Int64
		for i := range waits {
			w := &waits[i]
			ctx, cancel := context.WithCancel(context.Background())
			w.cancel, w.returned = cancel, make(chan error, 1)
			go func() {
				locker, err := open()
				asking.Add(1)
				if err == nil {
					err = l.lock(ctx, locker)
				}
				w.at = time.Now()
				w.returned <- err
			}()
		}
		for asking.Load() < atATime {
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Millisecond) // now they wait
		for i := range waits {
			w := &waits[i]
			start := time.Now()
			w.cancel()
			if err := <-w.returned; !errors.Is(err, context.Canceled) {
				return nil, fmt.Errorf("a cancelled wait ended: %v", err)
			}
			reply.Times.Add(int64(w.at.Sub(start)))
		}
	}
	after, err := measureUsage()
	if err != nil {
		return nil, err
	}
	reply.Left = after.since(before)
	return reply, nil
}

// lock waits for the lock until ctx ends. Where the library cannot give up, it
// does what its users do then: it leaves the wait behind.
func (l library) lock(ctx context.Context, locker contend.Locker) error {
	if l.cancels {
		_, err := locker.Lock(ctx)
		return err
	}
	got := make(chan error, 1)
	go func() {
		_, err := locker.Lock(context.Background())
		got <- err
	}()
	select {
	case err := <-got:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

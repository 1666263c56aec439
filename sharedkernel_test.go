package packlock

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func init() {
	childRoles["holdshared"] = childHoldShared
	childRoles["read"] = childRead
}

// childHoldShared is the role of a child that holds the lock of a pack shared, after it has
// waited for that if it must.
func childHoldShared(args []string) error {
	l, err := Open(args[0])
	if err != nil {
		return err
	}
	h, err := l.TryAcquireShared()
	if errors.Is(err, ErrBusy) {
		fmt.Println("busy")
		h, err = l.AcquireShared(context.Background())
	}
	if err != nil {
		return err
	}
	fmt.Println("locked")
	io.Copy(io.Discard, os.Stdin)
	return h.Release()
}

// childRead is the role of a child whose goroutines hold the lock of a pack shared for a
// millisecond, again and again, so that their holds overlap.
func childRead(args []string) error {
	l, err := Open(args[0])
	if err != nil {
		return err
	}
	var done atomic.Bool
	var readers sync.WaitGroup
	var failed atomic.Pointer[error]
	for range 4 {
		readers.Go(func() {
			for !done.Load() {
				h, err := l.AcquireShared(context.Background())
				if err == nil {
					time.Sleep(time.Millisecond)
					err = h.Release()
				}
				if err != nil {
					failed.Store(&err)
				}
			}
		})
	}
	fmt.Println("reading")
	io.Copy(io.Discard, os.Stdin)
	done.Store(true)
	readers.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

// acquireShared acquires l shared without waiting.
func acquireShared(t testing.TB, l *Lock) *Hold {
	t.Helper()
	h, err := l.TryAcquireShared()
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// checkBusyFor checks that a try of the kind fails with ErrBusy.
func checkBusyFor(t testing.TB, l *Lock, shared bool) {
	t.Helper()
	try := l.TryAcquire
	if shared {
		try = l.TryAcquireShared
	}
	if h, err := try(); !errors.Is(err, ErrBusy) {
		t.Errorf("shared %v: %v, %v; want ErrBusy", shared, h, err)
	}
}

// Processes hold the lock shared at the same time, and no one exclusively meanwhile.
func TestProcessesShareTheLock(t *testing.T) {
	dir := t.TempDir()
	l := openReal(t, dir)
	var children []*child
	for range 2 {
		c := childStart(t, "holdshared", dir)
		c.expect("locked")
		children = append(children, c)
	}
	h := acquireShared(t, l)
	children[0].finish()
	children[1].kill()
	checkExcludes(t, h)
	release(t, h)

	h = acquireReal(t, l)
	c := childStart(t, "holdshared", dir)
	c.expect("busy")
	release(t, h)
	c.expect("locked")
	checkBusyFor(t, l, false)
	c.finish()
	release(t, acquireReal(t, l))
}

// An exclusive lock that is converted for shared waiters is never free in between.
func TestConversionNeverFreesTheLock(t *testing.T) {
	dir := t.TempDir()
	l := openReal(t, dir)
	var done atomic.Bool
	var taken atomic.Int64
	var rival sync.WaitGroup
	defer func() { done.Store(true); rival.Wait() }()
	rival.Go(func() {
		for !done.Load() {
			if unlock, err := rawLock(l.Path(), false); err != nil {
				t.Error(err)
				return
			} else if unlock != nil {
				taken.Add(1)
				unlock()
			}
		}
	})
	ctx := bounded(t)
	h, err := l.Acquire(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.downgrade(); err != nil {
		t.Fatal(err)
	}
	taken.Store(0)
	for range 2000 {
		if ok, err := h.upgrade(); err != nil || !ok { // the rival was in between
			if err == nil {
				release(t, h)
			}
			if h, err = l.Acquire(ctx); err != nil {
				t.Fatal(err)
			}
		}
		before := taken.Load()
		if err := h.downgrade(); err != nil {
			t.Fatal(err)
		}
		if taken.Load() != before {
			t.Fatal("another description had the lock during the conversion")
		}
	}
	release(t, h)
}

// A writer gets in among the readers of other processes, whose holds overlap all the time.
func TestWriterGetsInAmongReadersOfOtherProcesses(t *testing.T) {
	dir := t.TempDir()
	l := openReal(t, dir)
	if b, err := l.entry().file.openBoard(l.Path()); err != nil {
		t.Skipf("writers cannot announce themselves here: %v", err)
	} else {
		b.close()
	}
	var children []*child
	for range 3 {
		c := childStart(t, "read", dir)
		c.expect("reading")
		children = append(children, c)
	}
	ctx := bounded(t)
	for range 10 {
		h, err := l.Acquire(ctx)
		if err != nil {
			t.Fatal(err)
		}
		release(t, h)
	}
	for _, c := range children {
		c.finish()
	}
	release(t, acquireReal(t, l))
}

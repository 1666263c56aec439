package packlock

import (
	"context"
	"runtime"
	"testing"
)

// The collector closes a Lock that nobody has any more, but not one through
// which somebody waits, or is about to have the lock.
func TestCollectorSparesALockInUse(t *testing.T) {
	for _, row := range []struct {
		name, during string
		acquire      func(l *Lock) (*Hold, error)
	}{
		{"Acquire", "block", func(l *Lock) (*Hold, error) { return l.Acquire(context.Background()) }},
		{"AcquireBlocking", "block", (*Lock).AcquireBlocking},
		{"TryAcquire", "open", (*Lock).TryAcquire},
		{"AcquireAll", "block", func(l *Lock) (*Hold, error) {
			holds, err := AcquireAll(context.Background(), l)
			if err != nil {
				return nil, err
			}
			return holds[0], nil
		}},
	} {
		k := newFakeKernel()
		l, err := newRegistry(k).openFile(fakePath)
		if err != nil {
			t.Fatal(err)
		}
		f := k.foreigner(t, fakePath)
		if row.during == "open" {
			k.unlink(fakePath)
		} else {
			f.lock(t)
		}
		calls, answer := make(chan struct{}), make(chan struct{})
		k.setHook(func(call, _ string) error {
			if call == row.during {
				close(calls)
				<-answer
			}
			return nil
		})
		inner, got := l.lock, make(chan *Hold)
		go func(l *Lock) { // which nobody else has
			h, err := row.acquire(l)
			if err != nil {
				t.Errorf("%s: %v", row.name, err)
			}
			got <- h
		}(l)
		l = nil
		<-calls
		collectAll(t)
		if closedByCollector(inner) {
			t.Errorf("%s: the Lock was closed", row.name)
		}
		close(answer)
		if row.during == "block" {
			f.letGo()
		}
		if h := <-got; h != nil {
			release(t, h)
		}
	}
}

// collectAll has the garbage collector close what it is to close, a few times
// over, as it closes one thing beside another.
func collectAll(t *testing.T) {
	t.Helper()
	for range 5 {
		collected := make(chan struct{})
		runtime.AddCleanup(new([16]byte), func(done chan struct{}) { close(done) }, collected)
		until(t, "the garbage collector", func() bool {
			runtime.GC()
			select {
			case <-collected:
				return true
			default:
				return false
			}
		})
	}
}

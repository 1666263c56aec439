package packlock

import (
	"context"
	"testing"
	"time"
)

// An exclusive waiter waits for every shared holder: a cycle through any of them is broken,
// and bystanders that hold the lock shared are not concerned.
func TestCycleThroughASharedHolder(t *testing.T) {
	for _, way := range []struct {
		name string
		wait func(h *Hold, l *Lock) (*Hold, error)
	}{
		{"on its goroutine", func(_ *Hold, l *Lock) (*Hold, error) { return l.Acquire(context.Background()) }},
		{"under its context", func(h *Hold, l *Lock) (*Hold, error) {
			var got *Hold
			var err error
			done := make(chan struct{})
			go func() {
				defer close(done)
				got, err = l.Acquire(h.Context(context.Background()))
			}()
			<-done
			return got, err
		}},
	} {
		t.Run(way.name, func(t *testing.T) {
			onFake(t, func(t *testing.T, e *engine) {
				locks := e.packs(2)
				bystander := e.shared(locks[0]).got()
				other := e.shared(locks[0]).got()
				goOn := make(chan struct{})
				a := &acquiring{e: e, done: make(chan struct{})}
				go func() { // holds the first shared, wants the second
					defer close(a.done)
					h := e.tryShared(locks[0])
					<-goOn
					a.hold, a.err = way.wait(h, locks[1])
					h.Release()
				}()
				b := &acquiring{e: e, done: make(chan struct{})}
				go func() { // holds the second, wants the first exclusively
					defer close(b.done)
					h := e.try(locks[1])
					<-goOn
					time.Sleep(time.Millisecond)
					b.hold, b.err = locks[0].Acquire(context.Background())
					h.Release()
				}()
				time.Sleep(time.Millisecond)
				close(goOn)
				time.Sleep(2 * deadlockAge)
				b.failed(ErrDeadlock)
				e.release(a.got())
				e.release(bystander)
				e.release(other)
			})
		})
	}
}

// A detached shared hold waits for nothing.
func TestDetachedSharedHoldClosesNoCycle(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		locks := e.packs(2)
		release := make(chan struct{})
		a := &acquiring{e: e, done: make(chan struct{})}
		go func() {
			defer close(a.done)
			h := e.tryShared(locks[0])
			h.Detach()
			go func() { <-release; h.Release() }()
			time.Sleep(time.Millisecond)
			a.hold, a.err = locks[1].Acquire(context.Background())
		}()
		b := &acquiring{e: e, done: make(chan struct{})}
		go func() {
			defer close(b.done)
			h := e.try(locks[1])
			time.Sleep(time.Millisecond)
			b.hold, b.err = locks[0].Acquire(context.Background())
			h.Release()
		}()
		time.Sleep(time.Minute)
		a.waits()
		b.waits()
		close(release)
		e.release(b.got())
		e.release(a.got())
	})
}

// readerBehindWriter returns a reader and a holder that are about to wait for each other, the
// reader only because a writer is in front of it.
func (e *engine) readerBehindWriter() (locks []*Lock, reader, holder holdsAndWaits, writer *acquiring) {
	e.Helper()
	locks = e.packs(2)
	reader = e.holdingAndWaiting(func(h *Hold) (*Hold, error) { return locks[0].AcquireShared(context.Background()) }, locks[1].TryAcquire)
	holder = e.holdingAndWaiting(func(h *Hold) (*Hold, error) { return locks[1].AcquireShared(context.Background()) }, locks[0].TryAcquireShared)
	return locks, reader, holder, e.acquire(locks[0])
}

// A cycle through a shared waiter that waits only because an exclusive one is in front of it
// is ended by admitting it. No acquire fails.
func TestCycleThroughASharedWaiterIsEndedByAdmittingIt(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		locks, reader, holder, writer := e.readerBehindWriter()
		behind := e.shared(locks[0])
		reader.goOn()
		holder.goOn()
		time.Sleep(2 * deadlockAge)
		e.release(reader.got())
		e.release(holder.got())
		e.release(writer.got())
		e.release(behind.got())
		for _, l := range locks {
			e.release(e.try(l))
		}
	})
}

// Two cycles that share a wait, through two holders of one group, are both broken.
func TestCyclesThroughTwoHoldersOfAGroup(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		locks := e.packs(2)
		first := e.holdingAndWaiting(func(h *Hold) (*Hold, error) { return locks[1].Acquire(context.Background()) }, locks[0].TryAcquireShared)
		second := e.holdingAndWaiting(func(h *Hold) (*Hold, error) { return locks[1].Acquire(context.Background()) }, locks[0].TryAcquireShared)
		writer := e.holdingAndWaiting(func(h *Hold) (*Hold, error) { return locks[0].Acquire(context.Background()) }, locks[1].TryAcquire)
		writer.goOn()
		time.Sleep(time.Millisecond)
		first.goOn()
		time.Sleep(time.Millisecond)
		second.goOn()
		time.Sleep(3 * deadlockAge)
		first.failed(ErrDeadlock)
		second.failed(ErrDeadlock)
		e.release(writer.got())
	})
}

// holdsAndWaits is a goroutine that holds one lock and, after goOn, waits for another.
type holdsAndWaits struct {
	*acquiring
	resume chan struct{}
}

func (h holdsAndWaits) goOn() { close(h.resume) }

// holdingAndWaiting starts a goroutine that acquires what first returns and, when it may go on, what
// second does. Then it releases the first hold.
func (e *engine) holdingAndWaiting(second func(*Hold) (*Hold, error), first func() (*Hold, error)) holdsAndWaits {
	e.Helper()
	a := holdsAndWaits{&acquiring{e: e, done: make(chan struct{})}, make(chan struct{})}
	holding := make(chan error)
	go func() {
		defer close(a.done)
		h, err := first()
		holding <- err
		if err != nil {
			return
		}
		<-a.resume
		a.hold, a.err = second(h)
		h.Release()
	}()
	if err := <-holding; err != nil {
		e.Fatal(err)
	}
	return a
}

// The shared waiters behind an exclusive one that gets ErrDeadlock join at once.
func TestReadersJoinWhenADeadlockIsBroken(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		locks := e.packs(2)
		bystander := e.shared(locks[0]).got()
		reader := e.holdingAndWaiting(func(h *Hold) (*Hold, error) { return locks[1].Acquire(context.Background()) }, locks[0].TryAcquireShared)
		writer := e.holdingAndWaiting(func(h *Hold) (*Hold, error) { return locks[0].Acquire(context.Background()) }, locks[1].TryAcquire)
		reader.goOn()
		time.Sleep(time.Millisecond)
		writer.goOn()
		time.Sleep(time.Millisecond)
		behind := e.shared(locks[0])
		behind.waits()
		time.Sleep(2 * deadlockAge)
		writer.failed(ErrDeadlock)
		e.release(behind.got())
		e.release(bystander)
		e.release(reader.got())
	})
}

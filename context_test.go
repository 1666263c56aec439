package packlock

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// oddContext is a context of somebody else's making, with something wrong in one of
// its methods from the call on that it is told.
type oddContext struct {
	context.Context
	method string
	after  int // so many calls
	calls  int
	odd    func()
}

func (c *oddContext) called(method string) {
	if c.method != method {
		return
	}
	if c.calls++; c.calls > c.after {
		c.odd()
	}
}

func (c *oddContext) Err() error            { c.called("Err"); return c.Context.Err() }
func (c *oddContext) Done() <-chan struct{} { c.called("Done"); return c.Context.Done() }
func (c *oddContext) Value(key any) any     { c.called("Value"); return c.Context.Value(key) }

// A method of the context panics, whenever it is called: whatever the acquire had,
// the lock is not lost for that.
func TestPanicOfAContextLosesNoLock(t *testing.T) {
	for _, way := range []struct {
		name    string
		prepare func(e *engine) (after func())
	}{
		{"free", func(e *engine) func() { return func() {} }},
		{"held by a goroutine", func(e *engine) func() {
			held := make(chan *Hold)
			go func() { held <- e.try(e.l) }()
			h := <-held
			time.AfterFunc(time.Second, func() { e.release(h) })
			return func() {}
		}},
		{"held by another process", func(e *engine) func() {
			f := e.lockedElsewhere()
			time.AfterFunc(time.Second, f.letGo)
			return func() {}
		}},
		{"lost", func(e *engine) func() {
			e.k.replace(fakePath)
			return func() {}
		}},
		{"deleted, and the name is not free yet", func(e *engine) func() {
			e.keepsName(deletePendingTimeout / 20)
			return func() {}
		}},
		{"deleted, and the name is not free in time", func(e *engine) func() {
			e.keepsName(2*deletePendingTimeout - 1)
			return func() {}
		}},
		{"lost, and held", func(e *engine) func() {
			e.k.replace(fakePath)
			f := e.lockedElsewhere()
			time.AfterFunc(time.Second, f.letGo)
			return func() {}
		}},
	} {
		for _, method := range []string{"Err", "Done", "Value"} {
			t.Run(way.name+", "+method, func(t *testing.T) {
				panics := 0
				for after := 0; after == 0 || panics == after; after++ {
					onFake(t, func(t *testing.T, e *engine) {
						way.prepare(e)
						ctx := &oddContext{Context: t.Context(), method: method, after: after, odd: func() { panic("odd") }}
						func() {
							defer func() {
								if recover() != nil {
									panics++
								}
							}()
							h, err := e.l.Acquire(ctx)
							switch {
							case err == nil:
								e.release(h)
							case !errors.Is(err, errDeletePending):
								t.Fatal(err)
							}
						}()
						time.Sleep(2 * time.Second)
						e.works()
					})
				}
				if method == "Err" && panics < 2 {
					t.Errorf("%d panics", panics)
				}
			})
		}
	}
}

// silent is a context that is done and does not say why.
type silent struct{ context.Context }

func (silent) Done() <-chan struct{} {
	done := make(chan struct{})
	close(done)
	return done
}

func TestContextThatIsDoneWithoutAReason(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.lockedElsewhere()
		_, err := e.l.Acquire(silent{t.Context()})
		if !errors.Is(err, ErrCancelled) || strings.Contains(err.Error(), "%!") {
			t.Errorf("%v, want ErrCancelled", err)
		}
		f.letGo()
	})
}

// Whoever asks as package net has it done, os.IsTimeout among them, learns that it
// was a deadline.
func TestEndOfADeadlineIsATimeout(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.lockedElsewhere()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := e.l.Acquire(ctx)
		if !os.IsTimeout(err) {
			t.Errorf("%v is no timeout", err)
		}
		if !errors.Is(err, ErrCancelled) || !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		drained := e.l.WaitDrained(ctx)
		if !os.IsTimeout(drained) {
			t.Errorf("%v is no timeout", drained)
		}
		cancelled, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := e.l.Acquire(cancelled); os.IsTimeout(err) {
			t.Errorf("%v is a timeout", err)
		}
		f.letGo()
	})
}

// The error tells the end of the context, and its cause if that is a different one, once
// each. It is a timeout if the context's deadline passed, whatever the cause.
func TestErrorOfTheEndOfAContext(t *testing.T) {
	reason := errors.New("reason")
	for _, row := range []struct {
		name    string
		ctx     func() (context.Context, func())
		want    string
		timeout bool
		is      []error
	}{
		{"cancelled", func() (context.Context, func()) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			return ctx, cancel
		}, "wait cancelled: context canceled", false, []error{context.Canceled}},
		{"cancelled with a cause", func() (context.Context, func()) {
			ctx, cancel := context.WithCancelCause(t.Context())
			cancel(reason)
			return ctx, func() { cancel(nil) }
		}, "wait cancelled: context canceled: reason", false, []error{context.Canceled, reason}},
		{"cancelled with a cause that tells it, too", func() (context.Context, func()) {
			ctx, cancel := context.WithCancelCause(t.Context())
			cancel(fmt.Errorf("reason: %w", context.Canceled))
			return ctx, func() { cancel(nil) }
		}, "wait cancelled: reason: context canceled", false, []error{context.Canceled}},
		{"cancelled because of a timeout elsewhere", func() (context.Context, func()) {
			ctx, cancel := context.WithCancelCause(t.Context())
			cancel(os.ErrDeadlineExceeded)
			return ctx, func() { cancel(nil) }
		}, "wait cancelled: context canceled: i/o timeout", false, []error{context.Canceled, os.ErrDeadlineExceeded}},
		{"deadline", func() (context.Context, func()) {
			return context.WithDeadline(t.Context(), time.Now().Add(-1))
		}, "wait cancelled: context deadline exceeded", true, []error{context.DeadlineExceeded}},
		{"deadline with a cause", func() (context.Context, func()) {
			return context.WithDeadlineCause(t.Context(), time.Now().Add(-1), reason)
		}, "wait cancelled: context deadline exceeded: reason", true, []error{context.DeadlineExceeded, reason}},
	} {
		ctx, stop := row.ctx()
		err := cancelled(ctx)
		if err.Error() != row.want {
			t.Errorf("%s: %q, want %q", row.name, err, row.want)
		}
		if os.IsTimeout(err) != row.timeout {
			t.Errorf("%s: timeout %t", row.name, !row.timeout)
		}
		for _, is := range append(row.is, ErrCancelled) {
			if !errors.Is(err, is) {
				t.Errorf("%s: not %v", row.name, is)
			}
		}
		stop()
	}
}

// panicOf returns what fn panics with, nil if it does not.
func panicOf(fn func()) (what any) {
	defer func() { what = recover() }()
	fn()
	return nil
}

func TestNilContextPanics(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		for name, call := range map[string]func(){
			"Acquire":     func() { e.l.Acquire(nil) },     //lint:ignore SA1012 this is the test of it
			"WaitDrained": func() { e.l.WaitDrained(nil) }, //lint:ignore SA1012 this is the test of it
			"Do":          func() { e.l.Do(nil, nil) },     //lint:ignore SA1012 this is the test of it
		} {
			if panicOf(call) == nil {
				t.Errorf("%s without a context did not panic", name)
			}
		}
		e.works()
	})
}

func TestUseOfWhatWasNotOpenedPanicsWithAReason(t *testing.T) {
	var noLock *Lock
	var noHold *Hold
	for name, call := range map[string]func(){
		"nil Lock":  func() { noLock.TryAcquire() },
		"zero Lock": func() { new(Lock).Acquire(t.Context()) },
		"Close":     func() { new(Lock).Close() },
		"Stats":     func() { noLock.Stats() },
		"Path":      func() { new(Lock).Path() },
		"nil Hold":  func() { noHold.Release() },
		"zero Hold": func() { new(Hold).Release() },
		"Check":     func() { new(Hold).Check() },
		"Detach":    func() { noHold.Detach() },
		"Context":   func() { new(Hold).Context(t.Context()) },
	} {
		if what, _ := panicOf(call).(string); !strings.HasPrefix(what, "packlock: use of a ") {
			t.Errorf("%s: %q", name, what)
		}
	}
}

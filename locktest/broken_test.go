package locktest

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"packlock"
)

// A flaw is a locker that is broken in one way.
type flaw struct {
	Lib
	caught []string // the properties that fail, and no others do
	hangs  bool     // something does not end
}

// broken is Packlock with other Lockers, which do not claim all of what it does.
func broken(name string, hangs bool, not Claims, open func(*packLocker, string) Locker, caught ...string) flaw {
	return flaw{
		hangs: hangs,
		Lib: Lib{Name: name, Claims: Packlock().Claims &^ not, Open: func(path string) (Locker, error) {
			l, err := openPacklock(path)
			if err != nil {
				return nil, err
			}
			return open(l.(*packLocker), path), nil
		}},
		caught: caught,
	}
}

// flaws are those that every system has. See also systemFlaws.
var flaws = []flaw{
	broken("excludes nobody", false, Shares, func(*packLocker, string) Locker { return excludesNobody{} }, "excludes", "excludes handles"),
	broken("excludes by the text of the path", false, NoticesLoss, byText, "one lock by any path"),
	broken("wakes nobody", true, ReadersQueue|WritersGetIn, func(l *packLocker, _ string) Locker { return wakesNobody{l} }, "blocks and wakes"),
	broken("keeps it after Close", true, 0, func(l *packLocker, _ string) Locker { return keepsAfterClose{l} }, "released on close"),
	broken("try waits", true, 0, func(l *packLocker, _ string) Locker { return &tryWaits{packLocker: l} }, "try never waits"),
	broken("cannot be cancelled", true, CancelLeavesNothing, func(l *packLocker, _ string) Locker { return uncancellable{l} }, "cancelled returns"),
	broken("locks though cancelled before", false, CancelLeavesNothing, func(l *packLocker, _ string) Locker { return cancelledTooEarly{l} }, "cancelled returns"),
	broken("takes it when cancelled", true, CancelLeavesNothing, func(l *packLocker, _ string) Locker { return takesWhenCancelled{l} }, "cancelled takes nothing"),
	broken("leaks when cancelled", false, 0, func(l *packLocker, _ string) Locker { return leaksWhenCancelled{l} }, "cancelled leaves nothing"),
	broken("serves the last first", false, 0, func(l *packLocker, _ string) Locker { return lastFirst{l} }, "first come, first served"),
	broken("unlocks for others", false, 0, func(l *packLocker, path string) Locker { return unlocksForOthers{l, path} }, "second unlock is harmless"),
	broken("is one handle for all", false, 0, oneForAll, "excludes handles"),
	broken("loses updates", false, 0, func(l *packLocker, _ string) Locker { return &losesUpdates{packLocker: l} }, "excludes under contention"),
}

type excludesNobody struct{}

func (excludesNobody) Lock(context.Context) error { return nil }
func (excludesNobody) TryLock() (bool, error)     { return true, nil }
func (excludesNobody) Unlock() error              { return nil }
func (excludesNobody) Close() error               { return nil }

// byText locks a file beside, whose name is that of the path.
func byText(l *packLocker, path string) Locker {
	h := fnv.New64()
	h.Write([]byte(path))
	other, err := openPacklock(fmt.Sprintf("%s.%x", path, h.Sum(nil)))
	if err != nil {
		panic(err)
	}
	l.Close()
	return other
}

type wakesNobody struct{ *packLocker }

func (l wakesNobody) Lock(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if took, err := l.TryLock(); took || err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

type keepsAfterClose struct{ *packLocker }

func (l keepsAfterClose) Close() error { return nil }

// tryWaits begins to wait when it has been busy for some time.
type tryWaits struct {
	*packLocker
	busy int
}

func (l *tryWaits) TryLock() (bool, error) {
	took, err := l.packLocker.TryLock()
	if l.busy++; took || err != nil || l.busy < 15 {
		return took, err
	}
	return true, l.Lock(context.Background())
}

// losesUpdates excludes only for so many times.
type losesUpdates struct {
	*packLocker
	locked int
}

func (l *losesUpdates) Lock(ctx context.Context) error {
	if l.locked++; l.locked > 5 {
		return nil
	}
	return l.packLocker.Lock(ctx)
}

func (l *losesUpdates) Unlock() error {
	if l.locked > 5 {
		return nil
	}
	return l.packLocker.Unlock()
}

type uncancellable struct{ *packLocker }

func (l uncancellable) Lock(context.Context) error { return l.packLocker.Lock(context.Background()) }

// takesWhenCancelled leaves the wait behind, which keeps the lock when it has it.
type takesWhenCancelled struct{ *packLocker }

func (l takesWhenCancelled) Lock(ctx context.Context) error {
	err := l.packLocker.Lock(ctx)
	if l.hold == nil && errors.Is(err, context.Canceled) {
		go l.lock.Acquire(context.Background())
	}
	return err
}

// leaksWhenCancelled leaves the wait behind, which lets go when it has the lock.
type leaksWhenCancelled struct{ *packLocker }

func (l leaksWhenCancelled) Lock(ctx context.Context) error {
	err := l.packLocker.Lock(ctx)
	if errors.Is(err, context.Canceled) {
		other, err := packlock.OpenFile(l.lock.Path())
		if err != nil {
			return err
		}
		go other.Do(context.Background(), func(context.Context) error { return nil })
	}
	return err
}

type cancelledTooEarly struct{ *packLocker }

func (l cancelledTooEarly) Lock(ctx context.Context) error {
	if took, err := l.TryLock(); took || err != nil {
		return err
	}
	return l.packLocker.Lock(ctx)
}

// lastFirst has a stack of those of the process that wait.
type lastFirst struct{ *packLocker }

var stack struct {
	mu      sync.Mutex // guards the following
	taken   bool
	waiters []chan struct{}
}

func (l lastFirst) Lock(ctx context.Context) error {
	stack.mu.Lock()
	if stack.taken {
		turn := make(chan struct{})
		stack.waiters = append(stack.waiters, turn)
		stack.mu.Unlock()
		select {
		case <-turn:
		case <-ctx.Done():
			stack.mu.Lock()
			defer stack.mu.Unlock()
			if i := slices.Index(stack.waiters, turn); i >= 0 {
				stack.waiters = slices.Delete(stack.waiters, i, i+1)
			} else {
				next()
			}
			return ctx.Err()
		}
	} else {
		stack.taken = true
		stack.mu.Unlock()
	}
	err := l.packLocker.Lock(ctx)
	if err != nil {
		stack.mu.Lock()
		defer stack.mu.Unlock()
		next()
	}
	return err
}

// next gives the turn to the last that came. The caller has locked stack.mu.
func next() {
	n := len(stack.waiters)
	if stack.taken = n > 0; stack.taken {
		close(stack.waiters[n-1])
		stack.waiters = stack.waiters[:n-1]
	}
}

func (l lastFirst) TryLock() (bool, error) {
	stack.mu.Lock()
	defer stack.mu.Unlock()
	if stack.taken {
		return false, nil
	}
	took, err := l.packLocker.TryLock()
	stack.taken = took
	return took, err
}

func (l lastFirst) Unlock() error {
	err := l.packLocker.Unlock()
	if err == nil {
		stack.mu.Lock()
		defer stack.mu.Unlock()
		next()
	}
	return err
}

// unlocksForOthers lets go of whatever handle of the process has the lock.
type unlocksForOthers struct {
	*packLocker
	path string
}

var holders sync.Map // path -> *packlock.Hold

func (l unlocksForOthers) Lock(ctx context.Context) error {
	err := l.packLocker.Lock(ctx)
	if err == nil {
		holders.Store(l.path, l.hold)
	}
	return err
}

func (l unlocksForOthers) TryLock() (bool, error) {
	took, err := l.packLocker.TryLock()
	if took {
		holders.Store(l.path, l.hold)
	}
	return took, err
}

func (l unlocksForOthers) Unlock() error {
	if l.hold != nil && l.hold.Shared() {
		return l.packLocker.Unlock()
	}
	h, ok := holders.LoadAndDelete(l.path)
	if !ok {
		return packlock.ErrReleased
	}
	return h.(*packlock.Hold).Release()
}

// shared is a handle that all of a process share without knowing.
type shared struct {
	*packLocker
	holders *int
}

var sharedHolders sync.Map // path -> *int

var sharing sync.Mutex // guards the ints of sharedHolders

func oneForAll(l *packLocker, path string) Locker {
	n, _ := sharedHolders.LoadOrStore(path, new(int))
	return &shared{l, n.(*int)}
}

func (l *shared) TryLock() (bool, error) {
	sharing.Lock()
	defer sharing.Unlock()
	if *l.holders > 0 {
		*l.holders++
		return true, nil
	}
	took, err := l.packLocker.TryLock()
	if took {
		*l.holders++
	}
	return took, err
}

func (l *shared) Lock(ctx context.Context) error {
	err := l.packLocker.Lock(ctx)
	if err == nil {
		sharing.Lock()
		defer sharing.Unlock()
		*l.holders++
	}
	return err
}

func (l *shared) Unlock() error {
	sharing.Lock()
	defer sharing.Unlock()
	*l.holders--
	return l.packLocker.Unlock()
}

func TestEachFlawIsCaughtByItsPropertyAlone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var all sync.WaitGroup // most of the time goes by waiting, so at once
	for _, f := range append(flaws, systemFlaws...) {
		all.Go(func() {
			bounds := defaultBounds
			if f.hangs {
				bounds.answer, bounds.wake = 5*time.Second, 5*time.Second
			}
			which := properties
			if allShared(f.caught) { // what else it has, it has from a Locker that is tested elsewhere
				which = slices.DeleteFunc(slices.Clone(properties), func(p property) bool { return p.of&ofSharedLocks == 0 })
			}
			if testing.Short() { // that no other fails takes time
				which = slices.DeleteFunc(slices.Clone(properties), func(p property) bool { return !slices.Contains(f.caught, p.name) })
			}
			r, err := test(t.Context(), dir, f.Lib, bounds, which)
			for range 2 { // under an emulator, or load, a flaw may not show each time
				if err == nil && !slices.Equal(r.Failed(), f.caught) {
					t.Logf("%s: caught by %q at first", f.Name, r.Failed())
					r, err = test(t.Context(), dir, f.Lib, bounds, which)
				}
			}
			if err != nil {
				t.Errorf("%s: %v", f.Name, err)
				return
			}
			if got := r.Failed(); !slices.Equal(got, f.caught) {
				t.Errorf("%s: caught by %q, want %q:\n%s", f.Name, got, f.caught, r)
			}
			if r.Trusted || !strings.Contains(r.Verdict, f.caught[0]) {
				t.Errorf("%s: verdict: %s", f.Name, r.Verdict)
			}
		})
	}
	all.Wait()
}

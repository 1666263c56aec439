package main

import (
	"context"
	"time"

	"github.com/alexflint/go-filemutex"
	"github.com/gofrs/flock"
	"github.com/rogpeppe/go-internal/lockedfile"
	"golang.org/x/sync/semaphore"

	"packlock/internal/contend"
)

// A library is what is compared.
type library struct {
	contend.Library

	// cancels says that Lock gives up when its ctx ends. For those that do not,
	// giving up means leaving behind the goroutine that waits.
	cancels bool

	// every is the delay between the tries of a library that polls, 0 for others.
	every time.Duration

	about string
}

const (
	nameGofrs      = "gofrs/flock Lock"
	nameLockedfile = "lockedfile"
	nameMilli      = "gofrs/flock 1 ms"
	nameBbolt      = "gofrs/flock 50 ms"
)

// libraries are those compared, packlock first. The delays of those that poll are ones
// that well-known programs have chosen.
var libraries = []library{
	{contend.Packlock, true, 0, "`Acquire` of a `Lock` that the goroutines of a process share"},
	{contend.Flock, false, 0, "flock(2) on a descriptor for each goroutine"},
	{contend.Library{Name: "go-filemutex", Open: openFilemutex, PerGoroutine: true}, false, 0,
		"github.com/alexflint/go-filemutex: `Lock` of a `FileMutex` for each goroutine"},
	{contend.Library{Name: nameLockedfile, Open: openLockedfile}, false, 0,
		"github.com/rogpeppe/go-internal/lockedfile: `Lock` of a `Mutex` that the goroutines of a process share"},
	{contend.Library{Name: nameGofrs, Open: openGofrs, PerGoroutine: true}, false, 0,
		"github.com/gofrs/flock: `Lock` of a `Flock` for each goroutine"},
	polling(nameMilli, time.Millisecond, "the same with `TryLockContext`, which tries every millisecond"),
	polling(nameBbolt, 50*time.Millisecond, "the same, which tries every 50 ms, as bbolt does (by a loop of its own)"),
	polling("gofrs/flock 500 ms", 500*time.Millisecond, "the same, which tries every 500 ms, as minikube does"),
	polling("gofrs/flock 1 s", time.Second, "the same, which tries every second, as helm and golangci-lint do"),
}

func polling(name string, every time.Duration, about string) library {
	return library{contend.Library{Name: name, Open: openPolling(every), PerGoroutine: true}, true, every, about}
}

// semaphoreLimit is a first-come-first-served lock inside one process whose waits
// can be cancelled. It locks no file.
var semaphoreLimit = contend.Library{
	Name: "semaphore",
	Open: func(string) (contend.Locker, error) { return semaphoreLock{semaphore.NewWeighted(1)}, nil },
}

type semaphoreLock struct{ *semaphore.Weighted }

func (l semaphoreLock) Lock(ctx context.Context) (contend.Held, error) { return l, l.Acquire(ctx, 1) }

func (l semaphoreLock) Release() error {
	l.Weighted.Release(1)
	return nil
}

// gofrsLock is a Flock of gofrs, which is one lock for all of its users: a
// second Lock of it returns at once, so each goroutine needs its own.
type gofrsLock struct{ *flock.Flock }

func openGofrs(path string) (contend.Locker, error) { return gofrsLock{flock.New(path)}, nil }

func (l gofrsLock) Lock(context.Context) (contend.Held, error) { return l, l.Flock.Lock() }
func (l gofrsLock) Release() error                             { return l.Unlock() }

// byContext is a Flock, of gofrs or the drop-in, locked by TryLockContext: gofrs polls.
type byContext struct {
	tryLocker
	every time.Duration
}

type tryLocker interface {
	TryLockContext(ctx context.Context, retryDelay time.Duration) (bool, error)
	Unlock() error
}

func openPolling(every time.Duration) func(path string) (contend.Locker, error) {
	return func(path string) (contend.Locker, error) { return &byContext{flock.New(path), every}, nil }
}

func (l *byContext) Lock(ctx context.Context) (contend.Held, error) {
	_, err := l.TryLockContext(ctx, l.every)
	return l, err
}

func (l *byContext) Release() error { return l.Unlock() }

// lockedfileMutex is a Mutex of lockedfile, a copy of the one in the go
// command. It opens the file anew for each Lock, so goroutines can share it.
type lockedfileMutex struct{ mutex *lockedfile.Mutex }

func openLockedfile(path string) (contend.Locker, error) {
	return lockedfileMutex{lockedfile.MutexAt(path)}, nil
}

func (l lockedfileMutex) Lock(context.Context) (contend.Held, error) {
	unlock, err := l.mutex.Lock()
	return unlocking(unlock), err
}

type unlocking func()

func (u unlocking) Release() error {
	u()
	return nil
}

// filemutexLock is a FileMutex, which is a descriptor and holds the lock or not, for
// all goroutines alike, so each goroutine needs its own.
type filemutexLock struct{ *filemutex.FileMutex }

func openFilemutex(path string) (contend.Locker, error) {
	m, err := filemutex.New(path)
	return filemutexLock{m}, err
}

func (l filemutexLock) Lock(context.Context) (contend.Held, error) { return l, l.FileMutex.Lock() }
func (l filemutexLock) Release() error                             { return l.Unlock() }

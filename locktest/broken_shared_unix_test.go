//go:build darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd

package locktest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A turnstile is a shared lock without a flaw, made of the flock(2) of two files. Readers
// and writers acquire the gate first, of the same kind, and keep it until they have the
// lock. So no reader passes a writer that waits.
type turnstile struct {
	path       string
	gate, lock flock
	how        int // of the lock that it holds, or 0
}

const sharedClaims = Shares | ReadersQueue | ReadersQueueForOthers | WritersGetIn | WritersGetInBesideOthers | KeepsOnUpgrade

const turnstileClaims = sharedClaims | ExcludesHandles | OneLockByAnyPath | TryNeverWaits | NotInherited | Cancels | SecondUnlockIsHarmless

func openTurnstile(path string) (*turnstile, error) {
	lock, err := openFlock(0)(path)
	if err != nil {
		return nil, err
	}
	gate, err := openFlock(0)(path + ".gate")
	if err != nil {
		lock.Close()
		return nil, err
	}
	return &turnstile{path: path, gate: gate.(flock), lock: lock.(flock)}, nil
}

func (t *turnstile) Lock(ctx context.Context) error       { return t.acquire(ctx, unix.LOCK_EX) }
func (t *turnstile) LockShared(ctx context.Context) error { return t.acquire(ctx, unix.LOCK_SH) }
func (t *turnstile) TryLock() (bool, error)               { return t.try(unix.LOCK_EX) }
func (t *turnstile) TryLockShared() (bool, error)         { return t.try(unix.LOCK_SH) }
func (t *turnstile) direct(ctx context.Context, h int) error {
	return t.settle(h, await(ctx, t.lock, h))
}

var errHeld = errors.New("this handle holds the lock")

func (t *turnstile) acquire(ctx context.Context, how int) error {
	if t.how != 0 {
		return errHeld
	}
	if err := await(ctx, t.gate, how); err != nil {
		return err
	}
	defer t.gate.Unlock()
	return t.direct(ctx, how)
}

// await waits for the lock of f as a program does that can be cancelled.
func await(ctx context.Context, f flock, how int) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		if took, err := f.try(how); took || err != nil {
			return err
		}
		time.Sleep(time.Millisecond)
	}
}

func (t *turnstile) try(how int) (bool, error) {
	if t.how != 0 {
		return false, nil
	}
	if took, err := t.gate.try(how); !took || err != nil {
		return false, err
	}
	defer t.gate.Unlock()
	return t.tryDirect(how)
}

func (t *turnstile) tryDirect(how int) (bool, error) {
	took, err := t.lock.try(how)
	if took {
		t.settle(how, err)
	}
	return took, err
}

// settle notes that t holds the lock, unless err is not nil.
func (t *turnstile) settle(how int, err error) error {
	if err == nil {
		t.how = how
		own(t.path, how).Add(1)
	}
	return err
}

func (t *turnstile) Unlock() error {
	if t.how == 0 {
		return os.ErrNotExist
	}
	own(t.path, t.how).Add(-1)
	t.how = 0
	return t.lock.Unlock()
}

func (t *turnstile) Close() error {
	if t.how != 0 {
		t.Unlock()
	}
	return errors.Join(t.gate.Close(), t.lock.Close())
}

// own counts the handles of this process that hold the lock of a path, or wait for it.
func own(path string, what int) *atomic.Int32 {
	n, _ := ownCounts.LoadOrStore(struct {
		string
		int
	}{path, what}, new(atomic.Int32))
	return n.(*atomic.Int32)
}

var ownCounts sync.Map

const waitingWriters = -1 // for own; the others are the kinds of the lock

// brokenTurnstile is a turnstile that other Lockers break.
func brokenTurnstile(name string, hangs bool, not Claims, open func(*turnstile) Locker, caught ...string) flaw {
	return flaw{
		hangs: hangs,
		Lib: Lib{Name: name, Claims: turnstileClaims &^ not, Open: func(path string) (Locker, error) {
			t, err := openTurnstile(path)
			if err != nil {
				return nil, err
			}
			return open(t), nil
		}},
		caught: caught,
	}
}

func init() {
	systemFlaws = append(systemFlaws,
		brokenTurnstile("shares in a process only", false, ReadersQueue|WritersGetIn|KeepsOnUpgrade, func(t *turnstile) Locker { return &sharesInProcess{turnstile: t} }, "shared excludes"),
		brokenTurnstile("is exclusive beside its own readers", false, 0, func(t *turnstile) Locker { return ignoresOwnReaders{t} }, "shared excludes handles"),
		brokenTurnstile("one reader releases for all", false, 0, func(t *turnstile) Locker { return &releasesForAll{t} }, "shared excludes handles"),
		brokenTurnstile("counts dead readers", true, 0, func(t *turnstile) Locker { return &countsReaders{turnstile: t} }, "shared released on kill"),
		brokenTurnstile("a cancelled writer keeps readers out", true, 0, func(t *turnstile) Locker { return keepsGate{t} }, "cancelled among readers"),
		brokenTurnstile("readers pass writers of their process", false, 0, func(t *turnstile) Locker { return passes{t, true} }, "readers queue"),
		brokenTurnstile("readers pass writers of other processes", false, 0, func(t *turnstile) Locker { return passes{t, false} }, "readers queue for others"),
		brokenTurnstile("writers queue behind few readers only", true, 0, func(t *turnstile) Locker { return queuesBehindFew{t} }, "writers get in"),
		brokenTurnstile("readers join their own past writers", true, 0, func(t *turnstile) Locker { return joinsOwn{t} }, "writers get in beside others"),
		brokenTurnstile("a failed upgrade loses the lock", false, 0, func(t *turnstile) Locker { return losesOnUpgrade{t} }, "upgrade keeps the lock"),
	)
}

// A flaw of a turnstile would be caught together with one of these.
func TestTurnstileIsWhatItClaims(t *testing.T) {
	t.Parallel()
	Run(t, Lib{Name: "turnstile", Claims: turnstileClaims, Open: func(path string) (Locker, error) { return openTurnstile(path) }})
}

// sharesInProcess has its readers in a mutex, which writers lock, too.
type sharesInProcess struct {
	*turnstile
	unlock func() // of the mutex
}

var mutexes sync.Map // path -> *sync.RWMutex

func (l *sharesInProcess) mutex() *sync.RWMutex {
	m, _ := mutexes.LoadOrStore(l.path, new(sync.RWMutex))
	return m.(*sync.RWMutex)
}

func (l *sharesInProcess) TryLockShared() (bool, error) {
	took := l.mutex().TryRLock()
	if took {
		l.unlock = l.mutex().RUnlock
	}
	return took, nil
}

func (l *sharesInProcess) LockShared(ctx context.Context) error { return asking(ctx, l.TryLockShared) }

// asking waits by trying.
func asking(ctx context.Context, try func() (bool, error)) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		if took, err := try(); took || err != nil {
			return err
		}
		time.Sleep(time.Millisecond)
	}
}

func (l *sharesInProcess) TryLock() (bool, error) {
	if !l.mutex().TryLock() {
		return false, nil
	}
	took, err := l.turnstile.TryLock()
	if took {
		l.unlock = l.mutex().Unlock
	} else {
		l.mutex().Unlock()
	}
	return took, err
}

func (l *sharesInProcess) Lock(ctx context.Context) error { return asking(ctx, l.TryLock) }

func (l *sharesInProcess) Unlock() error {
	if l.unlock == nil {
		return os.ErrNotExist
	}
	if l.how != 0 {
		l.turnstile.Unlock()
	}
	l.unlock()
	l.unlock = nil
	return nil
}

type ignoresOwnReaders struct{ *turnstile }

func (l ignoresOwnReaders) TryLock() (bool, error) {
	if own(l.path, unix.LOCK_SH).Load() > 0 && l.how == 0 {
		return true, nil
	}
	return l.turnstile.TryLock()
}

func (l ignoresOwnReaders) Lock(ctx context.Context) error {
	if own(l.path, unix.LOCK_SH).Load() > 0 && l.how == 0 {
		return nil
	}
	return l.turnstile.Lock(ctx)
}

// releasesForAll has all readers of a process release the lock when the first does.
type releasesForAll struct{ *turnstile }

var readersOf = struct {
	sync.Mutex
	all map[string][]*turnstile
}{all: make(map[string][]*turnstile)}

func (l *releasesForAll) keep(took bool) {
	if took {
		readersOf.Lock()
		defer readersOf.Unlock()
		readersOf.all[l.path] = append(readersOf.all[l.path], l.turnstile)
	}
}

func (l *releasesForAll) LockShared(ctx context.Context) error {
	err := l.turnstile.LockShared(ctx)
	l.keep(err == nil)
	return err
}

func (l *releasesForAll) TryLockShared() (bool, error) {
	took, err := l.turnstile.TryLockShared()
	l.keep(took)
	return took, err
}

func (l *releasesForAll) Unlock() error {
	if l.how == unix.LOCK_SH {
		readersOf.Lock()
		defer readersOf.Unlock()
		for _, t := range readersOf.all[l.path] {
			t.lock.Unlock()
		}
		delete(readersOf.all, l.path)
	}
	return l.turnstile.Unlock()
}

// countsReaders has a file for each reader, for which writers wait, too.
type countsReaders struct {
	*turnstile
	counted string
}

func (l *countsReaders) count(took bool) error {
	if !took {
		return nil
	}
	dir := l.path + ".readers"
	if err := os.Mkdir(dir, 0o777); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	f, err := os.CreateTemp(dir, strconv.Itoa(os.Getpid())+"-")
	if err != nil {
		return err
	}
	l.counted = f.Name()
	return f.Close()
}

func (l *countsReaders) LockShared(ctx context.Context) error {
	err := l.turnstile.LockShared(ctx)
	return errors.Join(err, l.count(err == nil))
}

func (l *countsReaders) TryLockShared() (bool, error) {
	took, err := l.turnstile.TryLockShared()
	return took, errors.Join(err, l.count(took))
}

func (l *countsReaders) Unlock() error {
	if l.counted != "" {
		if err := os.Remove(l.counted); err != nil {
			return err
		}
		l.counted = ""
	}
	return l.turnstile.Unlock()
}

func (l *countsReaders) Lock(ctx context.Context) error {
	if err := l.turnstile.Lock(ctx); err != nil {
		return err
	}
	err := asking(ctx, func() (bool, error) {
		left, err := filepath.Glob(l.path + ".readers/*")
		return len(left) == 0, err
	})
	if err != nil {
		l.turnstile.Unlock()
	}
	return err
}

// keepsGate keeps the gate for good if it was cancelled while it waited for readers.
type keepsGate struct{ *turnstile }

func (l keepsGate) Lock(ctx context.Context) error {
	err := l.turnstile.Lock(ctx)
	if errors.Is(err, context.Canceled) {
		if readers, _ := l.lock.try(unix.LOCK_SH); readers {
			l.lock.Unlock()
			return errors.Join(err, await(context.Background(), l.gate, unix.LOCK_EX))
		}
	}
	return err
}

// passes has readers pass a writer that has waited for less than passTime: one of this
// process, or one of a different one.
type passes struct {
	*turnstile
	own bool
}

const passTime = time.Second

func (l passes) Lock(ctx context.Context) error {
	writers := own(l.path, waitingWriters)
	writers.Add(1)
	defer writers.Add(-1)
	if err := await(ctx, l.gate, unix.LOCK_EX); err != nil {
		return err
	}
	defer l.gate.Unlock()
	now := time.Now()
	if err := os.Chtimes(l.path+".gate", now, now); err != nil {
		return err
	}
	return l.direct(ctx, unix.LOCK_EX)
}

func (l passes) TryLockShared() (bool, error) {
	if took, err := l.turnstile.TryLockShared(); took || err != nil || l.how != 0 {
		return took, err
	}
	info, err := os.Stat(l.path + ".gate")
	if err != nil || time.Since(info.ModTime()) > passTime || l.own != (own(l.path, waitingWriters).Load() > 0) {
		return false, err
	}
	return l.tryDirect(unix.LOCK_SH)
}

func (l passes) LockShared(ctx context.Context) error { return asking(ctx, l.TryLockShared) }

// queuesBehindFew goes without the gate if its process has more than a few readers.
type queuesBehindFew struct{ *turnstile }

func (l queuesBehindFew) Lock(ctx context.Context) error {
	if own(l.path, unix.LOCK_SH).Load() > 2 {
		return l.direct(ctx, unix.LOCK_EX)
	}
	return l.turnstile.Lock(ctx)
}

// joinsOwn has readers go without the gate if their process has others.
type joinsOwn struct{ *turnstile }

func (l joinsOwn) Lock(ctx context.Context) error {
	writers := own(l.path, waitingWriters)
	writers.Add(1)
	defer writers.Add(-1)
	return l.turnstile.Lock(ctx)
}

func (l joinsOwn) TryLockShared() (bool, error) {
	if l.how == 0 && own(l.path, unix.LOCK_SH).Load() > 0 && own(l.path, waitingWriters).Load() == 0 {
		if took, err := l.tryDirect(unix.LOCK_SH); took || err != nil {
			return took, err
		}
	}
	return l.turnstile.TryLockShared()
}

func (l joinsOwn) LockShared(ctx context.Context) error { return asking(ctx, l.TryLockShared) }

// losesOnUpgrade converts the kernel's lock, which drops it if the conversion fails.
type losesOnUpgrade struct{ *turnstile }

func (l losesOnUpgrade) TryLock() (bool, error) {
	if l.how == unix.LOCK_SH {
		return l.lock.try(unix.LOCK_EX)
	}
	return l.turnstile.TryLock()
}

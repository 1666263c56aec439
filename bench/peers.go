package main

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/alexflint/go-filemutex"
	"github.com/danjacques/gofslock/fslock"
	"github.com/gofrs/flock"
	"github.com/juju/mutex/v2"
	"github.com/rogpeppe/go-internal/lockedfile"
	"go.etcd.io/etcd/client/pkg/v3/fileutil"

	"packlock/locktest"
)

// A peer is a library that is tested, and what of it.
type peer struct {
	locktest.Lib
	about string
}

// peerPause is the delay of the libraries that poll, where it can be chosen.
const peerPause = 10 * time.Millisecond

// peers are those tested, packlock first. packlock alone claims something: for the
// others it is found out what they do.
var peers = []peer{
	{locktest.Packlock(), "`Acquire`, `TryAcquire`, `AcquireShared` and `TryAcquireShared` of a `Lock`"},
	peerOf("raw flock", "flock(2) on a descriptor, as fd-lock of Rust has it", newRawPeer),
	peerOf(nameGofrs, "github.com/gofrs/flock: `Lock`, `TryLock`, `RLock`, `TryRLock`", func(path string) (locktest.Locker, error) {
		return gofrsPeer{flock.New(path)}, nil
	}),
	peerOf("gofrs/flock TryLockContext", "the same, waiting by `TryLockContext` and `TryRLockContext`, with a delay of 10 ms", func(path string) (locktest.Locker, error) {
		return gofrsAsking{gofrsPeer{flock.New(path)}}, nil
	}),
	peerOf(nameLockedfile, "github.com/rogpeppe/go-internal/lockedfile, a copy of the go command's: `Mutex`; shared, `Open`", func(path string) (locktest.Locker, error) {
		return newSharable(&lockedfilePeer{path: path}), nil
	}),
	peerOf("go-filemutex", "github.com/alexflint/go-filemutex: `Lock`, `TryLock`, `RLock`", func(path string) (locktest.Locker, error) {
		m, err := filemutex.New(path)
		return filemutexPeer{m}, err
	}),
	peerOf("juju/mutex", "github.com/juju/mutex/v2: `Acquire`, with a name made of the path, and `Cancel`. It locks a file of its own in the temporary directory, so the file at the path does not matter to it", newJujuPeer),
	peerOf("gofslock", "github.com/danjacques/gofslock: `Lock`, `LockShared`, and `LockBlocking`, `LockSharedBlocking`, with a delay of 10 ms", func(path string) (locktest.Locker, error) {
		return newSharable(&gofslockPeer{path: path}), nil
	}),
	peerOf("etcd fileutil", "go.etcd.io/etcd/client/pkg/v3/fileutil: `LockFile`, `TryLockFile`", func(path string) (locktest.Locker, error) {
		return &closable{grasp: &etcdPeer{path: path}}, nil
	}),
	peerOf("sync.RWMutex", "sync.RWMutex, one for each path: the ideal within a process. It locks no file and excludes no other process, so only what handles of one process show counts", newMutexPeer),
}

func peerOf(name, about string, open func(path string) (locktest.Locker, error)) peer {
	return peer{locktest.Lib{Name: name, Open: open}, about}
}

func peerLibs() (libs []locktest.Lib) {
	for _, p := range peers {
		libs = append(libs, p.Lib)
	}
	return libs
}

// A grasp is a library that has no handle to close.
type grasp interface {
	Lock(ctx context.Context) error
	TryLock() (bool, error)
	Unlock() error
}

// closable makes a Locker of it, which knows whether there is something to unlock
// at the end.
type closable struct {
	grasp
	locked bool
}

func (c *closable) Lock(ctx context.Context) error {
	err := c.grasp.Lock(ctx)
	c.locked = err == nil
	return err
}

func (c *closable) TryLock() (bool, error) {
	took, err := c.grasp.TryLock()
	c.locked = c.locked || took
	return took, err
}

func (c *closable) Unlock() error {
	c.locked = false
	return c.grasp.Unlock()
}

func (c *closable) Close() error {
	if c.locked {
		return c.Unlock()
	}
	return nil
}

// A sharedGrasp is a grasp that has shared locks, too.
type sharedGrasp interface {
	grasp
	LockShared(ctx context.Context) error
	TryLockShared() (bool, error)
}

// sharable is closable of one.
type sharable struct {
	*closable
	shared sharedGrasp
}

func newSharable(g sharedGrasp) sharable { return sharable{&closable{grasp: g}, g} }

func (s sharable) LockShared(ctx context.Context) error {
	err := s.shared.LockShared(ctx)
	s.locked = err == nil
	return err
}

func (s sharable) TryLockShared() (bool, error) {
	took, err := s.shared.TryLockShared()
	s.locked = s.locked || took
	return took, err
}

// errNotHeld is returned by an adapter for an Unlock without a lock, because the
// library behind it needs one.
var errNotHeld = errors.New("not locked")

type gofrsPeer struct{ *flock.Flock }

func (p gofrsPeer) Lock(context.Context) error       { return p.Flock.Lock() }
func (p gofrsPeer) LockShared(context.Context) error { return p.RLock() }
func (p gofrsPeer) TryLockShared() (bool, error)     { return p.TryRLock() }

// gofrsAsking waits by TryLockContext and TryRLockContext.
type gofrsAsking struct{ gofrsPeer }

func (p gofrsAsking) Lock(ctx context.Context) error {
	_, err := p.TryLockContext(ctx, peerPause)
	return err
}

func (p gofrsAsking) LockShared(ctx context.Context) error {
	_, err := p.TryRLockContext(ctx, peerPause)
	return err
}

type lockedfilePeer struct {
	path   string
	unlock func()
}

func (p *lockedfilePeer) Lock(context.Context) (err error) {
	p.unlock, err = lockedfile.MutexAt(p.path).Lock()
	return err
}

func (p *lockedfilePeer) LockShared(context.Context) error {
	f, err := lockedfile.Open(p.path)
	if err == nil {
		p.unlock = func() { f.Close() }
	}
	return err
}

func (p *lockedfilePeer) TryLockShared() (bool, error) { return false, errors.ErrUnsupported }

func (p *lockedfilePeer) TryLock() (bool, error) { return false, errors.ErrUnsupported }

func (p *lockedfilePeer) Unlock() error {
	if p.unlock == nil {
		return errNotHeld
	}
	p.unlock()
	return nil
}

type filemutexPeer struct{ *filemutex.FileMutex }

func (p filemutexPeer) Lock(context.Context) error       { return p.FileMutex.Lock() }
func (p filemutexPeer) LockShared(context.Context) error { return p.RLock() }
func (p filemutexPeer) TryLockShared() (bool, error)     { return false, errors.ErrUnsupported }

func (p filemutexPeer) TryLock() (bool, error) {
	err := p.FileMutex.TryLock()
	if errors.Is(err, filemutex.AlreadyLocked) {
		return false, nil
	}
	return err == nil, err
}

// jujuPeer is a mutex with a name. Its file is in the temporary directory.
type jujuPeer struct {
	name string
	held mutex.Releaser
}

func newJujuPeer(path string) (locktest.Locker, error) {
	h := fnv.New64()
	h.Write([]byte(path))
	return &closable{grasp: &jujuPeer{name: fmt.Sprintf("peer-%x", h.Sum64())}}, nil
}

func (p *jujuPeer) Lock(ctx context.Context) (err error) {
	p.held, err = mutex.Acquire(mutex.Spec{Name: p.name, Clock: clock{}, Delay: peerPause, Cancel: ctx.Done()})
	if ctx.Err() != nil && err != nil {
		return fmt.Errorf("%w: %w", err, ctx.Err())
	}
	return err
}

func (p *jujuPeer) TryLock() (bool, error) { return false, errors.ErrUnsupported }

func (p *jujuPeer) Unlock() error {
	if p.held == nil {
		return errNotHeld
	}
	p.held.Release()
	return nil
}

// clock is that of the system.
type clock struct{}

func (clock) After(d time.Duration) <-chan time.Time { return time.After(d) }
func (clock) Now() time.Time                         { return time.Now() }

type gofslockPeer struct {
	path string
	held fslock.Handle
}

func (p *gofslockPeer) Lock(ctx context.Context) error {
	return p.wait(ctx, fslock.LockBlocking)
}

func (p *gofslockPeer) LockShared(ctx context.Context) error {
	return p.wait(ctx, fslock.LockSharedBlocking)
}

func (p *gofslockPeer) wait(ctx context.Context, lock func(string, fslock.Blocker) (fslock.Handle, error)) (err error) {
	if err := ctx.Err(); err != nil {
		return err // it checks the context only when it must wait
	}
	p.held, err = lock(p.path, func() error {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(peerPause):
			return nil
		}
	})
	return err
}

func (p *gofslockPeer) TryLock() (bool, error)       { return p.try(fslock.Lock) }
func (p *gofslockPeer) TryLockShared() (bool, error) { return p.try(fslock.LockShared) }

func (p *gofslockPeer) try(lock func(string) (fslock.Handle, error)) (bool, error) {
	h, err := lock(p.path)
	if err == fslock.ErrLockHeld {
		return false, nil
	}
	if err == nil {
		p.held = h
	}
	return err == nil, err
}

func (p *gofslockPeer) Unlock() error {
	if p.held == nil {
		return errNotHeld
	}
	return p.held.Unlock()
}

type etcdPeer struct {
	path string
	held *fileutil.LockedFile
}

func (p *etcdPeer) Lock(context.Context) (err error) {
	p.held, err = fileutil.LockFile(p.path, os.O_WRONLY|os.O_CREATE, fileutil.PrivateFileMode)
	return err
}

func (p *etcdPeer) TryLock() (bool, error) {
	f, err := fileutil.TryLockFile(p.path, os.O_WRONLY|os.O_CREATE, fileutil.PrivateFileMode)
	if errors.Is(err, fileutil.ErrLocked) {
		return false, nil
	}
	if err == nil {
		p.held = f
	}
	return err == nil, err
}

func (p *etcdPeer) Unlock() error {
	if p.held == nil {
		return errNotHeld
	}
	return p.held.Close()
}

// mutexPeer is a handle on the sync.RWMutex of a path.
type mutexPeer struct {
	*sync.RWMutex
	unlock func()
}

var mutexes sync.Map // path -> *sync.RWMutex

func newMutexPeer(path string) (locktest.Locker, error) {
	m, _ := mutexes.LoadOrStore(path, new(sync.RWMutex))
	return &mutexPeer{RWMutex: m.(*sync.RWMutex)}, nil
}

func (p *mutexPeer) Lock(context.Context) error {
	p.RWMutex.Lock()
	p.unlock = p.RWMutex.Unlock
	return nil
}

func (p *mutexPeer) LockShared(context.Context) error {
	p.RLock()
	p.unlock = p.RUnlock
	return nil
}

func (p *mutexPeer) TryLock() (bool, error) {
	took := p.RWMutex.TryLock()
	if took {
		p.unlock = p.RWMutex.Unlock
	}
	return took, nil
}

func (p *mutexPeer) TryLockShared() (bool, error) {
	took := p.TryRLock()
	if took {
		p.unlock = p.RUnlock
	}
	return took, nil
}

func (p *mutexPeer) Unlock() error {
	if p.unlock == nil {
		return errNotHeld
	}
	p.unlock()
	p.unlock = nil
	return nil
}

func (p *mutexPeer) Close() error {
	if p.unlock != nil {
		return p.Unlock()
	}
	return nil
}

// makePeers makes peers.md.
func makePeers(ctx context.Context, own string, _ bool) (string, drawing, error) {
	text, err := testPeers(ctx, own, func(p peer, r locktest.Report) { fmt.Fprintf(os.Stderr, "%s: %s\n", p.Name, r.Verdict) })
	return text, nil, err
}

// testPeers tests all of them on the file system of dir, tells how it goes, and
// returns the page about it.
func testPeers(ctx context.Context, dir string, told func(peer, locktest.Report)) (string, error) {
	// Where juju/mutex has its files.
	if err := os.Setenv("TMPDIR", dir); err != nil {
		return "", err
	}
	var reports []locktest.Report
	for _, p := range peers {
		r, err := locktest.Test(ctx, dir, p.Lib)
		if err != nil {
			return "", fmt.Errorf("%s: %w", p.Name, err)
		}
		told(p, r)
		reports = append(reports, r)
	}
	return peersPage(dir, reports), nil
}

// withVersion returns what is said about a peer, with the version of the module that
// it begins with.
func withVersion(about string) string {
	name, rest, _ := strings.Cut(about, ":")
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if name == m.Path || strings.HasPrefix(name, m.Path+"/") {
				return name + " " + m.Version + ":" + rest
			}
		}
	}
	return about
}

// outcomeCells are what the table says.
var outcomeCells = map[locktest.Outcome]string{
	locktest.OK: "yes", locktest.Lacks: "no", locktest.Failed: "**no**", locktest.Skipped: "–",
}

// peersPage is the page about the reports on the peers.
func peersPage(dir string, reports []locktest.Report) string {
	var b strings.Builder
	fmt.Fprintf(&b, `<!-- Generated: the command below writes it. -->

# What the libraries do

What each library excludes, notices and leaves behind, found out by the same kit, [locktest](../testing.md#test-my-lock-library). %s
A **no** in bold is of a property that every lock needs. A dash is what could not be found out, for the reason below.
packlock claims what is *yes*. The last column locks no file, and shows what is possible within a process.

| |`, measuredBy("peers", false, machine(dir)))
	for _, p := range peers {
		fmt.Fprintf(&b, " %s |", p.Name)
	}
	fmt.Fprintf(&b, "\n|---|%s\n", strings.Repeat("---|", len(peers)))
	for i, c := range reports[0].Checks {
		fmt.Fprintf(&b, "| %s |", c.Name)
		for _, r := range reports {
			fmt.Fprintf(&b, " %s |", outcomeCells[r.Checks[i].Outcome])
		}
		b.WriteString("\n")
	}
	b.WriteString("\nEach, as it was used, and what was seen. Times are figures of one run.\n")
	for i, p := range peers {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n", p.Name, withVersion(p.about))
		for _, c := range reports[i].Checks {
			if c.Detail != "" {
				fmt.Fprintf(&b, "- %s: %s\n", c.Name, c)
			}
		}
	}
	return b.String()
}

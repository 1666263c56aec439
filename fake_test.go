package packlock

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// fakeKernel is an operating system in memory: a flat file system whose files
// can be locked as by flock(2). It is strict. It panics on a second call on a file
// while one is under way, on a call on a closed file, and if a file is unlocked that
// is not locked. All its waiting is on channels, and so durably blocking in the sense
// of testing/synctest.
type fakeKernel struct {
	mu sync.Mutex // guards the following
	// hook, if not nil, is called at the start of each call, outside of mu, and
	// may wait. If it returns an error, the call fails with it. It is called a second
	// time, with "blocked", when block has acquired the lock.
	hook    func(call string, path string) error
	files   map[string]*fakeInode
	gone    map[string]bool // directories that do not exist
	remote  bool            // a network file system
	inodes  uint64
	nopen   int // descriptors that are open
	calls   map[string]int
	threads int        // the limit on threads, 0 if there is none
	dups    []*os.File // what dup returned

	nboards       int   // boards that are open; nopen does not count them
	announcements int64 // how many there were
}

type fakeInode struct {
	id      fileID
	links   int
	changed int64 // how often its names have changed
	open    int   // descriptors
	// locked has the files that have the lock: any number of them shared, or one.
	locked map[*fakeFile]bool
	shared bool
	// announced has the announcements of the boards.
	announced map[*fakeBoard]int64
	// waiting is first come, first served among those of one kind. A shared lock is granted
	// while an exclusive one is waited for.
	waiting []*fakeFile
}

type fakeFile struct {
	k     *fakeKernel
	path  string // by which it was opened; for messages
	inode *fakeInode
	lock  chan struct{} // a send for each lock granted to a waiting file

	// Guarded by k.mu.
	inCall string
	closed bool
	wants  bool // a shared lock, while it waits
}

func newFakeKernel() *fakeKernel {
	return &fakeKernel{
		files: make(map[string]*fakeInode),
		gone:  make(map[string]bool),
		calls: make(map[string]int),
	}
}

func (k *fakeKernel) setHook(hook func(call string, path string) error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.hook = hook
}

// enter counts a call and calls the hook. Every call begins with it.
func (k *fakeKernel) enter(call, path string) error {
	k.mu.Lock()
	k.calls[call]++
	hook := k.hook
	k.mu.Unlock()
	if hook != nil {
		return hook(call, path)
	}
	return nil
}

func (k *fakeKernel) open(path string, o options) (file, error) {
	if err := k.enter("open", path); err != nil {
		return nil, err
	}
	if o.mustExist && k.inode(path) == nil {
		return nil, fs.ErrNotExist
	}
	return k.openFile(path)
}

func (k *fakeKernel) threadLimit() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.threads
}

func (k *fakeKernel) openFile(path string) (*fakeFile, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.gone[filepath.Dir(path)] {
		return nil, fs.ErrNotExist
	}
	if k.files[path] == nil {
		k.createLocked(path)
	}
	k.nopen++
	k.files[path].open++
	return &fakeFile{k: k, path: path, inode: k.files[path], lock: make(chan struct{}, 1)}, nil
}

func (k *fakeKernel) createLocked(path string) {
	k.inodes++
	k.files[path] = &fakeInode{id: fileID{volume: 1, file: [2]uint64{k.inodes}}, links: 1, changed: 1, locked: make(map[*fakeFile]bool), announced: make(map[*fakeBoard]int64)}
}

func (f *fakeFile) sameAt(path string, _ bool) (bool, error) {
	if err := f.k.enter("sameAt", path); err != nil {
		return false, err
	}
	f.k.mu.Lock()
	defer f.k.mu.Unlock()
	return f.k.files[path] == f.inode, nil
}

// regular is false for a path that ends in ".dir": a directory.
func (f *fakeFile) regular() bool { return !strings.HasSuffix(f.path, ".dir") }

func (f *fakeFile) remote() bool {
	f.k.mu.Lock()
	defer f.k.mu.Unlock()
	return f.k.remote && f.path != fakeLocalPath
}

// serverStillGrants returns false for a lock that the server has dropped.
func (f *fakeFile) serverStillGrants() (bool, error) {
	if err := f.k.enter("serverStillGrants", f.path); err != nil {
		return false, err
	}
	f.k.mu.Lock()
	defer f.k.mu.Unlock()
	return f.inode.locked[f], nil
}

func (k *fakeKernel) pause(d time.Duration) {
	if k.enter("pause", "") == nil {
		time.Sleep(d)
	}
}

// unlink deletes a name.
func (k *fakeKernel) unlink(path string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.unlinkLocked(path)
}

func (k *fakeKernel) unlinkLocked(path string) {
	if inode := k.files[path]; inode != nil {
		inode.links--
		inode.changed++
		delete(k.files, path)
	}
}

// link gives the file at path a second name.
func (k *fakeKernel) link(path, name string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.files[path].links++
	k.files[path].changed++
	k.files[name] = k.files[path]
}

// removeDir deletes dir and the files in it.
func (k *fakeKernel) removeDir(dir string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for path := range k.files {
		if filepath.Dir(path) == dir {
			k.unlinkLocked(path)
		}
	}
	k.gone[dir] = true
}

// makeDir makes a deleted directory again, empty.
func (k *fakeKernel) makeDir(dir string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.gone, dir)
}

// replace deletes the file at path, if there is one, and creates a new one there.
func (k *fakeKernel) replace(path string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.unlinkLocked(path)
	k.createLocked(path)
}

// rename gives the file at path the name to. It deletes a file that has that name.
func (k *fakeKernel) rename(path, to string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	inode := k.files[path]
	k.unlinkLocked(to)
	delete(k.files, path)
	k.files[to] = inode
	if inode != nil {
		inode.changed++
	}
}

// replaceDir gives dir the name to and makes an empty directory in its place. The
// change times of the files stay the same.
func (k *fakeKernel) replaceDir(dir, to string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for path, inode := range k.files {
		if filepath.Dir(path) == dir {
			moved := filepath.Join(to, filepath.Base(path))
			k.unlinkLocked(moved)
			k.files[moved] = inode
			delete(k.files, path)
		}
	}
}

// inode returns the file that is at path, nil if there is none.
func (k *fakeKernel) inode(path string) *fakeInode {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.files[path]
}

// called returns how often a call was made.
func (k *fakeKernel) called(call string) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.calls[call]
}

// descriptors returns how many are open.
func (k *fakeKernel) descriptors() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.nopen
}

// isOpen reports whether any process has the file open.
func (k *fakeKernel) isOpen(inode *fakeInode) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return inode.open > 0
}

func (f *fakeFile) id() fileID { return f.inode.id }

// begin and finish enclose every call on a file.
func (f *fakeFile) begin(call string) error {
	f.setCall(call)
	return f.k.enter(call, f.path)
}

func (f *fakeFile) setCall(call string) {
	f.k.mu.Lock()
	defer f.k.mu.Unlock() // in a panic, too, or finish would never return
	if f.closed {
		panic(fmt.Sprintf("%s of %s: %s after close", call, f.path, call))
	}
	if f.inCall != "" {
		panic(fmt.Sprintf("%s of %s during %s", call, f.path, f.inCall))
	}
	f.inCall = call
}

func (f *fakeFile) finish() {
	f.k.mu.Lock()
	f.inCall = ""
	f.k.mu.Unlock()
}

func (f *fakeFile) try(shared bool) (bool, error) {
	defer f.finish()
	if err := f.begin("try"); err != nil {
		return false, err
	}
	return f.tryLock(shared), nil
}

func (f *fakeFile) tryLock(shared bool) bool {
	f.k.mu.Lock()
	defer f.k.mu.Unlock()
	return f.lockLocked(shared)
}

// lockLocked locks the file, if no other has a lock that excludes that.
func (f *fakeFile) lockLocked(shared bool) bool {
	if f.inode.locked[f] {
		panic("lock of " + f.path + ", which is locked")
	}
	if len(f.inode.locked) > 0 && !(shared && f.inode.shared) {
		return false
	}
	f.inode.locked[f] = true
	f.inode.shared = shared
	return true
}

func (f *fakeFile) block(shared bool) error {
	defer f.finish()
	if err := f.begin("block"); err != nil {
		return err
	}
	f.waitForLock(shared)
	err := f.k.enter("blocked", f.path)
	if err != nil {
		f.k.mu.Lock()
		defer f.k.mu.Unlock()
		if f.inode.locked[f] { // a kernel that returns an error grants no lock
			f.releaseLocked()
		}
	}
	return err
}

func (f *fakeFile) waitForLock(shared bool) {
	f.k.mu.Lock()
	if f.lockLocked(shared) {
		f.k.mu.Unlock()
		return
	}
	f.wants = shared
	f.inode.waiting = append(f.inode.waiting, f)
	f.k.mu.Unlock()
	<-f.lock
}

// toShared converts as Linux does, unless the kernel is remote.
func (f *fakeFile) toShared() (bool, error) {
	defer f.finish()
	if err := f.begin("toShared"); err != nil {
		return false, err
	}
	f.k.mu.Lock()
	defer f.k.mu.Unlock()
	if f.k.remote {
		return false, nil
	}
	if !f.inode.locked[f] || f.inode.shared {
		panic("conversion of " + f.path + ", which is not locked exclusively")
	}
	f.inode.shared = true
	f.inode.grantLocked()
	return true, nil
}

func (f *fakeFile) unlock() error {
	defer f.finish()
	if err := f.begin("unlock"); err != nil {
		return err
	}
	f.release()
	return nil
}

// release unlocks the file without calling the hook.
func (f *fakeFile) release() {
	f.k.mu.Lock()
	defer f.k.mu.Unlock()
	if !f.inode.locked[f] && f.k.remote {
		return // the server has dropped it
	}
	if !f.inode.locked[f] {
		panic("unlock of " + f.path + ", which is not locked")
	}
	f.releaseLocked()
}

func (f *fakeFile) releaseLocked() {
	delete(f.inode.locked, f)
	f.inode.grantLocked()
}

// grantLocked grants the lock to the files that wait for it and may have it.
func (i *fakeInode) grantLocked() {
	i.waiting = slices.DeleteFunc(i.waiting, func(f *fakeFile) bool {
		granted := f.lockLocked(f.wants)
		if granted {
			f.lock <- struct{}{}
		}
		return granted
	})
}

func (f *fakeFile) stat() (linked bool, ctime int64, err error) {
	defer f.finish()
	if err := f.begin("stat"); err != nil {
		return false, 0, err
	}
	f.k.mu.Lock()
	defer f.k.mu.Unlock()
	switch {
	case !f.k.remote:
		return f.inode.links > 0, f.inode.changed, nil
	case f.inode.links == 0:
		return false, noCtime, errFileLost
	}
	return true, noCtime, nil
}

// dup returns an unrelated file, because those of the fake are no os.File.
func (f *fakeFile) dup(string) (*os.File, error) {
	if err := f.k.enter("dup", f.path); err != nil {
		return nil, err
	}
	f.k.mu.Lock()
	defer f.k.mu.Unlock()
	if f.closed {
		panic("dup of " + f.path + " after close")
	}
	dup, err := os.Open(os.DevNull)
	f.k.dups = append(f.k.dups, dup)
	return dup, err
}

// close closes the file even when it fails, as close(2) does.
func (f *fakeFile) close() error {
	f.closeDescriptor()
	return f.k.enter("close", f.path)
}

func (f *fakeFile) closeDescriptor() {
	f.k.mu.Lock()
	defer f.k.mu.Unlock()
	if f.closed || f.inCall != "" {
		panic(fmt.Sprintf("close of %s: closed %v, during call %q", f.path, f.closed, f.inCall))
	}
	f.closed = true
	f.k.nopen--
	f.inode.open--
	if f.inode.locked[f] {
		f.releaseLocked()
	}
}

// A foreigner is the lock file as another process has it open.
type foreigner struct{ *fakeFile }

// foreigner opens path as another process would.
func (k *fakeKernel) foreigner(t testing.TB, path string) foreigner {
	t.Helper()
	f, err := k.openFile(path)
	if err != nil {
		t.Fatal(err)
	}
	k.mu.Lock()
	k.nopen-- // not one of ours
	k.mu.Unlock()
	return foreigner{f}
}

func (f foreigner) close() {
	f.k.mu.Lock()
	f.k.nopen++
	f.k.mu.Unlock()
	f.fakeFile.close()
}

// lock acquires the lock, which must be free.
func (f foreigner) lock(t testing.TB) {
	t.Helper()
	if !f.tryLock(false) {
		t.Fatalf("%s is locked", f.path)
	}
}

// A test on the fake kernel runs in a bubble. Time passes there only while all
// goroutines wait, and synctest.Wait returns when all others do.

var (
	fakePath  = fakeAbs("/pack/.grex-lock")
	otherPath = fakeAbs("/other/.grex-lock")

	// fakeLocalPath is on a local file system even if the fake kernel is remote.
	fakeLocalPath = fakeAbs("/local/.grex-lock")
)

func fakeAbs(path string) string {
	abs, err := filepath.Abs(filepath.FromSlash(path))
	if err != nil {
		panic(err)
	}
	return abs
}

// engine is a process with a fake kernel and a Lock on fakePath.
type engine struct {
	*testing.T
	k   *fakeKernel
	reg *registry
	l   *Lock

	opened []*Lock // closed at the end of the test, if they are still open
}

// onFake runs test in a bubble. Then it closes the Locks of the test and checks that
// nothing is left: no descriptor, entry, thread or goroutine.
func onFake(t *testing.T, test func(t *testing.T, e *engine)) {
	t.Helper()
	onKernel(t, false, test)
}

// onKernel is onFake, on a network file system if remote is set.
func onKernel(t *testing.T, remote bool, test func(t *testing.T, e *engine)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		k := newFakeKernel()
		k.remote = remote
		e := &engine{T: t, k: k, reg: newRegistry(k)}
		e.l = e.open(fakePath)
		test(t, e)
		e.k.setHook(nil)
		for _, l := range e.opened {
			if err := l.Close(); err != nil && !errors.Is(err, fs.ErrClosed) {
				t.Error(err)
			}
		}
		synctest.Wait()
		e.descriptors(0)
		if k.nboards != 0 {
			t.Errorf("%d boards are open", k.nboards)
		}
		if n := len(e.reg.entries); n != 0 {
			t.Errorf("%d entries left", n)
		}
		if n := e.reg.threads.n.Load(); n != 0 {
			t.Errorf("%d threads left", n)
		}
	})
}

func (e *engine) open(path string, opts ...Option) *Lock {
	e.Helper()
	l, err := e.reg.openFile(path, opts...)
	if err != nil {
		e.Fatal(err)
	}
	e.opened = append(e.opened, l)
	return l
}

func (e *engine) close(l *Lock) {
	e.Helper()
	closeLock(e, l)
}

// settleCtime waits until the tick of the file's last change is over, and has an acquire
// check the path of e.l. The next acquire can trust the change time.
func (e *engine) settleCtime() {
	e.Helper()
	time.Sleep(ctimeTick + 1)
	e.release(e.try(e.l))
}

// lockedElsewhere returns another process that holds the lock of fakePath.
func (e *engine) lockedElsewhere() foreigner {
	e.Helper()
	f := e.k.foreigner(e, fakePath)
	f.lock(e)
	return f
}

// heldByOtherGoroutine returns a hold of e.l that belongs to a different goroutine.
func (e *engine) heldByOtherGoroutine() *Hold {
	e.Helper()
	held := make(chan *Hold)
	go func() { held <- e.try(e.l) }()
	return <-held
}

// try acquires l, which needs no waiting.
func (e *engine) try(l *Lock) *Hold {
	e.Helper()
	h, err := l.TryAcquire()
	if err != nil {
		e.Fatal(err)
	}
	return h
}

func (e *engine) release(h *Hold) {
	e.Helper()
	if err := h.Release(); err != nil {
		e.Error(err)
	}
}

// lockFor acquires the lock, holds it for the section, and releases it.
func (e *engine) lockFor(section time.Duration) {
	e.Helper()
	h, err := e.l.Acquire(e.Context())
	if err != nil {
		e.Fatal(err)
	}
	time.Sleep(section)
	e.release(h)
}

// heldAfterRival waits for another process, so that the engine knows of a rival. Then it
// holds the lock for the section and releases it. It returns that process.
func (e *engine) heldAfterRival(section time.Duration) foreigner {
	e.Helper()
	f := e.lockedElsewhere()
	a := e.acquire(e.l)
	f.release()
	h := a.got()
	time.Sleep(section)
	e.release(h)
	return f
}

// errBroken is the error of a broken kernel.
var errBroken = errors.New("input/output error")

// before has do called before each call of a kind. If do returns an error, the call
// fails with it.
func (e *engine) before(call string, do func() error) {
	e.k.setHook(func(c, _ string) error {
		if c != call {
			return nil
		}
		return do()
	})
}

// beforeNext has do called before the next call of a kind.
func (e *engine) beforeNext(call string, do func() error) {
	e.before(call, func() error {
		e.k.setHook(nil)
		return do()
	})
}

// fail makes each call of a kind fail.
func (e *engine) fail(call string, err error) {
	e.before(call, func() error { return err })
}

// failNext makes the next call of a kind fail.
func (e *engine) failNext(call string, err error) {
	e.beforeNext(call, func() error { return err })
}

// holdUp blocks each call of a kind until goOn is called.
func (e *engine) holdUp(call string) (goOn func()) {
	resume := make(chan struct{})
	e.before(call, func() error {
		<-resume
		return nil
	})
	return func() { close(resume) }
}

// untimed returns the Stats of l without the times.
func untimed(l *Lock) Stats {
	s := l.Stats()
	s.WaitTime, s.LongestWait = 0, 0
	return s
}

// stats checks the Stats of e.l, except for the times.
func (e *engine) stats(want Stats) {
	e.Helper()
	if got := untimed(e.l); got != want {
		e.Errorf("Stats:\n got %+v\nwant %+v", got, want)
	}
}

// called checks how often a call was made.
func (e *engine) called(call string, want int) {
	e.Helper()
	if n := e.k.called(call); n != want {
		e.Fatalf("%d × %s, want %d", n, call, want)
	}
}

// descriptors checks how many are open.
func (e *engine) descriptors(want int) {
	e.Helper()
	if n := e.k.descriptors(); n != want {
		e.Errorf("%d descriptors are open, want %d", n, want)
	}
}

// works checks that the lock can be acquired, and that one descriptor is open.
func (e *engine) works() {
	e.Helper()
	e.k.setHook(nil)
	h := e.try(e.l)
	if err := h.Check(); err != nil {
		e.Error(err)
	}
	e.release(h)
	e.descriptors(1)
}

// acquiring is an acquire, or a different call that may wait, on its own goroutine.
type acquiring struct {
	e      *engine
	cancel context.CancelFunc
	done   chan struct{} // closed when the following are set
	hold   *Hold
	err    error
	lock   *Lock // for a test that needs it
}

// start makes a call on its own goroutine, and waits until the call has returned or
// blocks.
func (e *engine) start(call func(ctx context.Context) (*Hold, error)) *acquiring {
	ctx, cancel := context.WithCancel(context.Background())
	a := &acquiring{e: e, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(a.done)
		a.hold, a.err = call(ctx)
	}()
	synctest.Wait()
	return a
}

// acquire starts an Acquire.
func (e *engine) acquire(l *Lock) *acquiring { return e.start(l.Acquire) }

// blocking starts an AcquireBlocking.
func (e *engine) blocking(l *Lock) *acquiring {
	return e.start(func(context.Context) (*Hold, error) { return l.AcquireBlocking() })
}

// drain starts a WaitDrained, which returns no hold.
func (e *engine) drain(l *Lock) *acquiring {
	return e.start(func(ctx context.Context) (*Hold, error) { return nil, l.WaitDrained(ctx) })
}

// waits checks that the acquire has not returned.
func (a *acquiring) waits() {
	a.e.Helper()
	synctest.Wait()
	select {
	case <-a.done:
		a.e.Fatalf("returned %v, %v; it should wait", a.hold, a.err)
	default:
	}
}

// returns waits for the acquire to return, for no longer than one yield takes.
func (a *acquiring) returns() {
	a.e.Helper()
	select {
	case <-a.done:
	case <-time.After(yieldPause + 1):
		a.e.Fatal("it still waits")
	}
	synctest.Wait() // for the goroutines that it has started or woken
}

// succeeds checks that there is no error.
func (a *acquiring) succeeds() {
	a.e.Helper()
	a.returns()
	if a.err != nil {
		a.e.Fatal(a.err)
	}
}

// got checks that the acquire succeeds and returns its hold.
func (a *acquiring) got() *Hold {
	a.e.Helper()
	a.succeeds()
	return a.hold
}

// failed checks that the acquire fails with want.
func (a *acquiring) failed(want error) {
	a.e.Helper()
	a.returns()
	if !errors.Is(a.err, want) {
		a.e.Fatalf("error %v, want %v", a.err, want)
	}
	if a.hold != nil {
		a.e.Fatal("a hold with an error")
	}
}

// givesUp cancels the acquire, which still waits, and checks its error.
func (a *acquiring) givesUp() {
	a.e.Helper()
	a.cancel()
	a.failed(ErrCancelled)
}

// grantedAfterCancel queues up two waiters, calls meanwhile, ends the context of the
// first, and grants it the lock. It returns the second waiter, which is next.
func (e *engine) grantedAfterCancel(meanwhile func(*entry)) (next *acquiring) {
	e.Helper()
	h := e.try(e.l)
	entry := e.l.entry()
	a := acquisition{lock: e.l.lock, hold: &Hold{lock: e.l.lock}}
	a.needWaiter(now())
	entry.mu.Lock()
	entry.enqueueLocked(a.waiter, now())
	entry.mu.Unlock()
	next = e.acquire(e.l)
	meanwhile(entry)
	ctx, cancel := context.WithCancel(e.Context())
	cancel()
	entry.mu.Lock()
	entry.grantLocked(granted)
	a.waiter.done = ctx.Done()
	if err := a.waiter.wait(ctx); !errors.Is(err, ErrCancelled) {
		e.Fatal(err)
	}
	if err := h.Release(); !errors.Is(err, ErrReleased) {
		e.Error(err)
	}
	return next
}

// makeCheckDue lets time pass until the next acquire checks the path, if call is that
// check. Otherwise the next acquire checks the link count alone.
func (e *engine) makeCheckDue(call string) {
	if call == "sameAt" {
		time.Sleep(pathCheckAge + 1)
	}
}

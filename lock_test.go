package packlock

// The promises of the package, kept by the real kernel. What a fake kernel
// shows better, every order of events that matters, is tested with one.

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// childEnv is the variable that makes this test binary a child process of a
// test and names its role.
const childEnv = "PACKLOCK_TEST_CHILD"

// childRoles says what child processes do. Every role ends when its standard
// input does, and so with the test that it belongs to.
var childRoles = map[string]func(args []string) error{
	"hold":  childHold,
	"flock": childRawLock,
	"count": childCount,
	"drop":  childDrop,
	"start": childStartAnother,
	"echo":  childEcho,
}

func TestMain(m *testing.M) {
	role := os.Getenv(childEnv)
	if role == "" {
		os.Exit(m.Run())
	}
	if err := childRoles[role](os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "child %s: %v\n", role, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// childCommand returns the command that runs a role in a process of its own,
// by way of the emulator that the tests themselves run under, if any.
func childCommand(ctx context.Context, role string, args ...string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	argv := slices.Concat(strings.Fields(os.Getenv("TEST_EXEC")), []string{self}, args)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), childEnv+"="+role,
		"GORACE=atexit_sleep_ms=0 "+os.Getenv("GORACE")) // or the race detector has every child exit a second later
	cmd.Stderr = os.Stderr
	return cmd, nil
}

// child is a process that a test talks to line by line.
type child struct {
	t      testing.TB
	cmd    *exec.Cmd
	stdin  *os.File // its end tells the child to finish
	stdout *bufio.Reader
}

// childStart starts the role, and kills the child at the end of the test if it
// still runs by then.
func childStart(t testing.TB, role string, args ...string) *child {
	t.Helper()
	cmd, err := childCommand(bounded(t), role, args...)
	if err != nil {
		t.Fatal(err)
	}
	return childStartCommand(t, cmd)
}

func childStartCommand(t testing.TB, cmd *exec.Cmd) *child {
	t.Helper()
	// Not cmd's own pipes: these outlive the child, for its own children.
	theirStdin, stdin, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer theirStdin.Close()
	stdout, theirStdout, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer theirStdout.Close()
	cmd.Stdin, cmd.Stdout = theirStdin, theirStdout
	c := &child{t: t, cmd: cmd, stdin: stdin, stdout: bufio.NewReader(stdout)}
	t.Cleanup(func() {
		c.kill()
		stdin.Close()
		stdout.Close()
	})
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return c
}

// expect waits for the child to say a line.
func (c *child) expect(want string) {
	c.t.Helper()
	got, err := c.stdout.ReadString('\n')
	if strings.TrimSpace(got) != want {
		c.t.Fatalf("child said %q (%v), want %q", got, err, want)
	}
}

// finish tells the child to finish and waits until it has, without an error.
func (c *child) finish() {
	c.t.Helper()
	c.stdin.Close()
	if err := c.cmd.Wait(); err != nil {
		c.t.Errorf("child: %v", err)
	}
}

// kill ends the child without warning, if it has not ended, and waits until it
// is gone.
func (c *child) kill() {
	if c.cmd.Process != nil && c.cmd.ProcessState == nil {
		c.cmd.Process.Kill()
		c.cmd.Wait()
	}
}

// childHolder returns a child that has the lock of dir until it is told to
// finish or killed.
func childHolder(t testing.TB, dir string) *child {
	t.Helper()
	c := childStart(t, "hold", dir)
	c.expect("locked")
	return c
}

// childWaiter returns a child that waits for the lock of dir, which somebody
// else has to have, with a thread parked in the kernel. It says "locked" when
// it has it.
func childWaiter(t testing.TB, dir string) *child {
	t.Helper()
	c := childStart(t, "hold", dir)
	c.expect("parked")
	return c
}

// childFlock returns a child that locks the file at path as a program without
// this package does. It says "locked" when it has the lock, and "busy" first if
// that needs waiting.
func childFlock(t testing.TB, path string) *child {
	t.Helper()
	return childStart(t, "flock", path)
}

// childHold is the role of childHolder and childWaiter: args is the pack.
func childHold(args []string) error {
	l, err := Open(args[0])
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	h, err := l.TryAcquire()
	if errors.Is(err, ErrBusy) {
		go func() {
			for !l.Stats().Parked {
				time.Sleep(time.Millisecond)
			}
			fmt.Println("parked")
		}()
		h, err = l.Acquire(ctx)
	}
	if err != nil {
		return err
	}
	fmt.Println("locked")
	<-ctx.Done()
	return h.Release()
}

// childRawLock is the role of childFlock: args is the sidecar.
func childRawLock(args []string) error {
	unlock, err := rawLock(args[0], false)
	if err == nil && unlock == nil {
		fmt.Println("busy")
		unlock, err = rawLock(args[0], true)
	}
	if err != nil {
		return err
	}
	fmt.Println("locked")
	io.Copy(io.Discard, os.Stdin)
	unlock()
	return nil
}

// childEcho is the role of a child that proves to be alive by repeating what it
// is told, and that has nothing to do with locks.
func childEcho([]string) error {
	_, err := io.Copy(os.Stdout, os.Stdin)
	return err
}

// rawLock locks the file at path, through a descriptor of its own, by the
// system call alone. It returns nil instead of a function to unlock if the lock
// is busy and it is not to wait. It is nil itself on a system without such a
// call.
var rawLock func(path string, wait bool) (unlock func(), err error)

func needKernel(t testing.TB) {
	t.Helper()
	if rawLock == nil {
		t.Skipf("%s has neither flock nor LockFileEx", runtime.GOOS)
	}
}

// isLocked reports whether anybody has the kernel's lock of the file at path,
// this process included.
func isLocked(t testing.TB, path string) bool {
	t.Helper()
	unlock, err := rawLock(path, false)
	if err != nil {
		t.Fatal(err)
	}
	if unlock != nil {
		unlock()
	}
	return unlock == nil
}

// limit is until when a test waits for what has to happen.
func limit(t testing.TB) time.Time {
	soon := time.Now().Add(2 * time.Minute)
	if t, ok := t.(*testing.T); ok {
		// Before the whole test binary is killed, and its children are not.
		if d, ok := t.Deadline(); ok && d.Add(-5*time.Second).Before(soon) {
			return d.Add(-5 * time.Second)
		}
	}
	return soon
}

// bounded returns a context for what has to happen.
func bounded(t testing.TB) context.Context {
	ctx, cancel := context.WithDeadline(context.Background(), limit(t))
	t.Cleanup(cancel)
	return ctx
}

// until waits for a state of which no event tells.
func until(t testing.TB, what string, reached func() bool) {
	t.Helper()
	limit := limit(t)
	for n := 0; !reached(); n++ {
		if n < 1000 {
			runtime.Gosched()
			continue
		}
		if time.Now().After(limit) {
			t.Fatalf("waited in vain for %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// scaled returns n, or a tenth where n would take too long: under an emulator,
// and with the race detector, which has room for 8128 goroutines.
func scaled(n int) int {
	info, _ := debug.ReadBuildInfo()
	race := slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
	if race || testing.Short() || os.Getenv("TEST_EXEC") != "" {
		return n / 10
	}
	return n
}

// openReal returns the Lock of dir on the real kernel.
func openReal(t testing.TB, dir string) *Lock {
	t.Helper()
	needKernel(t)
	l, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// acquireReal acquires l, until the end of the test at the latest.
func acquireReal(t testing.TB, l *Lock) *Hold {
	t.Helper()
	h, err := l.Acquire(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Release() })
	return h
}

func release(t testing.TB, h *Hold) {
	t.Helper()
	if err := h.Release(); err != nil {
		t.Error(err)
	}
}

// takeTurn acquires l and releases it, on a goroutine that may not end the test.
func takeTurn(ctx context.Context, t testing.TB, l *Lock) {
	h, err := l.Acquire(ctx)
	if err != nil {
		t.Error(err)
		return
	}
	release(t, h)
}

// queueUp calls fn(0) to fn(n-1), each of which acquires l, on goroutines of
// their own: one after the other, so that their order in the queue is that of
// their numbers.
func queueUp(t testing.TB, l *Lock, n int, fn func(i int)) *sync.WaitGroup {
	t.Helper()
	var wg sync.WaitGroup
	before := l.Stats().Waiting
	for i := range n {
		wg.Go(func() { fn(i) })
		until(t, "a goroutine to queue", func() bool { return l.Stats().Waiting == before+i+1 })
	}
	return &wg
}

// checkPathError checks that err is an *fs.PathError with that operation and
// path, and that it is each of the targets.
func checkPathError(t testing.TB, err error, op, path string, targets ...error) {
	t.Helper()
	pathError, ok := err.(*fs.PathError)
	if !ok {
		t.Errorf("got %T (%v), want an *fs.PathError", err, err)
		return
	}
	if pathError.Op != op || pathError.Path != path {
		t.Errorf("got the error of %q on %q, want that of %q on %q: %v", pathError.Op, pathError.Path, op, path, err)
	}
	for _, target := range targets {
		if !errors.Is(err, target) {
			t.Errorf("got the error %q, want one that is %q", err, target)
		}
	}
}

// checkBusy checks that somebody other than the caller has the lock.
func checkBusy(t testing.TB, l *Lock) {
	t.Helper()
	_, err := l.TryAcquire()
	checkPathError(t, err, "acquire", l.Path(), ErrBusy)
	if errors.Is(err, ErrReentrant) {
		t.Errorf("got %v, want an error that is not %v", err, ErrReentrant)
	}
}

// threads returns the number of threads of this process.
func threads() int {
	if tasks, err := os.ReadDir("/proc/self/task"); err == nil {
		return len(tasks)
	}
	return pprof.Lookup("threadcreate").Count()
}

// openFiles returns how many open files of this process match, by the names
// that Linux has for them, and 0 on other systems.
func openFiles(match func(name string) bool) int {
	const dir = "/proc/self/fd"
	fds, err := os.ReadDir(dir)
	if err != nil {
		return 0
	}
	n := 0
	for _, fd := range fds {
		if name, err := os.Readlink(filepath.Join(dir, fd.Name())); err == nil && match(name) {
			n++
		}
	}
	return n
}

// checkNotOpen waits until this process does not have path open any more.
func checkNotOpen(t testing.TB, path string) {
	t.Helper()
	until(t, "the descriptor to be closed", func() bool {
		return openFiles(func(name string) bool { return name == path }) == 0
	})
}

// acquirers are the ways to acquire a lock with a wait, and to try again and
// again.
var acquirers = []struct {
	name    string
	acquire func(ctx context.Context, l *Lock) (*Hold, error)
}{
	{"Acquire", func(ctx context.Context, l *Lock) (*Hold, error) { return l.Acquire(ctx) }},
	{"AcquireBlocking", func(_ context.Context, l *Lock) (*Hold, error) { return l.AcquireBlocking() }},
	{"TryAcquire", func(ctx context.Context, l *Lock) (*Hold, error) {
		for {
			h, err := l.TryAcquire()
			if !errors.Is(err, ErrBusy) || errors.Is(err, ErrReentrant) || ctx.Err() != nil {
				return h, err
			}
			runtime.Gosched()
		}
	}},
}

func TestExclusionAmongGoroutines(t *testing.T) {
	dir := t.TempDir()
	locks := []*Lock{openReal(t, dir), openReal(t, dir)}
	elsewhere := childHolder(t, dir) // so that the first of us are let in by the parked thread
	contender := childStart(t, "count", dir, filepath.Join(t.TempDir(), "counter"), "1", strconv.Itoa(scaled(300)))
	contender.expect("ready")

	const goroutines = 24
	rounds := scaled(200)
	ctx := bounded(t)
	counter := 0 // guarded by the lock and nothing else, as the race detector must see
	var wg sync.WaitGroup
	for i := range goroutines {
		l, by := locks[i%len(locks)], acquirers[i%len(acquirers)]
		wg.Go(func() {
			for range rounds {
				h, err := by.acquire(ctx, l)
				if err != nil {
					t.Errorf("%s: %v", by.name, err)
					return
				}
				counter++
				release(t, h)
			}
		})
	}
	elsewhere.finish()
	contender.finish()
	wg.Wait()

	h := acquireReal(t, locks[0])
	defer release(t, h)
	if counter != goroutines*rounds {
		t.Errorf("counted to %d, want %d", counter, goroutines*rounds)
	}
	if got := locks[1].Stats().Acquired; got != goroutines*uint64(rounds)+1 {
		t.Errorf("Stats has %d acquired, want %d", got, goroutines*rounds+1)
	}
}

// childCount is the role of a child that counts in a file: args are the pack,
// the file, and how many goroutines count how often.
func childCount(args []string) error {
	l, err := Open(args[0])
	if err != nil {
		return err
	}
	goroutines, _ := strconv.Atoi(args[2])
	rounds, _ := strconv.Atoi(args[3])
	fmt.Println("ready")
	io.Copy(io.Discard, os.Stdin)
	errs := make(chan error)
	for range goroutines {
		go func() { errs <- countIn(l, args[1], rounds) }()
	}
	for range goroutines {
		err = errors.Join(err, <-errs)
	}
	return err
}

// countIn adds 1 to the number in file, rounds times, under l. Beside the file
// there is a witness while somebody is at it.
func countIn(l *Lock, file string, rounds int) error {
	for range rounds {
		err := l.Do(context.Background(), func(context.Context) error {
			witness, err := os.OpenFile(file+".witness", os.O_CREATE|os.O_EXCL, 0o666)
			if err != nil {
				return fmt.Errorf("two at a time: %w", err)
			}
			witness.Close()
			content, err := os.ReadFile(file)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			n, _ := strconv.Atoi(string(content))
			if err := os.WriteFile(file, []byte(strconv.Itoa(n+1)), 0o666); err != nil {
				return err
			}
			return os.Remove(witness.Name())
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func TestExclusionAmongProcesses(t *testing.T) {
	dir := t.TempDir()
	l := openReal(t, dir)
	file := filepath.Join(t.TempDir(), "counter")
	const goroutines = 4
	rounds := scaled(80)

	var children []*child
	for _, path := range otherPaths(t, dir) {
		c := childStart(t, "count", path, file, strconv.Itoa(goroutines), strconv.Itoa(rounds))
		c.expect("ready")
		children = append(children, c)
	}
	for _, c := range children {
		c.stdin.Close() // and they are off, all together
	}
	if err := countIn(l, file, rounds); err != nil {
		t.Error(err)
	}
	for _, c := range children {
		c.finish()
	}
	content, err := os.ReadFile(file)
	if want := strconv.Itoa(rounds * (goroutines*len(children) + 1)); err != nil || string(content) != want {
		t.Errorf("counted to %q (%v), want %s", content, err, want)
	}
}

// otherPaths returns paths that lead to dir by other ways.
func otherPaths(t testing.TB, dir string) []string {
	t.Helper()
	const separator = string(filepath.Separator)
	paths := []string{
		dir + separator,
		dir + separator + "." + separator + separator + ".",
		dir + separator + ".." + separator + filepath.Base(dir),
	}
	if other := strings.ToUpper(dir); other != dir {
		if _, err := os.Stat(other); err == nil {
			paths = append(paths, other) // letters of either case are the same here
		}
	}
	inside := filepath.Join(dir, "inside")
	if err := os.MkdirAll(inside, 0o777); err != nil {
		t.Fatal(err)
	}
	link, linkInside := filepath.Join(t.TempDir(), "link"), filepath.Join(t.TempDir(), "link")
	if err := errors.Join(symlink(dir, link), symlink(inside, linkInside)); err != nil {
		t.Logf("without symlinks: %v", err)
		return paths
	}
	paths = append(paths, link)
	if runtime.GOOS != "windows" { // where ".." is resolved in the text
		t.Chdir(filepath.Dir(linkInside))
		paths = append(paths, linkInside+"/..", "link/..")
	}
	return paths
}

// symlink is os.Symlink that is not taken at its word: an emulation of Windows
// may say that it has made a symlink without having done anything.
func symlink(target, link string) error {
	if err := os.Symlink(target, link); err != nil {
		return err
	}
	_, err := os.Lstat(link)
	return err
}

func TestOneLockByWhateverPath(t *testing.T) {
	dir := t.TempDir()
	l := openReal(t, dir)

	others := make(map[string]*Lock)
	for _, path := range otherPaths(t, dir) {
		others[path] = openReal(t, path)
	}

	alias := filepath.Join(t.TempDir(), "alias")
	if err := os.Link(l.Path(), alias); err != nil {
		t.Logf("without hard links: %v", err)
	} else {
		other, err := OpenFile(alias)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { other.Close() })
		others["hard link"] = other
	}

	h := acquireReal(t, l)
	for path, other := range others {
		if _, err := other.TryAcquire(); !errors.Is(err, ErrReentrant) {
			t.Errorf("TryAcquire by %s: got %v, want %v", path, err, ErrReentrant)
		}
		if other.Stats() != l.Stats() {
			t.Errorf("Stats by %s are %+v, want %+v", path, other.Stats(), l.Stats())
		}
	}
	release(t, h)
	for _, other := range others {
		h := acquireReal(t, other)
		if err := h.Check(); err != nil {
			t.Error(err)
		}
		if _, err := l.TryAcquire(); !errors.Is(err, ErrReentrant) {
			t.Errorf("TryAcquire of what is held by %s: got %v, want %v", other.Path(), err, ErrReentrant)
		}
		release(t, h)
	}
}

func TestRelativePathOutlivesChdir(t *testing.T) {
	parent, elsewhere := t.TempDir(), t.TempDir()
	t.Chdir(parent)
	l := openReal(t, "pack")
	t.Chdir(elsewhere)

	h := acquireReal(t, l)
	if err := h.Check(); err != nil {
		t.Error(err)
	}
	if _, err := openReal(t, filepath.Join(parent, "pack")).TryAcquire(); !errors.Is(err, ErrReentrant) {
		t.Errorf("TryAcquire by the absolute path: got %v, want %v", err, ErrReentrant)
	}
	release(t, h)

	if runtime.GOOS != "windows" { // where the open sidecar cannot be deleted
		if err := os.Remove(l.Path()); err != nil {
			t.Fatal(err)
		}
		h = acquireReal(t, l)
		if err := h.Check(); err != nil {
			t.Error(err)
		}
		release(t, h)
	}
	if entries, err := os.ReadDir(elsewhere); err != nil || len(entries) > 0 {
		t.Errorf("the new working directory has %v (%v), want nothing", entries, err)
	}
}

func TestPathsAreAbsolute(t *testing.T) {
	needKernel(t)
	dir := t.TempDir()
	want := filepath.Join(dir, FileName)
	t.Chdir(dir)
	for _, open := range []func() (*Lock, error){
		func() (*Lock, error) { return Open(dir) },
		func() (*Lock, error) { return OpenFile(FileName) },
		func() (*Lock, error) { return OpenFile(want) },
	} {
		l, err := open()
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		h := acquireReal(t, l)
		// The working directory may have got another name than dir.
		for _, got := range []string{l.Path(), h.Path()} {
			if !filepath.IsAbs(got) || filepath.Base(got) != FileName {
				t.Errorf("got the path %q, want %q", got, want)
			}
		}
		release(t, h)
	}
	if l := openReal(t, dir); l.Path() != want {
		t.Errorf("got the path %q, want %q", l.Path(), want)
	}
}

func TestFirstComeFirstServed(t *testing.T) {
	dir := t.TempDir()
	l, same := openReal(t, dir), openReal(t, dir)
	elsewhere := childHolder(t, dir)
	ctx := bounded(t)
	var order []int // guarded by the lock
	n := scaled(500)
	wg := queueUp(t, l, n, func(i int) {
		var h *Hold
		var err error
		switch {
		case i%3 == 0:
			h, err = l.Acquire(ctx)
		case i%3 == 1:
			h, err = same.Acquire(ctx)
		default:
			h, err = l.AcquireBlocking()
		}
		if err != nil {
			t.Error(err)
			return
		}
		order = append(order, i)
		release(t, h)
	})
	elsewhere.finish()
	wg.Wait()
	if len(order) != n || !slices.IsSorted(order) {
		t.Errorf("%d goroutines queued and were served in the order %v", n, order)
	}
	stats := l.Stats()
	if stats.Acquired != uint64(n) || stats.Contended != uint64(n) {
		t.Errorf("got %+v, want %d acquired, all of them contended", stats, n)
	}
}

func TestWaitingGoroutinesCostNoThread(t *testing.T) {
	dir := t.TempDir()
	l := openReal(t, dir)
	elsewhere := childHolder(t, dir)
	ctx := bounded(t)
	before := threads()
	served := 0 // guarded by the lock
	n := scaled(20_000)
	wg := queueUp(t, l, n, func(i int) {
		h, err := l.Acquire(ctx)
		if err != nil {
			t.Error(err)
			return
		}
		if served != i {
			t.Errorf("goroutine %d was served after %d others", i, served)
		}
		served++
		release(t, h)
	})
	if now := threads(); now > before+12 {
		t.Errorf("%d threads before, %d while %d goroutines wait", before, now, n)
	}
	if stats := l.Stats(); stats.Waiting != n || !stats.Parked || stats.Draining || stats.KernelWaits != 1 {
		t.Errorf("got %+v, want %d waiting for one parked thread", stats, n)
	}
	elsewhere.finish()
	wg.Wait()
	if served != n {
		t.Errorf("served %d goroutines, want %d", served, n)
	}
}

func TestCancelledAcquiresLeaveOneThread(t *testing.T) {
	dir := t.TempDir()
	l := openReal(t, dir)
	elsewhere := childHolder(t, dir)
	all := func(string) bool { return true }
	threadsBefore, filesBefore := threads(), openFiles(all)

	const together = 100
	times := scaled(100)
	for range times {
		ctx, cancel := context.WithCancel(context.Background())
		wg := queueUp(t, l, together, func(int) {
			_, err := l.Acquire(ctx)
			checkPathError(t, err, "acquire", l.Path(), ErrCancelled, context.Canceled)
		})
		cancel()
		wg.Wait() // although nobody has let go
	}

	cancelled := uint64(together * times)
	stats := l.Stats()
	if !stats.Parked || !stats.Draining || stats.Waiting != 0 {
		t.Errorf("got %+v, want a parked thread and nobody waiting", stats)
	}
	if stats.Cancelled != cancelled || stats.KernelWaits != 1 || stats.Adopted != uint64(times-1) {
		t.Errorf("got %+v, want %d cancelled, 1 wait in the kernel, adopted %d times", stats, cancelled, times-1)
	}
	if now := threads(); now > threadsBefore+12 {
		t.Errorf("%d threads before, %d after %d cancelled acquires", threadsBefore, now, cancelled)
	}
	if now := openFiles(all); now > filesBefore {
		t.Errorf("%d open files before, %d after %d cancelled acquires", filesBefore, now, cancelled)
	}
	checkBusy(t, l)

	ended, cancel := context.WithCancel(context.Background())
	cancel()
	checkPathError(t, l.WaitDrained(ended), "drain", l.Path(), ErrCancelled, context.Canceled)

	elsewhere.finish()
	if err := l.WaitDrained(bounded(t)); err != nil {
		t.Fatal(err)
	}
	if stats := l.Stats(); stats.Parked || stats.Draining || stats.Drained != 1 || stats.Acquired != 0 {
		t.Errorf("got %+v, want it drained", stats)
	}
	if isLocked(t, l.Path()) {
		t.Error("still locked")
	}
	h, err := l.TryAcquire()
	if err != nil {
		t.Fatal(err)
	}
	release(t, h)
}

func TestOrphanedWaitIsAdopted(t *testing.T) {
	dir := t.TempDir()
	l := openReal(t, dir)
	elsewhere := childHolder(t, dir)
	ctx, cancel := context.WithCancel(context.Background())
	wg := queueUp(t, l, 1, func(int) {
		_, err := l.Acquire(ctx)
		checkPathError(t, err, "acquire", l.Path(), ErrCancelled)
	})
	until(t, "the thread to park", func() bool { return l.Stats().Parked })
	cancel()
	wg.Wait()
	if stats := l.Stats(); !stats.Draining {
		t.Errorf("got %+v, want a parked thread and nobody waiting", stats)
	}

	ctx = bounded(t)
	drained := make(chan error)
	go func() { drained <- l.WaitDrained(ctx) }()
	until(t, "WaitDrained to wait", func() bool {
		e := l.lockEntry()
		defer e.mu.Unlock()
		return e.drained != nil
	})
	wg = queueUp(t, l, 1, func(int) { takeTurn(ctx, t, l) })
	if err := <-drained; err != nil { // although the lock is still held elsewhere
		t.Error(err)
	}
	if stats := l.Stats(); !stats.Parked || stats.Draining {
		t.Errorf("got %+v, want a parked thread and somebody waiting", stats)
	}
	elsewhere.finish()
	wg.Wait()
	stats := l.Stats()
	if stats.Adopted != 1 || stats.KernelWaits != 1 || stats.Drained != 0 || stats.Acquired != 1 || stats.Contended != 1 {
		t.Errorf("got %+v, want the one wait in the kernel adopted and then granted", stats)
	}
}

func TestThreadsAreBounded(t *testing.T) {
	// One more pack than there may be parked threads, and so on: the rest is
	// polled.
	const packs = maxParked + 20
	needKernel(t)
	dir := t.TempDir()
	unlock := make([]func(), packs)
	before := threads()
	ctx := bounded(t)
	locks := make([]*Lock, packs)
	var wg sync.WaitGroup
	for i := range packs {
		path := filepath.Join(dir, strconv.Itoa(i))
		l, err := OpenFile(path)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		locks[i] = l
		if unlock[i], err = rawLock(path, true); err != nil {
			t.Fatal(err)
		}
		wg.Go(func() { takeTurn(ctx, t, l) })
	}
	parked := 0
	for _, l := range locks {
		until(t, "a goroutine to queue", func() bool { return l.Stats().Waiting == 1 })
		if l.Stats().Parked {
			parked++
		}
	}
	if parked > maxParked {
		t.Errorf("%d threads are parked, want %d", parked, maxParked)
	}
	if now := threads(); now > before+maxParked+12 {
		t.Errorf("%d threads before, %d while goroutines wait for %d packs", before, now, packs)
	}
	// From the last, which are polled, to the first.
	for _, unlock := range slices.Backward(unlock) {
		unlock()
	}
	wg.Wait()
}

func TestCancelledErrorTellsWhy(t *testing.T) {
	errWhy := errors.New("why")
	for _, test := range []struct {
		name string
		end  func(context.Context) (context.Context, context.CancelFunc)
		want []error
	}{
		{"WithCancel", func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithCancel(ctx)
		}, []error{context.Canceled}},
		{"WithCancelCause", func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancelCause(ctx)
			return ctx, func() { cancel(errWhy) }
		}, []error{context.Canceled, errWhy}},
		{"WithTimeout", func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, 10*time.Millisecond)
		}, []error{context.DeadlineExceeded}},
		{"WithTimeoutCause", func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeoutCause(ctx, 10*time.Millisecond, errWhy)
		}, []error{context.DeadlineExceeded, errWhy}},
	} {
		t.Run(test.name, func(t *testing.T) {
			want := append(test.want, ErrCancelled)
			dir := t.TempDir()
			l := openReal(t, dir)
			h := acquireReal(t, l)
			h.Detach()

			ctx, cancel := test.end(t.Context())
			waited := make(chan error)
			go func() {
				_, err := l.Acquire(ctx)
				waited <- err
			}()
			if _, timed := ctx.Deadline(); !timed {
				until(t, "a goroutine to queue", func() bool { return l.Stats().Waiting == 1 })
				cancel()
			}
			checkPathError(t, <-waited, "acquire", l.Path(), want...)
			release(t, h)

			// Free or not, an ended context acquires nothing.
			_, err := l.Acquire(ctx)
			checkPathError(t, err, "acquire", l.Path(), want...)
			err = l.Do(ctx, func(context.Context) error {
				t.Error("Do called its function")
				return nil
			})
			checkPathError(t, err, "acquire", l.Path(), want...)
			cancel()
			if stats := l.Stats(); stats.Cancelled != 3 || stats.Acquired != 1 || stats.Waiting != 0 {
				t.Errorf("got %+v, want 3 cancelled", stats)
			}
			if isLocked(t, l.Path()) {
				t.Error("still locked")
			}
		})
	}
}

func TestNilContextPanics(t *testing.T) {
	l := openReal(t, t.TempDir())
	func() {
		defer func() {
			if recover() == nil {
				t.Error("Acquire without a context did not panic")
			}
		}()
		l.Acquire(nil) //lint:ignore SA1012 this is the test of it
	}()
	release(t, acquireReal(t, l))
}

func TestReentryIsRefused(t *testing.T) {
	dir := t.TempDir()
	l, same := openReal(t, dir), openReal(t, dir)
	h := acquireReal(t, l)
	for _, l := range []*Lock{l, same} {
		for _, by := range acquirers {
			_, err := by.acquire(bounded(t), l)
			checkPathError(t, err, "acquire", l.Path(), ErrReentrant, ErrBusy)
		}
		err := l.Do(bounded(t), func(context.Context) error {
			t.Error("Do called its function")
			return nil
		})
		checkPathError(t, err, "acquire", l.Path(), ErrReentrant)
	}
	elsewhere := make(chan bool)
	go func() {
		defer close(elsewhere)
		checkBusy(t, l)
		checkBusy(t, same)
	}()
	<-elsewhere
	release(t, h)
	release(t, acquireReal(t, same))
}

func TestReentryThroughContextIsRefused(t *testing.T) {
	dir := t.TempDir()
	l, same := openReal(t, dir), openReal(t, dir)
	h := acquireReal(t, l)
	type key struct{}
	ctx, cancel := context.WithCancel(context.WithValue(h.Context(bounded(t)), key{}, 0))
	defer cancel()

	for _, detached := range []bool{false, true} {
		if detached {
			h.Detach()
		}
		elsewhere := make(chan bool)
		go func() {
			defer close(elsewhere)
			for _, l := range []*Lock{l, same} {
				_, err := l.Acquire(ctx)
				checkPathError(t, err, "acquire", l.Path(), ErrReentrant, ErrBusy)
			}
		}()
		<-elsewhere
	}

	release(t, h)
	again, err := same.Acquire(ctx)
	if err != nil {
		t.Fatalf("after the release: %v", err)
	}
	// The mark of the hold that is gone says nothing about this one.
	elsewhere := queueUp(t, l, 1, func(int) { takeTurn(ctx, t, l) })
	release(t, again)
	elsewhere.Wait()
}

func TestDetachedHoldMayBeWaitedFor(t *testing.T) {
	l := openReal(t, t.TempDir())
	h := acquireReal(t, l)
	h.Detach()
	checkBusy(t, l)
	go func() {
		until(t, "the main goroutine to queue", func() bool { return l.Stats().Waiting == 1 })
		release(t, h)
	}()
	release(t, acquireReal(t, l))
}

func TestPacksDoNotInterfere(t *testing.T) {
	one, other := openReal(t, t.TempDir()), openReal(t, t.TempDir())
	h := acquireReal(t, one)
	inOther, err := other.Acquire(h.Context(bounded(t)))
	if err != nil {
		t.Fatal(err)
	}
	_, err = one.Acquire(inOther.Context(h.Context(bounded(t))))
	checkPathError(t, err, "acquire", one.Path(), ErrReentrant)
	release(t, h)
	if err := inOther.Check(); err != nil {
		t.Error(err)
	}
	if isLocked(t, one.Path()) || !isLocked(t, other.Path()) {
		t.Error("want the one pack free and the other locked")
	}
	release(t, inOther)
	if got := one.Stats().Acquired; got != 1 {
		t.Errorf("the one pack was acquired %d times, want 1", got)
	}
}

func TestDoHoldsMarksAndReleases(t *testing.T) {
	l := openReal(t, t.TempDir())
	errInside := errors.New("inside")
	err := l.Do(bounded(t), func(ctx context.Context) error {
		if !isLocked(t, l.Path()) {
			t.Error("not locked")
		}
		elsewhere := make(chan error)
		go func() {
			_, err := l.Acquire(ctx)
			elsewhere <- err
		}()
		checkPathError(t, <-elsewhere, "acquire", l.Path(), ErrReentrant)
		return errInside
	})
	if err != errInside {
		t.Errorf("got %v, want the function's own error", err)
	}
	if isLocked(t, l.Path()) {
		t.Error("still locked")
	}
}

func TestDoReleasesOnPanic(t *testing.T) {
	l := openReal(t, t.TempDir())
	func() {
		defer func() {
			if got := recover(); got != "inside" {
				t.Errorf("recovered %v", got)
			}
		}()
		l.Do(bounded(t), func(context.Context) error { panic("inside") })
	}()
	if isLocked(t, l.Path()) {
		t.Error("still locked")
	}
	release(t, acquireReal(t, l))
}

func TestDoReleasesOnGoexit(t *testing.T) {
	l := openReal(t, t.TempDir())
	ctx := bounded(t)
	var wg sync.WaitGroup
	wg.Go(func() {
		l.Do(ctx, func(context.Context) error {
			runtime.Goexit()
			return nil
		})
	})
	wg.Wait()
	if isLocked(t, l.Path()) {
		t.Error("still locked")
	}
	release(t, acquireReal(t, l))
}

// skipUndeletable skips a test of a sidecar that gets lost.
func skipUndeletable(t testing.TB) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("on Windows an open sidecar can be neither deleted nor replaced")
	}
}

func remove(t testing.TB, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

// checkExcludes checks that h excludes who opens the path now.
func checkExcludes(t testing.TB, h *Hold) {
	t.Helper()
	if err := h.Check(); err != nil {
		t.Error(err)
	}
	if !isLocked(t, h.Path()) {
		t.Errorf("%s is not locked", h.Path())
	}
}

func TestSidecarDeletedWhileIdle(t *testing.T) {
	skipUndeletable(t)
	dir := t.TempDir()
	l, same := openReal(t, dir), openReal(t, dir)
	for n := range uint64(3) {
		release(t, acquireReal(t, l)) // that looks at the path, so that the next one need not
		remove(t, l.Path())
		for _, l := range []*Lock{l, same} {
			h, err := l.TryAcquire()
			if err != nil {
				t.Fatal(err)
			}
			checkExcludes(t, h)
			release(t, h)
		}
		if stats := same.Stats(); stats.Reopened != n+1 || stats.Acquired != 3*(n+1) {
			t.Errorf("got %+v, want %d reopened and %d acquired", stats, n+1, 3*(n+1))
		}
	}
}

func TestSidecarReplacedWhileIdle(t *testing.T) {
	skipUndeletable(t)
	dir := t.TempDir()
	l := openReal(t, dir)
	release(t, acquireReal(t, l))
	replacement := filepath.Join(dir, "replacement")
	if err := os.WriteFile(replacement, []byte("new"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(replacement, l.Path()); err != nil {
		t.Fatal(err)
	}
	h := acquireReal(t, l)
	checkExcludes(t, h)
	release(t, h)
	if content, err := os.ReadFile(l.Path()); err != nil || string(content) != "new" {
		t.Errorf("the replacement has %q (%v), want it as it was", content, err)
	}
	if got := l.Stats().Reopened; got != 1 {
		t.Errorf("reopened %d times, want 1", got)
	}
}

// A file that was moved away still has a link, and it is only the path that
// gives it away. An acquire without a wait looks there now and then.
func TestSidecarMovedAwayIsNoticedSoon(t *testing.T) {
	skipUndeletable(t)
	dir := t.TempDir()
	l := openReal(t, dir)
	release(t, acquireReal(t, l))
	if err := os.Rename(l.Path(), filepath.Join(dir, "moved")); err != nil {
		t.Fatal(err)
	}
	until(t, "an acquire to look at the path", func() bool {
		h := acquireReal(t, l)
		defer release(t, h)
		return h.Check() == nil
	})
	if got := l.Stats().Reopened; got != 1 {
		t.Errorf("reopened %d times, want 1", got)
	}
}

func TestSidecarMovedAwayDuringWaitIsNoticed(t *testing.T) {
	skipUndeletable(t)
	dir := t.TempDir()
	l := openReal(t, dir)
	unlock, err := rawLock(l.Path(), true)
	if err != nil {
		t.Fatal(err)
	}
	ctx := bounded(t)
	wg := queueUp(t, l, 1, func(int) {
		h, err := l.Acquire(ctx)
		if err != nil {
			t.Error(err)
			return
		}
		checkExcludes(t, h)
		release(t, h)
	})
	if err := os.Rename(l.Path(), filepath.Join(dir, "moved")); err != nil {
		t.Fatal(err)
	}
	unlock()
	wg.Wait()
}

func TestSidecarDeletedWhileOthersQueue(t *testing.T) {
	skipUndeletable(t)
	dir := t.TempDir()
	l, same := openReal(t, dir), openReal(t, dir)
	old := childHolder(t, dir)
	ctx := bounded(t)
	var order []int // guarded by the lock
	const n = 20
	wg := queueUp(t, l, n, func(i int) {
		h, err := []*Lock{l, same}[i%2].Acquire(ctx)
		if err != nil {
			t.Error(err)
			return
		}
		checkExcludes(t, h)
		order = append(order, i)
		release(t, h)
	})
	remove(t, l.Path())
	other := childHolder(t, dir) // has the new file

	old.finish()
	until(t, "the queue to move on to the new file", func() bool {
		stats := l.Stats()
		return stats.Reopened == 1 && stats.Parked && stats.Waiting == n
	})
	if stats := same.Stats(); stats.Acquired != 0 || stats.KernelWaits != 2 {
		t.Errorf("got %+v, want nobody served before the new file is free", stats)
	}
	other.finish()
	wg.Wait()
	if len(order) != n || !slices.IsSorted(order) {
		t.Errorf("%d goroutines queued and were served in the order %v", n, order)
	}
	if stats := same.Stats(); stats.Reopened != 1 || stats.Acquired != n {
		t.Errorf("got %+v, want 1 reopened and %d acquired", stats, n)
	}
}

func TestSidecarDeletedWhileHeld(t *testing.T) {
	skipUndeletable(t)
	dir := t.TempDir()
	l := openReal(t, dir)
	h := acquireReal(t, l)
	if err := h.Check(); err != nil {
		t.Error(err)
	}
	remove(t, l.Path())
	checkPathError(t, h.Check(), "check", l.Path(), ErrLost)

	other := childHolder(t, dir) // has the new file
	checkPathError(t, h.Check(), "check", l.Path(), ErrLost)
	release(t, h)
	checkBusy(t, l)
	other.finish()
	h = acquireReal(t, l)
	checkExcludes(t, h)
	release(t, h)
}

func TestDirectoryGone(t *testing.T) {
	skipUndeletable(t)
	dir := filepath.Join(t.TempDir(), "pack")
	l := openReal(t, dir)
	elsewhere := childHolder(t, dir)
	ctx := bounded(t)
	wg := queueUp(t, l, 10, func(int) {
		_, err := l.Acquire(ctx)
		checkPathError(t, err, "acquire", l.Path(), fs.ErrNotExist)
	})
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	elsewhere.finish()
	wg.Wait()
	for _, by := range acquirers {
		_, err := by.acquire(ctx, l)
		checkPathError(t, err, "acquire", l.Path(), fs.ErrNotExist)
	}
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want the directory not to be there", err)
	}

	if err := os.Mkdir(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	h := acquireReal(t, l)
	checkExcludes(t, h)
	release(t, h)
}

func TestSidecarIsNeverWritten(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, FileName)
	const content = "somebody's notes"
	if err := os.WriteFile(path, []byte(content), 0o666); err != nil {
		t.Fatal(err)
	}
	long := time.Now().Add(-time.Hour).Truncate(time.Second)
	if err := os.Chtimes(path, long, long); err != nil {
		t.Fatal(err)
	}
	l := openReal(t, dir)
	elsewhere := childHolder(t, dir)
	ctx := bounded(t)
	wg := queueUp(t, l, 10, func(int) { takeTurn(ctx, t, l) })
	elsewhere.finish()
	wg.Wait()
	for _, by := range acquirers {
		h, err := by.acquire(ctx, l)
		if err != nil {
			t.Fatal(err)
		}
		release(t, h)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != content {
		t.Errorf("the sidecar has %q (%v), want %q", got, err, content)
	}
	if info, err := os.Stat(path); err != nil || !info.ModTime().Equal(long) {
		t.Errorf("the sidecar is %v (%v), want it modified at %v", info, err, long)
	}
}

func TestCloseLeavesLiveHoldValid(t *testing.T) {
	dir := t.TempDir()
	l := openReal(t, dir)
	h := acquireReal(t, l)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	checkExcludes(t, h)
	other := openReal(t, dir)
	if _, err := other.TryAcquire(); !errors.Is(err, ErrReentrant) {
		t.Errorf("got %v, want %v", err, ErrReentrant)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	waiter := childWaiter(t, dir)
	release(t, h)
	waiter.expect("locked")
	checkNotOpen(t, l.Path())
	waiter.finish()
}

func TestClosedLockRefuses(t *testing.T) {
	l := openReal(t, t.TempDir())
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	checkPathError(t, l.Close(), "close", l.Path(), fs.ErrClosed)
	for _, by := range acquirers {
		_, err := by.acquire(bounded(t), l)
		checkPathError(t, err, "acquire", l.Path(), fs.ErrClosed)
	}
	err := l.Do(bounded(t), func(context.Context) error {
		t.Error("Do called its function")
		return nil
	})
	checkPathError(t, err, "acquire", l.Path(), fs.ErrClosed)
	checkPathError(t, l.WaitDrained(bounded(t)), "drain", l.Path(), fs.ErrClosed)
	if stats := l.Stats(); stats != (Stats{}) {
		t.Errorf("got %+v, want no counts", stats)
	}
	checkNotOpen(t, l.Path())
}

func TestCloseWakesItsWaiters(t *testing.T) {
	dir := t.TempDir()
	l, other := openReal(t, dir), openReal(t, dir)
	elsewhere := childHolder(t, dir)
	ctx := bounded(t)
	turnedAway := queueUp(t, l, 10, func(int) {
		_, err := l.Acquire(ctx)
		checkPathError(t, err, "acquire", l.Path(), fs.ErrClosed)
	})
	stays := queueUp(t, other, 1, func(int) { takeTurn(ctx, t, other) })
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	turnedAway.Wait() // although nobody has let go
	elsewhere.finish()
	stays.Wait()
}

func TestCloseLeavesParkedThreadItsDescriptor(t *testing.T) {
	dir := t.TempDir()
	l := openReal(t, dir)
	elsewhere := childHolder(t, dir)
	ctx := bounded(t)
	turnedAway := queueUp(t, l, 1, func(int) {
		_, err := l.Acquire(ctx)
		checkPathError(t, err, "acquire", l.Path(), fs.ErrClosed)
	})
	until(t, "the thread to park", func() bool { return l.Stats().Parked })
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	turnedAway.Wait()

	// Whoever opens the sidecar now comes to the same parked thread.
	again := openReal(t, dir)
	if stats := again.Stats(); !stats.Parked || !stats.Draining {
		t.Errorf("got %+v, want the thread still parked", stats)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
	elsewhere.finish()
	checkNotOpen(t, l.Path())
	until(t, "the thread to drain", func() bool { return !isLocked(t, l.Path()) })
	release(t, acquireReal(t, openReal(t, dir)))
}

// In a bubble of testing/synctest the clock is another, and earlier.
func TestLockIsUsableInsideABubble(t *testing.T) {
	l := openReal(t, t.TempDir())
	release(t, acquireReal(t, l))
	synctest.Test(t, func(t *testing.T) {
		h, err := l.TryAcquire()
		if err != nil {
			t.Fatal(err)
		}
		release(t, h)
	})
	release(t, acquireReal(t, l))
}

func TestReleasedHoldRefuses(t *testing.T) {
	l := openReal(t, t.TempDir())
	h := acquireReal(t, l)
	release(t, h)
	checkReleased := func() {
		t.Helper()
		checkPathError(t, h.Release(), "release", l.Path(), ErrReleased)
		checkPathError(t, h.Check(), "check", l.Path(), ErrReleased)
		_, err := h.Dup()
		checkPathError(t, err, "dup", l.Path(), ErrReleased)
	}
	checkReleased()
	again := acquireReal(t, l)
	checkReleased()
	checkExcludes(t, again) // and the second Release has not let it go
	release(t, again)
}

func TestReleaseByOneOfMany(t *testing.T) {
	l := openReal(t, t.TempDir())
	h := acquireReal(t, l)
	const n = 10
	errs := make(chan error)
	for range n {
		go func() { errs <- h.Release() }()
	}
	released := 0
	for range n {
		if err := <-errs; err == nil {
			released++
		} else {
			checkPathError(t, err, "release", l.Path(), ErrReleased)
		}
	}
	if released != 1 {
		t.Errorf("released %d times, want 1", released)
	}
	release(t, acquireReal(t, l))
}

// closedByCollector runs the garbage collector, and reports whether it has
// closed the lock that was behind a Lock that nobody has any more.
func closedByCollector(inner *lock) bool {
	runtime.GC()
	e := inner.lockEntry()
	defer e.mu.Unlock()
	return inner.closed
}

func TestDroppedLockGivesItsDescriptorBack(t *testing.T) {
	needKernel(t)
	dir := t.TempDir()
	inner := func() *lock {
		l, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		release(t, acquireReal(t, l))
		return l.lock
	}()
	until(t, "the garbage collector", func() bool { return closedByCollector(inner) })
	checkNotOpen(t, inner.path)
	until(t, "the sidecar to be closed", func() bool { return os.Remove(inner.path) == nil }) // as it must be on Windows
}

func TestDroppedHoldStaysHeld(t *testing.T) {
	dir := t.TempDir()
	l := openReal(t, dir)
	elsewhere := childStart(t, "drop", dir) // a process of its own, as nothing can ever end the hold
	elsewhere.expect("dropped")
	if !isLocked(t, l.Path()) {
		t.Error("not locked")
	}
	checkBusy(t, l)
	elsewhere.finish()
	release(t, acquireReal(t, l))
}

// childDrop is the role of a child that drops Lock and Hold without Close and
// Release: args is the pack.
func childDrop(args []string) error {
	inner, err := func() (*lock, error) {
		l, err := Open(args[0])
		if err != nil {
			return nil, err
		}
		_, err = l.AcquireBlocking()
		return l.lock, err
	}()
	if err != nil {
		return err
	}
	for !closedByCollector(inner) {
	}
	fmt.Println("dropped")
	io.Copy(io.Discard, os.Stdin)
	return nil
}

// childStartAnother is the role of a child that acquires the lock and has a
// child itself, with which it shares standard input and output: args are the
// pack and, if the child's child is to inherit a duplicate of the lock, "dup".
func childStartAnother(args []string) error {
	l, err := Open(args[0])
	if err != nil {
		return err
	}
	h, err := l.TryAcquire()
	if err != nil {
		return err
	}
	another, err := childCommand(context.Background(), "echo")
	if err != nil {
		return err
	}
	another.Stdin, another.Stdout = os.Stdin, os.Stdout
	dup, err := h.Dup()
	if err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	defer dup.Close()
	if len(args) > 1 {
		another.ExtraFiles = []*os.File{dup}
	}
	if err := another.Start(); err != nil {
		return err
	}
	fmt.Println("started")
	return another.Wait()
}

// checkAlive checks that the child, an echo, is alive.
func (c *child) checkAlive() {
	c.t.Helper()
	if _, err := io.WriteString(c.stdin, "alive\n"); err != nil {
		c.t.Error(err)
	}
	c.expect("alive")
}

func TestChildrenDoNotInheritTheLock(t *testing.T) {
	dir := t.TempDir()
	l := openReal(t, dir)
	c := childStart(t, "start", dir)
	c.expect("started")
	checkBusy(t, l)
	c.checkAlive()
	c.kill()
	release(t, acquireReal(t, l))
	c.checkAlive() // the child's child, that is
}

func TestChildKeepsDupOfKilledProcess(t *testing.T) {
	skipWithoutDup(t)
	dir := t.TempDir()
	l := openReal(t, dir)
	c := childStart(t, "start", dir, "dup")
	c.expect("started")
	c.kill()
	c.checkAlive()
	if !isLocked(t, l.Path()) {
		t.Error("not locked although the duplicate is still open")
	}
	c.stdin.Close() // and the child's child exits
	release(t, acquireReal(t, l))
}

func TestReleaseLetsGoOfDups(t *testing.T) {
	skipWithoutDup(t)
	dir := t.TempDir()
	l := openReal(t, dir)
	h := acquireReal(t, l)
	dup, err := h.Dup()
	if err != nil {
		t.Fatal(err)
	}
	cmd, err := childCommand(bounded(t), "echo")
	if err != nil {
		t.Fatal(err)
	}
	cmd.ExtraFiles = []*os.File{dup}
	c := childStartCommand(t, cmd)
	c.checkAlive()
	if err := dup.Close(); err != nil {
		t.Error(err)
	}
	checkExcludes(t, h) // closing a duplicate lets go of nothing
	release(t, h)
	childHolder(t, dir).finish()
	c.checkAlive()
	c.finish()
}

func skipWithoutDup(t testing.TB) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("Hold.Dup is for Unix")
	}
}

func TestKilledHolderLetsGo(t *testing.T) {
	dir := t.TempDir()
	l := openReal(t, dir)
	holder := childHolder(t, dir)
	ctx := bounded(t)
	wg := queueUp(t, l, 3, func(int) { takeTurn(ctx, t, l) })
	holder.kill()
	wg.Wait()

	holder = childHolder(t, dir)
	checkBusy(t, l)
	holder.kill()
	release(t, acquireReal(t, l))
}

func TestKilledWaiterLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	l := openReal(t, dir)
	h := acquireReal(t, l)
	killed, other := childWaiter(t, dir), childWaiter(t, dir)
	killed.kill()
	checkExcludes(t, h)
	release(t, h)
	other.expect("locked")
	other.kill()
	release(t, acquireReal(t, l))
}

func TestWaitEndsWhenOtherProcessReleases(t *testing.T) {
	dir := t.TempDir()
	l := openReal(t, dir)
	for _, by := range acquirers {
		t.Run(by.name, func(t *testing.T) {
			elsewhere := childHolder(t, dir)
			checkBusy(t, l)
			ctx := bounded(t)
			done := make(chan bool)
			go func() {
				defer close(done)
				h, err := by.acquire(ctx, l)
				if err != nil {
					t.Error(err)
					return
				}
				release(t, h)
			}()
			if by.name != "TryAcquire" {
				until(t, "a goroutine to wait", func() bool { return l.Stats().Waiting == 1 })
			}
			elsewhere.finish()
			<-done
		})
	}
}

func TestExcludesStrangers(t *testing.T) {
	dir := t.TempDir()
	l := openReal(t, dir)
	h := acquireReal(t, l)
	stranger := childFlock(t, l.Path())
	stranger.expect("busy")
	release(t, h)
	stranger.expect("locked")
	stranger.finish()
}

func TestIsExcludedByStrangers(t *testing.T) {
	dir := t.TempDir()
	l := openReal(t, dir)
	stranger := childFlock(t, l.Path())
	stranger.expect("locked")
	checkBusy(t, l)
	ctx := bounded(t)
	wg := queueUp(t, l, 1, func(int) { takeTurn(ctx, t, l) })
	stranger.finish()
	wg.Wait()
}

// flockCommand is flock(1) of util-linux.
func flockCommand(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	path, err := exec.LookPath("flock")
	if err != nil {
		t.Skipf("without flock(1): %v", err)
	}
	return exec.CommandContext(bounded(t), path, args...)
}

func TestExcludesFlockCommand(t *testing.T) {
	l := openReal(t, t.TempDir())
	h := acquireReal(t, l)
	try := func() int {
		t.Helper()
		cmd := flockCommand(t, "-n", l.Path(), "true")
		if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
			t.Fatal(err)
		}
		return cmd.ProcessState.ExitCode()
	}
	if got := try(); got != 1 {
		t.Errorf("flock -n exits with %d while we hold the lock, want 1", got)
	}
	release(t, h)
	if got := try(); got != 0 {
		t.Errorf("flock -n exits with %d after the release, want 0", got)
	}
}

func TestIsExcludedByFlockCommand(t *testing.T) {
	l := openReal(t, t.TempDir())
	stranger := childStartCommand(t, flockCommand(t, l.Path(), "sh", "-c", "echo locked; exec cat"))
	stranger.expect("locked")
	checkBusy(t, l)
	stranger.finish()
	release(t, acquireReal(t, l))
}

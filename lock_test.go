package packlock

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"testing"
)

// The promises of the package, kept by the real kernel. What a fake kernel
// shows better, every order of events that matters, is tested with one.

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

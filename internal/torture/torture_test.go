package torture

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"packlock"
)

var (
	length     = flag.Duration("torture.time", 0, "how long to torture (default 6s, with -short 3s)")
	where      = flag.String("torture.packs", "", "the directory in which the packs are (default: a temporary one)")
	seed       = flag.Uint64("torture.seed", 0, "seed of the decisions (default: the time)")
	processes  = flag.Int("torture.processes", 4, "how many processes there are at a time")
	goroutines = flag.Int("torture.goroutines", 6, "how many goroutines each has")
)

const roleWorker = "torture-worker"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == roleWorker {
		Work()
	}
	os.Exit(m.Run())
}

// writer is the log of a test.
type writer struct{ t *testing.T }

func (w writer) Write(b []byte) (int, error) {
	w.t.Log(strings.TrimSuffix(string(b), "\n"))
	return len(b), nil
}

func config(t *testing.T) Config {
	t.Helper()
	if err := probe(filepath.Join(t.TempDir(), "probe")); errors.Is(err, errors.ErrUnsupported) {
		t.Skipf("there is no lock to torture: %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	packs := filepath.Join(dir, "packs")
	if *where != "" {
		// Not every file system lets go of what is left over in time for TempDir.
		d, err := os.MkdirTemp(*where, "torture")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(d) })
		packs = filepath.Join(d, "packs")
	}
	cfg := Config{
		Seed:       *seed,
		Processes:  *processes,
		Goroutines: *goroutines,
		Dir:        dir,
		Packs:      packs,
		round:      2 * time.Second,
		Command:    slices.Concat(strings.Fields(os.Getenv("TEST_EXEC")), []string{exe, roleWorker}),
		Log:        writer{t},
	}
	if cfg.Seed == 0 {
		cfg.Seed = uint64(time.Now().UnixNano())
	}
	return cfg
}

// probe takes a lock.
func probe(path string) error {
	l, err := packlock.OpenFile(path)
	if err != nil {
		return err
	}
	defer l.Close()
	h, err := l.TryAcquire()
	if err != nil {
		return err
	}
	return h.Release()
}

func TestTorture(t *testing.T) {
	cfg := config(t)
	cfg.Patience = 30 * time.Second
	switch {
	case *length > 0:
		cfg.Duration = *length
	case testing.Short():
		cfg.Duration = 3 * time.Second
	default:
		cfg.Duration = 6 * time.Second
	}
	if end, ok := t.Deadline(); ok && time.Until(end) < cfg.Duration+cfg.Patience {
		t.Fatalf("%v of torture do not fit in what go test allows: give it -timeout=0", cfg.Duration)
	}
	t.Logf("-torture.seed=%d -torture.processes=%d -torture.goroutines=%d, %v", cfg.Seed, cfg.Processes, cfg.Goroutines, cfg.Duration)
	s, err := Run(t.Context(), cfg)
	t.Log(s)
	if err != nil {
		t.Errorf("%v (seed %d)", err, cfg.Seed)
	}
}

// A torture that finds nothing shows something only if it finds what is there.
func TestTortureFindsWhatIsBroken(t *testing.T) {
	if testing.Short() {
		t.Skip("a flaw may take a while to show: without -short")
	}
	blind := func(witnesses ...string) map[string]bool {
		m := make(map[string]bool)
		for _, w := range witnesses {
			m[w] = true
		}
		return m
	}
	amongReaders := []string{"of this process", "the witness file", "reader", "was killed"}
	for _, test := range []struct {
		name string
		flaw flaw
		want []string // one of these is what was seen
	}{
		{"a second hold in the process", flaw{flawBarge, blind(seeFile, seeCounter, seeSeat)},
			[]string{"of this process"}},
		{"a second hold, by the file", flaw{flawBarge, blind(seeCounter, seeProcess, seeSeat)},
			[]string{"the witness file"}},
		{"a second hold, by the counter", flaw{flawBarge, blind(seeFile, seeProcess, seeSeat)},
			[]string{"the counter"}},
		{"a second hold, in spite of all that are killed", flaw{flawBarge, nil},
			[]string{"the witness file", "the counter", "goroutines of this process", "is in the section", "was killed", "reader"}},
		{"a hold of a lost sidecar", flaw{flawStale, nil},
			[]string{"the witness file", "the counter", "of this process", "was killed", "reader"}},
		{"a waiter that is never woken", flaw{flawHang, nil}, []string{"no progress", "does not come to rest"}},
		{"a waiter for a lost file", flaw{flawDeaf, nil}, []string{"no progress", "does not come to rest"}},
		{"a process that dies", flaw{flawExit, nil}, []string{"ended by itself"}},
		{"a section that did not happen", flaw{flawMiscount, nil}, []string{"the counter of pack"}},
		{"a reader among writers of the process", flaw{flawBargeShared, blind(seeFile, seeCounter, seeSeat)},
			[]string{"of this process"}},
		{"a reader that sees the file of a writer", flaw{flawBargeShared, blind(seeCounter, seeSeat, seeProcess)},
			[]string{"witness file"}},
		{"a reader that sees the counter of a writer", flaw{flawBargeShared, blind(seeFile, seeSeat, seeProcess)},
			[]string{"while a reader was in the section"}},
		{"a writer that sees the seat of a reader", flaw{flawBargeShared, blind(seeFile, seeCounter, seeProcess)},
			[]string{"a reader was there", "readers came in", "readers are in the section"}},
		{"a reader without the lock, in spite of all that are killed", flaw{flawBargeShared, nil}, amongReaders},
		{"a shared hold of a lost sidecar", flaw{flawStaleShared, nil}, amongReaders},
		{"a reader that joins others on a lost file", flaw{flawLostGroup, nil}, []string{"file was lost", "no such file or directory"}},
		{"a writer that acquires shared", flaw{flawMeek, nil}, append(amongReaders, "the counter")},
		{"a hold of the other kind", flaw{flawLone, nil}, []string{"a hold that is shared"}},
		{"readers that acquire exclusively", flaw{flawLone, blind(seeKind)}, []string{"has seen another"}},
		{"a shared section that did not happen", flaw{flawMisread, nil}, []string{"the seats of pack"}},
		{"an announcement that is left", flaw{flawAnnounced, nil}, []string{"a writer is announced", "at rest: {"}},
		{"a descriptor that is left", flaw{flawDescriptor, nil}, []string{"at rest: {"}},
		{"a goroutine that is left", flaw{flawGoroutine, nil}, []string{"at rest: {"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := config(t)
			switch {
			case slices.Contains([]string{flawStale, flawStaleShared, flawLostGroup, flawDeaf}, test.flaw.Kind) && signalStop == nil:
				t.Skip("no sidecar is lost on this system")
			case test.flaw.Kind == flawAnnounced && runtime.GOOS != "linux":
				t.Skip("writers announce themselves on Linux alone")
			case test.flaw.Kind == flawDescriptor && takeCensus(t.TempDir()).Descriptors == 0:
				t.Skip("descriptors are not counted on this system")
			}
			t.Parallel() // most of the time they wait
			cfg.flaw = test.flaw
			cfg.Processes, cfg.Goroutines = 2, 4
			switch test.flaw.Kind {
			case flawHang, flawDeaf:
				cfg.Patience = 3 * time.Second
			case flawDescriptor, flawGoroutine, flawAnnounced:
				cfg.Patience = 10 * time.Second
			default: // so that not a busy machine is found, but the flaw
				cfg.Patience = 15 * time.Second
			}
			cfg.Duration = 3 * time.Minute
			cfg.round = 500 * time.Millisecond
			var log strings.Builder
			cfg.Log = &log
			s, err := Run(t.Context(), cfg)
			if !errors.Is(err, ErrViolation) || s.Violations == 0 || !slices.ContainsFunc(test.want, func(want string) bool {
				return strings.Contains(err.Error(), want)
			}) {
				t.Fatalf("found: %v; want one that has one of %q; %v", err, test.want, s)
			}
			first, _, _ := strings.Cut(err.Error(), "\n")
			t.Log(first)
		})
	}
}

package contend

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// What this binary does instead of testing, by its first argument.
const (
	roleWorker = "contend-worker"
	roleParent = "contend-parent" // the second is where its worker reports
)

var program = Program{
	Args:     []string{roleWorker},
	Launcher: strings.Fields(os.Getenv("TEST_EXEC")),
	Libraries: []Library{Packlock, PacklockEach, Flock, FlockAndStat, OFD,
		{Name: "nothing", Open: func(string) (Locker, error) { return nothing{}, nil }},
		{Name: "broken", Open: func(string) (Locker, error) { return nil, errors.New("it is broken") }},
		{Name: "slow", Open: openSlow},
		{Name: "failing", Open: func(string) (Locker, error) { return failing{}, nil }},
	},
	Tasks: map[string]Task{"report": report},
}

func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case roleWorker:
			program.Work()
		case roleParent:
			program.Call(context.Background(), "report", os.Args[2], new(any))
			os.Exit(0)
		}
	}
	// Workers would sleep for a second before they exit, for other goroutines to
	// report races.
	os.Setenv("GORACE", os.Getenv("GORACE")+" atexit_sleep_ms=0")
	os.Exit(m.Run())
}

// nothing excludes nobody.
type nothing struct{}

func (nothing) Lock(context.Context) (Held, error)       { return nothing{}, nil }
func (nothing) LockShared(context.Context) (Held, error) { return nothing{}, nil }
func (nothing) Release() error                           { return nil }

// failing cannot lock.
type failing struct{}

func (failing) Lock(context.Context) (Held, error) { return nil, errors.New("it fails") }

// slow takes its time before it locks: so much that the rounds of a WakeUp cannot all
// be over when its own time is.
type slow struct{ Locker }

func (l slow) Lock(ctx context.Context) (Held, error) {
	time.Sleep(time.Second)
	return l.Locker.Lock(ctx)
}

func openSlow(path string) (Locker, error) {
	l, err := Flock.Open(path)
	return slow{l}, err
}

// report connects to the address it is given and fails when the other end
// closes the connection, which otherwise ends with the process.
func report(ask json.RawMessage) (any, error) {
	var address string
	if err := json.Unmarshal(ask, &address); err != nil {
		return nil, err
	}
	c, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	c.Write([]byte{1})
	c.Read(make([]byte, 1))
	return nil, errors.New("hung up on")
}

// listen returns the address for report and what waits for it.
func listen(t *testing.T) (address string, accept func() net.Conn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	deadline, ok := t.Deadline()
	if ok {
		l.(*net.TCPListener).SetDeadline(deadline)
	}
	return l.Addr().String(), func() net.Conn {
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		c.SetDeadline(deadline)
		if _, err := c.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		return c
	}
}

// awaitEnd waits until the process at the other end is gone.
func awaitEnd(t *testing.T, c net.Conn) {
	_, err := io.ReadAll(c)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal("the worker is still there")
	}
}

func lockFile(t *testing.T) string {
	path := filepath.Join(t.TempDir(), "lock")
	if err := os.WriteFile(path, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// hasOFD reports whether there are open file description locks.
func hasOFD(t *testing.T) bool {
	l, err := OFD.Open(lockFile(t))
	if errors.Is(err, errors.ErrUnsupported) {
		t.Logf("not measured: %v", err)
		return false
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := l.(io.Closer).Close(); err != nil {
		t.Error(err)
	}
	return true
}

func run(t *testing.T, library string, s Scenario) (Result, error) {
	return program.Run(t.Context(), Spec{
		Library: library, Path: lockFile(t), Scenario: s, Duration: 50 * time.Millisecond,
	})
}

func TestRunMeasures(t *testing.T) {
	for _, library := range []string{Packlock.Name, PacklockEach.Name, Flock.Name, FlockAndStat.Name, OFD.Name} {
		if library == OFD.Name && !hasOFD(t) {
			continue
		}
		for _, s := range []Scenario{
			Inside(3),
			FromCold(2),
			Even(1, 1, 0),
			Even(3, 2, 0),
			Even(2, 2, 100*time.Microsecond),
			Asking(2),
			Beside(2, 100*time.Microsecond, library),
		} {
			t.Run(library+"/"+s.Name, func(t *testing.T) {
				r, err := run(t, library, s)
				if err != nil {
					t.Fatal(err)
				}
				if len(r.Processes) != len(s.Processes) {
					t.Fatalf("%d processes reported, want %d", len(r.Processes), len(s.Processes))
				}
				for i, p := range r.Processes {
					if goroutines := uint64(s.Processes[i].Goroutines); p.Locks < p.Operations || p.Locks < goroutines {
						t.Errorf("process %d: %d locks in %d operations of %d goroutines", i, p.Locks, p.Operations, goroutines)
					}
					var waits uint64
					for _, n := range p.Waits.counts {
						waits += n
					}
					// Every operation has a wait, and every goroutine one
					// more, which ended too late for an operation.
					want := p.Operations + uint64(s.Processes[i].Goroutines)
					if s.Unclocked {
						want = 0
					}
					if waits != want {
						t.Errorf("process %d: %d waits, want %d", i, waits, want)
					}
				}
				if most := 1 / s.Section.Seconds(); r.Figures().Rate > 1.1*most {
					t.Errorf("%v operations a second of %v each", r.Figures().Rate, s.Section)
				}
			})
		}
	}
}

// visit is a short one.
var visit = Visit{Pause: time.Millisecond, GiveUp: time.Second}

func TestVisitMeasures(t *testing.T) {
	exclusively, byFlock, polling := visit, visit, visit
	exclusively.Exclusively = true
	byFlock.Library = Flock.Name
	polling.Library, polling.Poll = Flock.Name, time.Millisecond
	for _, library := range []string{Packlock.Name, Flock.Name} {
		for _, s := range []Scenario{
			Visited(1, 1, 0, visit),
			Visited(1, 2, 100*time.Microsecond, exclusively),
			Visited(1, 1, 0, byFlock),
			Visited(1, 1, time.Millisecond, polling),
		} {
			t.Run(library+"/"+s.Name, func(t *testing.T) {
				r, err := run(t, library, s)
				if err != nil {
					t.Fatal(err)
				}
				f := r.VisitFigures()
				// The visitor gets in when the crowd has ended, if not before.
				if f.Waits.Max() == 0 || f.Crowd.Max() == 0 || f.Wakes.Quantile(0) <= 0 && f.Wakes.Max() == 0 {
					t.Errorf("visitor %v, crowd %v, woken %v", f.Waits.Max(), f.Crowd.Max(), f.Wakes.Max())
				}
				if crowd := len(r.Processes) - 2; len(r.Processes) != len(s.Processes) || r.Processes[crowd+1].Locks != 0 {
					t.Errorf("%d processes, of which the last took %d locks", len(r.Processes), r.Processes[crowd+1].Locks)
				}
			})
		}
	}
}

func TestSharedSectionsMayOverlap(t *testing.T) {
	s := Even(2, 2, 0)
	for i := range s.Processes {
		s.Processes[i].Shared = true
	}
	if _, err := run(t, "nothing", s); err != nil {
		t.Error(err)
	}
}

func TestRunNoticesASharedSectionThatOverlapsAnExclusiveOne(t *testing.T) {
	mixed := Even(1, 4, 100*time.Microsecond)
	mixed.Processes[0].Shared, mixed.Processes[0].OneIn = true, 2
	apart := Even(2, 1, 100*time.Microsecond)
	apart.Processes[0].Shared = true
	for _, s := range []Scenario{mixed, apart} {
		if _, err := run(t, "nothing", s); !errors.Is(err, ErrOverlap) {
			t.Errorf("%s: %v, want %v", s.Name, err, ErrOverlap)
		}
	}
}

func TestOneInSoManyIsExclusive(t *testing.T) {
	for _, library := range []string{Packlock.Name, Flock.Name} {
		s := Even(1, 4, 0)
		s.Processes[0].Shared, s.Processes[0].OneIn = true, 3
		if _, err := run(t, library, s); err != nil {
			t.Errorf("%s: %v", library, err)
		}
	}
}

func TestSharedLockIsKeptByOneThatJoins(t *testing.T) {
	for _, library := range []string{Packlock.Name, Flock.Name} {
		s := Inside(2)
		s.Processes[0].Shared, s.Processes[0].Joins = true, true
		r, err := run(t, library, s)
		if err != nil || r.Processes[0].Operations == 0 {
			t.Errorf("%s: %+v, %v", library, r, err)
		}
		// An exclusive one never gets in beside it, and gives up.
		s = Visited(1, 1, 0, Visit{Pause: time.Millisecond, GiveUp: 5 * time.Millisecond})
		s.Processes[0].Joins = true
		r, err = run(t, library, s)
		if f := r.VisitFigures(); err != nil || f.Visits != 0 || f.GaveUp == 0 || f.Waits.Max() < 5*time.Millisecond {
			t.Errorf("%s: %d visits, %d given up, %v", library, f.Visits, f.GaveUp, err)
		}
	}
}

func TestLibraryWithoutSharedLocksIsRefused(t *testing.T) {
	s := Even(1, 1, 0)
	s.Processes[0].Shared = true
	if _, err := run(t, FlockAndStat.Name, s); err != nil {
		t.Error(err)
	}
	if !hasOFD(t) {
		return
	}
	if _, err := run(t, OFD.Name, s); err == nil || !strings.Contains(err.Error(), errNotShared.Error()) {
		t.Errorf("%v, want %v", err, errNotShared)
	}
}

// held is what a test grants.
type held chan struct{}

func (h held) Release() error { close(h); return nil }

func TestWaitThatWasGivenUpReleasesOrIsTakenOver(t *testing.T) {
	granted := make(chan held)
	l := &impatient{lock: func() (Held, error) { return <-granted, nil }}
	ended, end := context.WithCancel(t.Context())
	end()
	for range 2 {
		if _, err := l.Lock(ended); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	late := make(held)
	granted <- late // to the one wait that both have left
	<-late

	if _, err := l.Lock(ended); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	got := make(chan error)
	go func() {
		h, err := l.LockShared(t.Context())
		if err == nil {
			err = h.Release()
		}
		got <- err
	}()
	for given := true; given; {
		l.mu.Lock()
		given = l.given
		l.mu.Unlock()
	}
	granted <- make(held)
	if err := <-got; err != nil {
		t.Error(err)
	}
}

func TestFiguresOfVisits(t *testing.T) {
	var first, second VisitFigures
	first.Rate, first.Visits, first.GaveUp = 1, 10, 1
	first.Waits.Add(10)
	second.Rate, second.Visits = 3, 20
	second.Waits.Add(30)
	second.Wakes.Add(7)
	f := MergeVisits([]VisitFigures{first, second})
	if f.Rate != 2 || f.Visits != 30 || f.GaveUp != 1 || f.Waits.Max() != 30 || f.Waits.Quantile(0.5) != 10 || f.Wakes.Max() != 7 {
		t.Errorf("%+v", f)
	}
}

func TestRunNoticesAnOverlap(t *testing.T) {
	for _, s := range []Scenario{
		Even(1, 4, 100*time.Microsecond),
		Even(2, 1, 100*time.Microsecond),
	} {
		if _, err := run(t, "nothing", s); !errors.Is(err, ErrOverlap) {
			t.Errorf("%s: %v, want %v", s.Name, err, ErrOverlap)
		}
	}
}

func TestTwoLibrariesOfARunNeedNotExcludeEachOther(t *testing.T) {
	if !hasOFD(t) {
		t.Skip("needs a second kind of lock, one that flock(2) does not exclude")
	}
	// Who has a library of his own, and no empty sections, meets the others in them.
	s := Beside(1, time.Millisecond, OFD.Name)
	s.Processes[1].Empty = false
	if _, err := run(t, Flock.Name, s); !errors.Is(err, ErrOverlap) {
		t.Errorf("%v, want %v", err, ErrOverlap)
	}
}

func TestRunTellsWhatWentWrongInAWorker(t *testing.T) {
	for library, want := range map[string]string{
		"broken":  "it is broken",
		"failing": "it fails",
		"unknown": `no library "unknown"`,
	} {
		if _, err := run(t, library, Even(2, 2, 0)); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", library, err, want)
		}
	}
}

func TestWakeUpMeasuresEveryRelease(t *testing.T) {
	for _, library := range []string{Packlock.Name, Flock.Name} {
		h, err := program.WakeUp(t.Context(), Spec{
			Library: library, Path: lockFile(t), Scenario: WakingUp(), Duration: 110 * time.Millisecond,
		})
		if err != nil {
			t.Fatal(err)
		}
		var n uint64
		for _, count := range h.counts {
			n += count
		}
		if n != 10 || h.counts[0] > 0 || h.Max() > 10*time.Second {
			t.Errorf("%s: %d wake-ups, %d of them in no time, the worst after %v", library, n, h.counts[0], h.Max())
		}
	}
}

func TestWakeUpEndsWithItsTime(t *testing.T) {
	start := time.Now()
	h, err := program.WakeUp(t.Context(), Spec{
		Library: "slow", Path: lockFile(t), Scenario: WakingUp(), Duration: 200 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	if most := extraTime + 5*time.Second; h.Max() == 0 || time.Since(start) > most {
		t.Errorf("took %v, longest wait %v", time.Since(start), h.Max())
	}
}

func TestEndOfContextLeavesNoWorker(t *testing.T) {
	address, accept := listen(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	called := make(chan error)
	go func() { called <- program.Call(ctx, "report", address, new(any)) }()
	c := accept()
	cancel(why)
	if err := <-called; !errors.Is(err, why) {
		t.Errorf("%v, want %v", err, why)
	}
	awaitEnd(t, c)
}

func TestWorkersOfAGroupEndWithTheFirstThatFails(t *testing.T) {
	staying, acceptStaying := listen(t)
	leaving, acceptLeaving := listen(t)
	grouped := make(chan error)
	go func() {
		grouped <- program.together(t.Context(), []call{
			{"report", staying, new(any)},
			{"report", leaving, new(any)},
		}, time.Minute)
	}()
	c := acceptStaying()
	acceptLeaving().Close()
	if err := <-grouped; err == nil || err.Error() != "hung up on" {
		t.Errorf("%v, want that of the one that was hung up on", err)
	}
	awaitEnd(t, c)
}

func TestKilledParentLeavesNoWorker(t *testing.T) {
	address, accept := listen(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	command := append(slices.Clone(program.Launcher), exe, roleParent, address)
	parent := exec.Command(command[0], command[1:]...)
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	c := accept()
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	parent.Wait()
	awaitEnd(t, c)
}

func TestCompareAlternates(t *testing.T) {
	var order []string
	rounds, err := program.Compare(t.Context(), Comparison{
		Path:      lockFile(t),
		Libraries: []string{Flock.Name, Packlock.Name},
		Rounds:    2,
		Duration:  10 * time.Millisecond,
		Before:    func(_ Scenario, library string, round int) { order = append(order, library) },
	}, Inside(1))
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{Flock.Name, Packlock.Name, Flock.Name, Packlock.Name}; !slices.Equal(order, want) {
		t.Errorf("order %q, want %q", order, want)
	}
	if len(rounds) != 2 || len(rounds[0]) != 2 || len(rounds[1]) != 2 {
		t.Errorf("rounds of libraries: %v", rounds)
	}
}

func TestMedianOfEachFigure(t *testing.T) {
	got := MedianFigures([]Figures{
		{Rate: 1, P50: 30, P99: 4, Worst: 9, Share: 0.5, Mallocs: 1},
		{Rate: 3, P50: 10, P99: 6, Worst: 7, Share: 0.7, Mallocs: 3},
		{Rate: 2, P50: 20, P99: 5, Worst: 8, Share: 0.6, Mallocs: 2},
	})
	if want := (Figures{Rate: 2, P50: 20, P99: 5, Worst: 8, Share: 0.6, Mallocs: 2}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	var short, long Histogram
	short.Add(10)
	long.Add(12)
	if got := MedianQuantile([]Figures{{Waits: &short}, {Waits: &long}}, 0.5); got != 11 {
		t.Errorf("median of medians %v, want 11ns", got)
	}
	if got := Median([]float64{4, 1, 3, 2}); got != 2.5 {
		t.Errorf("median of an even number %v, want 2.5", got)
	}
}

func TestWaitsAreThoseOfTheOneThatAsks(t *testing.T) {
	r := Result{Scenario: Asking(8), Processes: make([]Process, 2)}
	for i := range r.Processes {
		r.Processes[i].Elapsed = time.Second
		r.Processes[i].Waits.Add(int64(i+1) * int64(time.Millisecond))
	}
	r.Processes[0].Waits.Add(int64(time.Hour))
	if f := r.Figures(); f.Worst != 2*time.Millisecond {
		t.Errorf("worst wait %v, want 2ms", f.Worst)
	}
}

func TestShareIsLeastOfMost(t *testing.T) {
	r := Result{Scenario: Even(3, 1, 0), Processes: []Process{
		{Operations: 50, Elapsed: time.Second},
		{Operations: 25, Elapsed: time.Second},
		{Operations: 100, Elapsed: time.Second},
	}}
	if f := r.Figures(); f.Share != 0.25 || f.Rate != 175 || f.Least*175 != 75 {
		t.Errorf("%+v, want a share of 0.25 at 175 a second, and the least 3/7 of an even one", f)
	}
}

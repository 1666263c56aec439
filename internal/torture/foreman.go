package torture

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A foreman is who starts the workers, kills and stops them, and looks after
// them.
type foreman struct {
	Config
	site      site
	started   time.Time
	disturber *disturber
	board     *board // the disturber's
	sections  [packs]*section

	// ctx ends when the run does, with what went wrong first as its cause.
	ctx    context.Context
	cancel context.CancelCauseFunc

	mu    sync.Mutex // guards the following
	crew  []*hireling
	ended bool // nobody is hired any more
	// events are the last things done to the workers and the packs.
	events  []string
	dumps   []string
	longest stall

	stopped atomic.Bool // set while the disturber has stopped a process

	// Owned by run, and by the killer while that works.
	dead   estate
	lost   [packs]count // what the counters were that are gone
	judged struct{ read, met uint64 }
	sum    Summary
}

// A stall is how long a goroutine made no progress, and in what.
type stall struct {
	time.Duration
	in string
}

func (s stall) String() string { return fmt.Sprintf("%.1fs (%s)", s.Seconds(), s.in) }

// A hireling is one process at work.
type hireling struct {
	assignment
	cmd     *exec.Cmd
	stdin   io.WriteCloser
	board   *board
	reports chan report   // of orders carried out
	gone    chan struct{} // closed when it has ended and was waited for
	stderr  tail

	mu      sync.Mutex // guards the following
	ordered bool       // to end
}

func newForeman(cfg Config) (*foreman, error) {
	f := &foreman{Config: cfg, site: site{cfg.Dir, cfg.Packs}, started: time.Now()}
	if err := f.site.set(); err != nil {
		return nil, err
	}
	var err error
	if f.board, err = openBoard(cfg.Dir, 0, 0, 1); err != nil {
		return nil, err
	}
	for p := range packs {
		f.sections[p] = newSection(f.site, p, cfg.Patience, cfg.flaw.Blind, f.seats())
	}
	f.disturber = &disturber{
		site:     f.site,
		rng:      f.rand(1),
		scribe:   scribe{board: f.board},
		sections: f.sections,
		terrain:  terrainOf(f.site.packs),
		freeze:   func() func() { return f.freeze(f.members()) },
		stopOne: func() func() {
			crew := f.members()
			goOn := f.freeze(crew[f.disturber.rng.IntN(len(crew)):][:1])
			f.stopped.Store(true)
			return func() {
				goOn()
				f.stopped.Store(false)
			}
		},
		note: f.note,
	}
	f.crew = make([]*hireling, cfg.Processes)
	return f, nil
}

// seats returns how many goroutines may be readers: the disturber, and the hands of all.
func (f *foreman) seats() int { return seats(f.Processes, f.Goroutines) }

func seats(processes, goroutines int) int { return 1 + processes*(goroutines+1) }

// seat returns the seat of the first hand of a process.
func (a *assignment) seat() int { return 1 + (a.Process-1)*(a.Goroutines+1) }

// rand returns the source of the decisions of one of the foreman's goroutines.
func (f *foreman) rand(n uint64) *rand.Rand { return rand.New(rand.NewPCG(f.Seed, n)) }

// note keeps in mind what was done.
func (f *foreman) note(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	const kept = 20
	if len(f.events) == kept {
		f.events = f.events[1:]
	}
	f.events = append(f.events, f.elapsed()+" "+fmt.Sprintf(format, args...))
}

func (f *foreman) elapsed() string { return fmt.Sprintf("%.4fs", time.Since(f.started).Seconds()) }

// fail ends the run.
func (f *foreman) fail(err error) {
	if errors.Is(err, ErrViolation) {
		f.note("violation: %v", err)
	}
	err = fmt.Errorf("after %s: %w", f.elapsed(), err)
	f.cancel(err)
	f.killAll()
}

// violate ends the run because a promise was broken.
func (f *foreman) violate(format string, args ...any) { f.fail(violationf(format, args...)) }

// hire starts the process with the given number; life says how many times it
// was killed before.
func (f *foreman) hire(process, life int) error {
	h := &hireling{
		assignment: assignment{
			Dir: f.Dir, Packs: f.Packs, Seed: f.Seed, Process: process, Life: life,
			Processes: f.Processes, Goroutines: f.Goroutines, Patience: f.Patience, Prompt: f.disturber.terrain.prompt, Unshared: f.disturber.terrain.unshared, Flaw: f.flaw,
		},
		reports: make(chan report, 1),
		gone:    make(chan struct{}),
	}
	var err error
	if h.board, err = openBoard(f.Dir, process, life, f.Goroutines+1); err != nil {
		return err
	}
	h.cmd = exec.Command(f.Command[0], f.Command[1:]...)
	h.cmd.Env = append(os.Environ(), "GOTRACEBACK=all", "GORACE=halt_on_error=1 "+os.Getenv("GORACE"))
	h.cmd.Stderr = &h.stderr
	if h.stdin, err = h.cmd.StdinPipe(); err != nil {
		return err
	}
	stdout, err := h.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended {
		return nil
	}
	if err := h.cmd.Start(); err != nil {
		return err
	}
	f.crew[process-1] = h
	go f.listen(h, stdout)
	assigned, err := json.Marshal(h.assignment)
	if err != nil {
		return err
	}
	h.order(string(assigned))
	return nil
}

// order tells the worker what to do. If it is gone, somebody has noticed.
func (h *hireling) order(what string) { io.WriteString(h.stdin, what+"\n") }

// listen passes on what a worker says until it has ended.
func (f *foreman) listen(h *hireling, stdout io.Reader) {
	in := json.NewDecoder(stdout)
	for {
		var r report
		if in.Decode(&r) != nil {
			break
		}
		if r.Violation != "" {
			f.mu.Lock()
			f.dumps = append(f.dumps, fmt.Sprintf("%v:\n%s", h, r.Dump))
			f.mu.Unlock()
			f.violate("%v: %s", h, r.Violation)
			continue
		}
		if r.Failure != "" {
			f.fail(fmt.Errorf("%v: %s", h, r.Failure))
			continue
		}
		select {
		case h.reports <- r:
		case <-f.ctx.Done():
		}
	}
	err := h.cmd.Wait()
	close(h.gone)
	h.mu.Lock()
	ordered := h.ordered
	h.mu.Unlock()
	if !ordered {
		f.violate("%v ended by itself: %v\n%s", h, err, h.stderr.String())
	}
}

func (h *hireling) String() string {
	return fmt.Sprintf("process %d.%d (pid %d)", h.Process, h.Life, h.cmd.Process.Pid)
}

// end ends the worker by the given signal.
func (h *hireling) end(s os.Signal) {
	h.mu.Lock()
	h.ordered = true
	h.mu.Unlock()
	h.cmd.Process.Signal(s)
}

// members returns the processes that are alive, or were until now.
func (f *foreman) members() []*hireling {
	f.mu.Lock()
	defer f.mu.Unlock()
	var crew []*hireling
	for _, h := range f.crew {
		if h != nil {
			crew = append(crew, h)
		}
	}
	return crew
}

// killAll ends the work of all without a regard for what becomes of it.
func (f *foreman) killAll() {
	f.mu.Lock()
	f.ended = true
	f.mu.Unlock()
	for _, h := range f.members() {
		h.end(os.Kill)
	}
}

func (f *foreman) dismiss() {
	f.cancel(nil)
	f.killAll()
	for _, h := range f.members() {
		<-h.gone
		h.board.file.Close()
	}
	f.board.file.Close()
	for _, s := range f.sections {
		s.close()
	}
}

func (f *foreman) run(ctx context.Context) error {
	f.ctx, f.cancel = context.WithCancelCause(ctx)
	for i := range f.Processes {
		if err := f.hire(i+1, 0); err != nil {
			return err
		}
	}
	var watching sync.WaitGroup
	watching.Go(f.watch)
	defer watching.Wait()
	defer f.cancel(nil)
	killing, stopping := f.rand(2), f.rand(3)
	for {
		left := f.Duration - time.Since(f.started)
		ctx, cancel := context.WithTimeout(f.ctx, min(f.round, max(left, 0)))
		for _, h := range f.members() {
			h.order(orderWork)
		}
		var harm sync.WaitGroup
		harm.Go(func() { f.do(f.disturber.work(ctx)) })
		if !f.disturber.terrain.orphans {
			harm.Go(func() { f.do(f.kill(ctx, killing)) })
			if signalStop != nil {
				harm.Go(func() { f.do(f.stop(ctx, stopping)) })
			}
		}
		<-ctx.Done()
		cancel()
		if !f.waitFor(&harm) {
			return context.Cause(f.ctx)
		}
		if err := f.rest(); err != nil {
			return err
		}
		if err := f.reckon(); err != nil {
			f.fail(err)
			return context.Cause(f.ctx)
		}
		if err := f.all(orderCheck); err != nil {
			return err
		}
		if err := f.reckonAnnouncements(); err != nil {
			f.fail(err)
			return context.Cause(f.ctx)
		}
		f.sum.Rounds++
		if time.Since(f.started) >= f.Duration {
			return nil
		}
		if f.sum.Rounds%30 == 0 {
			fmt.Fprintf(f.Log, "%s: %v\n", f.elapsed(), f.summary())
		}
	}
}

// waitFor reports whether those who do harm have ended. If the run has failed, they
// may be what hangs.
func (f *foreman) waitFor(harm *sync.WaitGroup) bool {
	ended := make(chan struct{})
	go func() {
		harm.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return true
	case <-f.ctx.Done():
	}
	select {
	case <-ended:
		return true
	case <-time.After(10 * time.Second):
		return false
	}
}

// do ends the run if what was done failed, unless that is because it ends.
func (f *foreman) do(err error) {
	if err != nil && f.ctx.Err() == nil {
		f.fail(err)
	}
}

// all gives an order to all and waits until it was carried out.
func (f *foreman) all(order string) error {
	for _, h := range f.members() {
		h.order(order)
	}
	ctx, cancel := withPatience(f.ctx, 2*f.Patience)
	defer cancel()
	for _, h := range f.members() {
		select {
		case <-h.reports:
		case <-ctx.Done():
			if f.ctx.Err() == nil {
				f.hangs(h, "it does not come to "+order)
			}
			return context.Cause(f.ctx)
		}
	}
	return nil
}

// rest has everybody come to rest. Who hangs with a lost file is let go no sooner than
// all do rest that can be expected to: but those who wait for it in the kernel on
// their own thread.
func (f *foreman) rest() error {
	ctx, done := context.WithCancel(f.ctx)
	var letting sync.WaitGroup
	letting.Go(func() {
		for sleep(ctx, 20*time.Millisecond) && !f.restsOrBlocks() {
		}
		f.disturber.letGo()
	})
	err := f.all(orderRest)
	done()
	letting.Wait()
	return err
}

// restsOrBlocks reports whether everybody does.
func (f *foreman) restsOrBlocks() bool {
	for _, h := range f.members() {
		records, err := h.board.read()
		if err != nil || slices.ContainsFunc(records, func(r record) bool {
			return r.doing != resting && r.doing != blocking
		}) {
			return false
		}
	}
	return true
}

// kill kills processes until ctx ends, and starts others in their place.
func (f *foreman) kill(ctx context.Context, rng *rand.Rand) error {
	if len(f.flaw.Blind) > 0 {
		// What the dead had done is known for sure only if nobody gets past
		// their witness files. Where it is, it shows a second hold by itself.
		return nil
	}
	for {
		if !sleep(ctx, time.Duration(float64(500*time.Millisecond)*rng.Float64())) {
			return nil
		}
		h := f.members()[rng.IntN(f.Processes)]
		f.note("kill %v", h)
		h.end(os.Kill)
		<-h.gone
		f.sum.Kills++
		if err := f.settle(h); err != nil {
			return err
		}
		if err := f.hire(h.Process, h.Life+1); err != nil {
			return err
		}
		f.members()[h.Process-1].order(orderWork)
	}
}

// stop stops processes until ctx ends, and has them go on.
func (f *foreman) stop(ctx context.Context, rng *rand.Rand) error {
	for {
		if !sleep(ctx, time.Duration(float64(80*time.Millisecond)*rng.Float64())) {
			return nil
		}
		h := f.members()[rng.IntN(f.Processes)]
		f.note("stop %v", h)
		if h.cmd.Process.Signal(signalStop) == nil {
			f.sum.Stops++
		}
		// Long enough, now and then, for a look at the path to become old.
		time.Sleep(time.Duration(float64(60*time.Millisecond) * rng.Float64() * rng.Float64()))
		h.cmd.Process.Signal(signalGoOn)
		f.note("%v goes on", h)
	}
}

// freeze stops the crew until goOn is called.
func (f *foreman) freeze(crew []*hireling) (goOn func()) {
	if f.disturber.terrain.orphans {
		return func() {}
	}
	for _, h := range crew {
		h.cmd.Process.Signal(signalStop)
	}
	return func() {
		for _, h := range crew {
			h.cmd.Process.Signal(signalGoOn)
		}
	}
}

// watch looks for goroutines that make no progress until the run ends.
func (f *foreman) watch() {
	type key struct {
		board  *board
		record int
	}
	type sight struct {
		beats uint64
		*patience
	}
	seen := make(map[key]sight)
	for sleep(f.ctx, 100*time.Millisecond) {
		last := seen
		seen = make(map[key]sight)
		look := func(b *board, h *hireling) {
			records, err := b.read()
			if errors.Is(err, os.ErrClosed) { // it was killed meanwhile
				return
			}
			if err != nil {
				f.fail(err)
				return
			}
			for i, r := range records {
				k := key{b, i}
				if was, ok := last[k]; ok && was.beats == r.beats && r.doing != resting {
					seen[k] = was
					if f.stopped.Load() {
						was.last = time.Now() // it may hold what the others wait for
						continue
					}
					over := was.over()
					f.stalled(r, f.Patience-was.left)
					if over {
						f.hangs(h, fmt.Sprintf("goroutine %d makes no progress in %v: %v", i, r.doing, r.notes))
						return
					}
					continue
				}
				seen[k] = sight{r.beats, newPatience(f.Patience)}
			}
		}
		look(f.board, nil)
		for _, h := range f.members() {
			look(h.board, h)
		}
	}
}

// stalled notes that a goroutine has made no progress for as long as d. An AcquireBlocking does
// not count: one that waits for a file that hangs ends with the next rest.
func (f *foreman) stalled(r record, d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.doing == blocking || d <= f.longest.Duration {
		return
	}
	kind := "exclusive"
	if r.kind == shared {
		kind = "shared"
	}
	f.longest = stall{d, fmt.Sprintf("%v, pack %s, %s", r.doing, packNames[r.pack], kind)}
}

// hangs ends a run in which h, or the disturber if it is nil, does not go on,
// with the stacks of all processes.
func (f *foreman) hangs(h *hireling, what string) {
	if f.ctx.Err() != nil {
		return
	}
	f.mu.Lock()
	f.ended = true
	f.mu.Unlock()
	for _, h := range f.members() {
		if signalGoOn != nil {
			h.cmd.Process.Signal(signalGoOn)
		}
		h.end(signalDump)
		select {
		case <-h.gone:
		case <-time.After(10 * time.Second):
		}
		f.mu.Lock()
		f.dumps = append(f.dumps, fmt.Sprintf("%v:\n%s", h, h.stderr.String()))
		f.mu.Unlock()
	}
	if h == nil {
		f.violate("the disturber: %s", what)
		return
	}
	f.violate("%v: %s", h, what)
}

// obituary logs what is known of a violation.
func (f *foreman) obituary(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fmt.Fprintf(f.Log, "%v\nseed %d, %d processes of %d goroutines\n", err, f.Seed, f.Processes, f.Goroutines)
	fmt.Fprintf(f.Log, "what happened last:\n\t%s\n", strings.Join(f.events, "\n\t"))
	for _, d := range f.dumps {
		fmt.Fprintf(f.Log, "\n%s\n", d)
	}
}

// tail keeps the last of what is written to it.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	const kept = 1 << 20
	t.buf = append(t.buf, b...)
	if len(t.buf) > 2*kept {
		t.buf = append(t.buf[:0], t.buf[len(t.buf)-kept:]...)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf)
}

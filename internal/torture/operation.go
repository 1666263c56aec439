package torture

import (
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"packlock"
)

// doing is what a goroutine is about.
type doing uint64

const (
	resting doing = iota
	acquiring
	acquiringShortly
	acquiringEnded
	trying
	blocking
	underDo
	detaching
	nesting
	acquiringAll
	reentering
	storming
	reopening
	draining
	looking
	releasing
	idling
)

var doings = [...]string{
	resting:          "rests",
	acquiring:        "Acquire",
	acquiringShortly: "Acquire with a short ctx",
	acquiringEnded:   "Acquire with a ctx that has ended",
	trying:           "TryAcquire",
	blocking:         "AcquireBlocking",
	underDo:          "Do",
	detaching:        "Detach",
	nesting:          "Acquire of a second pack",
	acquiringAll:     "AcquireAll",
	reentering:       "re-entry",
	storming:         "cancel storm",
	reopening:        "open and close",
	draining:         "WaitDrained",
	looking:          "Stats",
	releasing:        "release of a detached hold",
	idling:           "idles",
}

func (d doing) String() string { return doings[d] }

// mix is how often a hand begins what.
var mix = []struct {
	weight int
	do     func(h *hand, p int)
}{
	{30, (*hand).acquire},
	{20, (*hand).acquireShortly},
	{4, (*hand).acquireLong},
	{1, (*hand).acquireEnded},
	{14, (*hand).try},
	{8, (*hand).block},
	{10, (*hand).do},
	{5, (*hand).detach},
	{3, (*hand).nest},
	{1, (*hand).acquireAll},
	{2, (*hand).storm},
	{2, (*hand).reopen},
	{3, (*hand).drain},
	{1, (*hand).look},
	{1, (*hand).idle},
}

// A hand is a goroutine of a worker.
type hand struct {
	*worker
	scribe
	rng *rand.Rand
}

// detached is a hold that another hand acquired.
type detached struct {
	pack int
	hold *packlock.Hold
}

// errReason is the cause of every context that is cancelled.
var errReason = errors.New("reason to cancel")

func (h *hand) work() {
	total := 0
	for _, m := range mix {
		total += m.weight
	}
	for {
		select {
		case <-h.stop:
			h.begin(resting)
			return
		default:
		}
		p, n := h.rng.IntN(packs), h.rng.IntN(total)
		for _, m := range mix {
			if n -= m.weight; n < 0 {
				m.do(h, p)
				break
			}
		}
	}
}

// releaseOthers releases the holds that others acquired, until there are none
// any more.
func (h *hand) releaseOthers() {
	for d := range h.elsewhere {
		h.begin(releasing)
		h.pass(d.pack, d.hold)
		h.release(d.hold)
		h.begin(resting)
	}
}

// begin says on the board what comes next.
func (h *hand) begin(d doing) {
	h.beats++
	h.doing = d
	if err := h.post(); err != nil {
		h.failed(err)
	}
}

// one in n times.
func (h *hand) oneIn(n int) bool { return h.rng.IntN(n) == 0 }

// upTo returns a duration of at most d, more often a short one.
func (h *hand) upTo(d time.Duration) time.Duration {
	return time.Duration(float64(d) * h.rng.Float64() * h.rng.Float64())
}

func (h *hand) lock(p int) *packlock.Lock {
	return h.locks[p][h.rng.IntN(len(h.locks[p]))].Load()
}

// outcome is how an acquire ended.
type outcome int

const (
	granted outcome = iota
	cancelled
	busy
	refused
	deadlock
	closed // the Lock was
	gone   // the pack was
)

// outcome returns how an acquire ended, and insists that its error is as it
// should be and that nothing happened but what may happen at any time, or is
// said to be possible.
func (w *worker) outcome(ctx context.Context, p int, err error, possible ...outcome) outcome {
	o, inOrder := granted, true
	var pathError *fs.PathError
	switch {
	case err == nil:
	case !errors.As(err, &pathError):
		inOrder = false
	case errors.Is(err, packlock.ErrCancelled):
		o = cancelled
		inOrder = ctx.Err() != nil && errors.Is(err, ctx.Err()) && errors.Is(err, context.Cause(ctx))
	case errors.Is(err, packlock.ErrReentrant):
		o = refused
		inOrder = errors.Is(err, packlock.ErrBusy)
	case errors.Is(err, packlock.ErrBusy):
		o = busy
	case errors.Is(err, packlock.ErrDeadlock):
		o = deadlock
	case errors.Is(err, fs.ErrClosed):
		o = closed
	case errors.Is(err, fs.ErrNotExist):
		o = gone
		inOrder = vanishes(p)
	default:
		inOrder = false
	}
	if o == granted || o == busy || o == refused || o == deadlock {
		possibly := false
		for _, candidate := range possible {
			possibly = possibly || o == candidate
		}
		inOrder = inOrder && possibly
	}
	if !inOrder {
		w.violated("pack %s: unexpected result of an acquire: %v", packNames[p], err)
	}
	if p == packStill {
		switch o {
		case granted:
			w.granted.Add(1)
		case cancelled:
			w.cancelled.Add(1)
		}
	}
	return o
}

// ended counts an acquire and reports whether there is a hold to go on with.
func (h *hand) ended(o outcome) bool {
	h.counts[countOperations]++
	switch o {
	case cancelled:
		h.counts[countCancelled]++
	case busy:
		h.counts[countBusy]++
	case refused:
		h.counts[countRefused]++
	}
	return o == granted
}

var background = context.Background()

func (h *hand) acquire(p int) {
	h.begin(acquiring)
	hold, err := h.Flaw.acquire(h, p)
	if h.ended(h.outcome(background, p, err, granted)) {
		h.use(p, hold)
	}
}

func (h *hand) acquireWith(ctx context.Context, p int) {
	hold, err := h.lock(p).Acquire(ctx)
	if h.ended(h.outcome(ctx, p, err, granted)) {
		h.use(p, hold)
	}
}

func (h *hand) acquireShortly(p int) {
	h.begin(acquiringShortly)
	if h.oneIn(2) {
		ctx, cancel := context.WithTimeoutCause(background, h.upTo(2*time.Millisecond), errReason)
		defer cancel()
		h.acquireWith(ctx, p)
		return
	}
	ctx, cancel := context.WithCancelCause(background)
	defer time.AfterFunc(h.upTo(time.Millisecond), func() { cancel(errReason) }).Stop()
	h.acquireWith(ctx, p)
	cancel(nil)
}

func (h *hand) acquireLong(p int) {
	h.begin(acquiring)
	ctx, cancel := context.WithTimeout(background, time.Second)
	defer cancel()
	h.acquireWith(ctx, p)
}

func (h *hand) acquireEnded(p int) {
	h.begin(acquiringEnded)
	ctx, cancel := context.WithCancelCause(background)
	cancel(errReason)
	_, err := h.lock(p).Acquire(ctx)
	h.ended(h.outcome(ctx, p, err))
}

func (h *hand) try(p int) {
	h.begin(trying)
	hold, err := h.lock(p).TryAcquire()
	if h.ended(h.outcome(background, p, err, granted, busy)) {
		h.use(p, hold)
	}
}

func (h *hand) block(p int) {
	h.begin(blocking)
	hold, err := h.lock(p).AcquireBlocking()
	if h.ended(h.outcome(background, p, err, granted)) {
		h.use(p, hold)
	}
}

func (h *hand) do(p int) {
	h.begin(underDo)
	ctx, cancel := context.WithTimeout(background, time.Second)
	defer cancel()
	var inner error
	err := h.lock(p).Do(ctx, func(marked context.Context) error {
		h.ended(h.outcome(ctx, p, nil, granted))
		if p == packLost {
			return nil // whose section it would be is not told
		}
		h.pass(p, nil)
		if h.oneIn(8) {
			// Another goroutine, but on our behalf.
			answer := make(chan error)
			l := h.lock(p)
			go func() {
				_, err := l.Acquire(marked)
				answer <- err
			}()
			h.ended(h.outcome(marked, p, <-answer, refused))
		}
		if h.oneIn(16) {
			inner = errReason
		}
		return inner
	})
	if inner != nil {
		if !errors.Is(err, inner) {
			h.violated("Do of pack %s returned %v, not the error of its function", packNames[p], err)
		}
		return
	}
	if err != nil {
		h.ended(h.outcome(ctx, p, err))
	}
}

func (h *hand) detach(p int) {
	h.begin(detaching)
	hold, err := h.lock(p).Acquire(background)
	if !h.ended(h.outcome(background, p, err, granted)) {
		return
	}
	hold.Detach()
	h.elsewhere <- detached{p, hold}
	h.acquire(p) // waits, as it no longer has the lock
}

// nest acquires a second pack while it holds one, always in the same order.
func (h *hand) nest(p int) {
	h.begin(nesting)
	if p == packs-1 {
		h.acquire(p)
		return
	}
	hold, err := h.lock(p).Acquire(background)
	if !h.ended(h.outcome(background, p, err, granted)) {
		return
	}
	// Not in the order of AcquireAll.
	second := p + 1 + h.rng.IntN(packs-1-p)
	other, err := h.lock(second).Acquire(background)
	if h.ended(h.outcome(background, second, err, granted, deadlock)) {
		h.use(second, other)
	}
	h.use(p, hold)
}

// acquireAll acquires several packs at once. The time limit ends deadlocks with a hand of
// another process that nests.
func (h *hand) acquireAll(p int) {
	h.begin(acquiringAll)
	ctx, cancel := context.WithTimeout(background, h.upTo(20*time.Millisecond))
	defer cancel()
	// It may acquire one of them several times, and so not packStill, of which all is counted.
	which := slices.DeleteFunc(h.rng.Perm(packs), func(p int) bool { return p == packStill })[:2+h.rng.IntN(packs-2)]
	locks := make([]*packlock.Lock, len(which))
	for i, p := range which {
		locks[i] = h.lock(p)
	}
	holds, err := packlock.AcquireAll(ctx, locks...)
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		failed := slices.IndexFunc(locks, func(l *packlock.Lock) bool { return l.Path() == pathError.Path })
		if failed < 0 || holds != nil {
			h.violated("AcquireAll of %d packs: %v, %d holds", len(which), err, len(holds))
		}
		h.ended(h.outcome(ctx, which[failed], err, deadlock))
		return
	}
	for i, p := range which {
		h.ended(h.outcome(ctx, p, err, granted))
		h.pass(p, holds[i])
	}
	if err := holds.Release(); err != nil {
		h.violated("%v", err)
	}
}

// storm has many acquires wait and cancels them, together or one by one.
func (h *hand) storm(p int) {
	h.begin(storming)
	together, cancel := context.WithCancelCause(background)
	var all sync.WaitGroup
	var counts [gone + 1]atomic.Uint64
	oneByOne, oneLock, only := h.oneIn(2), h.oneIn(2), h.lock(p)
	for range 2 + h.rng.IntN(30) {
		l, try, patience := h.lock(p), h.oneIn(8), h.upTo(2*time.Millisecond)
		if oneLock {
			l = only
		}
		all.Go(func() {
			ctx := together
			if oneByOne {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeoutCause(background, patience, errReason)
				defer cancel()
			}
			var hold *packlock.Hold
			var err error
			possible := []outcome{granted}
			if try {
				possible = append(possible, busy)
				hold, err = l.TryAcquire()
			} else {
				hold, err = l.Acquire(ctx)
			}
			o := h.outcome(ctx, p, err, possible...)
			counts[o].Add(1)
			if o != granted {
				return
			}
			place, err := h.sections[p].at(h.file(p, hold))
			if err != nil {
				h.failed(err)
			}
			if err := place.alone(func() error {
				h.check(p, hold)
				return nil
			}); err != nil {
				h.violated("pack %s, in a cancel storm: %v", packNames[p], err)
			}
			h.release(hold)
		})
	}
	time.Sleep(h.upTo(500 * time.Microsecond))
	cancel(errReason)
	all.Wait()
	for o := range counts {
		for range counts[o].Load() {
			h.ended(outcome(o))
		}
	}
	if h.oneIn(2) {
		h.idle(p) // whoever is parked for the storm has a chance to drain
	}
}

// reopen opens a Lock, has it take the place of another, and closes that, or
// leaves it to the garbage collector, while others may wait by it.
func (h *hand) reopen(p int) {
	h.begin(reopening)
	i := 1 + h.rng.IntN(len(h.locks[p])-1)
	l, err := h.ways[p][i].open()
	switch {
	case err == nil:
	case vanishes(p) && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrExist)):
		return // the pack was gone, and is a symlink to it that leads nowhere
	default:
		h.violated("pack %s: %v", packNames[p], err)
	}
	old := h.locks[p][i].Swap(l)
	if h.oneIn(4) {
		return
	}
	if err := old.Close(); err != nil {
		h.violated("pack %s: %v", packNames[p], err)
	}
	if h.oneIn(4) {
		if err := old.Close(); !errors.Is(err, fs.ErrClosed) {
			h.violated("pack %s: second Close: %v", packNames[p], err)
		}
		_, err := old.TryAcquire()
		if !errors.Is(err, fs.ErrClosed) {
			h.violated("pack %s: TryAcquire after Close: %v", packNames[p], err)
		}
	}
}

func (h *hand) drain(p int) {
	h.begin(draining)
	ctx, cancel := context.WithTimeout(background, h.upTo(4*time.Millisecond))
	defer cancel()
	err := h.lock(p).WaitDrained(ctx)
	switch {
	case err == nil || errors.Is(err, fs.ErrClosed):
	case errors.Is(err, packlock.ErrCancelled) && ctx.Err() != nil:
	default:
		h.violated("pack %s: WaitDrained: %v", packNames[p], err)
	}
}

func (h *hand) look(p int) {
	h.begin(looking)
	s := h.lock(p).Stats()
	if s.Waiting < 0 || s.Draining && !s.Parked {
		h.violated("pack %s: Stats contradict themselves: %+v", packNames[p], s)
	}
	if err := h.tell(); err != nil {
		h.failed(err)
	}
}

func (h *hand) idle(int) {
	h.begin(idling)
	time.Sleep(h.upTo(4 * time.Millisecond))
}

// use does with a hold what can be done with it, and releases it.
func (h *hand) use(p int, hold *packlock.Hold) {
	if h.oneIn(8) {
		h.check(p, hold)
	}
	if h.oneIn(32) {
		if f, err := hold.Dup(); err == nil {
			f.Close()
		} else if !errors.Is(err, errors.ErrUnsupported) {
			h.violated("pack %s: %v", packNames[p], err)
		}
	}
	h.pass(p, hold)
	if h.oneIn(8) {
		if p == packLost {
			h.acquireAnother(hold)
		} else {
			h.reenter(p)
		}
	}
	if h.oneIn(8) {
		h.check(p, hold)
	}
	h.release(hold)
	if h.oneIn(16) {
		if err := hold.Release(); !errors.Is(err, packlock.ErrReleased) {
			h.violated("pack %s: second Release: %v", packNames[p], err)
		}
	}
}

// check insists that the sidecar is what it was when it was locked: nobody
// touches it while somebody has the lock, or it is said to be lost.
func (h *hand) check(p int, hold *packlock.Hold) {
	err := hold.Check()
	if err != nil && !(p == packLost && errors.Is(err, packlock.ErrLost)) {
		h.violated("pack %s: %v", packNames[p], err)
	}
}

// file returns in whose section of a pack a hold is.
func (h *hand) file(p int, hold *packlock.Hold) uint64 {
	if p != packLost || hold == nil {
		return 0
	}
	f, err := hold.Dup()
	if errors.Is(err, errors.ErrUnsupported) {
		return 0
	}
	if err != nil {
		h.violated("pack %s: %v", packNames[p], err)
	}
	defer f.Close()
	file, err := identity(f)
	if err != nil {
		h.failed(err)
	}
	return file
}

// reenter tries to acquire what it has.
func (h *hand) reenter(p int) {
	was := h.doing
	h.begin(reentering)
	l, ctx, possible := h.lock(p), background, []outcome{refused}
	var err error
	switch h.rng.IntN(3) {
	case 0:
		_, err = l.TryAcquire()
		if p != packStill {
			// A Lock by another path may still be at the sidecar of before. If
			// somebody is about to notice just then, there is no more to know.
			possible = append(possible, busy)
		}
	case 1:
		_, err = l.AcquireBlocking()
	case 2:
		var cancel func()
		ctx, cancel = withPatience(background, h.Patience/2)
		defer cancel()
		_, err = l.Acquire(ctx)
		if errors.Is(err, packlock.ErrCancelled) {
			h.violated("pack %s: re-entry was not refused: %v", packNames[p], err)
		}
	}
	h.ended(h.outcome(ctx, p, err, possible...))
	h.begin(was)
}

// acquireAnother tries to acquire the sidecar of packLost while it has it, or one
// that was.
func (h *hand) acquireAnother(hold *packlock.Hold) {
	const p = packLost
	was := h.doing
	h.begin(reentering)
	another, err := h.lock(p).TryAcquire()
	if h.ended(h.outcome(background, p, err, granted, refused, busy)) {
		if one, other := h.file(p, hold), h.file(p, another); one == other && one != 0 {
			h.violated("pack %s: two holds of one file", packNames[p])
		}
		h.release(another)
	}
	h.begin(was)
}

// pass goes through the critical section.
func (h *hand) pass(p int, hold *packlock.Hold) {
	err := h.sections[p].pass(&h.scribe, h.file(p, hold), h.stay)
	if err != nil {
		if !errors.Is(err, ErrViolation) {
			h.failed(err)
		}
		check := "not asked"
		if hold != nil {
			check = "in order"
			if err := hold.Check(); err != nil {
				check = err.Error()
			}
		}
		h.violated("pack %s, by %v: %v; Check: %s; %+v", packNames[p], h.doing, err, check, h.locks[p][0].Load().Stats())
	}
}

// stay is how long the section takes beyond what the witnesses need.
func (h *hand) stay() {
	switch n := h.rng.IntN(200); {
	case n < 20:
		runtime.Gosched()
	case n < 25:
		for end := time.Now().Add(h.upTo(50 * time.Microsecond)); time.Now().Before(end); {
		}
	case n == 25:
		time.Sleep(h.upTo(4 * time.Millisecond))
	}
}

func (h *hand) release(hold *packlock.Hold) {
	if err := hold.Release(); err != nil {
		h.violated("%v", err)
	}
}

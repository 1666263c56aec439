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
	acquiringAll:     "AcquireSets",
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
	rng   *rand.Rand
	began time.Time // when it began what it does now, which is no later than the acquire
}

// detached is a hold that another hand acquired.
type detached struct {
	pack  int
	hold  *packlock.Hold
	kind  kind
	began time.Time
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
		h.began = d.began
		h.pass(d.pack, d.hold, d.kind)
		h.release(d.hold)
		h.begin(resting)
	}
}

// begin says on the board what comes next.
func (h *hand) begin(d doing) {
	h.beats++
	h.doing = d
	h.began = time.Now()
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

// wish returns how to acquire a pack, and notes it on the board.
func (h *hand) wish(p int) kind {
	h.record.pack, h.record.kind = p, kind(!h.Unshared && h.rng.IntN(100) < h.readers[p])
	if err := h.post(); err != nil {
		h.failed(err)
	}
	return h.record.kind
}

// acquireBy acquires a Lock in the given way.
func (w *worker) acquireBy(ctx context.Context, l *packlock.Lock, k kind) (*packlock.Hold, error) {
	if w.Flaw.really(k) == shared {
		return l.AcquireShared(ctx)
	}
	return l.Acquire(ctx)
}

func (w *worker) tryBy(l *packlock.Lock, k kind) (*packlock.Hold, error) {
	if w.Flaw.really(k) == shared {
		return l.TryAcquireShared()
	}
	return l.TryAcquire()
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
func (h *hand) ended(o outcome, k kind) bool {
	h.counts[countOperations]++
	if k == shared {
		h.counts[countShared]++
	}
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
	k := h.wish(p)
	hold, err := h.Flaw.acquire(h, p, k)
	if h.ended(h.outcome(background, p, err, granted), k) {
		h.use(p, hold, k)
	}
}

func (h *hand) acquireWith(ctx context.Context, p int) {
	k := h.wish(p)
	hold, err := h.acquireBy(ctx, h.lock(p), k)
	if h.ended(h.outcome(ctx, p, err, granted), k) {
		h.use(p, hold, k)
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
	k := h.wish(p)
	_, err := h.acquireBy(ctx, h.lock(p), k)
	h.ended(h.outcome(ctx, p, err), k)
}

func (h *hand) try(p int) {
	h.begin(trying)
	k := h.wish(p)
	hold, err := h.tryBy(h.lock(p), k)
	if h.ended(h.outcome(background, p, err, granted, busy), k) {
		h.use(p, hold, k)
	}
}

func (h *hand) block(p int) {
	h.begin(blocking)
	hold, err := h.lock(p).AcquireBlocking()
	if h.ended(h.outcome(background, p, err, granted), exclusive) {
		h.use(p, hold, exclusive)
	}
}

func (h *hand) do(p int) {
	h.begin(underDo)
	ctx, cancel := context.WithTimeout(background, time.Second)
	defer cancel()
	var inner error
	k, l := h.wish(p), h.lock(p)
	do := l.Do
	if h.Flaw.really(k) == shared {
		do = l.DoShared
	}
	err := do(ctx, func(marked context.Context) error {
		h.ended(h.outcome(ctx, p, nil, granted), k)
		if p == packLost {
			return nil // whose section it would be is not told
		}
		h.pass(p, nil, k)
		if h.oneIn(8) {
			// Another goroutine, but on our behalf.
			answer := make(chan error)
			l, again := h.lock(p), h.wish(p)
			go func() {
				hold, err := h.acquireBy(marked, l, again)
				if err == nil {
					h.release(hold)
				}
				answer <- err
			}()
			h.ended(h.outcome(marked, p, <-answer, h.onceMore(k, again)), again)
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
		h.ended(h.outcome(ctx, p, err), k)
	}
}

func (h *hand) detach(p int) {
	h.begin(detaching)
	k := h.wish(p)
	hold, err := h.acquireBy(background, h.lock(p), k)
	if !h.ended(h.outcome(background, p, err, granted), k) {
		return
	}
	hold.Detach()
	h.elsewhere <- detached{p, hold, k, h.began}
	h.acquire(p) // waits, as it no longer has the lock
}

// nest acquires a second pack while it holds one, always in the same order.
func (h *hand) nest(p int) {
	h.begin(nesting)
	if p == packs-1 {
		h.acquire(p)
		return
	}
	k := h.wish(p)
	hold, err := h.acquireBy(background, h.lock(p), k)
	if !h.ended(h.outcome(background, p, err, granted), k) {
		return
	}
	// Not in the order of AcquireSets.
	second := p + 1 + h.rng.IntN(packs-1-p)
	kind2 := h.wish(second)
	other, err := h.acquireBy(background, h.lock(second), kind2)
	if h.ended(h.outcome(background, second, err, granted, deadlock), kind2) {
		h.use(second, other, kind2)
	}
	h.use(p, hold, k)
}

// acquireAll acquires several packs at once, some of them shared. The time limit ends deadlocks with a hand of
// another process that nests.
func (h *hand) acquireAll(p int) {
	h.begin(acquiringAll)
	ctx, cancel := context.WithTimeout(background, h.upTo(20*time.Millisecond))
	defer cancel()
	// It may acquire one of them several times, and so not packStill, of which all is counted.
	which := slices.DeleteFunc(h.rng.Perm(packs), func(p int) bool { return p == packStill })[:2+h.rng.IntN(packs-2)]
	// The first ones exclusively, as the holds are in that order.
	first := h.rng.IntN(len(which) + 1)
	if h.Unshared {
		first = len(which)
	}
	kinds := make([]kind, len(which))
	locks := make([]*packlock.Lock, len(which))
	for i, p := range which {
		kinds[i], locks[i] = kind(i >= first), h.lock(p)
	}
	if h.Flaw.really(shared) == exclusive {
		first = len(which)
	}
	holds, err := packlock.AcquireSets(ctx, locks[:first], locks[first:])
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		failed := slices.IndexFunc(locks, func(l *packlock.Lock) bool { return l.Path() == pathError.Path })
		if failed < 0 || holds != nil {
			h.violated("AcquireSets of %d packs: %v, %d holds", len(which), err, len(holds))
		}
		h.ended(h.outcome(ctx, which[failed], err, deadlock), kinds[failed])
		return
	}
	for i, p := range which {
		h.ended(h.outcome(ctx, p, err, granted), kinds[i])
		h.pass(p, holds[i], kinds[i])
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
	var counts [gone + 1][2]atomic.Uint64
	oneByOne, oneLock, only := h.oneIn(2), h.oneIn(2), h.lock(p)
	for range 2 + h.rng.IntN(30) {
		l, k, try, patience := h.lock(p), h.wish(p), h.oneIn(8), h.upTo(2*time.Millisecond)
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
				hold, err = h.tryBy(l, k)
			} else {
				hold, err = h.acquireBy(ctx, l, k)
			}
			o := h.outcome(ctx, p, err, possible...)
			i := 0
			if k == shared {
				i = 1
			}
			counts[o][i].Add(1)
			if o != granted {
				return
			}
			place, err := h.sections[p].at(h.file(p, hold))
			if err != nil {
				h.failed(err)
			}
			among := place.alone
			if k == shared {
				among = place.together
			}
			if err := among(func() error {
				h.check(p, hold, k)
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
		for i, k := range []kind{exclusive, shared} {
			for range counts[o][i].Load() {
				h.ended(outcome(o), k)
			}
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
	if s.Waiting < 0 || s.SharedHolds < 0 || s.Draining && !s.Parked {
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
func (h *hand) use(p int, hold *packlock.Hold, k kind) {
	if h.oneIn(8) {
		h.check(p, hold, k)
	}
	if h.oneIn(32) {
		if f, err := hold.Dup(); err == nil {
			f.Close()
		} else if !errors.Is(err, errors.ErrUnsupported) {
			h.violated("pack %s: %v", packNames[p], err)
		}
	}
	h.pass(p, hold, k)
	if h.oneIn(8) {
		if p == packLost {
			h.acquireAnother(hold, k)
		} else {
			h.reenter(p, k)
		}
	}
	if h.oneIn(8) {
		h.check(p, hold, k)
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
func (h *hand) check(p int, hold *packlock.Hold, k kind) {
	if hold.Shared() != bool(k) && !h.Flaw.Blind[seeKind] {
		h.violated("pack %s: a hold that is shared: %v; acquired shared: %v", packNames[p], hold.Shared(), k)
	}
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

// onceMore returns what happens to an acquire by a goroutine that holds the lock.
func (h *hand) onceMore(holds, wants kind) outcome {
	if h.Flaw.really(holds) == shared && h.Flaw.really(wants) == shared {
		return granted
	}
	return refused
}

// reenter tries to acquire what it has.
func (h *hand) reenter(p int, holds kind) {
	was := h.doing
	h.begin(reentering)
	k := h.wish(p)
	l, ctx, possible := h.lock(p), background, []outcome{h.onceMore(holds, k)}
	var again *packlock.Hold
	var err error
	switch n := h.rng.IntN(3); {
	case n == 0:
		again, err = h.tryBy(l, k)
		if p != packStill {
			// A Lock by another path may still be at the sidecar of before. If
			// somebody is about to notice just then, there is no more to know.
			possible = append(possible, busy)
		}
	case n == 1 && k == exclusive:
		_, err = l.AcquireBlocking()
	default:
		var cancel func()
		ctx, cancel = withPatience(background, h.Patience/2)
		defer cancel()
		again, err = h.acquireBy(ctx, l, k)
		if errors.Is(err, packlock.ErrCancelled) {
			h.violated("pack %s: re-entry had to wait: %v", packNames[p], err)
		}
	}
	if h.ended(h.outcome(ctx, p, err, possible...), k) {
		h.check(p, again, k)
		h.release(again)
	}
	h.begin(was)
}

// acquireAnother tries to acquire the sidecar of packLost while it has it, or one
// that was.
func (h *hand) acquireAnother(hold *packlock.Hold, holds kind) {
	const p = packLost
	was := h.doing
	h.begin(reentering)
	k := h.wish(p)
	another, err := h.tryBy(h.lock(p), k)
	if h.ended(h.outcome(background, p, err, granted, refused, busy), k) {
		one, other := h.file(p, hold), h.file(p, another)
		if one == other && one != 0 && h.onceMore(holds, k) == refused {
			h.violated("pack %s: two holds of one file", packNames[p])
		}
		h.release(another)
	}
	h.begin(was)
}

// pass goes through the critical section.
func (h *hand) pass(p int, hold *packlock.Hold, k kind) {
	file := h.file(p, hold)
	err := h.sections[p].pass(&h.scribe, file, k, func() { h.stay(p, k) })
	if err == nil && file != 0 {
		err = h.late(p, file, hold)
	}
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

// late returns an ErrViolation if the hold's file had been taken away long before its acquire
// began. Its holders may keep it, and for a moment readers may join them. Check comes last,
// because a newer file may have the same identity.
func (h *hand) late(p int, file uint64, hold *packlock.Hold) error {
	const long = 100 * time.Millisecond
	sp, err := h.sections[p].at(file)
	if err != nil {
		return err
	}
	l, err := sp.read()
	if err != nil || l.lost == 0 {
		return err
	}
	after := h.began.Sub(time.Unix(0, int64(l.lost)))
	if after < long || !h.Prompt || !errors.Is(hold.Check(), packlock.ErrLost) {
		return nil
	}
	return violationf("the hold's file was lost %v before its acquire began", after)
}

// stay is how long the section takes beyond what the witnesses need. Readers sleep more often:
// then they overlap, and writers depend on their courtesy.
//
// Now and then a reader of packLost stays for so long that its file is lost, and others come that
// must not join it.
func (h *hand) stay(p int, k kind) {
	switch n := h.rng.IntN(200); {
	case k == shared && p == packLost && n >= 197:
		time.Sleep(h.upTo(500 * time.Millisecond))
	case k == shared && n >= 180:
		time.Sleep(h.upTo(4 * time.Millisecond))
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

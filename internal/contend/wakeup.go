package contend

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"os"
	"time"
)

// How long a lock is held in a round of WakeUp. Goroutines that sit in a system
// call keep their processor of the Go scheduler for up to 10 ms, and it is
// dearer to come back without: some waits are to be shorter and some longer.
const (
	minHeld = time.Millisecond
	maxHeld = 21 * time.Millisecond
)

// wakeRequest is what both processes of a WakeUp are asked.
type wakeRequest struct {
	Library, Path, Page string
	Rounds              int
}

// WakeUp does what spec, whose scenario is that of WakingUp, says: it measures
// the time from just before one process releases the lock, which it holds by
// the kernel's bare lock, until a goroutine of another process that waits in
// the library's Lock has it.
func (p *Program) WakeUp(ctx context.Context, spec Spec) (Histogram, error) {
	shared, err := newPage()
	if err != nil {
		return Histogram{}, err
	}
	defer os.Remove(shared)
	rounds := max(1, int(spec.Duration/((minHeld+maxHeld)/2)))
	var h Histogram
	err = p.together(ctx, []call{
		{"hold", wakeRequest{Flock.Name, spec.Path, shared, rounds}, new(any)},
		{"wake", wakeRequest{spec.Library, spec.Path, shared, rounds}, &h},
	}, spec.Duration)
	return h, err
}

func (p *Program) wakeSides(ask json.RawMessage) (rounds int, l Locker, shared *page, err error) {
	var r wakeRequest
	if err := json.Unmarshal(ask, &r); err != nil {
		return 0, nil, nil, err
	}
	lockers, err := p.open(r.Library, r.Path, 1)
	if err != nil {
		return 0, nil, nil, err
	}
	shared, err = mapPage(r.Page)
	return r.Rounds, lockers[0], shared, err
}

// workHold is the task of the process that releases.
func (p *Program) workHold(ask json.RawMessage) (any, error) {
	rounds, l, shared, err := p.wakeSides(ask)
	if err != nil {
		return nil, err
	}
	for round := range int64(rounds) {
		held, err := l.Lock(context.Background())
		if err != nil {
			return nil, err
		}
		shared.held.Store(round + 1)
		until(func() bool { return shared.asked.Load() == round+1 })
		time.Sleep(minHeld + rand.N(maxHeld-minHeld))
		shared.released.Store(sharedNow())
		if err := held.Release(); err != nil {
			return nil, err
		}
		until(func() bool { return shared.done.Load() == round+1 })
	}
	return nil, nil
}

// workWake is the task of the process that waits.
func (p *Program) workWake(ask json.RawMessage) (any, error) {
	rounds, l, shared, err := p.wakeSides(ask)
	if err != nil {
		return nil, err
	}
	var h Histogram
	for round := range int64(rounds) {
		until(func() bool { return shared.held.Load() == round+1 })
		shared.asked.Store(round + 1)
		held, err := l.Lock(context.Background())
		if err != nil {
			return nil, err
		}
		h.Add(sharedNow() - shared.released.Load())
		if err := held.Release(); err != nil {
			return nil, err
		}
		shared.done.Store(round + 1)
	}
	return h, nil
}

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

// extraTime is how much longer than it should a WakeUp may take for all of its
// rounds. A library that asks every second has fewer.
const extraTime = 5 * time.Second

// noMore is the number of the round after the last.
const noMore = -1

// wakeRequest is what both processes of a WakeUp are asked.
type wakeRequest struct {
	Library, Path, Page string
	Rounds              int
	Longest             time.Duration
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
	longest := spec.Duration + extraTime
	err = p.together(ctx, []call{
		{"hold", wakeRequest{Flock.Name, spec.Path, shared, rounds, longest}, new(any)},
		{"wake", wakeRequest{spec.Library, spec.Path, shared, rounds, longest}, &h},
	}, longest)
	return h, err
}

func (p *Program) wakeSides(ask json.RawMessage) (r wakeRequest, l Locker, shared *page, err error) {
	if err := json.Unmarshal(ask, &r); err != nil {
		return r, nil, nil, err
	}
	lockers, err := p.open(r.Library, r.Path, 1)
	if err != nil {
		return r, nil, nil, err
	}
	shared, err = mapPage(r.Page)
	return r, lockers[0], shared, err
}

// workHold is the task of the process that releases.
func (p *Program) workHold(ask json.RawMessage) (any, error) {
	r, l, shared, err := p.wakeSides(ask)
	if err != nil {
		return nil, err
	}
	defer shared.held.Store(noMore)
	end := now() + int64(r.Longest)
	for round := int64(0); round < int64(r.Rounds) && now() < end; round++ {
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
	_, l, shared, err := p.wakeSides(ask)
	if err != nil {
		return nil, err
	}
	var h Histogram
	for round := int64(0); ; round++ {
		until(func() bool {
			held := shared.held.Load()
			return held == round+1 || held == noMore
		})
		if shared.held.Load() == noMore {
			return h, nil
		}
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
}

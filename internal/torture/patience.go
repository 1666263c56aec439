package torture

import (
	"context"
	"time"
)

// patience is time that runs out while this process runs. If all are stopped at
// once from outside, or the machine sleeps, nobody is to blame.
type patience struct {
	left time.Duration
	last time.Time
}

func newPatience(d time.Duration) *patience { return &patience{d, time.Now()} }

// over reports whether no time is left. It is to be asked more often than once
// in maxTick.
func (p *patience) over() bool {
	const maxTick = 200 * time.Millisecond
	now := time.Now()
	p.left -= min(now.Sub(p.last), maxTick)
	p.last = now
	return p.left <= 0
}

// withPatience returns a ctx that ends when the patience is over. When cancel
// returns, nothing of it is left.
func withPatience(ctx context.Context, d time.Duration) (_ context.Context, cancel func()) {
	ctx, end := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for p := newPatience(d); !p.over(); {
			if !sleep(ctx, 50*time.Millisecond) {
				return
			}
		}
		end(context.DeadlineExceeded)
	}()
	return ctx, func() {
		end(nil)
		<-done
	}
}

// sleep reports whether ctx lasts as long.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

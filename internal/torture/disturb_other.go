//go:build !(darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd)

package torture

import (
	"context"
	"errors"
)

type rawLock struct{}

func openRaw(string) (*rawLock, error) { return nil, errors.ErrUnsupported }
func (*rawLock) lock() error           { return errors.ErrUnsupported }
func (*rawLock) lockShared() error     { return errors.ErrUnsupported }
func (*rawLock) unlock() error         { return errors.ErrUnsupported }
func (*rawLock) close() error          { return errors.ErrUnsupported }

// work does nothing: what is open cannot be deleted or replaced on Windows,
// and elsewhere there is no lock.
func (d *disturber) work(ctx context.Context) error {
	<-ctx.Done()
	return d.begin(resting)
}

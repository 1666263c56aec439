package locktest

import "context"

func init() {
	flaws = append(flaws,
		broken("shares with nobody", false, 0, func(l *packLocker, _ string) Locker { return sharesNothing{l} }, "shares"),
		broken("try shared waits", true, 0, func(l *packLocker, _ string) Locker { return &triesLong{SharedLocker: l} }, "try shared never waits"),
		broken("wakes no reader", true, ReadersQueue|WritersGetIn, func(l *packLocker, _ string) Locker { return wakesNoReader{l} }, "shared blocks and wakes"),
		broken("readers get in alone", true, 0, func(l *packLocker, _ string) Locker { return getsInAlone{l} }, "readers get in together"),
		broken("readers cannot be cancelled", true, 0, func(l *packLocker, _ string) Locker { return uncancellableReader{l} }, "cancelled among readers"),
		broken("readers see writers", false, 0, func(l *packLocker, _ string) Locker { return &seesWriters{SharedLocker: l} }, "shared under contention"),
	)
}

// sharesNothing takes LOCK_SH for LOCK_EX.
type sharesNothing struct{ SharedLocker }

func (l sharesNothing) LockShared(ctx context.Context) error { return l.Lock(ctx) }
func (l sharesNothing) TryLockShared() (bool, error)         { return l.TryLock() }

// triesLong begins to wait when it has been busy for some time.
type triesLong struct {
	SharedLocker
	busy int
}

func (l *triesLong) TryLockShared() (bool, error) {
	took, err := l.SharedLocker.TryLockShared()
	if l.busy++; took || err != nil || l.busy < 15 {
		return took, err
	}
	return true, l.LockShared(context.Background())
}

type wakesNoReader struct{ SharedLocker }

func (l wakesNoReader) LockShared(ctx context.Context) error {
	if took, err := l.TryLockShared(); took || err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

// getsInAlone holds the lock exclusively if it waited for it.
type getsInAlone struct{ SharedLocker }

func (l getsInAlone) LockShared(ctx context.Context) error {
	if took, err := l.TryLockShared(); took || err != nil {
		return err
	}
	return l.Lock(ctx)
}

type uncancellableReader struct{ SharedLocker }

func (l uncancellableReader) LockShared(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return l.SharedLocker.LockShared(context.Background())
}

// seesWriters shares the lock only so many times.
type seesWriters struct {
	SharedLocker
	locked int
	not    bool // it only seems to hold the lock
}

func (l *seesWriters) LockShared(ctx context.Context) error {
	l.locked++
	if l.not = l.locked > 5; l.not {
		return nil
	}
	return l.SharedLocker.LockShared(ctx)
}

func (l *seesWriters) Unlock() error {
	if l.not {
		l.not = false
		return nil
	}
	return l.SharedLocker.Unlock()
}

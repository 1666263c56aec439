package contend

import (
	"context"

	"packlock"
)

// Packlock is the library of this module.
var Packlock = Library{
	Name: "packlock",
	Open: func(path string) (Locker, error) {
		l, err := packlock.OpenFile(path)
		if err != nil {
			return nil, err
		}
		return packLocker{l}, nil
	},
	Cancels: true,
}

type packLocker struct{ lock *packlock.Lock }

func (l packLocker) Lock(ctx context.Context) (Held, error)       { return l.lock.Acquire(ctx) }
func (l packLocker) LockShared(ctx context.Context) (Held, error) { return l.lock.AcquireShared(ctx) }
func (l packLocker) Close() error                                 { return l.lock.Close() }

// PacklockEach is the same with a Lock for each goroutine.
var PacklockEach = Library{
	Name:         "packlock, a Lock each",
	Open:         Packlock.Open,
	PerGoroutine: true,
	Cancels:      true,
}

// Flock is the kernel's lock and nothing else: flock(2), or LockFileEx. A
// descriptor has the lock or not, whoever asks, so each goroutine needs one.
var Flock = Library{
	Name:         "raw flock",
	Open:         openRaw,
	PerGoroutine: true,
}

// FlockAndStat is Flock with a look at the open file once it is locked: the least
// that has to be asked of the kernel by who wants to know whether the file that he
// locked is still the one at its path.
var FlockAndStat = Library{
	Name: "raw flock and fstat",
	Open: func(path string) (Locker, error) {
		l, err := openRaw(path)
		if err != nil {
			return nil, err
		}
		return statLock{l.(*rawLock)}, nil
	},
	PerGoroutine: true,
}

type statLock struct{ *rawLock }

func (l statLock) Lock(ctx context.Context) (Held, error) {
	held, err := l.rawLock.Lock(ctx)
	if err != nil {
		return nil, err
	}
	return held, l.stat()
}

func (l statLock) LockShared(ctx context.Context) (Held, error) {
	held, err := l.rawLock.LockShared(ctx)
	if err != nil {
		return nil, err
	}
	return held, l.stat()
}

// OFD is the kernel's other lock, that of fcntl(2) which belongs to an open file
// as flock's does (F_OFD_SETLKW). Where there is none, Open fails with
// errors.ErrUnsupported.
var OFD = Library{
	Name:         "raw OFD",
	Open:         openOFD,
	PerGoroutine: true,
}

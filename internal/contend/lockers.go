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
}

type packLocker struct{ lock *packlock.Lock }

func (l packLocker) Lock(ctx context.Context) (Held, error) { return l.lock.Acquire(ctx) }

// Flock is the kernel's lock and nothing else: flock(2), or LockFileEx. A
// descriptor has the lock or not, whoever asks, so each goroutine needs one.
var Flock = Library{
	Name:         "raw flock",
	Open:         openRaw,
	PerGoroutine: true,
}

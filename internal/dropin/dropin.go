// Package dropin is what packlock offers to packlock/flock beyond its exported API. Each
// variable is set by package packlock, which this package cannot import.
package dropin

var (
	// MustExist is a packlock.Option: no file is created.
	MustExist any

	// Unowned is a packlock.Option: whoever acquires the Lock shared is treated as a holder
	// while this process holds it shared. So it never waits for an exclusive waiter that
	// waits for its own caller, whose holds are not known.
	Unowned any

	// Upgrade makes a live shared *packlock.Hold exclusive, ahead of the queue, if that needs
	// no waiting, and reports whether it did. If another process acquires the lock
	// exclusively meanwhile, the hold has ended, and the error is a packlock.ErrLost.
	Upgrade func(hold any) (bool, error)

	// Downgrade makes a live exclusive *packlock.Hold shared. Where the kernel does not
	// convert a lock in one step, another process may acquire the lock exclusively meanwhile.
	// Then the hold has ended, and the error is a packlock.ErrLost.
	Downgrade func(hold any) error
)

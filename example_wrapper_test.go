package packlock_test

import (
	"context"
	"errors"
	"fmt"
	"os"

	"packlock"
)

// A store is a directory that one program at a time has open.
type store struct {
	lock *packlock.Lock
	hold *packlock.Hold
}

func openStore(ctx context.Context, dir string) (*store, error) {
	lock, err := packlock.Open(dir)
	if err != nil {
		return nil, err
	}
	hold, err := lock.Acquire(ctx)
	if err != nil {
		lock.Close()
		return nil, err
	}
	// The store does not belong to this goroutine: a different one may close it, and this
	// one may wait for that.
	hold.Detach()
	return &store{lock, hold}, nil
}

// Close may be called by any goroutine.
func (s *store) Close() error { return errors.Join(s.hold.Release(), s.lock.Close()) }

// A store holds its pack while it is open. A goroutine may close it that did not open it.
func Example_wrapper() {
	dir, err := os.MkdirTemp("", "pack")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	first, err := openStore(context.Background(), dir)
	if err != nil {
		fmt.Println(err)
		return
	}
	closed := make(chan error, 1)
	go func() { closed <- first.Close() }()

	second, err := openStore(context.Background(), dir) // when the first is closed
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("closed by a different goroutine:", <-closed)
	fmt.Println("closed by this one:", second.Close())
	// Output:
	// closed by a different goroutine: <nil>
	// closed by this one: <nil>
}

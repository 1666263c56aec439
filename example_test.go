package packlock_test

import (
	"context"
	"encoding/json"
	"errors"
	"expvar"
	"fmt"
	"os"
	"time"

	"packlock"
)

// withPack is the embedding example of README.md.
func withPack(ctx context.Context, dir string, work func(context.Context) error) error {
	lock, err := packlock.Open(dir) // better: open it once and keep it
	if err != nil {
		return err
	}
	defer lock.Close()

	wait, cancel := context.WithTimeout(ctx, 5*time.Second) // for the lock; the work may take longer
	defer cancel()
	hold, err := lock.Acquire(wait)
	if err != nil {
		return err // an ErrCancelled if another hold lasts longer than five seconds
	}
	defer hold.Release()
	return work(hold.Context(ctx))
}

func Example() {
	dir, err := os.MkdirTemp("", "pack")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	err = withPack(context.Background(), dir, func(ctx context.Context) error {
		fmt.Println("acquired")
		return nil
	})
	if errors.Is(err, packlock.ErrCancelled) {
		fmt.Println("the pack was held for five seconds:", err)
	}
	// Output: acquired
}

// A hold is acquired on one goroutine and released on a different one.
func ExampleHold_Detach() {
	dir, err := os.MkdirTemp("", "pack")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	lock, err := packlock.Open(dir)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer lock.Close()

	hold, err := lock.Acquire(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	hold.Detach()
	go func() {
		// ... work ...
		hold.Release()
	}()

	// Without Detach, this would fail with ErrReentrant.
	again, err := lock.Acquire(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("acquired again")
	again.Release()
	// Output: acquired again
}

// Stats are published with expvar at /debug/vars, under the path of the lock file.
func ExampleLock_Stats() {
	dir, err := os.MkdirTemp("", "pack")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	lock, err := packlock.Open(dir)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer lock.Close()

	locks := expvar.NewMap("packlock") // one map for all locks
	locks.Set(lock.Path(), expvar.Func(func() any { return lock.Stats() }))
	defer locks.Delete(lock.Path())

	for range 3 {
		lock.Do(context.Background(), func(context.Context) error { return nil })
	}

	var published packlock.Stats
	if err := json.Unmarshal([]byte(locks.Get(lock.Path()).String()), &published); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(published.Acquired, "acquired,", published.Contended, "after a wait,",
		published.WaitTime, "in all,", published.LongestWait, "at most")
	// Output: 3 acquired, 0 after a wait, 0s in all, 0s at most
}

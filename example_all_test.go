package packlock_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"packlock"
)

// move does something with two packs at once.
func move(from, to *packlock.Lock, work func()) error {
	holds, err := packlock.AcquireAll(context.Background(), from, to)
	if err != nil {
		return err
	}
	defer holds.Release()
	work()
	return nil
}

// Two packs in opposite orders: nobody waits for the other in a circle.
func ExampleAcquireAll() {
	dir, err := os.MkdirTemp("", "packs")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	var packs [2]*packlock.Lock
	for i, name := range []string{"one", "two"} {
		if packs[i], err = packlock.Open(filepath.Join(dir, name)); err != nil {
			fmt.Println(err)
			return
		}
		defer packs[i].Close()
	}

	moved := 0 // guarded by both
	var both sync.WaitGroup
	for i := range 2 {
		both.Go(func() {
			for range 100 {
				if err := move(packs[i], packs[1-i], func() { moved++ }); err != nil {
					fmt.Println(err)
				}
			}
		})
	}
	both.Wait()
	fmt.Println(moved, "times moved")
	// Output: 200 times moved
}

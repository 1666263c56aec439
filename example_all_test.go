package packlock_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"packlock"
)

// move calls work while it holds both packs.
func move(from, to *packlock.Lock, work func()) error {
	holds, err := packlock.AcquireAll(context.Background(), from, to)
	if err != nil {
		return err
	}
	defer holds.Release()
	work()
	return nil
}

// Two goroutines acquire the same two packs in opposite orders, without a deadlock.
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

	moved := 0 // guarded by both packs
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

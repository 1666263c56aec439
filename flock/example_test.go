package flock_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"packlock/flock"
)

func ExampleFlock_TryLockContext() {
	dir, err := os.MkdirTemp("", "flock")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	lock := flock.New(filepath.Join(dir, "lock"))
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second) // for the lock
	defer cancel()
	if _, err := lock.TryLockContext(ctx, 0); err != nil { // the delay is ignored
		log.Fatal(err)
	}
	defer lock.Unlock()
	fmt.Println("locked:", lock.Locked())
	// Output: locked: true
}

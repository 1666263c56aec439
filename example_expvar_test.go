package packlock_test

import (
	"context"
	"encoding/json"
	"expvar"
	"fmt"
	"os"

	"packlock"
)

// locks is what the program publishes about its packs at /debug/vars.
var locks = expvar.NewMap("packlock")

// publish has the counts and the present state of lock published, by its path.
func publish(lock *packlock.Lock) {
	locks.Set(lock.Path(), expvar.Func(func() any { return lock.Stats() }))
}

// Stats published with expvar.
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
	publish(lock)
	defer locks.Delete(lock.Path())

	for range 3 {
		lock.Do(context.Background(), func(context.Context) error { return nil })
	}

	var published packlock.Stats
	if err := json.Unmarshal([]byte(locks.Get(lock.Path()).String()), &published); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(published.Acquired, "times acquired,", published.Contended, "times waited for,",
		published.WaitTime, "together,", published.LongestWait, "at most")
	// Output: 3 times acquired, 0 times waited for, 0s together, 0s at most
}

package torture

import "runtime"

// A census counts what a process has. What the system does not tell is 0.
type census struct {
	Goroutines  int
	Threads     int
	Locking     int // of those, the ones that wait in flock(2)
	Descriptors int
}

func takeCensus() census {
	c := census{Goroutines: runtime.NumGoroutine()}
	c.fromSystem()
	return c
}

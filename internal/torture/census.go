package torture

import "runtime"

// A census counts what a process has. What the system does not tell is 0.
type census struct {
	Goroutines  int
	Threads     int
	Locking     int // of those, the ones that wait in flock(2)
	Descriptors int // of other files than lock files
	LockFiles   int // descriptors of them
}

// takeCensus counts what this process has. Each file below packs is taken for a lock file.
func takeCensus(packs string) census {
	c := census{Goroutines: runtime.NumGoroutine()}
	c.fromSystem(packs)
	return c
}

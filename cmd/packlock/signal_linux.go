package main

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// morePassedOn are the signals of passedOn that not every Unix has. Of the real-time
// signals, Go leaves the first, 34, to C libraries.
var morePassedOn = func() []os.Signal {
	signals := []os.Signal{unix.SIGPWR}
	for n := 35; n <= 64; n++ {
		signals = append(signals, syscall.Signal(n))
	}
	return signals
}()

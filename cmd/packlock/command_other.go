//go:build !(darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd)

package main

import (
	"os"
	"os/signal"

	"packlock"
)

// notify has every signal sent to c that there is here: on Windows, Ctrl-C and
// the closing of the console.
func notify(c chan<- os.Signal) { signal.Notify(c) }

// reachesGroup reports that the console has told every process on it.
func reachesGroup(os.Signal) bool { return true }

// signalStatus returns the status of a wait ended by Ctrl-C.
func signalStatus(os.Signal) int { return 130 }

// exitStatus returns the status to exit with after a command.
func exitStatus(state *os.ProcessState) int { return state.ExitCode() }

// inheritable returns nil: a lock cannot be inherited here. The nil File can
// be closed.
func inheritable(*packlock.Hold) (*os.File, error) { return nil, nil }

// alive reports whether there is a process with that pid.
func alive(pid int) bool {
	p, err := os.FindProcess(pid)
	if err == nil {
		p.Release()
	}
	return err == nil
}

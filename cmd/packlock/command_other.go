//go:build !(darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd)

package main

import (
	"cmp"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"

	"packlock"
)

// notify has every signal sent to c that there is here: on Windows, Ctrl-C and
// the closing of the console.
func notify(c chan<- os.Signal) { signal.Notify(c) }

// notifyRunning is notify.
func notifyRunning(c chan<- os.Signal) { notify(c) }

// reached reports that the console has told every process on it.
func reached(int, os.Signal, *witness) bool { return true }

// endings are the signals that end what can be cleaned up after: Ctrl-C, and
// the closing of the console.
var endings = []os.Signal{os.Interrupt, syscall.SIGTERM}

// brokenPipe is none: the write fails, and that is all.
var brokenPipe []os.Signal

// isBrokenPipe reports false.
func isBrokenPipe(error) bool { return false }

// writeMessage writes p to the standard error.
func writeMessage(p []byte) { os.Stderr.Write(p) }

// die does nothing: no signal is sent here, nor seen by the parent.
func die(os.Signal) {}

// signalStatus returns the status of a wait ended by Ctrl-C.
func signalStatus(os.Signal) int { return 130 }

// wait waits for the end of the command and returns the status to exit with.
func wait(cmd *exec.Cmd) (status int, err error) {
	err = cmd.Wait()
	if cmd.ProcessState == nil {
		return 1, err
	}
	return cmd.ProcessState.ExitCode(), nil
}

// inheritable returns nil: a lock cannot be inherited here. The nil File can
// be closed.
func inheritable(*packlock.Hold) (*os.File, error) { return nil, nil }

// linksOf returns 1: that there are more is not told here without opening the file.
func linksOf(os.FileInfo) uint64 { return 1 }

// alive reports whether there is a process with that pid.
func alive(pid int) bool {
	p, err := os.FindProcess(pid)
	if err == nil {
		p.Release()
	}
	return err == nil
}

// isScript reports false: what is no program cannot be run here.
func isScript(error) bool { return false }

// usualPath does nothing: there are no usual places.
func usualPath() {}

// allowRelative does nothing: Windows adds the current directory to every search,
// and a program there is not to be run by accident.
func allowRelative(*exec.Cmd) {}

// shellLine returns the command line by which the system's shell runs line.
func shellLine(line string) []string {
	if runtime.GOOS == "windows" {
		return []string{cmp.Or(os.Getenv("ComSpec"), "cmd.exe"), "/c", line}
	}
	return []string{"rc", "-c", line}
}

// checkDescriptors returns nil: there is no such limit here.
func checkDescriptors() error { return nil }

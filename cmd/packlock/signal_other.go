//go:build darwin || dragonfly || freebsd || illumos || netbsd || openbsd

package main

import (
	"os"
	"os/signal"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// morePassedOn are none.
var morePassedOn []os.Signal

// byDefault has the kernel do by s what it does to a process that takes no notice of
// s, and reports whether it can. It cannot where s was ignored when this process
// was started, nor by what Go handles: for SIGQUIT Go prints stacks.
func byDefault(s syscall.Signal) bool {
	if s != unix.SIGKILL && (!slices.Contains(endings, os.Signal(s)) || signal.Ignored(s)) {
		return false
	}
	signal.Reset(s)
	return true
}

// got knows nothing: there is no witness.
func (*witness) got(os.Signal) (got, known bool) { return false, false }

package main

import (
	"bytes"
	"os"
	"strings"

	"packlock/internal/fsinfo"
)

// initialPIDs is the name of the pid namespace that all others are inside of.
// The kernel has given it a number for good.
const initialPIDs = "pid:[4026531836]"

// findListed looks for the lock of the sidecar at path in /proc/locks.
//
// That a lock is not there means that it is free only if nobody is left out: the
// kernel leaves out the locks of other pid namespaces, except those inside its
// own, and knows nothing about those that a server keeps. And something, a
// mount over the file or an emulation of Linux, may have emptied the table:
// another lock on the same file system shows that nothing has.
func findListed(path string) (l listing) {
	file, err := procName(path)
	if err != nil {
		return l
	}
	device := []byte(" " + file[:strings.LastIndexByte(file, ':')+1])
	locks, err := settledLocks(file)
	if err != nil {
		return l
	}
	seen := false
	for line := range bytes.Lines(locks) {
		seen = seen || bytes.Contains(line, device)
		// Without the arrow of a waiter it is as the line of a holder.
		lock := bytes.Replace(line, []byte("-> "), nil, 1)
		switch _, ok := parseLock(lock, file); {
		case ok && len(lock) < len(line):
			l.waiting++
		case ok:
			l.held = true
		}
	}
	if l.held {
		return l
	}
	if !seen || fsinfo.ReachAt(path) != fsinfo.Local {
		return l
	}
	pids, err := os.Readlink("/proc/self/ns/pid")
	l.complete = err == nil && pids == initialPIDs
	return l
}

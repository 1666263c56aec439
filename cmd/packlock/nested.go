package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// heldVariable is the environment variable by which a run tells those that its
// command starts which locks are held on their behalf. It has a line for each:
// the pid of the run and the path of the sidecar, quoted.
const heldVariable = "PACKLOCK_HELD"

// heldAlso returns the setting of heldVariable for the command of this run,
// which holds the lock of the sidecar at path.
func heldAlso(path string) string {
	lines := fmt.Sprintf("%d %q", os.Getpid(), path)
	if outer := os.Getenv(heldVariable); outer != "" {
		lines = outer + "\n" + lines
	}
	return heldVariable + "=" + lines
}

// heldByParent returns the pid of the run that this process is part of the
// command of and that holds the lock of the sidecar at path, 0 if there is none.
// The lock is busy, and who has it as far as is known.
//
// A process may outlive the run that it got the variable from. So who is
// believed before the variable is.
func heldByParent(path string, who holder) int {
	sidecar, err := os.Stat(path)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(os.Getenv(heldVariable)) {
		var pid int
		var held string
		if _, err := fmt.Sscanf(line, "%d %q", &pid, &held); err != nil {
			continue
		}
		if info, err := os.Stat(held); err != nil || !os.SameFile(info, sidecar) {
			continue
		}
		if who.known() {
			// With who.self the lock was inherited from a run that was killed.
			if who.self || slices.Contains(who.takers, pid) {
				return pid
			}
		} else if alive(pid) {
			return pid
		}
	}
	return 0
}

package main

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// ignoreInherited has this process, and so the command, ignore the signals that it
// was started to ignore. The Go runtime keeps only SIGHUP and SIGINT ignored, and
// has put handlers in the place of all others before the program learns of them. So
// they are taken from the parent, if that is a shell: after trap ” TERM it ignores
// SIGTERM itself, as its commands do.
func ignoreInherited() {
	parent := os.Getppid()
	exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", parent))
	ignored := ignoredBy(filepath.Base(exe), statusOf(parent)["SigIgn"])
	// A shell starts a background job so, and does not ignore SIGINT itself.
	if signal.Ignored(unix.SIGINT) && !slices.Contains(ignored, os.Signal(unix.SIGINT)) {
		ignored = append(ignored, unix.SIGQUIT)
	}
	for _, s := range ignored {
		signal.Ignore(s)
	}
}

// ignoredBy returns those signals of a SigIgn, that of a shell, which the commands of
// the shell ignore, too.
func ignoredBy(shell, sigIgn string) (ignored []os.Signal) {
	n, err := strconv.ParseUint(sigIgn, 16, 64)
	set := signalSet(n)
	switch {
	case err != nil:
		return nil
	case slices.Contains([]string{"bash", "zsh", "ksh", "ksh93", "mksh", "yash"}, shell):
		set &^= setOf(unix.SIGQUIT) // which they always ignore themselves
	case !slices.Contains([]string{"dash", "ash", "busybox"}, shell):
		return nil
	}
	if set&setOf(unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU) != 0 {
		// An interactive shell ignores these for its own part.
		set &^= setOf(unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU, unix.SIGQUIT, unix.SIGTERM)
	}
	// Not SIGCHLD: the kernel would keep the status of the command from run. Nor what
	// the Go runtime needs.
	for _, s := range slices.Concat(passedOn, []os.Signal{unix.SIGPIPE, unix.SIGXCPU, unix.SIGXFSZ, unix.SIGWINCH}) {
		if set&setOf(s.(syscall.Signal)) != 0 {
			ignored = append(ignored, s)
		}
	}
	return ignored
}

// A signalSet has a bit for each signal, as in /proc.
type signalSet uint64

func setOf(signals ...syscall.Signal) (set signalSet) {
	for _, s := range signals {
		set |= 1 << (s - 1)
	}
	return set
}

// statusOf returns what /proc tells about a process, by the names of the lines.
func statusOf(pid int) map[string]string {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	lines := make(map[string]string)
	for line := range strings.Lines(string(status)) {
		key, value, _ := strings.Cut(line, ":")
		lines[key] = strings.TrimSpace(value)
	}
	return lines
}

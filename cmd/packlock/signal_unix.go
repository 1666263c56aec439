//go:build darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd

package main

import (
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// passedOn are the signals that end a process which takes no notice of them. run
// gives them to COMMAND. Those that the kernel sends to run about what run itself
// does are left out: SIGCHLD, SIGPIPE, SIGTTIN, SIGTTOU, SIGXCPU, SIGXFSZ, faults. So
// are SIGTSTP, which stops run as it stops COMMAND, and what Go keeps to itself: SIGURG,
// SIGPROF.
var passedOn = slices.Concat([]os.Signal{
	unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGABRT, unix.SIGUSR1, unix.SIGUSR2, unix.SIGALRM,
	unix.SIGTERM, unix.SIGVTALRM, unix.SIGIO,
}, morePassedOn)

// notify has the signals in passedOn sent to c. One that was ignored when run was
// started, by nohup or as a shell's background job, is left so, and the command
// inherits that.
func notify(c chan<- os.Signal) { notifyOf(c, passedOn...) }

// notifyRunning has those signals sent to c, too, that a process does not die of:
// SIGWINCH, and SIGCONT so that a command that run was stopped along with goes on
// along with it.
func notifyRunning(c chan<- os.Signal) {
	notify(c)
	notifyOf(c, unix.SIGCONT, unix.SIGWINCH)
}

func notifyOf(c chan<- os.Signal, signals ...os.Signal) {
	for _, s := range signals {
		if !signal.Ignored(s) {
			signal.Notify(c, s)
		}
	}
}

// reached reports whether the sender of s, which has come to run, has sent it to the
// process of the command as well: to all of their process group. Many programs take a
// second SIGINT or SIGTERM for impatience and drop everything.
//
// What is sent to a group does not reach a command that has a group of its own, such
// as timeout(1) or a shell with job control, even if it was typed.
func reached(command int, s os.Signal, w *witness) bool {
	if s == unix.SIGCONT {
		return false // a second one changes nothing
	}
	group, err := unix.Getpgid(command)
	if ours, oursErr := unix.Getpgid(0); err != nil || oursErr != nil || group != ours {
		return false
	}
	if got, known := w.got(s); known {
		return got
	}
	return typed(s)
}

// typed reports whether s is one that a terminal sends to every process in its
// foreground, this one being there. It is next to always the terminal that has sent
// it then, and elsewhere it never is.
func typed(s os.Signal) bool {
	if s != unix.SIGINT && s != unix.SIGQUIT && s != unix.SIGWINCH {
		return false
	}
	tty, err := unix.Open("/dev/tty", unix.O_RDONLY|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(tty)
	foreground, err := unix.IoctlGetInt(tty, unix.TIOCGPGRP)
	if err != nil {
		return false
	}
	ours, err := unix.Getpgid(0)
	// The kernel writes a pid_t, 32 bits, to where the int begins.
	return err == nil && int(*(*int32)(unsafe.Pointer(&foreground))) == ours
}

// die ends this process by s, so that its parent learns which signal it was. It
// returns where that cannot be done: where Go keeps s to itself, and as process 1,
// which no signal that it sends itself can end.
func die(s os.Signal) {
	n, _ := s.(syscall.Signal)
	if os.Getpid() == 1 || unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}) != nil || !byDefault(n) {
		return
	}
	if unix.Kill(os.Getpid(), n) == nil {
		time.Sleep(time.Second) // it may be for another thread to die of it
	}
}

//go:build darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd

package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"packlock"
)

// notify has the signals that run passes on sent to c. One that was ignored
// when run was started, by nohup or as a shell's background job, is left so,
// and the command inherits that.
func notify(c chan<- os.Signal) {
	for _, s := range []os.Signal{
		unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGUSR1, unix.SIGUSR2,
	} {
		if !signal.Ignored(s) {
			signal.Notify(c, s)
		}
	}
}

// reachesGroup reports whether s is one that the terminal sends, when it is
// typed, to every process in its foreground, this one being there. Go does not
// say who sent a signal. In the foreground it is next to always the terminal,
// and many programs take a second SIGINT for impatience and drop everything;
// elsewhere it is never the terminal.
func reachesGroup(s os.Signal) bool {
	if s != unix.SIGINT && s != unix.SIGQUIT {
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

// endings are the signals that end what can be cleaned up after.
var endings = []os.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP}

// brokenPipe is the signal that ends what writes to nobody. It is none of endings
// because Go does not let itself be killed by it.
var brokenPipe = []os.Signal{unix.SIGPIPE}

// isBrokenPipe reports whether err is that of a write that came with brokenPipe.
func isBrokenPipe(err error) bool { return errors.Is(err, unix.EPIPE) }

// die ends this process by s, if s may do that: it returns where s was ignored
// when the process was started, and for SIGUSR1 and SIGQUIT, for which Go has
// uses of its own, the latter to print the stacks of its goroutines.
func die(s os.Signal) {
	if !slices.Contains(endings, s) || signal.Ignored(s) {
		return
	}
	signal.Reset(s)
	if unix.Kill(os.Getpid(), s.(syscall.Signal)) == nil {
		time.Sleep(time.Second) // it may be for another thread to die of it
	}
}

// signalStatus returns the status of a process ended by s, as shells have it.
func signalStatus(s os.Signal) int { return 128 + int(s.(syscall.Signal)) }

// notifyContinued has SIGCONT sent to c, too: it is passed on so that a command
// that run was stopped along with goes on along with it.
func notifyContinued(c chan<- os.Signal) { signal.Notify(c, unix.SIGCONT) }

// wait waits for the end of the command and returns the status to exit with. The
// error is an ending if the command died of what Ctrl-C sends: a shell whose
// script runs this one, and that got the signal too, has to see that it was not
// taken for something else, or it goes on with the script. Other signals mean
// nothing to it but the status.
//
// It has run stopped when the command is. In the process group of run they
// stop together, when Ctrl-Z is typed. But an interactive shell has a group of
// its own, and when it suspends itself, the shell that waits for run would
// never learn of it, nor get its terminal back.
func wait(cmd *exec.Cmd) (status int, err error) {
	pid := cmd.Process.Pid
	for {
		var ws unix.WaitStatus
		_, err := unix.Wait4(pid, &ws, unix.WUNTRACED, nil)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return 1, os.NewSyscallError("wait", err)
		case ws.Stopped():
			group, err := unix.Getpgid(pid)
			ours, oursErr := unix.Getpgid(0)
			if err == nil && oursErr == nil && group != ours {
				// Unlike SIGSTOP, this is ignored where no shell is left to
				// have run continued.
				unix.Kill(os.Getpid(), unix.SIGTSTP)
			}
		default:
			cmd.Process.Release() // its pid may be another's from now on
			switch {
			case ws.Signaled() && ws.Signal() == unix.SIGINT:
				return signalStatus(unix.SIGINT), ending{signal: unix.SIGINT}
			case ws.Signaled():
				return signalStatus(ws.Signal()), nil
			}
			return ws.ExitStatus(), nil
		}
	}
}

// inheritable returns a duplicate of the locked descriptor that every process
// started from now on inherits, under its own number. The ExtraFiles of an
// exec.Cmd would be numbered from 3, and take the place of what the command is
// to inherit there: a file opened by the shell, the jobserver of make.
func inheritable(hold *packlock.Hold) (*os.File, error) {
	f, err := hold.Dup()
	if err != nil {
		return nil, err
	}
	if _, err := unix.FcntlInt(f.Fd(), unix.F_SETFD, 0); err != nil {
		f.Close()
		return nil, os.NewSyscallError("fcntl", err)
	}
	return f, nil
}

// isScript reports whether err, of a start, is that the kernel does not know what
// to do with the file. It is then for the shell, as execvp(3) has it.
func isScript(err error) bool { return errors.Is(err, unix.ENOEXEC) }

// usualPath has commands looked for in the usual places if PATH is not set, as
// execvp(3) does.
func usualPath() {
	if _, ok := os.LookupEnv("PATH"); !ok {
		os.Setenv("PATH", "/bin:/usr/bin")
	}
}

// allowRelative has cmd run also if its file was found by a relative entry of PATH,
// as execvp(3) does. Package os/exec refuses that, in case "." was not meant.
func allowRelative(cmd *exec.Cmd) {
	if errors.Is(cmd.Err, exec.ErrDot) {
		cmd.Err = nil
	}
}

// shellLine returns the command line by which the user's shell runs line.
func shellLine(line string) []string {
	return []string{cmp.Or(os.Getenv("SHELL"), "/bin/sh"), "-c", line}
}

// checkDescriptors returns an error if too few descriptors are left. The Go
// runtime needs some for itself when it waits for the first time, and ends
// packlock with a trace of its stacks if they are not to be had. So it gets them
// here.
func checkDescriptors() error {
	if err := tryDescriptors(); err != nil {
		return err
	}
	r, w, err := os.Pipe()
	if err == nil {
		r.Close()
		w.Close()
	}
	return err
}

// tryDescriptors opens as many as may be needed, and closes them.
func tryDescriptors() error {
	for range enoughDescriptors {
		fd, err := unix.Open("/", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == unix.EMFILE || err == unix.ENFILE {
			return fmt.Errorf("%w: packlock needs %d more; see ulimit -n", err, enoughDescriptors)
		}
		if err == nil {
			defer unix.Close(fd)
		}
	}
	return nil
}

// enoughDescriptors are as many as a run has open at the same time, and some more.
const enoughDescriptors = 12

// alive reports whether there is a process with that pid.
func alive(pid int) bool {
	return pid > 0 && !errors.Is(unix.Kill(pid, 0), unix.ESRCH)
}

//go:build darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd

package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"

	"packlock"
)

// endings are the signals that end what can be cleaned up after.
var endings = []os.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP}

// brokenPipe is the signal that ends what writes to nobody. It is none of endings
// because Go does not let itself be killed by it.
var brokenPipe = []os.Signal{unix.SIGPIPE}

// isBrokenPipe reports whether err is that of a write that came with brokenPipe.
func isBrokenPipe(err error) bool { return errors.Is(err, unix.EPIPE) }

// writeMessage writes p to the standard error as far as it can. After an EPIPE
// os.Stderr.Write would end the process by SIGPIPE. The signal of this write alone is
// ignored by Go unless it is notified, and COMMAND starts with its default.
func writeMessage(p []byte) {
	conn, err := os.Stderr.SyscallConn()
	if err != nil {
		return
	}
	conn.Write(func(fd uintptr) (done bool) {
		for len(p) > 0 {
			n, err := unix.Write(int(fd), p)
			switch {
			case err == unix.EINTR:
			case err == unix.EAGAIN:
				return false
			case err != nil:
				return true
			default:
				p = p[n:]
			}
		}
		return true
	})
}

// signalStatus returns the status of a process ended by s, as shells have it.
func signalStatus(s os.Signal) int { return 128 + int(s.(syscall.Signal)) }

// wait waits for the end of the command and returns the status to exit with. The
// error is an ending if the command died of a signal: a shell whose script runs this
// one, and that got SIGINT too, must see that the signal was not taken for something
// else, or it goes on with the script. And for systemd, a service that died of the
// SIGTERM that stops it has not failed.
//
// It reaps what other children there are: as process 1 of a container, run becomes
// the parent of all that are left behind there.
//
// It has run stopped when the command is. In the process group of run they
// stop together, when Ctrl-Z is typed. But an interactive shell has a group of
// its own, and when it suspends itself, the shell that waits for run would
// never learn of it, nor get its terminal back.
func wait(cmd *exec.Cmd) (status int, err error) {
	pid := cmd.Process.Pid
	for {
		var ws unix.WaitStatus
		ended, err := unix.Wait4(-1, &ws, unix.WUNTRACED, nil)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return 1, os.NewSyscallError("wait", err)
		case ended != pid:
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
			if ws.Signaled() {
				return signalStatus(ws.Signal()), ending{signal: ws.Signal()}
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

// usualPath has commands looked for in the usual places if PATH is not set, and in
// the current directory if it is empty, as execvp(3) does.
func usualPath() {
	switch path, ok := os.LookupEnv("PATH"); {
	case !ok:
		os.Setenv("PATH", "/bin:/usr/bin")
	case path == "":
		os.Setenv("PATH", ".")
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

// linksOf returns how many names a file has.
func linksOf(info os.FileInfo) uint64 { return uint64(info.Sys().(*syscall.Stat_t).Nlink) }

// alive reports whether there is a process with that pid.
func alive(pid int) bool {
	return pid > 0 && !errors.Is(unix.Kill(pid, 0), unix.ESRCH)
}

package main

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"time"

	"packlock"
)

// runner is the verb run.
type runner struct {
	verb       *verb
	dontWait   bool
	timeout    time.Duration // negative: none
	busyStatus int
	quiet      bool
	close      bool // keep the descriptor from the command

	dir     string
	command []string
}

func newRun() *verb {
	r := &runner{timeout: -1, busyStatus: 75}
	v := &verb{
		name:    "run",
		args:    "[flags] DIR [flags] -- COMMAND ARGS...",
		summary: "run a command under the lock of a pack",
		about: `Runs COMMAND while holding the lock of the pack DIR, for which it waits if
somebody else has it. The lock is let go when COMMAND ends, also if something
that COMMAND started still runs in the background. DIR is created if missing.

`,
		notes: `
Exit status:
  that of COMMAND, or 128+N if signal N killed it
  75, or that of -E, if COMMAND was not run because the lock was not to be had:
      because of -n or -timeout, or because this run is part of a COMMAND that
      is run under the same lock (PACKLOCK_HELD in its environment says so)
  128+N if signal N ended the wait: 130 after Ctrl-C, 143 after SIGTERM
  127 if COMMAND was not found, 126 if it could not be executed
  1   on trouble with the lock
  2   if the command line makes no sense

On Unix, if SIGINT killed COMMAND, or SIGINT, SIGTERM or SIGHUP ended the wait,
run dies of that signal itself. A shell has 128+N for that, too, and does not go
on with a script after Ctrl-C.

Signals: SIGTERM, SIGHUP, SIGUSR1 and SIGUSR2 are passed on to COMMAND, and so
are SIGINT and SIGQUIT, except in the foreground of a terminal: there, what is
typed reaches COMMAND anyway, and is not for run. To end a COMMAND in the
foreground by way of run, send SIGTERM.

Killed: on Unix COMMAND inherits the locked descriptor, so that the pack remains
locked while COMMAND runs on after run was killed. It also remains locked by
whatever COMMAND started in the background then. With -o, and on Windows, a
killed run lets the lock go at once.

"--" may be left out if there is none in COMMAND ARGS either.
`,
		run: r.run,
	}
	r.verb = v
	v.flags.BoolVar(&r.dontWait, "n", false, "do not wait")
	v.flags.Func("timeout", "wait `time` at most, such as 5s or 2m", func(s string) error {
		d, err := parseDuration(s)
		if err == nil {
			r.timeout = d
		}
		return err
	})
	v.flags.Func("E", "exit with `status` if the lock is not to be had (default 75)", func(s string) error {
		n, err := strconv.ParseUint(s, 10, 8)
		if err != nil {
			return errors.New("a status is a number from 0 to 255, as in -E 75")
		}
		r.busyStatus = int(n)
		return nil
	})
	v.flags.BoolVar(&r.quiet, "q", false, "do not say that somebody else has the lock")
	v.flags.BoolVar(&r.close, "o", false, "keep the locked descriptor from COMMAND")
	return v
}

// parse takes the command line apart.
func (r *runner) parse(args []string) error {
	const synopsis = "packlock run DIR -- COMMAND ARGS..."
	dashes := slices.Index(args, "--")
	ours := args
	if dashes >= 0 {
		ours, r.command = args[:dashes], args[dashes+1:]
	}
	rest, err := r.verb.parse(ours)
	if err != nil {
		return err
	}
	if len(rest) == 0 {
		return usageError("no DIR; type: %s", synopsis)
	}
	r.dir = rest[0]
	rest, err = r.verb.parse(rest[1:])
	switch {
	case err != nil:
		return err
	case dashes < 0:
		r.command = rest
	case len(rest) > 0:
		// A second DIR, or a command that has a "--" of its own: "DIR git
		// checkout -- FILE".
		return usageError(`%q is neither DIR nor COMMAND; put "--" before COMMAND: %s`, rest[0], synopsis)
	}
	switch {
	case len(r.command) == 0:
		return usageError("no COMMAND; type: %s", synopsis)
	case r.dir == "":
		return emptyDir("run . -- COMMAND ARGS...")
	case r.dontWait && r.timeout >= 0:
		return usageError("-n and -timeout contradict each other; type one of them")
	case r.dontWait:
		r.timeout = 0
	}
	return nil
}

func (r *runner) run(args []string) error {
	if err := r.parse(args); err != nil {
		return err
	}
	lock, err := packlock.Open(r.dir)
	switch {
	case err != nil && danglingLink(r.dir) != "":
		return noDirectory(r.dir)
	case err != nil:
		return err
	}

	early := make(chan os.Signal, signalBuffer)
	notify(early)
	hold, err := r.acquire(lock, early)
	if err != nil {
		return err
	}
	status, err := r.runCommand(hold, early)
	released := hold.Release()
	switch {
	case errors.As(err, new(ending)):
		return err
	case err == nil:
		err = released
	}
	return exit{status, err}
}

// signalBuffer is room for more signals than come while a process starts.
const signalBuffer = 64

// runCommand runs the command and returns the status to exit with. Signals
// have come to early up to now.
func (r *runner) runCommand(hold *packlock.Hold, early chan os.Signal) (status int, err error) {
	cmd := exec.Command(r.command[0], r.command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), heldAlso(hold.Path()))
	if !r.close {
		dup, err := inheritable(hold)
		if err != nil {
			return 1, err
		}
		defer dup.Close()
	}

	select {
	case s := <-early: // the wait ended, and that was before
		return signalStatus(s), ending{signal: s}
	default:
	}
	if err := cmd.Start(); err != nil {
		return startStatus(cmd, err), err
	}
	// A signal that came before there was a command was for us alone, whoever
	// sent it, and has to be passed on. Hence a channel for these: when Stop
	// returns, early has got all of them, and late gets those that come after
	// the start. One that comes right here goes to both.
	late := make(chan os.Signal, signalBuffer)
	notify(late)
	notifyContinued(late)
	signal.Stop(early)
	for len(early) > 0 {
		cmd.Process.Signal(<-early)
	}

	type end struct {
		status int
		err    error
	}
	ended := make(chan end, 1)
	go func() {
		status, err := wait(cmd)
		ended <- end{status, err}
	}()
	for {
		select {
		case s := <-late:
			if !reachesGroup(s) {
				cmd.Process.Signal(s)
			}
		case e := <-ended:
			return e.status, e.err
		}
	}
}

// startStatus returns the status, as shells have it, for a command that err
// kept from being started.
func startStatus(cmd *exec.Cmd, err error) int {
	if errors.Is(err, exec.ErrNotFound) {
		return 127
	}
	// A script whose interpreter is missing is there all the same.
	if _, missing := os.Stat(cmd.Path); errors.Is(missing, fs.ErrNotExist) {
		return 127
	}
	return 126
}

package main

import (
	"errors"
	"io/fs"
	"os"
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
	close      bool    // keep the descriptors from the command
	shell      *string // the command of -c, nil if there is none

	shared bool   // what follows is locked shared
	unused string // the -s or -x that nothing has followed

	dirs    []operand
	files   []operand // of -f
	command []string
}

// An operand is what a command line names to be locked.
type operand struct {
	name   string
	shared bool
}

func newRun() *verb {
	r := &runner{timeout: -1, busyStatus: 75}
	v := &verb{
		name:    "run",
		args:    "[flags] DIR... [flags] -- COMMAND ARGS...",
		summary: "run a command under the lock of a pack",
		about: `Runs COMMAND while holding the lock of the pack DIR, for which it waits if
another process holds it. The lock is released when COMMAND ends, also if
something that COMMAND started still runs in the background. DIR is created if
missing, and run reports that.

With several DIRs it gets all of their locks or none. It takes them in one order,
whatever the order of the DIRs, so that runs that want the same packs do not
wait for each other in a cycle. Of several, each must exist.

With -s the lock is shared: any number of runs may hold it at the same time,
while none holds it exclusively. -s is for all DIRs and FILEs that follow it, and
-x ends that:

	packlock run -s SOURCE LIBRARY -x TARGET -- COMMAND ARGS...

`,
		notes: `
Exit status:
  that of COMMAND, or 128+N if signal N killed it
  75, or that of -E, if the lock could not be acquired and COMMAND was not run,
      because of -n or -timeout, or because an outer run (or flock) of the same
      lock started this one, unless both are shared
  128+N if signal N ended the wait: 130 after Ctrl-C, 143 after SIGTERM
  127 if COMMAND was not found, 126 if it could not be executed
  1   on trouble with the lock
  2   if the command line makes no sense

"--" may be left out if there is none in COMMAND ARGS either, with one DIR, with
-f, or with -c. A DIR that begins with a dash may follow "--":

	packlock run -- -dir -- COMMAND ARGS...

Signals, a run that is killed, a lock file that is lost, and nested runs are in
the manual page, docs/packlock.md.
`,
		details: runDetails,
		run:     r.run,
	}
	r.verb = v
	v.flags.BoolVar(&r.dontWait, "n", false, "do not wait")
	v.flags.Func("timeout", "wait `time` at most, such as 5s, 2m or 0.5 (seconds)", func(s string) error {
		d, err := parseTimeout(s)
		if err == nil {
			r.timeout = d
		}
		return err
	})
	v.flags.Func("E", "exit with `status` if the lock cannot be acquired (default 75)", func(s string) error {
		n, err := strconv.ParseUint(s, 10, 8)
		if err != nil {
			return errors.New("a status is a number from 0 to 255, as in -E 75")
		}
		r.busyStatus = int(n)
		return nil
	})
	v.flags.BoolVar(&r.quiet, "q", false, "do not report that another process holds the lock, or that DIR was created")
	v.flags.Func("f", "lock `FILE` itself, as flock(1) does; may be repeated, and DIR left out.\nOf a directory, that is not the lock of run DIR", func(s string) error {
		r.files = append(r.files, r.operand(s))
		return nil
	})
	kind := func(name string, shared bool) func(string) error {
		return func(s string) error {
			on, err := strconv.ParseBool(s)
			r.shared, r.unused = on == shared, name
			return err
		}
	}
	v.flags.BoolFunc("s", "lock what follows shared", kind("s", true))
	v.flags.BoolFunc("x", "lock what follows exclusively, as without -s", kind("x", false))
	v.flags.Func("c", "run `line` by the shell instead of COMMAND ($SHELL, or sh)", func(s string) error {
		r.shell = &s
		return nil
	})
	v.flags.BoolVar(&r.close, "o", false, "do not hand the locked descriptor to COMMAND")
	return v
}

func (r *runner) run(args []string) error {
	if err := r.parse(args); err != nil {
		return err
	}
	targets, err := r.open()
	if err != nil {
		return err
	}

	ignoreInherited()
	early := make(chan os.Signal, signalBuffer)
	notify(early)
	holds, err := r.acquire(targets, early)
	if err != nil {
		return err
	}
	var checks []func() error
	for _, h := range holds {
		checks = append(checks, h.Check)
	}
	watch := watchForLoss(targets, checks)
	status, err := r.runCommand(holds, early)
	watch.stop()
	released := holds.Release()
	switch {
	case errors.As(err, new(ending)):
		return err
	case err == nil:
		err = released
	}
	return exit{status, err}
}

// open opens what is to be locked, and returns what is to be locked shared last. A single
// DIR it creates, and says so. Of several, one that is missing is more likely part of a
// command.
func (r *runner) open() (targets []target, err error) {
	for _, o := range r.dirs {
		dir := o.name
		missing := func() bool { _, err := os.Stat(dir); return errors.Is(err, fs.ErrNotExist) }()
		if missing && len(r.dirs) > 1 {
			return nil, usageError(`%w; of several, each has to exist; put "--" before COMMAND: %s`, noDirectory(dir), synopsis)
		}
		lock, err := packlock.Open(dir)
		switch {
		case err != nil && danglingLink(dir) != "":
			return nil, noDirectory(dir)
		case err != nil:
			return nil, err
		case missing && !r.quiet:
			say("run", "created the directory %s", legible(dir))
		}
		targets = append(targets, target{dir, lock, o.shared})
	}
	for _, o := range r.files {
		lock, err := packlock.OpenFile(o.name, packlock.WithAnyFile())
		if err != nil {
			return nil, err
		}
		targets = append(targets, target{o.name, lock, o.shared})
	}
	for i, t := range targets {
		if slices.ContainsFunc(targets[:i], func(before target) bool { return sameFile(before.lock, t.lock) }) {
			return nil, usageError("%s is locked by another argument already; type it once", legible(t.name))
		}
	}
	rank := func(t target) int {
		if t.shared {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(targets, func(a, b target) int { return rank(a) - rank(b) })
	return targets, nil
}

// sameFile reports whether two locks are of one file.
func sameFile(a, b *packlock.Lock) bool {
	one, err := os.Stat(a.Path())
	if err != nil {
		return false
	}
	other, err := os.Stat(b.Path())
	return err == nil && os.SameFile(one, other)
}

// signalBuffer is room for more signals than come while a process starts.
const signalBuffer = 64

// runCommand runs the command and returns the status to exit with. Signals
// have come to early up to now.
func (r *runner) runCommand(holds packlock.Holds, early chan os.Signal) (status int, err error) {
	w := startWitness() // before there are locked descriptors to inherit
	defer w.end()
	var held []heldLine
	var dups []*os.File
	closeDups := func() {
		for _, dup := range dups {
			dup.Close()
		}
	}
	defer closeDups()
	for _, h := range holds {
		held = append(held, heldLine{os.Getpid(), h.Path(), time.Now(), h.Shared()})
		if !r.close {
			dup, err := inheritable(h)
			if err != nil {
				return 1, err
			}
			dups = append(dups, dup)
		}
	}
	env := append(os.Environ(), heldAlso(held...))

	select {
	case s := <-early: // the wait ended, and that was before
		return signalStatus(s), ending{signal: s}
	default:
	}
	cmd, err := start(r.command, env)
	closeDups() // or what is started later would inherit them, too
	if err != nil {
		return startStatus(cmd, err), cannotStart(cmd, err)
	}
	// A signal that came before there was a command was for us alone, whoever
	// sent it, and has to be passed on. Hence a channel for these: when Stop
	// returns, early has got all of them, and late gets those that come after
	// the start. One that comes right here goes to both, and is for one.
	late := make(chan os.Signal, signalBuffer)
	notifyRunning(late)
	signal.Stop(early)
	if len(early) > 0 {
		w.forget()
	}
	for len(early) > 0 {
		s := <-early
		cmd.Process.Signal(s)
		drop(late, s)
	}

	type end struct {
		status int
		err    error
	}
	ended := make(chan end, 1)
	pid := cmd.Process.Pid // which wait takes out of cmd
	go func() {
		status, err := wait(cmd)
		ended <- end{status, err}
	}()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			w.tidy()
		case s := <-late:
			if reached(pid, s, w) {
				drop(late, s) // sent to run as well, as by timeout(1)
			} else {
				cmd.Process.Signal(s)
			}
		case e := <-ended:
			return e.status, e.err
		}
	}
}

// drop takes s out of c, as often as it is there.
func drop(c chan os.Signal, s os.Signal) {
	for range len(c) {
		if other := <-c; other != s {
			select {
			case c <- other:
			default: // c is full, as it may be at any time
			}
		}
	}
}

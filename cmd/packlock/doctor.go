package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"packlock"
	"packlock/internal/fsinfo"
	"packlock/locktest"
)

// doctor is the verb doctor.
type doctor struct {
	verb *verb
	peer bool
	wait duration
	json bool

	report doctorReport
}

// doctorReport is what doctor -json prints.
type doctorReport struct {
	locktest.Report
	Links uint64    `json:"lock_file_links,omitempty"` // of the pack's own lock file, if several
	Peer  *peerName `json:"peer,omitempty"`
	Error string    `json:"error,omitempty"` // instead of a verdict
}

func newDoctor() *verb {
	d := &doctor{wait: duration(time.Minute)}
	v := &verb{
		name:    "doctor",
		args:    "[flags] DIR [flags]",
		summary: "find out whether the file system can be trusted with a lock",
		about: `Has processes lock a scratch file in DIR and checks, a line for each check, that
the lock excludes, that waiting for it blocks and wakes, that it is released when
its holder closes it, exits or is killed, that a child process has it only if it
was handed over, that trying never waits, that every path to the file leads to
the same lock, and that the file keeps its identity. Of shared locks it checks
that processes hold one at the same time, and that it excludes an exclusive one.
It names the file system and says what is known about its locks across machines.
The scratch file is in a temporary directory made in DIR: the pack DIR itself is
not locked.

With -peer it proves or refutes that the lock excludes across machines: run

	packlock doctor -peer DIR

on two machines that share DIR, at the same time. The two find each other by
files in DIR, which they remove, and take turns: one holds the lock, the other
tries it and waits for it. That takes seconds, and minutes on a file system whose
server is slow. A step that takes long says what it waits for.

`,
		notes: `
With -json it prints an object. If it could not find out, "trusted" is false,
there is no "verdict", and "error" is why.

Exit status: 0 if DIR can be trusted with a lock as far as was checked, 1 if not
or on trouble, 2 if the command line makes no sense, 128+N if signal N ended it:
130 after Ctrl-C, 143 after SIGTERM. It is 1 also if only shared locks cannot be
trusted, and the verdict is then that an exclusive one can.

A doctor that was killed leaves .packlock-doctor-* or .packlock-peer-* in DIR,
which can be deleted.
`,
		run: d.run,
	}
	d.verb = v
	v.flags.BoolVar(&d.peer, "peer", false, "be one of two that check the lock across machines")
	v.flags.Var(&d.wait, "wait", "`time` for which -peer waits for a sign of the other")
	v.flags.BoolVar(&d.json, "json", false, "print JSON")
	return v
}

func (d *doctor) run(args []string) error {
	dir, err := d.parse(args)
	if err != nil {
		return err
	}
	ctx, stop := interruptible(slices.Concat(endings, brokenPipe)...)
	defer stop()
	err = d.examine(ctx, dir)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return d.conclude(err)
}

func (d *doctor) parse(args []string) (dir string, err error) {
	if dir, err = d.verb.oneDir(args); err != nil {
		return "", err
	}
	waits := false
	d.verb.flags.Visit(func(f *flag.Flag) { waits = waits || f.Name == "wait" })
	switch {
	case d.wait == 0:
		return "", usageError("-wait must be more than 0, as in: packlock doctor -peer -wait 5m DIR")
	case waits && !d.peer:
		return "", usageError("-wait is for -peer; type: packlock doctor -peer -wait %v DIR", &d.wait)
	}
	return dir, nil
}

// examine does what was asked for and prints the lines of the report.
func (d *doctor) examine(ctx context.Context, dir string) error {
	d.report.Report = locktest.Report{
		Directory: dir,
		System:    runtime.GOOS + "/" + runtime.GOARCH,
		Checks:    []locktest.Result{},
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	d.report.Directory = dir
	switch info, err := os.Stat(dir); {
	case errors.Is(err, fs.ErrNotExist):
		return noDirectory(dir)
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%s is not a directory", legible(dir))
	}
	found := fsinfo.Find(dir)
	d.report.FileSystem = locktest.FileSystem{Type: found.Type, Source: found.Source, Mount: found.Mount, Options: found.Options}
	d.say("directory", legible(dir))
	d.say("file system", found.String())
	if info, err := os.Lstat(filepath.Join(dir, packlock.FileName)); err == nil && linksOf(info) > 1 {
		d.report.Links = linksOf(info)
		d.say("lock file", fmt.Sprintf("%s has %d links: a copy of the directory, as by cp -al, has the same lock", packlock.FileName, d.report.Links))
	}
	if d.peer {
		return d.examineWithPeer(ctx)
	}
	made, err := locktest.Check(locktest.WithProgress(ctx, d.show), dir)
	if err == nil {
		d.report.Report = made
		d.report.Verdict = strings.ReplaceAll(made.Verdict, dir, legible(dir))
	}
	return err
}

// conclude prints the end of the report, and returns the error to end with: err
// is what kept the report from being made, and a DIR that was found wanting is
// one, too.
func (d *doctor) conclude(err error) error {
	if err != nil {
		d.report.Error = message(err)
	}
	switch {
	case d.json:
		d.report.Verdict = strings.ReplaceAll(d.report.Verdict, "\n", " ")
		if printed := printJSON(d.report); err == nil {
			err = printed
		}
	case err == nil:
		fmt.Fprintf(&stdout, "\n%s\n", d.report.Verdict)
	}
	if err == nil && !d.report.Trusted {
		err = exit{status: 1}
	}
	return err
}

// show prints what was found out about a property.
func (d *doctor) show(r locktest.Result) {
	said := map[locktest.Outcome]string{
		locktest.OK:      paint(green, "ok"),
		locktest.Failed:  paint(red, "FAILED"),
		locktest.Skipped: paint(yellow, "skipped"),
	}[r.Outcome]
	if r.Detail != "" {
		said += ": " + r.Detail
	}
	d.say(r.Name, said)
}

// say prints a line of the report that is for people.
func (d *doctor) say(name, what string) {
	if !d.json {
		fmt.Fprintf(&stdout, "%-23s  %s\n", name, what)
	}
}

// The colours of a terminal.
const (
	red    = 31
	green  = 32
	yellow = 33
)

// paint returns s in colour if it is for a terminal whose user did not ask
// for none (NO_COLOR, no-color.org).
func paint(colour int, s string) string {
	if os.Getenv("NO_COLOR") != "" || !isTerminal(os.Stdout) {
		return s
	}
	return fmt.Sprintf("\x1b[%dm%s\x1b[0m", colour, s)
}

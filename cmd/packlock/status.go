package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"packlock"
	"packlock/internal/proclocks"
)

// onlooker is the verb status.
type onlooker struct {
	verb *verb
	json bool
	wait bool
}

func newStatus() *verb {
	o := &onlooker{}
	v := &verb{
		name:    "status",
		args:    "[flags] [DIR...] [flags]",
		summary: "report whether packs are free or held, and by which processes",
		about: `Reports of each pack DIR whether its lock is free or held, by which processes,
and how many wait for it, as far as the system shows. Without DIR it is the
current directory.
That may have changed by the time it is read: to do something only if the lock
is free, use run -n.

`,
		notes: `
It prints a line for each DIR: "free" or "held", DIR, and the rest for people,
or says on standard error what is wrong. Of a pack that is held shared it says how
many locks the system lists: one for each process that has acquired it, not one
for each that has inherited it or for each goroutine. If processes wait for each other in a
cycle, a line that begins with "circle" lists what each holds and waits for.
Unless one of them has another thread that releases it, they wait forever.

Only Linux lists the holders of a lock, in /proc, and only processes in this
pid namespace or one inside it: not of other containers, nor of other machines.
Where nothing is told, status tries to take the lock, once or, if it may be held
shared, twice, without waiting, and releases it at once, which keeps out another
process that tries it at that very moment. Where
a held lock is listed, and also a free one on a local file system outside
containers if /proc/locks has some other lock there to show that it lists them,
it takes no lock and does not even open the lock file. How many wait is known on
a local file system outside containers; elsewhere it is "unknown". A waiter that
a signal has stopped does not wait and is not counted.

A pack without a lock file is free, and status creates none. Only -wait creates
the lock file again if it is deleted while it waits.

With -wait it returns when all are free in one check. It queues for a lock that
is held like any waiter, and releases it at once. It does not poll, and waiters
behind it wait a little longer. After a second it names the holder on standard
error. It fails at once if the holder is a run that started this command.

With -json it prints an array with an object for each DIR, in the order of the
command line:

  dir          DIR. Bytes that are not UTF-8 become U+FFFD, as JSON has only
               text: tell such a DIR by its place
  state        "free", "held", or "trouble" if it cannot be known
  held_by      the holder, a phrase; only if held
  shared       true if it is held shared; left out otherwise
  shared_by    how many locks that are, of those that the system lists; left out if
               none is seen
  holders      the processes that have it: first those that took it, then those
               that inherited it; none if they cannot be seen
  held_since   when it was acquired, as in "2006-01-02T15:04:05.006Z"; only if
               packlock run has it and its COMMAND's environment can be read
  waiting      how many wait for it; null if others than the waiters may
  waiters      the processes that are seen to wait, once for each wait; since
               when is not told by any system
  circle       the cycle that the pack is part of, if it is: processes that
               have the next two, too
    has        the path of what the process has locked
    waits_for  the path of what it waits for, which is what the next one has
  error        what is wrong; only on trouble

A process is an object:

  pid          its pid; 0 if it cannot be named
  name         its command name
  args         its command line, an array, whole; left out if not known
  command      that in one line, shortened, as is shown without -json
  user         the name of its user, or "user 1000" if that has none
  started      when it started
  age_seconds  how long ago that was
  self         true if it is this very status, which inherited the lock
  stopped      true if a signal has stopped it, as after Ctrl-Z
  shared       true if what it has, or waits for, is shared

Exit status: 0 if all are free, 1 if some are held, 2 on trouble with any, or if
the command line makes no sense; with -wait also 128+N if signal N ended it.
`,
		trouble: 2,
		run:     o.run,
	}
	o.verb = v
	v.flags.BoolVar(&o.json, "json", false, "print JSON")
	v.flags.BoolVar(&o.wait, "wait", false, "wait until all are free")
	return v
}

func (o *onlooker) run(args []string) error {
	dirs, err := o.verb.anyDirs(args)
	if err != nil {
		return err
	}
	if len(dirs) == 0 {
		dirs = []string{"."}
	}
	states := lookAt(dirs)
	if o.wait {
		if states, err = waitForAll(dirs, states); err != nil {
			return err
		}
	}
	return o.print(states)
}

// print prints states, and returns the exit status.
func (o *onlooker) print(states []packState) error {
	width, status := 0, 0
	for _, s := range states {
		width = max(width, utf8.RuneCountInString(legible(s.Dir)))
	}
	for _, s := range states {
		switch s.State {
		case packHeld:
			status = max(status, 1)
		case packTrouble:
			status = 2
			say("status", "%s", s.Error)
		}
		if !o.json {
			s.print(width)
		}
	}
	if o.json {
		if err := printJSON(states); err != nil {
			return err
		}
	} else {
		printCircles(states)
	}
	return exit{status: status}
}

// print prints the line about a pack. It pads DIR to width.
func (s packState) print(width int) {
	switch s.State {
	case packFree:
		fmt.Fprintf(&stdout, "%s  %s\n", paint(green, packFree), legible(s.Dir))
	case packHeld:
		fmt.Fprintf(&stdout, "%s  %-*s  by %s%s; %s\n", paint(yellow, packHeld), width, legible(s.Dir), s.sharedHolds(), s.HeldBy, s.waits())
	}
}

// sharedHolds returns how many hold the pack shared, as words before who they are, ""
// if it is held exclusively.
func (s packState) sharedHolds() string {
	switch {
	case !s.Shared:
		return ""
	case s.SharedBy == 0:
		return "shared holds: "
	case s.SharedBy == 1:
		return "1 shared hold: "
	}
	return fmt.Sprintf("%d shared holds: ", s.SharedBy)
}

// waits returns what there is to say about waiters.
func (s packState) waits() string {
	switch {
	case s.Waiting == nil && len(s.Waiters) > 0:
		return fmt.Sprintf("%d seen waiting, how many more is unknown", len(s.Waiters))
	case s.Waiting == nil:
		return "how many wait is unknown"
	case *s.Waiting == 0:
		return "no process waits"
	}
	return fmt.Sprintf("%d waiting", *s.Waiting)
}

// printCircles prints each circle that is among states once.
func printCircles(states []packState) {
	said := make(map[string]bool)
	for _, s := range states {
		var links, members []string
		for _, l := range s.Circle {
			links = append(links, fmt.Sprintf("%s has %s and waits for %s", called(l.process), legible(l.Has), legible(l.WaitsFor)))
			members = append(members, fmt.Sprintf("%d %q", l.PID, l.WaitsFor))
		}
		slices.Sort(members)
		if key := strings.Join(members, "\n"); len(links) > 0 && !said[key] {
			said[key] = true
			fmt.Fprintf(&stdout, "circle  %s\n", strings.Join(links, "; "))
		}
	}
}

// lookAt returns the states of dirs, which the system's tables tell at one moment.
func lookAt(dirs []string) []packState {
	paths := make(map[string]string) // by the file's name in the tables
	var files []string
	for _, dir := range dirs {
		path := filepath.Join(dir, packlock.FileName)
		if file, err := proclocks.Name(path); err == nil {
			if paths[file] == "" {
				paths[file] = path
			}
			files = append(files, file)
		}
	}
	tables, err := proclocks.Read(files...)
	if err != nil {
		tables = new(proclocks.Tables)
	}
	states := make([]packState, 0, len(dirs))
	for _, dir := range dirs {
		s := newPackState(dir)
		if err := s.look(tables); err != nil {
			s.State, s.Error = packTrouble, message(err)
		}
		for i, l := range s.Circle {
			s.Circle[i].Has, s.Circle[i].WaitsFor = pathOf(tables, l.Has, paths), pathOf(tables, l.WaitsFor, paths)
		}
		states = append(states, s)
	}
	return states
}

// pathOf returns a path of a file in the tables: as it came about by the command
// line, or as one who has it open is seen to have it.
func pathOf(tables *proclocks.Tables, file string, paths map[string]string) string {
	for _, path := range []string{paths[file], tables.Path(file)} {
		if path != "" {
			return path
		}
	}
	return "a file that cannot be named (" + file + ")"
}

// waitForAll waits until all of dirs are free at one look and returns how they are
// then, or how they are when there is trouble with one.
func waitForAll(dirs []string, states []packState) ([]packState, error) {
	ctx, stop := interruptible(endings...)
	defer stop()
	for {
		var held []string
		for _, s := range states {
			switch s.State {
			case packTrouble:
				return states, nil
			case packHeld:
				held = append(held, s.Dir)
			}
		}
		if len(held) == 0 {
			return states, nil
		}
		for _, dir := range held {
			if err := refuseHeldAbove(dir); err != nil {
				return nil, err
			}
		}
		for _, dir := range held {
			if err := waitFor(ctx, dir); err != nil {
				if ctx.Err() != nil {
					err = context.Cause(ctx)
				}
				return nil, err
			}
		}
		states = lookAt(dirs)
		// A lock that was acquired here just now is listed as held if another process has
		// acquired it since, or by mistake. Without a try, this might never end.
		for i := range states {
			s := &states[i]
			if s.State == packHeld && slices.Contains(held, s.Dir) {
				if err := s.confirm(); err != nil {
					s.State, s.Error = packTrouble, message(err)
				}
			}
		}
	}
}

// refuseHeldAbove returns an error if the lock of dir, which is held, is not released
// before this process ends.
func refuseHeldAbove(dir string) error {
	lock, err := packlock.OpenFile(filepath.Join(dir, packlock.FileName))
	if err != nil {
		return nil // waitFor returns it
	}
	defer lock.Close()
	if who, _ := heldAbove(lock); who != "" {
		return fmt.Errorf("%s is held by %s", legible(dir), who)
	}
	return nil
}

// waitFor waits until the lock of dir, which is held, was free.
func waitFor(ctx context.Context, dir string) error {
	lock, err := packlock.OpenFile(filepath.Join(dir, packlock.FileName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // whoever had it has lost it
	}
	if err != nil {
		return err
	}
	defer lock.Close()
	return await("status", false, []target{{name: dir, lock: lock}}, nil, func() error {
		hold, err := lock.Acquire(ctx)
		if err != nil {
			return err
		}
		return hold.Release()
	})
}

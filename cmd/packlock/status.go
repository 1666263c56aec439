package main

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"unicode/utf8"

	"packlock"
)

// onlooker is the verb status.
type onlooker struct {
	verb *verb
	json bool
}

// packState is what status says about one pack, and what it prints with -json.
type packState struct {
	Dir     string       `json:"dir"`
	State   string       `json:"state"`
	HeldBy  string       `json:"held_by,omitempty"`
	Holders []packHolder `json:"holders"` // none if unknown
	Waiting *int         `json:"waiting"` // nil if unknown
	Error   string       `json:"error,omitempty"`
}

// The states of a pack. Trouble is that the state is not to be had.
const (
	packFree    = "free"
	packHeld    = "held"
	packTrouble = "trouble"
)

// packHolder is a process in JSON.
type packHolder struct {
	PID     int     `json:"pid"`
	Command string  `json:"command,omitempty"`
	Age     float64 `json:"age_seconds,omitempty"`
}

func newStatus() *verb {
	o := &onlooker{}
	v := &verb{
		name:    "status",
		args:    "[flags] DIR... [flags]",
		summary: "say whether packs are free or held, and by whom",
		about: `Says of each pack DIR whether its lock is free or held, and by whom and how many
wait for it as far as the system tells. That may have changed by the time it is
read: to do something only if the lock is free, use run -n.

`,
		notes: `
It prints a line for each DIR: "free" or "held", DIR, and the rest for people,
or says on standard error what is wrong. With -json it prints an array with, for
each DIR, "dir", "state" (free, held, trouble), "held_by" (a phrase, if held),
"holders" (pid, command, age_seconds; none if they cannot be seen), "waiting"
(how many, null if unknown) and "error" (on trouble). The order is that of the
command line. Bytes of a DIR that are not UTF-8 become U+FFFD, as JSON has only
text: tell such a DIR by its place.

Only Linux tells who holds a lock, in /proc, and that only of processes in this
pid namespace or one inside it: not of other containers, nor of other machines.
Where nothing is told, status tries to take the lock, once, without waiting, and
lets it go at once, which keeps out whoever tries it at that very moment. Where
a held lock is listed, and also a free one on a local file system outside
containers if /proc/locks has some other lock there to show that it lists them,
it takes no lock and does not even open the sidecar.

A pack without a sidecar is free, and remains without: status creates nothing.

Exit status: 0 if all are free, 1 if some are held, 2 on trouble with any, or if
the command line makes no sense.
`,
		trouble: 2,
		run:     o.run,
	}
	o.verb = v
	v.flags.BoolVar(&o.json, "json", false, "print JSON")
	return v
}

func (o *onlooker) run(args []string) error {
	dirs, err := o.verb.dirs(args)
	if err != nil {
		return err
	}
	width := 0
	for _, dir := range dirs {
		width = max(width, utf8.RuneCountInString(legible(dir)))
	}
	states, status := []packState{}, 0
	for _, dir := range dirs {
		s := look(dir)
		states = append(states, s)
		switch s.State {
		case packHeld:
			status = max(status, 1)
		case packTrouble:
			status = 2
			fmt.Fprintf(os.Stderr, "packlock: status: %s\n", s.Error)
		}
		if !o.json {
			s.print(width)
		}
	}
	if o.json {
		if err := printJSON(states); err != nil {
			return err
		}
	}
	return exit{status: status}
}

// print prints the line about a pack. It pads DIR to width.
func (s packState) print(width int) {
	switch s.State {
	case packFree:
		fmt.Fprintf(&stdout, "%s  %s\n", paint(green, packFree), legible(s.Dir))
	case packHeld:
		line := fmt.Sprintf("%s  %-*s  by %s", paint(yellow, packHeld), width, legible(s.Dir), s.HeldBy)
		if s.Waiting != nil {
			line += fmt.Sprintf("; %d waiting", *s.Waiting)
		}
		fmt.Fprintln(&stdout, line)
	}
}

// look returns the state of the pack dir.
func look(dir string) packState {
	s := packState{Dir: dir, Holders: []packHolder{}}
	if err := s.look(); err != nil {
		s.State, s.Error = packTrouble, message(err)
	}
	return s
}

func (s *packState) look() error {
	switch info, err := os.Stat(s.Dir); {
	case errors.Is(err, fs.ErrNotExist):
		return noDirectory(s.Dir)
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%s is not a directory", legible(s.Dir))
	}
	path := filepath.Join(s.Dir, packlock.FileName)
	switch info, err := os.Lstat(path); {
	case errors.Is(err, fs.ErrNotExist):
		s.isFree()
		return nil
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return s.try(path) // it says what is wrong with the file
	}
	switch listed := findListed(path); {
	case listed.held:
		s.isHeld(path)
		s.Waiting = &listed.waiting
	case listed.complete:
		s.isFree()
	default:
		return s.try(path)
	}
	return nil
}

// try finds out by trying to take the lock. The sidecar exists, so that this
// does not create it, unless somebody deletes it right now.
func (s *packState) try(path string) error {
	lock, err := packlock.OpenFile(path)
	if err != nil {
		return err
	}
	defer lock.Close()
	hold, err := lock.TryAcquire()
	switch {
	case errors.Is(err, packlock.ErrBusy):
		s.isHeld(path)
		return nil
	case err != nil:
		return err
	}
	s.isFree()
	return hold.Release()
}

func (s *packState) isFree() { s.State, s.Waiting = packFree, new(0) }

func (s *packState) isHeld(path string) {
	who := findHolder(path)
	s.State, s.HeldBy = packHeld, who.String()
	for _, p := range who.processes {
		const hundredths = 100 // as precise as the kernel is
		age := math.Round(p.age.Seconds()*hundredths) / hundredths
		s.Holders = append(s.Holders, packHolder{p.pid, p.command, age})
	}
}

// listing is what the system lists about a lock.
type listing struct {
	held    bool
	waiting int
	// complete is whether the lock would be listed if anybody had it.
	complete bool
}

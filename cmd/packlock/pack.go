package main

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"time"

	"packlock"
	"packlock/internal/fsinfo"
	"packlock/internal/proclocks"
)

// packState is what status says about one pack, and what it prints with -json.
type packState struct {
	Dir       string        `json:"dir"`
	State     string        `json:"state"`
	HeldBy    string        `json:"held_by,omitempty"`
	Shared    bool          `json:"shared,omitempty"`
	SharedBy  int           `json:"shared_by,omitempty"` // locks that are listed
	Holders   []packProcess `json:"holders"`             // none if unknown
	HeldSince time.Time     `json:"held_since,omitzero"`
	Waiting   *int          `json:"waiting"` // nil if unknown
	Waiters   []packProcess `json:"waiters"`
	Circle    []packLink    `json:"circle,omitempty"`
	Error     string        `json:"error,omitempty"`
}

// The states of a pack. Trouble is that the state is not to be had.
const (
	packFree    = "free"
	packHeld    = "held"
	packTrouble = "trouble"
)

// packProcess is a process in JSON.
type packProcess struct {
	PID     int       `json:"pid"`
	Name    string    `json:"name,omitempty"`
	Args    []string  `json:"args,omitempty"`
	Command string    `json:"command,omitempty"`
	User    string    `json:"user,omitempty"`
	Started time.Time `json:"started,omitzero"`
	Age     float64   `json:"age_seconds,omitempty"`
	Self    bool      `json:"self,omitempty"`
	Stopped bool      `json:"stopped,omitempty"`
	Shared  bool      `json:"shared,omitempty"`

	process packlock.Process
}

// packLink is a process in a circle of those that wait for each other.
type packLink struct {
	packProcess
	Has      string `json:"has"`
	WaitsFor string `json:"waits_for"`
}

func newPackProcess(p packlock.Process) packProcess {
	in := packProcess{p.PID, p.Name, p.Args, commandOf(p), userOf(p.PID), p.Started, 0, p.Self, p.Stopped, p.Shared, p}
	if !p.Started.IsZero() {
		const hundredths = 100 // as precise as the kernel is
		in.Age = math.Round(time.Since(p.Started).Seconds()*hundredths) / hundredths
	}
	return in
}

func newPackState(dir string) packState {
	return packState{Dir: dir, Holders: []packProcess{}, Waiters: []packProcess{}}
}

// look finds out the state of the pack, from the tables if they tell.
func (s *packState) look(tables *proclocks.Tables) error {
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
		if deletedHere(s.Dir) {
			return errDeletedHere
		}
		s.isFree()
		return nil
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return s.try(path) // it says what is wrong with the file
	}
	file, err := proclocks.Name(path)
	// That a lock is not listed means that it is free, and that a waiter is not
	// that nobody waits, only if nobody is left out.
	complete := err == nil && proclocks.SeesAll() && fsinfo.ReachAt(path) == fsinfo.Local
	switch held := err == nil && tables.Held(file); {
	case held && proclocks.Ambiguous(file) && !tables.Seen(file):
		return s.try(path) // it may be another file by its name that is held
	case held:
		s.isHeld(listedHolders(tables, file), path)
		if s.Shared {
			s.SharedBy = len(tables.Takers(file))
		}
		for _, p := range tables.Waiters(file) {
			s.Waiters = append(s.Waiters, newPackProcess(packlock.Process(p)))
		}
		if complete {
			s.Waiting = new(len(s.Waiters))
		}
		for _, l := range tables.Circle(file) {
			s.Circle = append(s.Circle, packLink{newPackProcess(packlock.Process(l.Process)), l.Has, l.WaitsFor})
		}
	case complete && tables.ListsDevice(file):
		s.isFree()
	default:
		return s.try(path)
	}
	return nil
}

// confirm has s, which is held by the tables, tell what trying to take the lock tells.
func (s *packState) confirm() error {
	*s = newPackState(s.Dir)
	return s.try(filepath.Join(s.Dir, packlock.FileName))
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
		s.isHeld(findHolders(lock), path)
		if len(s.Holders) > 0 {
			return nil
		}
		hold, err := lock.TryAcquireShared()
		if err != nil {
			return nil // it is held exclusively, or about to be
		}
		s.Shared = true
		return hold.Release()
	case err != nil:
		return err
	}
	s.isFree()
	return hold.Release()
}

func (s *packState) isFree() { s.State, s.Waiting = packFree, new(0) }

func (s *packState) isHeld(who holders, path string) {
	s.State, s.HeldBy, s.Shared = packHeld, who.String(), who.shared()
	for _, p := range who {
		s.Holders = append(s.Holders, newPackProcess(p))
	}
	s.HeldSince = heldSince(who, path)
}

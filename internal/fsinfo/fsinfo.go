// Package fsinfo tells which file system a file is on, and what is known there
// about locks.
//
//	fsinfo.go    this overview; FileSystem, Reach
//	machines.go  what is known about locks across machines
//	fsinfo_*.go  what each system tells
package fsinfo

import "strings"

// Reach is whether other machines may have the files of a file system at the
// same time.
type Reach int

const (
	Unknown Reach = iota
	Local         // it is this machine's own
	Network       // a server or other machines have it, too, or FUSE, whose server alone knows
)

// Of asks the system once, without looking at mounts, for the type and the reach of
// the file system of the file that is open by that descriptor, on Windows that
// handle.
func Of(fd uintptr) FileSystem { return of(fd) }

// ReachAt asks likewise for the reach of that of the file at path.
func ReachAt(path string) Reach { return reachAt(path) }

// FileSystem is what the system tells about the file system of a path.
type FileSystem struct {
	Type    string   `json:"type"` // "" if not to be had
	Source  string   `json:"source,omitempty"`
	Mount   string   `json:"mount,omitempty"`
	Options []string `json:"options,omitempty"`
	Reach   Reach    `json:"-"`
}

// Find returns what there is to be had about the file system of path.
func Find(path string) FileSystem { return find(path) }

func (f FileSystem) String() string {
	if f.Type == "" {
		return "unknown"
	}
	s := f.Type
	if f.Source != "" {
		s += ", " + f.Source
	}
	if f.Mount != "" {
		s += " on " + f.Mount
	}
	if options := lockOptions(f.Options); len(options) > 0 {
		s += ", " + strings.Join(options, ",")
	}
	return s
}

// lockOptions returns those of the mount options that have to do with locks.
func lockOptions(options []string) (found []string) {
	for _, o := range options {
		name, _, _ := strings.Cut(o, "=")
		switch name {
		case "nolock", "local_lock", "nobrl", "flock", "localflock", "localflocks", "noflock", "trans", "locktimeout":
			found = append(found, o)
		}
	}
	return found
}

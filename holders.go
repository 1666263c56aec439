package packlock

import (
	"errors"
	"io/fs"
	"path/filepath"
	"syscall"
	"time"

	"packlock/internal/proclocks"
)

// A Process is one that holds a lock.
type Process struct {
	PID     int       // 0 if it cannot be named: in another pid namespace, or another user's that inherited the lock
	Name    string    // its command name
	Args    []string  // its command line, whole and unshortened; nil if not known
	Started time.Time // on the clock of time.Now, to hundredths of a second; zero if not known
	Self    bool      // it is this process
	Stopped bool      // by a signal, as after Ctrl-Z: it releases nothing until it is continued
}

// holders is Lock.Holders.
func (l *lock) holders() ([]Process, error) {
	path := l.path
	if l.options.anyFile {
		if followed, err := filepath.EvalSymlinks(path); err == nil {
			path = followed
		}
	}
	file, err := proclocks.Name(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil, nil // nothing is at the path, or what leads there is a file
	}
	var tables *proclocks.Tables
	if err == nil {
		tables, err = proclocks.Read(file)
	}
	if err != nil {
		return nil, &fs.PathError{Op: "holders", Path: l.path, Err: err}
	}
	var holders []Process
	for _, p := range tables.Holders(file) {
		holders = append(holders, Process(p))
	}
	return holders, nil
}

package packlock

import (
	"fmt"
	"io/fs"
)

// An Option changes how Open or OpenFile opens a lock file.
type Option func(*options)

// WithMode sets the permissions of a lock file that is created, before umask. Without it
// they are 0666. A user with access to the lock file can hold the lock for any length of
// time, and so hold up all others: 0600 keeps other users out. The mode of a file that
// exists is not changed.
func WithMode(perm fs.FileMode) Option {
	return func(o *options) { o.mode = perm }
}

// WithAnyFile makes OpenFile lock what is at the path, as flock(1) does:
//
//   - A symbolic link is followed. If it leads nowhere, its target is created.
//   - A directory or a block device is locked, too. If it is gone later, no file is
//     created in its place.
//   - The file is opened for reading only, unless NFS needs more. So a program that is
//     running can be locked, and a locked one can be started.
//
// Such a Lock does not announce a writer to other processes, and ignores announcements.
//
// A named pipe, a socket or a character device is refused. Do not use it on files that
// this process locks by fcntl(2): closing any descriptor of a file releases those locks.
//
// If this process also has a Lock of the file without WithAnyFile, the two share one
// descriptor, which may be open for writing.
func WithAnyFile() Option {
	return func(o *options) { o.anyFile = true }
}

// options are how a lock file is opened, at first and when a lost one is replaced.
type options struct {
	mode    fs.FileMode
	anyFile bool

	// mustExist is set for what is no regular file: no file is created in its place.
	mustExist bool

	// unowned is set by package flock: see dropin.Unowned.
	unowned bool
}

// newOptions returns those of a Lock.
func newOptions(opts []Option) (options, error) {
	o := options{mode: 0o666}
	for _, opt := range opts {
		if opt == nil {
			panic("packlock: use of a nil Option")
		}
		opt(&o)
	}
	if o.mode&^fs.ModePerm != 0 {
		return o, fmt.Errorf("%v is no mode of a lock file, which has permission bits only: %w", o.mode, fs.ErrInvalid)
	}
	return o, nil
}

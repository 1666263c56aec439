// Package flock is packlock/flock under the name of github.com/gofrs/flock, for programs
// whose dependencies import that. docs/from-gofrs-flock.md shows how they come to use it.
package flock

import (
	"io/fs"

	"packlock/flock"
)

// A Flock holds the lock of a file, exclusive or shared, or does not hold it.
type Flock = flock.Flock

// An Option changes a Flock that New returns.
type Option = flock.Option

// New returns a Flock of the lock file at path.
func New(path string, opts ...Option) *Flock { return flock.New(path, opts...) }

// NewFlock is New without options.
//
// Deprecated: Use New.
func NewFlock(path string) *Flock { return flock.New(path) }

// SetFlag sets the flags of os.OpenFile with which the lock file is opened. Only O_CREATE
// counts.
func SetFlag(flag int) Option { return flock.SetFlag(flag) }

// SetPermissions sets the permissions of a lock file that is created, before umask.
func SetPermissions(perm fs.FileMode) Option { return flock.SetPermissions(perm) }

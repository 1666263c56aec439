//go:build darwin || dragonfly || freebsd || illumos || netbsd || openbsd

package packlock

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"packlock/internal/fsinfo"
)

// network is the kind of network file system that a file is on.
type network uint8

const (
	noNetwork network = iota
	otherNetwork
)

func networkOf(fd int, _ string, _ *unix.Stat_t) network {
	if fsinfo.Of(uintptr(fd)).Reach == fsinfo.Network {
		return otherNetwork
	}
	return noNetwork
}

// serverQueries has nothing to query with.
type serverQueries struct{}

func (serverQueries) prepare(string) {}

// ask opens the directory, at which NFS clients ask the server whether it has
// changed (close-to-open consistency).
func (*osFile) ask(path string, _ bool) (bool, error) {
	dir, err := os.Open(directory(path))
	switch {
	case err == nil:
		dir.Close()
	case outOfDescriptors(errors.Unwrap(err)):
		return false, errors.Unwrap(err) // or the client's memory would be trusted
	}
	return true, nil // lstat finds out what is there
}

// threadLimit knows of no limit: those on processes do not count threads here.
func (osKernel) threadLimit() int { return 0 }

func (network) busyByEACCES() bool { return false }

func (network) cachesLinks() bool { return false }

func (network) isGone(err error) bool { return err == unix.ESTALE }

// hasLocalLocks is false, because these kernels may release a lock that they convert.
func hasLocalLocks(int) bool { return false }

func needsWriting(error) bool { return false }

func (f *osFile) openForWriting(err error) error { return err }

func isDeletePending(string, options, error) bool { return false }

func (network) wait(how int, flock func(how int) error) error { return flock(how) }

func (network) isCutOff(error) bool { return false }

// refresh has nothing to ask with.
func refresh(int, string) error { return nil }

func (f *osFile) serverStillGrants() (bool, error) { return true, nil }

// openBoard has no locks that flock(2) does not meet, or that belong to a description.
func (f *osFile) openBoard(string) (board, error) { return nil, errors.ErrUnsupported }

//go:build darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd

package packlock

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// osKernel is the kernel by flock(2).
type osKernel struct{}

// osFile is a descriptor with a flock(2) lock on it, or not.
type osFile struct {
	fd        int
	identity  fileID
	isRegular bool
	// readOnly is the error of opening the file for writing, nil if it succeeded.
	readOnly    error
	reopenPath  string // where to open the file for writing if that is needed, "" if it is
	network     network
	countsLinks bool // the file system does
	localLocks  bool // the kernel's own code has its locks: hasLocalLocks
	serverQueries
}

func (osKernel) open(path string, o options) (file, error) {
	for again := 0; ; again++ {
		f, err := openFile(path, o)
		if err != nil {
			return nil, err
		}
		if f.network == noNetwork {
			return f, nil
		}
		// A client may open the file that it remembers, which was renamed away.
		if same, err := f.sameAt(path, o.anyFile); same || err != nil {
			return f, nil
		}
		if again == maxAgain && !isDeletePending(path, o, unix.EINVAL) {
			return f, nil // the acquire that gets its lock checks again
		}
		f.close()
		if again == maxAgain {
			return nil, errDeletePending
		}
	}
}

// pause is not time.Sleep, which on an idle processor wakes a millisecond late:
// that is the resolution in which the runtime waits for timers and the network
// at once. The kernel's own is some 50 microseconds on Linux.
func (osKernel) pause(d time.Duration) {
	timeout := unix.NsecToTimeval(int64(d))
	unix.Select(0, nil, nil, nil, &timeout) // a signal may cut it short
}

// identify returns the identity of the file that st describes. The types of
// the two fields differ from system to system.
func identify(st *unix.Stat_t) fileID {
	return fileID{volume: uint64(st.Dev), file: [2]uint64{uint64(st.Ino)}}
}

func (f *osFile) id() fileID { return f.identity }

func (f *osFile) regular() bool { return f.isRegular }

func (f *osFile) remote() bool { return f.network != noNetwork }

func (f *osFile) sameAt(path string, follow bool) (bool, error) {
	if f.network != noNetwork {
		if there, err := f.ask(path, follow); !there || err != nil {
			return false, err
		}
	}
	stat := unix.Lstat
	if follow {
		stat = unix.Stat
	}
	var st unix.Stat_t
	err := ignoringEINTR(func() error { return stat(path, &st) })
	if missing(err) || f.network.isCutOff(err) {
		return false, nil
	}
	return err == nil && identify(&st) == f.identity, err
}

// missing reports whether err says that nothing is at a path.
func missing(err error) bool {
	return err == unix.ENOENT || err == unix.ENOTDIR || err == unix.ESTALE
}

func (f *osFile) try(shared bool) (bool, error) {
	return f.network.taken(f.flock(flockMode(shared) | unix.LOCK_NB))
}

func flockMode(shared bool) int {
	if shared {
		return unix.LOCK_SH
	}
	return unix.LOCK_EX
}

// taken returns the result of a try from the error of flock.
func (n network) taken(err error) (bool, error) {
	if err == unix.EWOULDBLOCK || errors.Is(err, unix.EACCES) && n.busyByEACCES() {
		return false, nil
	}
	return err == nil, err
}

func (f *osFile) block(shared bool) error {
	return f.network.wait(flockMode(shared), f.flock)
}

// toShared relies on what no manual promises: a kernel that converts an exclusive lock in
// one step. By the manual it may release the lock, and then wait for a shared one.
func (f *osFile) toShared() (bool, error) {
	if !f.localLocks {
		return false, nil
	}
	err := f.flock(unix.LOCK_SH | unix.LOCK_NB)
	return err == nil, err
}

func (f *osFile) unlock() error {
	return f.flock(unix.LOCK_UN)
}

// flock may take long even with LOCK_NB, on a network file system, so it
// is a system call that the Go scheduler knows of.
func (f *osFile) flock(how int) error {
	err := ignoringEINTR(func() error { return unix.Flock(f.fd, how) })
	if needsWriting(err) {
		if err = f.openForWriting(err); err == nil {
			err = ignoringEINTR(func() error { return unix.Flock(f.fd, how) })
		}
	}
	return f.describe(err)
}

// describe returns the error of flock with what an errno alone does not tell.
func (f *osFile) describe(err error) error {
	switch {
	case err == unix.ESTALE:
		return errFileLost
	case err == unix.EBADF && f.readOnly != nil:
		// NFSv4 on a descriptor that could not be opened for writing.
		return fmt.Errorf("the file system locks only a file that may be written: %w", f.readOnly)
	case err == unix.ENOLCK && f.network != noNetwork:
		return describedError{"no lock manager answers for this file system (NFSv3 needs lockd and statd, on client and server)", err}
	case err == unix.EACCES, err == unix.EPERM:
		return describedError{"locking is forbidden here (by a security module or a sandbox)", err}
	case err == enotsupp:
		return fmt.Errorf("%w by this file system", errors.ErrUnsupported)
	}
	return err
}

// enotsupp is the kernel's own ENOTSUPP, which is not meant for programs. NFS and
// Lustre return it nevertheless.
const enotsupp = unix.Errno(524)

func (f *osFile) stat() (linked bool, ctime int64, err error) {
	var st unix.Stat_t
	if f.network.cachesLinks() {
		refresh(f.fd, "")
	}
	err = ignoringEINTR(func() error { return unix.Fstat(f.fd, &st) })
	linked = st.Nlink > 0 || !f.countsLinks
	switch {
	case f.network.isGone(err):
		return false, noCtime, errFileLost
	case err != nil || f.network == noNetwork:
		return linked, st.Ctim.Nano(), err
	case !linked:
		// The link count is as of the lock, for which the server was asked. The name may
		// still be remembered here. (A silly-renamed file keeps its link.)
		return false, noCtime, errFileLost
	}
	return true, noCtime, nil
}

func (f *osFile) dup(name string) (*os.File, error) {
	fd, err := duplicate(f.fd)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// close does not retry: after EINTR the descriptor is gone on Linux, and its number may
// have been used again by the second try.
func (f *osFile) close() error {
	if err := unix.Close(f.fd); !errors.Is(err, unix.EINTR) {
		return err
	}
	return nil
}

// ignoringEINTR calls fn until it is not interrupted by a signal. The runtime
// asks for SA_RESTART, but not every system call and file system honours it.
func ignoringEINTR(fn func() error) error {
	for {
		if err := fn(); err != unix.EINTR && err != erestartsys {
			return err
		}
	}
}

// erestartsys is the kernel's own EINTR, which is not meant for programs. A FUSE server
// may return it nevertheless: ceph-fuse does so for a wait that a signal interrupted.
const erestartsys = unix.Errno(512)

//go:build darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd

package packlock

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// osKernel is the kernel by flock(2).
type osKernel struct{}

// osFile is a descriptor with a flock(2) lock on it, or not.
type osFile struct {
	fd       int
	identity fileID
	// readOnly is why the descriptor could not be opened for writing, or nil.
	readOnly error
}

func (osKernel) open(path string) (file, error) {
	fd, readOnly, err := openSidecar(path)
	if err != nil {
		return nil, explain(path, err)
	}
	if fd, err = aboveStandard(fd); err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err := ignoringEINTR(func() error { return unix.Fstat(fd, &st) }); err != nil {
		unix.Close(fd)
		return nil, err
	}
	if err := checkRegular(&st); err != nil {
		unix.Close(fd)
		return nil, err
	}
	// Not what Dup's os.File is to inherit: it would start the runtime's poller.
	if err := unix.SetNonblock(fd, false); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return &osFile{fd: fd, identity: identify(&st), readOnly: readOnly}, nil
}

// openSidecar opens for reading and writing, because NFSv4 locks nothing less,
// and falls back to reading, which is enough where the lock does not cross a
// network. It asks for O_CREAT only when the file was missing: in a sticky
// directory Linux denies O_CREAT on somebody else's file (fs.protected_regular).
func openSidecar(path string) (fd int, readOnly, err error) {
	// O_NONBLOCK so that a FIFO does not hold us up and O_NOCTTY so that a
	// terminal does not become ours, before either is turned away.
	const flags = unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC
	openWith := func(mode int) error {
		return awaitingLease(path, func() error {
			return ignoringEINTR(func() error {
				fd, err = unix.Open(path, mode|flags, 0o666)
				return err
			})
		})
	}
	// Somebody may create or delete the file between two of the calls; each
	// time round takes another such coincidence.
	for range 10 {
		err = openWith(unix.O_RDWR)
		if err == unix.ENOENT {
			err = openWith(unix.O_RDWR | unix.O_CREAT)
			if err == unix.EACCES {
				continue
			}
		}
		break
	}
	switch err {
	case unix.ESTALE:
		return -1, nil, worded{"the directory was deleted on the server", unix.ENOENT}
	case unix.EACCES, unix.EPERM, unix.EROFS:
		denied := err
		switch openWith(unix.O_RDONLY) {
		case nil:
			return fd, denied, nil
		case unix.ENOENT:
			return -1, nil, denied // it could not be created, and that is the reason to give
		}
	}
	return fd, nil, err
}

// leaseTime bounds the wait for a lease to be broken. Linux takes it away after
// /proc/sys/fs/lease-break-time, which is 45 seconds.
const leaseTime = time.Minute

// awaitingLease calls open until no lease on the file is in the way: that of
// another process (F_SETLEASE), a client of Samba's, or one of an NFS server's.
// The kernel has asked its holder to give it up, and O_NONBLOCK says not to wait
// for that.
func awaitingLease(path string, open func() error) error {
	delay := time.Millisecond
	for waited := time.Duration(0); ; waited += delay {
		err := open()
		if err != unix.EWOULDBLOCK || explain(path, err) != err {
			return err
		}
		if waited > leaseTime {
			return fmt.Errorf("another process has a lease on it and does not give it up: %w", err)
		}
		osKernel{}.pause(delay)
		delay = min(2*delay, 50*time.Millisecond)
	}
}

// aboveStandard returns fd, moved away from the first three descriptors: in a
// program that closed one of these, what is printed, if only by a panic, would be
// written into the sidecar.
func aboveStandard(fd int) (int, error) {
	if fd > 2 {
		return fd, nil
	}
	defer unix.Close(fd)
	return duplicate(fd)
}

// duplicate returns a duplicate of fd that is none of the first three descriptors.
func duplicate(fd int) (dup int, err error) {
	err = ignoringEINTR(func() error {
		dup, err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
		return err
	})
	return dup, err
}

// explain makes the error of a failed open say what is in the way, where the
// errno alone misleads: a socket gives ENXIO, a symlink ELOOP, EMLINK or EFTYPE.
func explain(path string, err error) error {
	var st unix.Stat_t
	if ignoringEINTR(func() error { return unix.Lstat(path, &st) }) != nil {
		return err
	}
	if notRegular := checkRegular(&st); notRegular != nil {
		return notRegular
	}
	return err
}

// checkRegular returns an error that names the type of a file that is not
// regular.
func checkRegular(st *unix.Stat_t) error {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return nil
	case unix.S_IFLNK:
		return worded{"is a symbolic link, which is not followed", unix.ELOOP}
	case unix.S_IFDIR:
		return unix.EISDIR
	case unix.S_IFIFO:
		return fmt.Errorf("is a named pipe, not a regular file: %w", fs.ErrInvalid)
	case unix.S_IFSOCK:
		return fmt.Errorf("is a socket, not a regular file: %w", fs.ErrInvalid)
	case unix.S_IFCHR, unix.S_IFBLK:
		return fmt.Errorf("is a device, not a regular file: %w", fs.ErrInvalid)
	}
	return fmt.Errorf("is not a regular file: %w", fs.ErrInvalid)
}

func (osKernel) sameAt(path string, id fileID) (bool, error) {
	var st unix.Stat_t
	err := ignoringEINTR(func() error { return unix.Lstat(path, &st) })
	if err == unix.ENOENT || err == unix.ENOTDIR || err == unix.ESTALE {
		return false, nil
	}
	return err == nil && identify(&st) == id, err
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

func (f *osFile) try() (bool, error) {
	return taken(f.flock(unix.LOCK_EX | unix.LOCK_NB))
}

// taken reads the kernel's answer to a try.
func taken(err error) (bool, error) {
	switch err {
	case nil:
		return true, nil
	case unix.EWOULDBLOCK, unix.EACCES: // EACCES: an SMB mount on Linux
		return false, nil
	}
	return false, err
}

func (f *osFile) block() error {
	return f.flock(unix.LOCK_EX)
}

func (f *osFile) unlock() error {
	return f.flock(unix.LOCK_UN)
}

// flock may take its time even with LOCK_NB, on a network file system, so it
// is a system call that the Go scheduler knows of.
func (f *osFile) flock(how int) error {
	err := ignoringEINTR(func() error { return unix.Flock(f.fd, how) })
	switch {
	case err == unix.ESTALE:
		return errStale
	case err == unix.EBADF && f.readOnly != nil:
		// NFSv4 on a descriptor that is not open for writing.
		return fmt.Errorf("the file system locks only a file that may be written: %w", f.readOnly)
	case err == unix.ENOLCK:
		return worded{"the file system has no lock manager that answers (NFSv3 needs lockd and statd, on the client and the server)", err}
	case err == enotsupp:
		return fmt.Errorf("%w by this file system", errors.ErrUnsupported)
	}
	return err
}

// enotsupp is the kernel's own ENOTSUPP, which is not meant for programs. NFS and
// Lustre let it through all the same.
const enotsupp = unix.Errno(524)

func (f *osFile) stat() (linked bool, changed int64, err error) {
	var st unix.Stat_t
	err = ignoringEINTR(func() error { return unix.Fstat(f.fd, &st) })
	if err == unix.ESTALE {
		return false, 0, nil
	}
	return st.Nlink > 0, st.Ctim.Nano(), err
}

func (f *osFile) dup(name string) (*os.File, error) {
	fd, err := duplicate(f.fd)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// close does not retry: after EINTR the descriptor is gone on Linux, and may
// be somebody else's by the second try.
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
		if err := fn(); err != unix.EINTR {
			return err
		}
	}
}

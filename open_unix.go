//go:build darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd

package packlock

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// maxAgain bounds how often a file is opened again because another process created,
// deleted or replaced it at the same time.
const maxAgain = 10

func openFile(path string, o options) (*osFile, error) {
	fd, readOnly, err := openFD(path, o, unix.Open, osKernel{}.pause)
	if err != nil {
		return nil, explain(path, o, err)
	}
	if fd, err = aboveStandard(fd); err != nil {
		return nil, err
	}
	var st unix.Stat_t
	err = ignoringEINTR(func() error { return unix.Fstat(fd, &st) })
	if err == nil {
		err = checkType(&st, o)
	}
	if err == nil {
		// O_NONBLOCK is the only flag to be cleared, and not for Dup's os.File to
		// inherit, which would start the runtime's poller.
		_, err = unix.FcntlInt(uintptr(fd), unix.F_SETFL, 0)
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	f := &osFile{
		fd:          fd,
		identity:    identify(&st),
		isRegular:   st.Mode&unix.S_IFMT == unix.S_IFREG,
		readOnly:    readOnly,
		network:     networkOf(fd, path, &st),
		countsLinks: st.Nlink > 0,
		localLocks:  hasLocalLocks(fd),
	}
	if o.anyFile {
		f.reopenPath = path
	}
	f.prepare(path)
	return f, nil
}

// openFD opens for reading and writing, because NFSv4 locks nothing less, and falls back
// to reading, which is enough where the lock does not cross a network. With WithAnyFile it
// opens for reading only. It asks for O_CREAT only when the file was missing: in a sticky
// directory Linux denies O_CREAT on another user's file (fs.protected_regular). open is
// unix.Open, and pause that of the kernel.
func openFD(path string, o options, open func(string, int, uint32) (int, error), pause func(time.Duration)) (fd int, readOnly, err error) {
	// O_NONBLOCK so that a FIFO does not hold us up and O_NOCTTY so that a
	// terminal does not become ours, before either is turned away.
	flags, access := unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, unix.O_RDWR
	if o.anyFile {
		flags &^= unix.O_NOFOLLOW
		access = unix.O_RDONLY
	}
	openWith := func(mode int) error {
		return awaitingLease(path, o, func() error {
			return ignoringEINTR(func() error {
				fd, err = open(path, mode|flags, uint32(o.mode))
				return err
			})
		})
	}
	// Another process may create or delete the file between two of the calls; each
	// time round takes one more such coincidence.
	for again := range maxAgain {
		err = openWith(access)
		if err == unix.ENOENT && !o.mustExist {
			err = openWith(access | unix.O_CREAT)
			switch {
			case err == unix.EACCES, err == unix.ENOENT && isDeletePending(path, o, err):
				continue
			case err == unix.ENOENT:
				return -1, nil, err // the directory is missing, or was until now
			}
		}
		if err == unix.ESTALE || err == unix.EINVAL {
			// The name that a client remembers is that of a different file by now.
			readDirectory(path)
			if err == unix.ESTALE && again < maxAgain-1 {
				if _, gone := os.Stat(directory(path)); gone == nil {
					pause(2 * time.Millisecond << again) // GlusterFS remembers for a second
				}
			}
			continue
		}
		break
	}
	if err != nil && isDeletePending(path, o, err) {
		return -1, nil, errDeletePending
	}
	switch err {
	case unix.ESTALE:
		return -1, nil, explainDirectory(err)
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
func awaitingLease(path string, o options, open func() error) error {
	delay := time.Millisecond
	for waited := time.Duration(0); ; waited += delay {
		err := open()
		if err != unix.EWOULDBLOCK || explain(path, o, err) != err {
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
// written into the lock file.
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

// explain returns the error of a failed open with what is in the way, where the
// errno alone misleads: a socket gives ENXIO, a symlink ELOOP, EMLINK or EFTYPE.
func explain(path string, o options, err error) error {
	stat := unix.Lstat
	if o.anyFile {
		stat = unix.Stat
	}
	var st unix.Stat_t
	if ignoringEINTR(func() error { return stat(path, &st) }) != nil {
		return err
	}
	if refused := checkType(&st, o); refused != nil {
		return refused
	}
	return err
}

// explainDirectory is explain for a directory that a server does not know any more.
func explainDirectory(err error) error {
	if errors.Is(err, unix.ESTALE) {
		return describedError{"the directory was deleted on the server", unix.ENOENT}
	}
	return err
}

// checkType returns an error that names the type of a file that is not to be locked with
// these options.
func checkType(st *unix.Stat_t, o options) error {
	kind := st.Mode & unix.S_IFMT
	if o.anyFile && (kind == unix.S_IFDIR || kind == unix.S_IFBLK) {
		return nil
	}
	switch kind {
	case unix.S_IFREG:
		return nil
	case unix.S_IFLNK:
		return describedError{"is a symbolic link, which is not followed", unix.ELOOP}
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

// directory returns what path has in front of its last element. It does not clean
// it, as "link/.." is not ".".
func directory(path string) string {
	path = strings.TrimRight(path, "/")
	if i := strings.LastIndexByte(path, '/'); i > 0 {
		return path[:i]
	}
	return "/"
}

// readDirectory reads the names next to path, with which a client replaces
// what it remembers.
func readDirectory(path string) error {
	_, err := os.ReadDir(directory(path))
	return errors.Unwrap(err) // the bare cause
}

// outOfDescriptors reports whether err is that no file can be opened, whichever it is.
func outOfDescriptors(err error) bool {
	return err == unix.EMFILE || err == unix.ENFILE
}

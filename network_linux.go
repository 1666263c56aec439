package packlock

import (
	"os"

	"golang.org/x/sys/unix"

	"packlock/internal/fsinfo"
)

// network is the kind of network file system that a file is on.
type network uint8

const (
	noNetwork network = iota
	nfs
	smb
	otherNetwork
)

// networkOf returns that of the file that was opened at path.
func networkOf(fd int, path string, st *unix.Stat_t) network {
	if unix.Major(uint64(st.Dev)) != 0 {
		return noNetwork // on a disk
	}
	fs := fsinfo.Of(uintptr(fd))
	if fs.Type == "" { // SMB, for a file that was deleted on the server
		fs = fileSystemOf(directory(path))
	}
	switch {
	case fs.Reach != fsinfo.Network:
		return noNetwork
	case fs.Type == "nfs":
		return nfs
	case isSMB(fs):
		return smb
	}
	return otherNetwork
}

// prepare makes a new descriptor one by which serverStillGrants can ask the server: of an empty
// file, a read that is not O_DIRECT does not get there.
func (n network) prepare(fd int) {
	if n == nfs {
		unix.FcntlInt(uintptr(fd), unix.F_SETFL, unix.O_DIRECT)
	}
}

// ask has this machine ask the server about the name. Without that, an lstat of the path
// is answered from what the machine remembers: for half a minute on NFS, for as
// long as the file is open on SMB. It reports whether a file is at the path that may be
// the one that this machine remembers.
func (n network) ask(path string, follow, expensively bool) (bool, error) {
	if n == smb {
		// The client finds out that the name is a different file's only on opening it,
		// and then the open fails.
		flags := unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC
		if follow {
			flags &^= unix.O_NOFOLLOW
		}
		var fd int
		err := ignoringEINTR(func() (err error) {
			fd, err = unix.Open(path, flags, 0)
			return err
		})
		switch {
		case err == nil:
			return true, unix.Close(fd)
		case missing(err), err == unix.EINVAL:
			return false, nil
		case outOfDescriptors(err):
			return false, err // or the client's memory would be trusted
		}
		return true, nil // lstat finds out what is there
	}
	for _, dir := range directoriesOf(path) {
		refresh(unix.AT_FDCWD, dir) // if it is gone, lstat finds out
	}
	if n == otherNetwork && expensively {
		// GlusterFS answers lstat from what it remembers, for a second, or for as long
		// as it is called again and again; but not after it has read the directory. That
		// may be large.
		if err := readDirectory(path); outOfDescriptors(err) {
			return false, err
		}
	}
	return true, nil
}

// busyByEACCES reports whether a try that another process's lock denies fails with EACCES.
func (n network) busyByEACCES() bool { return n == smb }

// needsWriting reports whether err is that of an exclusive lock on a descriptor that is
// not open for writing, on NFSv4.
func needsWriting(err error) bool { return err == unix.EBADF || err == unix.EIO }

// openForWriting opens the file of a Lock with WithAnyFile again, for writing, and
// reports whether it did. The caller has the turn, with nothing locked.
func (f *osFile) openForWriting() bool {
	if f.reopenPath == "" || f.network != nfs || f.readOnly != nil {
		return false
	}
	fd, err := unix.Open(f.reopenPath, unix.O_RDWR|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		f.readOnly = err
		return false
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil || identify(&st) != f.identity {
		return false // lost: the acquire finds that out
	}
	// The descriptor keeps its number, and whatever uses it goes on.
	if unix.Dup3(fd, f.fd, unix.O_CLOEXEC) != nil {
		return false
	}
	unix.FcntlInt(uintptr(f.fd), unix.F_SETFL, 0)
	f.network.prepare(f.fd)
	f.reopenPath = ""
	return true
}

// directoriesOf returns the directories that remember the name of path: its own, and before
// that the parent, which remembers the name of the directory.
func directoriesOf(path string) []string {
	dir := directory(path)
	return []string{directory(dir), dir}
}

// isDeletePending reports whether path could not be opened or created, with err, because
// on an SMB share a deleted file keeps its name (ENOENT, in a directory that
// exists), or one that another machine renamed (EINVAL), as long as it is open. Nor can
// a file be opened by two names.
func isDeletePending(path string, err error) bool {
	if err != unix.ENOENT && err != unix.EINVAL {
		return false
	}
	return isSMB(fileSystemOf(directory(path)))
}

func isSMB(fs fsinfo.FileSystem) bool {
	return fs.Type == "cifs" || fs.Type == "smb3" || fs.Type == "smbfs"
}

// fileSystemOf returns that of a directory, which is unknown if it is not there.
func fileSystemOf(dir string) fsinfo.FileSystem {
	f, err := os.Open(dir)
	if err != nil {
		return fsinfo.FileSystem{}
	}
	defer f.Close()
	return fsinfo.Of(f.Fd())
}

// refresh asks the server for the attributes of the file at path or, if that is
// empty, the one that is open as fd. With it, the machine forgets names in a
// directory that has changed.
func refresh(fd int, path string) {
	flags := unix.AT_STATX_FORCE_SYNC
	if path == "" {
		flags |= unix.AT_EMPTY_PATH
	}
	var st unix.Statx_t
	unix.Statx(fd, path, flags, unix.STATX_BASIC_STATS, &st)
}

// serverStillGrants makes a call that the server answers differently when it has dropped
// the lock meanwhile.
func (f *osFile) serverStillGrants() (bool, error) {
	switch f.network {
	case nfs:
		// NFSv4 fails reads in the name of a lock whose lease has expired.
		var b [1]byte
		err := ignoringEINTR(func() error {
			_, err := unix.Pread(f.fd, b[:], 0)
			return err
		})
		switch err {
		case unix.EIO, unix.ESTALE:
			return false, nil
		case unix.EINVAL: // a server or version that has no such reads
			return true, nil
		}
		return err == nil, err
	case smb:
		// The server forgets what a connection that broke had open, with its locks.
		// The client opens it again for most calls, but not for this one, which does
		// nothing else to a file that is never written. While it connects again the
		// call fails with EAGAIN.
		err := whileEAGAIN(func() error {
			return ignoringEINTR(func() error { return unix.Fsync(f.fd) })
		})
		if err == unix.EBADF {
			return false, nil
		}
		return err == nil, err
	}
	// On a cluster, locking again would fail if another process holds the lock. But it
	// would also lock again what a Release unlocks in that moment.
	return true, nil
}

// whileEAGAIN calls fn until it returns something other than EAGAIN, maxAgain times at
// most.
func whileEAGAIN(fn func() error) (err error) {
	for range maxAgain {
		if err = fn(); err != unix.EAGAIN {
			break
		}
	}
	return err
}

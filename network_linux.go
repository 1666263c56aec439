package packlock

import (
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"packlock/internal/fsinfo"
)

// network is the kind of network file system that a file is on.
type network uint8

const (
	noNetwork network = iota
	nfs
	smb
	gluster
	ceph     // by the kernel's client
	cephFUSE // by ceph-fuse
	plan9    // 9p
	otherNetwork
)

// serverQueries is what a file needs to query its server.
type serverQueries struct {
	// expensiveCheckAt is when the server was last queried expensively.
	expensiveCheckAt atomic.Int64

	// listsInodes is set if the directory lists the inode numbers of identity.
	listsInodes bool
}

// expensiveCheckInterval is the minimum time between expensive server queries.
const expensiveCheckInterval = time.Second

// allowExpensiveCheck reports whether the server may be queried expensively now, and
// counts that.
func (f *osFile) allowExpensiveCheck() bool {
	t, last := now(), f.expensiveCheckAt.Load()
	if last != 0 && age(t, last) < expensiveCheckInterval {
		return false
	}
	f.expensiveCheckAt.Store(t)
	return true
}

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
	case fs.Type == "ceph":
		return ceph
	case fs.Type == "9p":
		return plan9
	case fs.Type == "fuse":
		return networkOfFUSE(fsinfo.MountedType(uintptr(fd)))
	}
	return otherNetwork
}

// networkOfFUSE returns the kind of a FUSE mount from its type in the list of mounts. If
// that is not known (""), the mount may be one that needs the expensive check.
func networkOfFUSE(mounted string) network {
	switch mounted {
	case "fuse.glusterfs", "":
		return gluster
	case "fuse.ceph-fuse":
		return cephFUSE
	}
	return otherNetwork
}

// prepare makes a new file, opened at path, one by which serverStillGrants and ask can
// query the server. A read of an empty file gets there only with O_DIRECT.
func (f *osFile) prepare(path string) {
	switch f.network {
	case nfs:
		unix.FcntlInt(uintptr(f.fd), unix.F_SETFL, unix.O_DIRECT)
	case plan9:
		f.listsInodes = listsOwnInode(directory(path))
	}
}

// ask has this machine ask the server about the name. Without that, an lstat of the path
// is answered from what the machine remembers: for half a minute on NFS, for as
// long as the file is open on SMB. It reports whether a file is at the path that may be
// the one that this machine remembers.
func (f *osFile) ask(path string, follow bool) (bool, error) {
	switch f.network {
	case plan9:
		return f.isListedAt(path)
	case ceph:
		return true, nil // the server takes back what a client remembers before it changes a name
	case smb:
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
	if f.network == gluster && f.allowExpensiveCheck() {
		// GlusterFS answers lstat from what it remembers, for a second, or for as long
		// as it is called again and again; but not after it has read the directory. That
		// may be large.
		if err := readDirectory(path); outOfDescriptors(err) {
			return false, err
		}
	}
	return true, nil
}

// wait waits for a lock by calls of flock. On 9p a wait that a signal interrupts fails with
// EAGAIN.
func (n network) wait(how int, flock func(how int) error) error {
	if n.waitsByTries() {
		return waitByTries(func() error { return flock(how | unix.LOCK_NB) })
	}
	for {
		if err := flock(how); err != unix.EAGAIN || n != plan9 {
			return err
		}
	}
}

// waitsByTries reports whether no call may wait for a lock. On ceph-fuse a wait occupies one of
// the ten threads that serve the whole mount. With ten waits, nothing else is served, not even
// the holder's release.
func (n network) waitsByTries() bool { return n == cephFUSE }

// waitByTries calls try until it does not fail with EAGAIN.
func waitByTries(try func() error) error {
	for delay := pollMin; ; delay = min(2*delay, pollMax) {
		if err := try(); err != unix.EAGAIN {
			return err
		}
		time.Sleep(delay)
	}
}

// isCutOff reports whether err is that of a CephFS client that the server keeps out. Before
// it does that, it releases the client's locks.
func (n network) isCutOff(err error) bool {
	return err == unix.ESHUTDOWN && (n == ceph || n == cephFUSE)
}

// cachesLinks reports whether a client answers fstat(2) from what it remembers, even
// after it took a lock.
func (n network) cachesLinks() bool { return n > smb }

// isGone reports whether err, of fstat(2), is that of a file that was deleted on the
// server. A 9p server may know an open file by its path alone.
func (n network) isGone(err error) bool {
	return err == unix.ESTALE || err == unix.ENOENT && n == plan9
}

// busyByEACCES reports whether a try that another process's lock denies fails with EACCES.
func (n network) busyByEACCES() bool { return n == smb }

// directoriesOf returns the directories that remember the name of path: its own, and before
// that the parent, which remembers the name of the directory.
func directoriesOf(path string) []string {
	dir := directory(path)
	return []string{directory(dir), dir}
}

// isDeletePending reports whether path could not be opened or created, with err, because
// on an SMB share a deleted file keeps its name (ENOENT, in a directory that
// exists), or one that another machine renamed (EINVAL), as long as it is open. Nor can
// a file be opened by two names. On 9p it keeps its name on the machines that have it
// open, and only there.
func isDeletePending(path string, o options, err error) bool {
	if err != unix.ENOENT && err != unix.EINVAL {
		return false
	}
	fs := fileSystemOf(directory(path))
	if fs.Type == "9p" {
		return err != unix.ENOENT || !o.mustExist // a file that is missing would have been created
	}
	return isSMB(fs)
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
func refresh(fd int, path string) error {
	flags := unix.AT_STATX_FORCE_SYNC
	if path == "" {
		flags |= unix.AT_EMPTY_PATH
	}
	var st unix.Statx_t
	return unix.Statx(fd, path, flags, unix.STATX_BASIC_STATS, &st)
}

// serverStillGrants makes a call that the server answers differently when it has dropped
// the lock meanwhile.
func (f *osFile) serverStillGrants() (bool, error) {
	switch f.network {
	case nfs:
		// NFSv4 fails reads in the name of a lock whose lease has expired.
		return f.network.grantsAfterRead(f.read())
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
	case ceph, cephFUSE:
		// A client that was cut off finds out when it next asks the server. From then on
		// it fails reads of a file that was locked, because the server has released the
		// lock.
		if f.network.isCutOff(refresh(f.fd, "")) {
			return false, nil
		}
		return f.network.grantsAfterRead(f.read())
	}
	// On a cluster, locking again would fail if another process holds the lock. But it
	// would also lock again what a Release unlocks in that moment.
	return true, nil
}

// read reads a byte of the file, past the client's cache if prepare has seen to that.
func (f *osFile) read() error {
	var b [1]byte
	return ignoringEINTR(func() error {
		_, err := unix.Pread(f.fd, b[:], 0)
		return err
	})
}

// grantsAfterRead returns the result of serverStillGrants from the error of a read.
func (n network) grantsAfterRead(err error) (bool, error) {
	switch {
	case err == unix.EIO, err == unix.ESTALE:
		return false, nil
	case n != nfs && (err == unix.EBADF || err == unix.ENOENT), n.isCutOff(err):
		// CephFS: the client came back as a new one, forgot the file, or is kept out.
		return false, nil
	case err == unix.EISDIR, err == unix.EINVAL: // no such reads
		return true, nil
	}
	return err == nil, err
}

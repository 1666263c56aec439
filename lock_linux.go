package packlock

import (
	"errors"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"packlock/internal/dirents"
	"packlock/internal/fsinfo"
)

// threadLimit returns the lower of the limits on the threads of the user
// (RLIMIT_NPROC) and on those of the control group and the groups around it (pids.max).
func (osKernel) threadLimit() int {
	limit := 0
	lower := func(n uint64) {
		if n < 1<<31 && (limit == 0 || int(n) < limit) {
			limit = max(int(n), 1)
		}
	}
	var r unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NPROC, &r) == nil {
		lower(r.Cur)
	}
	groups, _ := os.ReadFile("/proc/self/cgroup")
	for _, file := range pidsFiles(string(groups)) {
		text, _ := os.ReadFile(file)
		if n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64); err == nil {
			lower(n)
		}
	}
	return limit
}

// pidsFiles returns the files that limit the threads of a process, whose /proc/self/cgroup
// has the lines of groups.
func pidsFiles(groups string) (files []string) {
	for line := range strings.Lines(groups) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3) // hierarchy, controllers, path
		if len(parts) < 3 {
			continue
		}
		root := ""
		switch {
		case parts[1] == "":
			root = "/sys/fs/cgroup"
		case parts[1] == "pids":
			root = "/sys/fs/cgroup/pids"
		default:
			continue
		}
		// In a container without a cgroup namespace the path may lead nowhere. What is
		// mounted is then the container's own group, which comes last.
		for dir := path.Clean("/" + parts[2]); ; dir = path.Dir(dir) {
			files = append(files, root+path.Join(dir, "pids.max"))
			if dir == "/" {
				break
			}
		}
	}
	return files
}

// needsWriting reports whether err is that of an exclusive lock on a descriptor that is
// not open for writing, on NFSv4.
func needsWriting(err error) bool { return err == unix.EBADF || err == unix.EIO }

// openForWriting opens the file of a Lock with WithAnyFile again, for writing, after flock
// failed with err. It returns nil if it did, and errFileLost if the file is not there any more.
// The caller has the turn, with nothing locked.
func (f *osFile) openForWriting(err error) error {
	if f.reopenPath == "" || f.network != nfs || f.readOnly != nil {
		return err
	}
	fd, failed := f.openSameForWriting("/proc/self/fd/" + strconv.Itoa(f.fd))
	if failed == errFileLost { // or there is no /proc
		fd, failed = f.openSameForWriting(f.reopenPath)
	}
	switch {
	case failed == errFileLost:
		return failed
	case failed != nil:
		f.readOnly = failed
		return err
	}
	defer unix.Close(fd)
	// The descriptor keeps its number, and whatever uses it goes on.
	if unix.Dup3(fd, f.fd, unix.O_CLOEXEC) != nil {
		return err
	}
	unix.FcntlInt(uintptr(f.fd), unix.F_SETFL, 0)
	f.prepare(f.reopenPath)
	f.reopenPath = ""
	return nil
}

// openSameForWriting opens the file at path for writing. It returns errFileLost if that is not f.
func (f *osFile) openSameForWriting(path string) (int, error) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	switch {
	case missing(err):
		return -1, errFileLost
	case err != nil:
		return -1, err
	}
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil || identify(&st) != f.identity {
		unix.Close(fd)
		return -1, errFileLost
	}
	return fd, nil
}

// A 9p client answers from its memory what is at the path of a file that is open, by any
// process of the machine, however often it is called. But it reads directories from the
// server, and they list the inode number of each name.

// isListedAt reports whether the directory of path lists the inode number of f under the
// name of path, as far as that can be found out.
func (f *osFile) isListedAt(path string) (bool, error) {
	if !f.listsInodes {
		return true, nil
	}
	dir := directory(path)
	name := strings.Trim(strings.TrimPrefix(path, dir), "/")
	for range 2 { // a directory that changes while it is read may lack a name
		entries, err := dirents.Of(dir, name)
		switch {
		case missing(err):
			return false, nil
		case outOfDescriptors(err):
			return false, err // or the client's memory would be trusted
		case err != nil:
			return true, nil // lstat finds out what is there
		}
		if entry, ok := entries[name]; ok {
			return entry.Ino == f.identity.file[0] || entry.Kind == unix.DT_LNK, nil // lstat finds out about the symlink
		}
	}
	return false, nil
}

// listsOwnInode reports whether the inode number that a directory lists for itself is
// that of fstat(2). If not, the numbers that it lists cannot be compared.
func listsOwnInode(dir string) bool {
	var st unix.Stat_t
	entries, err := dirents.Of(dir, ".")
	if err != nil || unix.Stat(dir, &st) != nil {
		return false
	}
	return entries["."].Ino == st.Ino
}

// An announcement is a shared lock on one byte, by an open file description (F_OFD_SETLK):
// that works on a descriptor that may only read, and any number of processes may have one.
// Such locks and flock(2) do not meet on local file systems. To find one, F_OFD_GETLK asks
// what would be in the way of an exclusive lock on all the bytes.
//
// Each announcement is on a byte of its own, picked at random, so that a new one can be told
// from one that a stopped process has left.
const (
	boardStart = 1 << 62 // no file is as long
	boardSize  = 1 << 31
)

// osBoard is the board of a lock file on Linux.
type osBoard struct {
	fd   int
	at   int64 // of the announcement, 0 if there is none
	last int64 // of the last one
}

func (f *osFile) openBoard(path string) (board, error) {
	if !f.localLocks || !f.isRegular {
		return nil, errors.ErrUnsupported
	}
	var fd int
	err := ignoringEINTR(func() (err error) {
		fd, err = unix.Open(path, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
		return err
	})
	if missing(err) || outOfDescriptors(err) {
		return nil, errFileLost // or it will be, or there may be descriptors later
	}
	if err != nil {
		return nil, err
	}
	if fd, err = aboveStandard(fd); err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || identify(&st) != f.identity {
		unix.Close(fd)
		return nil, errFileLost
	}
	return &osBoard{fd: fd}, nil
}

func (b *osBoard) announce(renews bool) error {
	at := b.last + 1
	if !renews || at >= boardStart+boardSize {
		at = boardStart + rand.Int64N(boardSize)
	}
	err := b.fcntl(unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_RDLCK, Start: at, Len: 1})
	if err == nil {
		b.at, b.last = at, at
	}
	return err
}

func (b *osBoard) withdraw() error {
	at := b.at
	b.at = 0
	return b.fcntl(unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_UNLCK, Start: at, Len: 1})
}

func (b *osBoard) find(last int64, stale []int64) (at int64, staleOnes bool, err error) {
	ranges := [][2]int64{{boardStart, boardStart + boardSize}}
	if last != 0 {
		ranges = [][2]int64{{last, last + 1}, ranges[0]}
	}
	for len(ranges) > 0 {
		from, to := ranges[0][0], ranges[0][1]
		ranges = ranges[1:]
		if from == to {
			continue // or a length of 0 would be taken for all the rest
		}
		l := unix.Flock_t{Type: unix.F_WRLCK, Start: from, Len: to - from}
		if err := b.fcntl(unix.F_OFD_GETLK, &l); err != nil {
			return 0, false, err
		}
		switch {
		case l.Type == unix.F_UNLCK:
		case l.Type != unix.F_RDLCK, l.Len != 1, l.Start < from, l.Start >= to:
			return 0, false, errBusyBoard // whole files are locked by databases
		case !slices.Contains(stale, l.Start):
			return l.Start, staleOnes, nil
		default:
			// The kernel returns one lock, and others may be on either side of it.
			staleOnes = true
			ranges = append(ranges, [2]int64{from, l.Start}, [2]int64{l.Start + 1, to})
		}
	}
	return 0, staleOnes, nil
}

func (b *osBoard) fcntl(cmd int, l *unix.Flock_t) error {
	err := ignoringEINTR(func() error { return unix.FcntlFlock(uintptr(b.fd), cmd, l) })
	if err == unix.EAGAIN || err == unix.EACCES {
		return errBusyBoard
	}
	return err
}

func (b *osBoard) close() error { return unix.Close(b.fd) }

// hasLocalLocks reports whether the kernel's own code has the locks of the file, on a file
// system of which that is known: it converts an exclusive lock in one step.
func hasLocalLocks(fd int) bool {
	fs := fsinfo.Of(uintptr(fd))
	return fs.Reach == fsinfo.Local || fs.Type == "overlay"
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

package packlock

import (
	"os"
	"packlock/internal/dirents"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
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
	f.prepare(f.reopenPath)
	f.reopenPath = ""
	return true
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

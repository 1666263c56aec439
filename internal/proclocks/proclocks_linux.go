package proclocks

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// name returns device and inode. The device is that of the file system, which
// stat does not tell on btrfs and overlayfs: it is in the list of mounts.
func name(path string) (string, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return "", err
	}
	major, minor, inode := unix.Major(uint64(st.Dev)), unix.Minor(uint64(st.Dev)), st.Ino

	var mount string
	fdinfo, _ := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", fd))
	for line := range strings.Lines(string(fdinfo)) {
		switch key, value, _ := strings.Cut(strings.TrimSpace(line), ":\t"); key {
		case "mnt_id":
			mount = value
		case "ino": // since Linux 5.14
			if n, err := strconv.ParseUint(value, 10, 64); err == nil {
				inode = n
			}
		}
	}
	shared := false
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); len(f) > 2 && f[0] == mount {
			fmt.Sscanf(f[2], "%d:%d", &major, &minor)
			shared = strings.Contains(line, " - btrfs ")
		}
	}
	file := fmt.Sprintf("%02x:%02x:%d", major, minor, inode)
	if shared {
		file = withDevice(file, &st)
	}
	return file, nil
}

// withDevice returns the Name of a file that has a shared name in the tables.
func withDevice(listed string, st *unix.Stat_t) string {
	return fmt.Sprintf("%s %02x:%02x", listed, unix.Major(uint64(st.Dev)), unix.Minor(uint64(st.Dev)))
}

// nameOfOpen returns the Name of the file that a process has open by a descriptor, if
// it may be that of a file listed so: "-" if it is not, "" if that is not shown.
func nameOfOpen(pid int, number, listed string) string {
	var st unix.Stat_t
	switch err := unix.Stat(fmt.Sprintf("/proc/%d/fd/%s", pid, number), &st); {
	case err != nil:
		return ""
	case !strings.HasSuffix(listed, fmt.Sprintf(":%d", st.Ino)):
		return "-"
	}
	return withDevice(listed, &st)
}

// alive reports whether there is a process with that pid.
func alive(pid int) bool { return unix.Kill(pid, 0) != unix.ESRCH }

// uptime returns how long ago the system was started, asleep or not.
func uptime() (since time.Duration, ok bool) {
	var up unix.Timespec
	err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &up)
	return time.Duration(up.Nano()), err == nil
}

// appendFile appends to b what is in a file of /proc. There may be a hundred
// thousand of them to read, and os.ReadFile makes three times the system calls.
func appendFile(b []byte, name string) []byte {
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return b
	}
	defer unix.Close(fd)
	for {
		b = slices.Grow(b, 512)
		n, err := unix.Read(fd, b[len(b):cap(b)])
		switch {
		case err == unix.EINTR:
		case err != nil || n == 0:
			return b
		default:
			b = b[:len(b)+n]
		}
	}
}

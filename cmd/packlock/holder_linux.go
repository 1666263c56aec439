package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"golang.org/x/sys/unix"
)

// unknownHolder is why /proc tells nothing about a lock that is busy. It leaves
// out the locks of other pid namespaces, except those inside its own.
const unknownHolder = "a process that cannot be seen from here (in another container, or on another machine), or that has let go just now"

// findHolder returns who has the lock of the sidecar at path.
func findHolder(path string) holder {
	file, err := procName(path)
	if err != nil {
		return holder{}
	}
	var h holder
	locks, _ := settledLocks(file)
	for line := range bytes.Lines(locks) {
		pid, ok := parseLock(line, file)
		if !ok {
			continue
		}
		if pid > 0 { // old kernels have 0 for another pid namespace
			h.takers = append(h.takers, pid)
		}
		// The taker may have ended and its pid be another's by now.
		switch has, err := hasLock(pid, file); {
		case pid == os.Getpid():
			h.self = h.self || has
		case has || err != nil && alive(pid):
			h.processes = append(h.processes, describe(pid))
		}
	}
	if len(h.processes) > 0 || h.self {
		return h
	}
	// Whoever took it has ended, or is not listed, and others have inherited it.
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			continue
		}
		if has, _ := hasLock(pid, file); !has {
			continue
		}
		if pid == os.Getpid() {
			h.self = true
		} else {
			h.processes = append(h.processes, describe(pid))
		}
	}
	return h
}

// settledLocks returns /proc/locks. The table comes a page at a time, and if locks
// come or go in between, others are in it twice or missing; so it is read until
// it says the same about file twice in a row, which is at once unless many locks
// change all the time.
func settledLocks(file string) (locks []byte, err error) {
	var before [][]byte
	for range 20 {
		if locks, err = os.ReadFile("/proc/locks"); err != nil {
			return nil, err
		}
		about := make([][]byte, 0, 8)
		for line := range bytes.Lines(locks) {
			if _, lock, _ := bytes.Cut(line, []byte(": ")); bytes.Contains(lock, []byte(" "+file+" ")) {
				about = append(about, lock)
			}
		}
		if before != nil && slices.EqualFunc(before, about, bytes.Equal) {
			break
		}
		before = about
	}
	return locks, nil
}

// procName returns the name that /proc/locks has for the file at path: device
// and inode. The device is that of the file system, which stat does not tell on
// btrfs and overlayfs: it is in the list of mounts.
func procName(path string) (string, error) {
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
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); len(f) > 2 && f[0] == mount {
			fmt.Sscanf(f[2], "%d:%d", &major, &minor)
		}
	}
	return fmt.Sprintf("%02x:%02x:%d", major, minor, inode), nil
}

// parseLock reports whether line, of /proc/locks or after "lock:" of an
// fdinfo, is about a lock of flock on file that somebody has, and its pid:
//
//	1: FLOCK  ADVISORY  WRITE 4711 fe:00:1234 0 EOF
//	1: -> FLOCK  ADVISORY  WRITE 4712 fe:00:1234 0 EOF
//
// The second one is a waiter.
func parseLock(line []byte, file string) (pid int, ok bool) {
	f := bytes.Fields(line)
	if len(f) < 6 || string(f[1]) != "FLOCK" || string(f[5]) != file {
		return 0, false
	}
	pid, err := strconv.Atoi(string(f[4]))
	return pid, err == nil
}

// hasLock reports whether the process has a descriptor with a lock on file. An
// error is that this cannot be told.
func hasLock(pid int, file string) (bool, error) {
	dir := fmt.Sprintf("/proc/%d/fdinfo", pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return false, err
	}
	for _, entry := range entries {
		fdinfo, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			continue // closed meanwhile
		}
		for line := range bytes.Lines(fdinfo) {
			if lock, ok := bytes.CutPrefix(line, []byte("lock:")); ok {
				if _, ok := parseLock(lock, file); ok {
					return true, nil
				}
			}
		}
	}
	return false, nil
}

// describe returns what /proc tells about a process.
func describe(pid int) process {
	p := process{pid: pid}
	read := func(name string) string {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
		return string(b)
	}
	p.command = printable(strings.ReplaceAll(strings.TrimRight(read("cmdline"), "\x00"), "\x00", " "))
	if p.command == "" {
		p.command = printable(read("comm"))
	}

	// The name, in parentheses, may have anything in it; starttime, which is
	// the 22nd field, is the 20th after it. It is in hundredths of a second,
	// whatever the kernel's own clock tick is.
	stat := read("stat")
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	uptime, _ := os.ReadFile("/proc/uptime")
	var up float64
	if _, err := fmt.Sscan(string(uptime), &up); err == nil && len(fields) > 19 {
		if start, err := strconv.ParseFloat(fields[19], 64); err == nil {
			p.age = time.Duration((up - start/100) * float64(time.Second))
		}
	}
	return p
}

// printable returns s, shortened to be part of a line, without what could play
// tricks on a terminal.
func printable(s string) string {
	const most = 60
	s = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, strings.TrimSpace(s))
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "..."
	}
	return s
}

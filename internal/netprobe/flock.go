//go:build linux

package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"packlock"
)

// kinds are the kinds of lock that flock(2) knows.
var kinds = map[string]int{"shared": unix.LOCK_SH, "exclusive": unix.LOCK_EX}

// access are the ways to open a lock file. NFS grants a shared lock only on a file that is open
// for reading, and an exclusive one only on one that is open for writing.
var access = map[string]int{"r": unix.O_RDONLY, "rw": unix.O_RDWR}

// openRaw opens the lock file of dir without packlock.
func openRaw(dir, how string) (fd int, err error) {
	flags, known := access[how]
	if !known {
		return -1, fmt.Errorf("%s: neither r nor rw", how)
	}
	if flags == unix.O_RDWR {
		flags |= unix.O_CREAT
	}
	return unix.Open(filepath.Join(dir, packlock.FileName), flags|unix.O_CLOEXEC, 0o666)
}

// flock makes a call of flock(2) that no signal interrupts.
func flock(fd, how int) error {
	for {
		if err := unix.Flock(fd, how); err != unix.EINTR {
			return err
		}
	}
}

// raw runs a verb that calls flock(2).
func raw(verb, dir string, args []string) error {
	if len(args) != 2 || kinds[args[0]] == 0 {
		return errors.New("usage: netprobe flock DIR shared|exclusive DURATION, or netprobe ask DIR shared|exclusive r|rw")
	}
	if verb == "ask" {
		return ask(dir, args[0], args[1])
	}
	d, err := time.ParseDuration(args[1])
	if err != nil {
		return err
	}
	return holdRaw(dir, args[0], d)
}

// holdRaw holds the lock of dir, of that kind, for the duration.
func holdRaw(dir, kind string, d time.Duration) error {
	fd, err := openRaw(dir, "rw")
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := flock(fd, kinds[kind]); err != nil {
		return err
	}
	say("held")
	time.Sleep(d)
	say("releasing")
	return flock(fd, unix.LOCK_UN)
}

// ask tries the lock of dir, of that kind, by a descriptor opened for that access, and prints
// whether it was granted.
func ask(dir, kind, how string) error {
	fd, err := openRaw(dir, how)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	switch err := flock(fd, kinds[kind]|unix.LOCK_NB); {
	case err == nil:
		fmt.Println("granted")
	case errors.Is(err, unix.EWOULDBLOCK), errors.Is(err, unix.EACCES): // EACCES on SMB
		fmt.Println("refused")
	default:
		fmt.Println(err)
	}
	return nil
}

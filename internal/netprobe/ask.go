//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"packlock"
)

// ask tries the lock of dir, and prints whether it was granted. By flock(2) it does so on a
// file that is opened for reading ("r") or for both ("rw"): NFS grants a shared lock only on a
// file that is open for reading, and an exclusive one only on one that is open for writing.
func ask(dir string, args []string) error {
	if len(args) != 2 {
		return errors.New("usage: netprobe ask DIR shared|exclusive packlock|r|rw")
	}
	shared := args[0] == "shared"
	var err error
	switch args[1] {
	case "packlock":
		err = tryOnce(dir, shared)
	case "r":
		err = tryRaw(dir, shared, os.O_RDONLY)
	default:
		err = tryRaw(dir, shared, os.O_RDWR|os.O_CREATE)
	}
	switch {
	case err == nil:
		fmt.Println("granted")
	case errors.Is(err, packlock.ErrBusy), errors.Is(err, unix.EWOULDBLOCK), errors.Is(err, unix.EACCES): // EACCES on SMB
		fmt.Println("refused")
	default:
		fmt.Println(err)
	}
	return nil
}

// tryOnce tries the lock of dir, and releases it.
func tryOnce(dir string, shared bool) error {
	l, err := packlock.Open(dir)
	if err != nil {
		return err
	}
	defer l.Close()
	try := l.TryAcquire
	if shared {
		try = l.TryAcquireShared
	}
	h, err := try()
	if err != nil {
		return err
	}
	return h.Release()
}

// tryRaw is tryOnce by flock(2).
func tryRaw(dir string, shared bool, flags int) error {
	f, err := os.OpenFile(filepath.Join(dir, packlock.FileName), flags, 0o666)
	if err != nil {
		return err
	}
	defer f.Close()
	how := unix.LOCK_EX
	if shared {
		how = unix.LOCK_SH
	}
	for {
		if err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB); err != unix.EINTR {
			return err
		}
	}
}

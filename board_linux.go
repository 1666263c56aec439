package packlock

import (
	"errors"
	"math/rand/v2"
	"slices"

	"golang.org/x/sys/unix"
)

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
	fd int
	at int64 // of the announcement, 0 if there is none
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

func (b *osBoard) announce() error {
	at := boardStart + rand.Int64N(boardSize)
	err := b.fcntl(unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_RDLCK, Start: at, Len: 1})
	if err == nil {
		b.at = at
	}
	return err
}

func (b *osBoard) withdraw() error {
	at := b.at
	b.at = 0
	return b.fcntl(unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_UNLCK, Start: at, Len: 1})
}

func (b *osBoard) find(stale []int64) (at int64, staleOnes bool, err error) {
	ranges := [][2]int64{{boardStart, boardStart + boardSize}}
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

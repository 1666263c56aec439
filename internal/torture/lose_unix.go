//go:build darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd

package torture

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// lose takes the sidecar of packLost, or the pack, away from whoever has locked it:
// from somebody who hangs and never lets go, from one of the processes, stopped or
// not, or from nobody. Whoever waits for what was taken away has to get on with what
// is there instead, while it is held as before.
func (d *disturber) lose() error {
	switch d.rng.IntN(3) {
	case 0:
		how := unix.LOCK_EX
		if d.rng.IntN(3) == 0 {
			how = unix.LOCK_SH
		}
		l, err := lockRaw(d.site.sidecar(packLost), how)
		if err != nil {
			return err
		}
		d.note("a holder hangs with %s", packNames[packLost])
		d.hung = append(d.hung, l)
		if len(d.hung) > maxHung {
			d.hung[0].close()
			d.hung = d.hung[1:]
		}
		d.stay()
	case 1:
		defer d.stopOne()()
		defer func() {
			most := 100 * time.Millisecond
			if d.rng.IntN(20) == 0 {
				most = 2 * time.Second // longer than it takes to notice
			}
			time.Sleep(d.upTo(most))
		}()
		d.note("one of them is stopped")
	}
	return d.takeAway()
}

// takeAway deletes or replaces the sidecar of packLost, or the directory.
func (d *disturber) takeAway() error {
	const p = packLost
	sidecar, pack := d.site.sidecar(p), d.site.pack(p)
	if l, err := lockRaw(sidecar, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return err
	} else if l != nil {
		l.close()
	} else {
		d.lost++
	}
	away := d.fresh(filepath.Join(d.site.packs, "lost"))
	lost, err := d.losing(sidecar)
	if err != nil {
		return err
	}
	switch d.rng.IntN(6) {
	case 0:
		d.noted(p, "delete the lock file")
		err = os.Remove(sidecar)
	case 1:
		d.noted(p, "rename a new file over the lock file")
		err = d.renameOver(sidecar)
	case 2:
		d.noted(p, "rename the lock file")
		err = os.Rename(sidecar, away)
	case 3:
		d.noted(p, "rename the pack")
		err = os.Rename(pack, away)
	case 4:
		d.noted(p, "swap the pack")
		if err = os.Mkdir(away, 0o777); err != nil {
			break
		}
		if err = exchange(pack, away); errors.Is(err, errors.ErrUnsupported) {
			// It has to go: the disturber would wait for who hangs with it.
			if err = os.Remove(away); err == nil {
				err = os.Rename(pack, away)
			}
		}
	case 5:
		d.noted(p, "delete the pack")
		err = d.removeAll(pack)
		time.Sleep(d.upTo(20 * time.Millisecond))
	}
	if err == nil {
		err = lost()
	}
	if err != nil {
		return err
	}
	// Who opens the pack may have made it anew.
	if err := os.Mkdir(pack, 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return d.removeAll(away)
}

// losing is called before the lock file of packLost is taken away, and lost after that. The
// file's ledger then has the time.
func (d *disturber) losing(sidecar string) (lost func() error, err error) {
	l, err := openRaw(sidecar)
	if err != nil {
		return nil, err
	}
	defer l.close()
	file, err := l.identity()
	if err != nil {
		return nil, err
	}
	sp, err := d.sections[packLost].at(file)
	if err != nil {
		return nil, err
	}
	return func() error { return sp.writeLost(uint64(time.Now().UnixNano())) }, sp.writeLost(0)
}

// removeAll removes a directory in which others may still be making a sidecar, or
// a file; what the file system keeps as long as it is open stays.
func (d *disturber) removeAll(path string) error {
	for {
		err := os.RemoveAll(path)
		exists := errors.Is(err, fs.ErrExist) // ENOTEMPTY is that too
		switch {
		case d.terrain.leftovers && (exists || errors.Is(err, unix.EBUSY)):
			return nil
		case !exists:
			return err
		}
	}
}

func (s *spot) writeLost(at uint64) error { return s.writeWord(2, at) }

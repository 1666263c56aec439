//go:build darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd

package torture

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"packlock"
)

// rawLock is flock(2) on a descriptor of its own, what programs use that do
// not have this module.
type rawLock struct {
	fd   int
	path string
}

func openRaw(path string) (*rawLock, error) {
	for {
		fd, err := unix.Open(path, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o666)
		switch err {
		case nil:
			return &rawLock{fd, path}, nil
		case unix.EINTR:
		default:
			return nil, &fs.PathError{Op: "open", Path: path, Err: err}
		}
	}
}

func (l *rawLock) lock() error       { return l.flock(unix.LOCK_EX) }
func (l *rawLock) lockShared() error { return l.flock(unix.LOCK_SH) }
func (l *rawLock) unlock() error     { return l.flock(unix.LOCK_UN) }
func (l *rawLock) close() error      { return unix.Close(l.fd) }

func (l *rawLock) identity() (uint64, error) {
	var stat unix.Stat_t
	err := unix.Fstat(l.fd, &stat)
	return uint64(stat.Ino), err
}

func (l *rawLock) flock(how int) error {
	for {
		err := unix.Flock(l.fd, how)
		switch {
		case err == unix.EINTR, err == unix.Errno(512): // ERESTARTSYS, on ceph-fuse
		case err == unix.EAGAIN && how&unix.LOCK_NB == 0: // on 9p
		default:
			return os.NewSyscallError("flock", err)
		}
	}
}

// inPlace reports whether the file is still the one at its path.
func (l *rawLock) inPlace() (bool, error) {
	var mine, there unix.Stat_t
	if err := unix.Fstat(l.fd, &mine); err != nil {
		return false, err
	}
	switch err := unix.Lstat(l.path, &there); err {
	case nil:
		return mine.Dev == there.Dev && mine.Ino == there.Ino, nil
	case unix.ENOENT:
		return false, nil
	default:
		return false, err
	}
}

// lockRaw locks the file that is at path, and goes on doing so until it is
// still there when it is locked. With LOCK_NB it returns nil when the lock is held
// elsewhere.
func lockRaw(path string, how int) (*rawLock, error) {
	wait := how&unix.LOCK_NB == 0
	for {
		l, err := openRaw(path)
		if err != nil {
			return nil, err
		}
		err = l.flock(how)
		ok := false
		if err == nil {
			ok, err = l.inPlace()
		}
		if ok {
			return l, nil
		}
		l.close()
		switch {
		case err == nil:
		case !wait && (errors.Is(err, unix.EWOULDBLOCK) || errors.Is(err, unix.EACCES)): // EACCES: SMB
			return nil, nil
		default:
			return nil, err
		}
	}
}

// outlast is how long a sidecar that was replaced, but still has a name
// somewhere, stays locked. An acquire that does not wait may trust a look at
// the path that is 10 ms old, and notices no more than that a file has no name
// left. So nobody may get the lock of such a file before the last look at the
// path as it was is older. The rest of it is for clocks that tick.
const outlast = 12 * time.Millisecond

// work disturbs until ctx ends.
func (d *disturber) work(ctx context.Context) error {
	// At rest nobody is to trust a look at the path that is older than the last
	// disturbance.
	defer time.Sleep(outlast)
	for ctx.Err() == nil {
		time.Sleep(d.upTo(60 * time.Millisecond))
		for p := range packs {
			if d.terrain.prompt && announced(d.site.sidecar(p)) {
				d.announced++
			}
		}
		if err := d.begin(acquiring); err != nil {
			return err
		}
		var err error
		switch what := d.rng.IntN(10); {
		case what < 2, d.terrain.settled:
			err = d.visit(d.rng.IntN(packs))
		case what < 3:
			err = d.hurry()
		case what < 5:
			err = d.surprise()
		default:
			err = d.lose()
		}
		if err != nil {
			return fmt.Errorf("the disturber: %w", err)
		}
		if err := d.begin(resting); err != nil {
			return err
		}
	}
	return nil
}

// visit goes through the section of a pack as everybody does, and disturbs the
// pack before it lets the lock go.
func (d *disturber) visit(p int) error {
	k, how := exclusive, unix.LOCK_EX
	if d.rng.IntN(3) == 0 && !d.terrain.unshared {
		k, how = shared, unix.LOCK_SH
	}
	l, err := lockRaw(d.site.sidecar(p), how)
	if err != nil {
		return err
	}
	defer l.close()
	file := uint64(0)
	if p == packLost {
		if file, err = l.identity(); err != nil {
			return err
		}
	}
	if err := d.sections[p].pass(&d.scribe, file, k, d.stay); err != nil {
		return fmt.Errorf("pack %s: %w", packNames[p], err)
	}
	switch {
	case p == packStill, k == shared, d.terrain.settled:
		return l.unlock()
	case p == packLost:
		if err := d.takeAway(); err != nil {
			return err
		}
		return l.unlock()
	}
	return d.disturb(p, l)
}

// hurry deletes one sidecar after the other, so that there is always somebody
// whose last look at the path is not old.
func (d *disturber) hurry() error {
	d.note("%s: delete the lock file many times", packNames[packFiled])
	for range 10 + d.rng.IntN(40) {
		d.n++
		sidecar := d.site.sidecar(packFiled)
		l, err := lockRaw(sidecar, unix.LOCK_EX)
		if err != nil {
			return err
		}
		err = os.Remove(sidecar)
		l.close()
		if err != nil {
			return err
		}
		if err := d.begin(acquiring); err != nil {
			return err
		}
		// The others are to come by the new one before it is deleted as well.
		time.Sleep(d.upTo(300 * time.Microsecond))
	}
	return nil
}

// surprise disturbs a pack while everybody is stopped, wherever that happens to
// be, and nobody has the lock.
func (d *disturber) surprise() error {
	p := packFiled + d.rng.IntN(packLost-packFiled)
	try := func() (done bool, err error) {
		defer d.freeze()()
		l, err := lockRaw(d.site.sidecar(p), unix.LOCK_EX|unix.LOCK_NB)
		if l == nil {
			return false, err
		}
		defer l.close()
		d.note("all processes are stopped")
		return true, d.disturb(p, l)
	}
	for range 20 {
		if done, err := try(); done || err != nil {
			return err
		}
		time.Sleep(d.upTo(500 * time.Microsecond))
	}
	return nil
}

// upTo returns a duration of at most most, rather a short one.
func (d *disturber) upTo(most time.Duration) time.Duration {
	return time.Duration(float64(most) * d.rng.Float64() * d.rng.Float64())
}

// disturb deletes or replaces the sidecar or the pack whose lock is l, and
// unlocks it.
func (d *disturber) disturb(p int, l *rawLock) (err error) {
	after := func() error { return nil }
	switch sidecar := d.site.sidecar(p); {
	case p == packFiled:
		switch d.rng.IntN(3) {
		case 0:
			d.noted(p, "delete the lock file")
			err = os.Remove(sidecar)
		case 1:
			d.noted(p, "rename a new file over the lock file")
			err = d.renameOver(sidecar)
		case 2:
			after, err = d.renameAway(p)
		}
	default:
		switch d.rng.IntN(4) {
		case 0:
			after, err = d.renameAway(p)
		case 1:
			after, err = d.swapInTwoSteps()
		default:
			after, err = d.swap()
		}
	}
	if err != nil {
		return err
	}
	if err := l.unlock(); err != nil {
		return err
	}
	return after()
}

// stay lets others come to wait.
func (d *disturber) stay() {
	if d.rng.IntN(2) == 0 {
		time.Sleep(d.upTo(3 * time.Millisecond))
	}
}

func (d *disturber) noted(p int, what string) {
	d.n++
	d.note("%s: %s", packNames[p], what)
}

// fresh returns a new name beside path.
func (d *disturber) fresh(path string) string { return fmt.Sprintf("%s.%d", path, d.n) }

func (d *disturber) renameOver(sidecar string) error {
	replacement := d.fresh(sidecar)
	if err := os.WriteFile(replacement, nil, 0o666); err != nil {
		return err
	}
	return os.Rename(replacement, sidecar)
}

// renameAway renames the sidecar, and leaves it to others to make another.
func (d *disturber) renameAway(p int) (after func() error, err error) {
	d.noted(p, "rename the lock file")
	away := d.fresh(filepath.Join(d.site.packs, "away"))
	if err := os.Rename(d.site.sidecar(p), away); err != nil {
		return nil, err
	}
	time.Sleep(outlast)
	return func() error { return d.removeAll(away) }, nil
}

// swap exchanges the pack with another, at once: a second swap may bring back
// the first, with the sidecar that it had.
func (d *disturber) swap() (after func() error, err error) {
	d.noted(packMoved, "swap the pack")
	pack := d.site.pack(packMoved)
	other := pack + "-other"
	if err := os.Mkdir(other, 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	if d.rng.IntN(2) == 0 {
		if err := os.Remove(filepath.Join(other, packlock.FileName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	err = exchange(pack, other)
	if errors.Is(err, errors.ErrUnsupported) {
		return d.swapInTwoSteps()
	}
	time.Sleep(outlast)
	return func() error { return nil }, err
}

// swapInTwoSteps leaves a moment in which there is no pack. Whoever opens the
// pack then makes it anew, and with that it may be.
func (d *disturber) swapInTwoSteps() (after func() error, err error) {
	d.noted(packMoved, "replace the pack")
	pack := d.site.pack(packMoved)
	gone, replacement := d.fresh(pack+"-gone"), d.fresh(pack+"-new")
	if err := os.Mkdir(replacement, 0o777); err != nil {
		return nil, err
	}
	if err := os.Rename(pack, gone); err != nil {
		return nil, err
	}
	d.stay()
	switch err := os.Rename(replacement, pack); {
	case err == nil:
	case errors.Is(err, fs.ErrExist): // ENOTEMPTY is that too
		if err := os.Remove(replacement); err != nil {
			return nil, err
		}
	default:
		return nil, err
	}
	time.Sleep(outlast)
	return func() error { return d.removeAll(gone) }, nil
}

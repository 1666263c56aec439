package locktest

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// losses are the ways in which a lock file gets lost.
var losses = []struct {
	name string
	lose func(path string) error
}{
	{"deleted", os.Remove},
	{"replaced", func(path string) error {
		other := path + ".new"
		if err := os.WriteFile(other, nil, 0o666); err != nil {
			return err
		}
		return os.Rename(other, path)
	}},
	{"renamed", func(path string) error { return os.Rename(path, path+".old") }},
}

// lossGrace is how old a look at the path may be that is trusted.
const lossGrace = 100 * time.Millisecond

// eachLoss calls notices for each way to lose the file, with its own, and lose
// to lose it. What it returns names those that were not noticed.
func eachLoss(x *exam, notices func(lose func() error) error) (string, error) {
	var noticed, not []string
	var why error
	for _, loss := range losses {
		if err := x.prepare(); err != nil {
			return "", err
		}
		path := x.scratch
		err := notices(func() error {
			if err := loss.lose(path); err != nil {
				return skip(fmt.Sprintf("a lock file in use cannot be %s here: %v", loss.name, err))
			}
			time.Sleep(lossGrace)
			return nil
		})
		x.dismiss()
		switch {
		case errors.As(err, new(skip)):
			return "", err
		case x.ctx.Err() != nil:
			return "", x.ctx.Err()
		case err != nil:
			not, why = append(not, loss.name), err
			if errors.As(err, new(hang)) {
				return "", fmt.Errorf("%s: %w", loss.name, err) // the others would take as long
			}
		default:
			noticed = append(noticed, loss.name)
		}
	}
	if why != nil {
		return "", fmt.Errorf("%s: %w", strings.Join(not, ", "), why)
	}
	return strings.Join(noticed, ", "), nil
}

// alone is whether h, which took the lock, keeps out who opens the file anew.
func (x *exam) alone(h handleOf) error {
	newcomer, err := x.start(x.scratch)
	if err != nil {
		return err
	}
	if err := newcomer.refused(); errors.Is(err, errTaken) {
		return errors.New("it locked the old file, and a process that opens the path locks the new one")
	} else if err != nil {
		return err
	}
	return nil
}

// lossWhileIdle is whether a handle that locks again after the file was lost
// locks the one that others open.
func lossWhileIdle(x *exam) (string, error) {
	return eachLoss(x, func(lose func() error) error {
		h, err := x.startHolder(x.scratch)
		if err != nil {
			return err
		}
		if _, err := h.unlock(); err != nil {
			return err
		}
		if err := lose(); err != nil {
			return err
		}
		if err := h.take(); err != nil {
			return err
		}
		return x.alone(h)
	})
}

// lossWhileHeld is whether a handle that was open before the file was lost is
// not kept waiting by who has the old one.
func lossWhileHeld(x *exam) (string, error) {
	return eachLoss(x, func(lose func() error) error {
		_, other, err := x.startPair()
		if err != nil {
			return err
		}
		// One that has been tried has looked at the file.
		if _, err := other.ask("trying the lock, which another has", order{Do: doTry}); err != nil && !errors.Is(err, errors.ErrUnsupported) {
			return err
		}
		if err := lose(); err != nil {
			return err
		}
		said, err := other.ask("trying the lock of the new file", order{Do: doTry})
		switch {
		case errors.Is(err, errors.ErrUnsupported):
			if err := other.lockFree(x.boundOf(NoticesLoss)); err != nil {
				return err
			}
		case err != nil:
			return err
		case said.Busy:
			return errors.New("the lock of the old file, which is held, is taken for that of the new one")
		}
		return x.alone(other)
	})
}

// lossWhileWaiting is whether a handle that waits for the lock of a file that is
// lost goes on to the new one.
func lossWhileWaiting(x *exam) (string, error) {
	return eachLoss(x, func(lose func() error) error {
		_, other, err := x.startPair()
		if err != nil {
			return err
		}
		w, err := other.park()
		if err != nil {
			return err
		}
		if err := lose(); err != nil {
			return err
		}
		if _, err := w.await(x.ctx, "waiting for the lock of the new file", w.c, x.boundOf(NoticesLoss)); err != nil {
			return err
		}
		return x.alone(other)
	})
}

package locktest

import (
	"errors"
	"fmt"
	"runtime"
	"time"
)

// released is whether a process that waits gets the lock when end has ended the
// hold of another.
func released(x *exam, end func(holder handleOf) error) (string, error) {
	holder, other, err := x.startPair()
	if err != nil {
		return "", err
	}
	w, err := other.park()
	if err != nil {
		return "", err
	}
	ending := time.Now()
	if err := end(holder); err != nil {
		return "", err
	}
	took, err := w.woken(ending)
	return fmt.Sprintf("after %v", rounded(took)), err
}

func releasedOnClose(x *exam) (string, error) {
	return released(x, func(holder handleOf) error {
		_, err := holder.ask("close", order{Do: doClose})
		return err
	})
}

func releasedOnExit(x *exam) (string, error) {
	return released(x, func(holder handleOf) error {
		_, err := holder.tell(order{Do: doExit})
		return err
	})
}

func releasedOnKill(x *exam) (string, error) {
	return released(x, func(holder handleOf) error {
		holder.kill()
		return nil
	})
}

// survivor starts a pair of which the holder then starts a process and is killed.
func survivor(x *exam, start string) (left, other handleOf, err error) {
	if left, other, err = x.startPair(); err != nil {
		return left, other, err
	}
	if _, err := left.ask("starting a process", order{Do: start}); err != nil {
		return left, other, err
	}
	left.kill()
	return left, other, nil
}

// notInherited is whether a process that the holder started does not keep the
// lock when the holder is gone.
func notInherited(x *exam) (string, error) {
	_, other, err := survivor(x, doStart)
	if err != nil {
		return "", err
	}
	if err := other.lockFree(x.bounds.wake); err != nil {
		return "", fmt.Errorf("a process that the holder had started was left with the lock: %w", err)
	}
	return "", nil
}

// handedOn is whether a process that the holder gave the file of Dup keeps the
// lock when the holder is gone, until it closes it.
func handedOn(x *exam) (string, error) {
	keeper, other, err := survivor(x, doHandOn)
	if errors.Is(err, errors.ErrUnsupported) && x.claims&HandsOver == 0 {
		return "", skip("the library has no such thing")
	}
	if errors.Is(err, errors.ErrUnsupported) {
		return "", skip("there is no such thing on " + runtime.GOOS)
	}
	if err != nil {
		return "", err
	}
	if err := other.refused(); err != nil {
		return "", fmt.Errorf("the process that the lock was handed to did not keep it: %w", err)
	}
	w, err := other.park()
	if err != nil {
		return "", err
	}
	if _, err := keeper.ask("closing what was handed on", order{Do: doDrop}); err != nil {
		return "", err
	}
	_, err = w.woken(time.Now())
	return "", err
}

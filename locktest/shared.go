package locktest

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

var errKeptOut = errors.New("a process that shares the lock keeps out another one that would share it")

// join has h share the lock, which others share.
func (h handleOf) join() error {
	h = h.reader()
	said, err := h.ask("trying the lock shared, which others share", order{Do: doTry})
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return h.lock("waiting for the lock shared, which others share", h.x.boundOf(Shares))
	case err != nil:
		return err
	case said.Busy:
		return errKeptOut
	}
	return nil
}

// startReaders starts that many processes that share the lock, which must be free.
func (x *exam) startReaders(n int) (readers []handleOf, err error) {
	for i := range n {
		h, err := x.start(x.scratch)
		if err != nil {
			return nil, err
		}
		if h = h.reader(); i == 0 {
			err = h.take()
		} else {
			err = h.join()
		}
		if err != nil {
			return nil, err
		}
		readers = append(readers, h)
	}
	return readers, nil
}

// shares tests that processes hold the lock at the same time, however they acquire it.
func shares(x *exam) (string, error) {
	first, err := x.start(x.scratch)
	if err != nil {
		return "", err
	}
	first = first.reader()
	err = first.take()
	if errors.Is(err, errors.ErrUnsupported) && x.claims&Shares == 0 {
		return "", skip(err.Error())
	}
	if err != nil {
		return "", fmt.Errorf("acquiring it shared: %w", err)
	}
	second, err := x.start(x.scratch)
	if err != nil {
		return "", err
	}
	if err := second.join(); err != nil {
		return "", err
	}
	waits, err := x.start(x.scratch)
	if err != nil {
		return "", err
	}
	if err := waits.reader().lock("waiting for the lock shared, which others share", x.boundOf(Shares)); err != nil {
		return "", err
	}
	handle, err := second.another(x.scratch)
	if err != nil {
		return "", err
	}
	return "", handle.join()
}

// sharedExcludes tests that the lock is busy for a writer until the last reader has
// released it, and for readers until the writer has.
func sharedExcludes(x *exam) (string, error) {
	readers, err := x.startReaders(2)
	if err != nil {
		return "", err
	}
	writer, err := x.start(x.scratch)
	if err != nil {
		return "", err
	}
	return sharedInTurns(readers, writer)
}

// sharedHandles tests the same for handles of one process.
func sharedHandles(x *exam) (string, error) {
	first, err := x.start(x.scratch)
	if err != nil {
		return "", err
	}
	first = first.reader()
	if err := first.take(); err != nil {
		return "", err
	}
	second, err := first.another(x.scratch)
	if err != nil {
		return "", err
	}
	if err := second.join(); err != nil {
		return "", err
	}
	writer, err := second.another(x.scratch)
	if err != nil {
		return "", err
	}
	return sharedInTurns([]handleOf{first, second}, writer.writer())
}

// sharedInTurns tests the lock of two readers, which share it, and then that of writer.
func sharedInTurns(readers []handleOf, writer handleOf) (string, error) {
	switch said, err := writer.ask("trying the lock, which others share", order{Do: doTry}); {
	case errors.Is(err, errors.ErrUnsupported):
		return "as far as waiting shows: there is no trying", besideReaders(writer.refused())
	case err != nil:
		return "", err
	case !said.Busy:
		return "", besideReaders(errTaken)
	}
	for _, r := range readers {
		if err := besideReaders(writer.refused()); err != nil {
			return "", err
		}
		if _, err := r.unlock(); err != nil {
			return "", err
		}
	}
	if err := writer.take(); err != nil {
		return "", fmt.Errorf("after the last reader had released the lock: %w", err)
	}
	for _, r := range readers {
		if err := besideWriter(r.refused()); err != nil {
			return "", err
		}
	}
	if _, err := writer.unlock(); err != nil {
		return "", err
	}
	if err := readers[0].take(); err != nil {
		return "", fmt.Errorf("shared, after a writer: %w", err)
	}
	return "", readers[1].join()
}

// besideReaders and besideWriter return err with the kind of lock that others hold.

func besideReaders(err error) error {
	if errors.Is(err, errTaken) {
		return fmt.Errorf("exclusive beside shared: %w", err)
	}
	return err
}

func besideWriter(err error) error {
	if errors.Is(err, errTaken) {
		return fmt.Errorf("shared beside exclusive: %w", err)
	}
	return err
}

// inTurns has writer wait for readers, which share the lock, and the first of them for the
// writer.
func (x *exam) inTurns(readers []handleOf, writer handleOf) error {
	w, err := writer.park()
	if err != nil {
		return besideReaders(err)
	}
	var released answer
	for _, r := range readers {
		if err := besideReaders(w.stays(20 * time.Millisecond)); err != nil {
			return err
		}
		if released, err = r.unlock(); err != nil {
			return err
		}
	}
	if _, err := w.woken(released.At); err != nil {
		return fmt.Errorf("writer: %w", err)
	}
	r, err := readers[0].park()
	if err != nil {
		return besideWriter(err)
	}
	if released, err = writer.unlock(); err != nil {
		return err
	}
	if _, err := r.woken(released.At); err != nil {
		return fmt.Errorf("reader: %w", err)
	}
	return nil
}

// triesShared tests that trying a busy lock returns, for readers and for a writer.
func triesShared(x *exam) (string, error) {
	holder, other, err := x.startPair()
	if err != nil {
		return "", err
	}
	var worst time.Duration
	tries := func(h handleOf) error {
		for range 20 {
			said, err := h.ask("trying the lock, which another has", order{Do: doTry})
			switch {
			case errors.Is(err, errors.ErrUnsupported):
				return errors.New("there is no trying")
			case err != nil:
				return err
			case !said.Busy:
				return errTaken
			}
			worst = max(worst, said.Took)
		}
		return nil
	}
	if err := tries(other.reader()); err != nil {
		return "", fmt.Errorf("shared: %w", err)
	}
	if _, err := holder.unlock(); err != nil {
		return "", err
	}
	if err := other.reader().take(); err != nil {
		return "", err
	}
	if err := tries(holder); err != nil {
		return "", fmt.Errorf("exclusive, beside a reader: %w", err)
	}
	return fmt.Sprintf("%v at worst", rounded(worst)), nil
}

// sharedWakes tests that a writer waits for the last reader and no longer, and a reader for
// a writer.
func sharedWakes(x *exam) (string, error) {
	readers, err := x.startReaders(2)
	if err != nil {
		return "", err
	}
	writer, err := x.start(x.scratch)
	if err != nil {
		return "", err
	}
	for range 3 {
		if err := x.inTurns(readers, writer); err != nil {
			return "", err
		}
		// A reader that waited may keep others out. That is for together to find.
		if _, err := readers[0].unlock(); err != nil {
			return "", err
		}
		if err := readers[0].take(); err != nil {
			return "", err
		}
		if err := readers[1].join(); err != nil {
			return "", err
		}
		if slices.Max(x.latencies) > time.Second {
			break // each of them may take as long
		}
	}
	took := slices.Sorted(slices.Values(x.latencies))
	return fmt.Sprintf("after %v, %v at worst", rounded(took[len(took)/2]), rounded(took[len(took)-1])), nil
}

// sharedReleasedOnKill tests that a killed reader leaves the lock with the others, and with
// no process after the last.
func sharedReleasedOnKill(x *exam) (string, error) {
	readers, err := x.startReaders(2)
	if err != nil {
		return "", err
	}
	writer, err := x.start(x.scratch)
	if err != nil {
		return "", err
	}
	w, err := writer.park()
	if err != nil {
		return "", err
	}
	readers[0].kill()
	if err := w.stays(100 * time.Millisecond); errors.Is(err, errTaken) {
		return "", errors.New("the death of one reader released the lock of another one, too")
	} else if err != nil {
		return "", err
	}
	killed := time.Now()
	readers[1].kill()
	took, err := w.woken(killed)
	return fmt.Sprintf("after %v", rounded(took)), err
}

// together tests that the readers that wait for a writer share the lock when it is released.
func together(x *exam) (string, error) {
	writer, err := x.startHolder(x.scratch)
	if err != nil {
		return "", err
	}
	var waiting []waiter
	for range 2 {
		h, err := x.start(x.scratch)
		if err != nil {
			return "", err
		}
		same, err := h.another(x.scratch)
		if err != nil {
			return "", err
		}
		for _, h := range []handleOf{h, same} {
			w, err := h.reader().park()
			if err != nil {
				return "", err
			}
			waiting = append(waiting, w)
		}
	}
	released, err := writer.unlock()
	if err != nil {
		return "", err
	}
	var worst time.Duration
	for i, w := range waiting {
		took, err := w.woken(released.At)
		if err != nil {
			return "", fmt.Errorf("%d of %d readers that waited: %w", len(waiting)-i, len(waiting), err)
		}
		worst = max(worst, took)
	}
	return fmt.Sprintf("%d within %v", len(waiting), rounded(worst)), nil
}

// cancelAmongReaders tests that the wait of a reader can be cancelled, and that readers do
// not go on waiting for a writer whose wait was.
func cancelAmongReaders(x *exam) (string, error) {
	holder, other, err := x.startPair()
	if err != nil {
		return "", err
	}
	w, err := other.reader().park()
	if err != nil {
		return "", err
	}
	took, err := w.cancelled()
	if err != nil {
		return "", fmt.Errorf("reader: %w", err)
	}
	if _, err := holder.unlock(); err != nil {
		return "", err
	}
	if err := holder.lockFree(x.bounds.wake); err != nil {
		return "", fmt.Errorf("a reader whose wait was cancelled is left with the lock: %w", err)
	}
	if _, err := holder.unlock(); err != nil {
		return "", err
	}

	holder = holder.reader()
	if err := holder.take(); err != nil {
		return "", err
	}
	if w, err = other.writer().park(); err != nil {
		return "", err
	}
	behind := make(map[string]<-chan answer)
	for name, process := range map[string]handleOf{"the holder": holder, "the writer": w.handleOf} {
		h, err := process.another(x.scratch)
		if err != nil {
			return "", err
		}
		if behind[name], err = h.tell(order{Do: doLock, Handle: h.n, Shared: true}); err != nil {
			return "", h.ended("lock")
		}
	}
	if _, err := w.cancelled(); err != nil {
		return "", fmt.Errorf("writer: %w", err)
	}
	cancelled, joined := time.Now(), time.Duration(0)
	for name, process := range map[string]handleOf{"the holder": holder, "the writer": w.handleOf} {
		for {
			// Readers may make room for a writer of another process for some time.
			said, err := process.await(x.ctx, "waiting for the lock shared, which others share", behind[name], 4*x.bounds.answer)
			if err != nil {
				return "", fmt.Errorf("a reader in the process of %s, after a writer's wait was cancelled: %w", name, err)
			}
			if !said.Waits {
				joined = max(joined, said.At.Sub(cancelled))
				break
			}
		}
	}
	return fmt.Sprintf("a reader after %v; readers join %v after a writer", rounded(took), rounded(joined)), nil
}

// upgrade tests what becomes of a handle that shares the lock and tries it exclusively while
// another one shares it, too. It also reports whether the handle can share it once more.
func upgrade(x *exam) (string, error) {
	readers, err := x.startReaders(2)
	if err != nil {
		return "", err
	}
	again := func(what string, h handleOf) (said string, err error) {
		switch a, err := h.ask("trying the lock once more, "+what, order{Do: doTry}); {
		case errors.Is(err, errors.ErrUnsupported):
			return "", skip("there is no trying")
		case errors.As(err, new(hang)), errors.Is(err, errEnded):
			return "", err
		case err != nil:
			return what + " refused", nil
		case a.Busy:
			return what + " busy", nil
		}
		return what + " granted", nil
	}
	upgraded, err := again("exclusively", readers[0].writer())
	if err != nil {
		return "", err
	}
	if upgraded == "exclusively granted" {
		return "", errors.New("a handle reports that it has the lock exclusively while another shares it")
	}
	if _, err := readers[1].unlock(); err != nil {
		return "", err
	}
	if err := readers[1].writer().refused(); errors.Is(err, errTaken) {
		return "", errors.New("a handle that shared the lock lost it by trying to have it exclusively")
	} else if err != nil {
		return "", err
	}
	shared, err := again("shared", readers[0])
	return upgraded + ", " + shared, err
}

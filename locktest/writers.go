package locktest

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

var errPassed = errors.New("a reader acquired the lock past a writer that waited")

// readersQueue tests that no reader passes a writer of its process that waits.
func readersQueue(x *exam) (string, error) {
	return x.inQueue(ReadersQueue, func(x *exam, before handleOf) (handleOf, error) { return before.another(x.scratch) })
}

// readersQueueForOthers tests that no reader passes a writer of a different process.
func readersQueueForOthers(x *exam) (string, error) {
	return x.inQueue(ReadersQueueForOthers, func(x *exam, _ handleOf) (handleOf, error) { return x.start(x.scratch) })
}

// inQueue has a writer wait for a reader, and another reader come then. The handle of each
// comes from next, which is given the one before.
func (x *exam) inQueue(claim Claims, next func(x *exam, before handleOf) (handleOf, error)) (string, error) {
	// That the writer waits cannot be seen for certain from outside. So the claim is wrong
	// if most of the attempts fail, and the property is found without a claim if none does.
	const attempts = 4
	enough := attempts / 2
	if x.claims&claim == 0 {
		enough = attempts
	}
	queued := 0
	for tried := 1; tried <= attempts && queued < enough; tried++ {
		err := x.oneQueue(next)
		x.dismiss()
		switch {
		case err == nil:
			queued++
		case !errors.Is(err, errPassed):
			return "", err
		case tried-queued > attempts-enough:
			return "", err
		}
	}
	return "", nil
}

func (x *exam) oneQueue(next func(x *exam, before handleOf) (handleOf, error)) error {
	holder, err := x.start(x.scratch)
	if err != nil {
		return err
	}
	if err := holder.reader().take(); err != nil {
		return err
	}
	writer, err := next(x, holder)
	if err != nil {
		return err
	}
	late, err := next(x, writer)
	if err != nil {
		return err
	}
	late = late.reader()
	w, err := writer.park()
	if err == nil {
		err = w.stays(20 * time.Millisecond) // it is in the queue by then, unless the machine is busy
	}
	if err != nil {
		return besideReaders(err)
	}
	said, err := late.ask("trying the lock shared, which a writer waits for", order{Do: doTry})
	switch {
	case errors.Is(err, errors.ErrUnsupported):
	case err != nil:
		return err
	case !said.Busy:
		return fmt.Errorf("%w, by trying", errPassed)
	}
	r, err := late.park()
	if err == nil {
		err = r.stays(20 * time.Millisecond)
	}
	if errors.Is(err, errTaken) {
		return errPassed
	}
	if err != nil {
		return err
	}
	released, err := holder.unlock()
	if err != nil {
		return err
	}
	if _, err := w.woken(released.At); err != nil {
		return fmt.Errorf("writer: %w", err)
	}
	if released, err = writer.unlock(); err != nil {
		return err
	}
	if _, err := r.woken(released.At); err != nil {
		return fmt.Errorf("the reader behind it: %w", err)
	}
	_, err = late.unlock()
	return err
}

// overlapping is how many readers there are among which a writer gets in or not.
const overlapping = 8

// writersGetIn tests that a writer acquires the lock among readers of its process that
// overlap.
func writersGetIn(x *exam) (string, error) {
	writer, err := x.start(x.scratch)
	if err != nil {
		return "", err
	}
	return x.amongReaders(WritersGetIn, writer, writer)
}

// writersGetInBesideOthers tests the same for readers of different processes.
func writersGetInBesideOthers(x *exam) (string, error) {
	writer, err := x.start(x.scratch)
	if err != nil {
		return "", err
	}
	var readers []handleOf
	for range 2 {
		p, err := x.start(x.scratch)
		if err != nil {
			return "", err
		}
		readers = append(readers, p)
	}
	return x.amongReaders(WritersGetInBesideOthers, writer, readers...)
}

// amongReaders has the processes of readers share the lock so that it is never free, and
// writer wait for it.
func (x *exam) amongReaders(claim Claims, writer handleOf, readers ...handleOf) (string, error) {
	encoded, err := json.Marshal(reading{x.scratch, overlapping / len(readers)})
	if err != nil {
		return "", err
	}
	for _, p := range readers {
		c, err := p.tell(order{Do: doScript, Path: scriptRead, Script: encoded})
		if err != nil {
			return "", p.ended(scriptRead)
		}
		if _, err := p.await(x.ctx, scriptRead, c, x.bounds.answer); err != nil {
			return "", err
		}
	}
	var waits []time.Duration
	for range 5 {
		time.Sleep(50 * time.Millisecond) // all readers are back
		asked := time.Now()
		if err := writer.lock("", x.boundOf(claim)); errors.As(err, new(hang)) {
			return "", fmt.Errorf("a writer waited for %v among %d readers that overlap, and did not get the lock", x.boundOf(claim), overlapping)
		} else if err != nil {
			return "", err
		}
		waits = append(waits, time.Since(asked))
		if _, err := writer.unlock(); err != nil {
			return "", err
		}
	}
	slices.Sort(waits)
	return fmt.Sprintf("after %v, %v at worst, among %d readers that overlap", rounded(waits[len(waits)/2]), rounded(waits[len(waits)-1]), overlapping), nil
}

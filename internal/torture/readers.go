package torture

import (
	"errors"
	"io/fs"
	"os"
)

// kind is how a hold has the lock.
type kind bool

const (
	exclusive kind = false
	shared    kind = true
)

// Readers of a spot must see no writer there. Each goroutine that may be one has a seat,
// a word of the ledger that no other writes. It is odd while the reader is in the section,
// and counts its sections, two for each.
//
// A reader takes its seat and then looks for a witness file. A writer creates that
// and then looks for taken seats. So at least one of two that are there together sees the
// other. Moreover the counter must not change while a reader is there.
//
// A reader that is killed leaves its seat taken. Writers wait until the foreman has
// cleared it away, as they do for the witness file.

// taken returns the seats that are taken, except one.
func (l ledger) taken(except int) (seats []int) {
	for i, v := range l.seats {
		if v%2 == 1 && i != except {
			seats = append(seats, i)
		}
	}
	return seats
}

// together calls fn, with no witness but the other goroutines of this process.
func (s *spot) together(fn func() error) error {
	if s.blind[seeProcess] {
		return fn()
	}
	defer s.readers.Add(-1)
	s.readers.Add(1)
	if n := s.within.Load(); n != 0 {
		return violationf("%d writers of this process are in the section that a reader enters", n)
	}
	before := s.plain
	err := fn()
	if after := s.plain; err == nil && after != before {
		return violationf("%d writers of this process came into the section of a reader", after-before)
	}
	return err
}

// join takes the seat of a reader, and returns what the ledger was then.
func (s *spot) join(by *scribe) (ledger, error) {
	before, err := s.read()
	if err != nil {
		return before, err
	}
	note := &by.notes[s.pack]
	note.file, note.value = s.file, before.seats[by.seat]
	if note.value%2 == 1 {
		return before, violationf("the seat of a reader is taken: %d", note.value)
	}
	if err := by.phase(s.pack, reading); err != nil {
		return before, err
	}
	if err := s.writeSeat(by.seat, note.value+1); err != nil {
		return before, err
	}
	there, err := s.witnessed()
	if there && err == nil {
		if err = s.awaitClearing(before, "the witness file of a writer"); err == nil {
			there, err = s.witnessed()
		}
		if there && err == nil {
			err = violationf("a reader sees the witness file of a writer again although no writer was let in")
		}
	}
	if err != nil {
		return before, err
	}
	return s.read()
}

// depart leaves the seat of a reader. The ledger is what it was when the reader joined.
func (s *spot) depart(by *scribe, joined ledger) error {
	there, err := s.witnessed()
	if err != nil {
		return err
	}
	if there {
		return violationf("a writer came into the section of a reader: its witness file is there")
	}
	now, err := s.read()
	if err != nil {
		return err
	}
	if now.count != joined.count && !s.blind[seeCounter] {
		return violationf("the counter became %d while a reader was in the section, from %d", now.count, joined.count)
	}
	note := &by.notes[s.pack]
	if seat := now.seats[by.seat]; seat != note.value+1 {
		return violationf("the seat of a reader is %d, and not %d", seat, note.value+1)
	}
	by.meet(append(joined.taken(by.seat), now.taken(by.seat)...))
	note.read++
	if err := by.phase(s.pack, departing); err != nil {
		return err
	}
	if err := s.writeSeat(by.seat, note.value+2); err != nil {
		return err
	}
	return by.phase(s.pack, outside)
}

// meet counts a section in which the readers of the given seats were seen.
func (s *scribe) meet(seats []int) {
	if len(seats) == 0 {
		return
	}
	s.counts[countMet]++
	for _, seat := range seats {
		if first := s.seat - s.index; seat < first || seat >= first+s.board.records {
			s.counts[countMetElsewhere]++
			return
		}
	}
}

// witnessed reports whether the witness file of a writer is there.
func (s *spot) witnessed() (bool, error) {
	if s.blind[seeFile] {
		return false, nil
	}
	_, err := os.Lstat(s.witness())
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// awaitReaders waits, on behalf of a writer, until the seats of killed readers are cleared
// away. There must be no others.
func (s *spot) awaitReaders(before ledger) error {
	now, err := s.read()
	if err != nil || len(now.taken(-1)) == 0 || s.blind[seeSeat] {
		return err
	}
	if err := s.awaitClearing(before, "a reader"); err != nil {
		return err
	}
	if now, err = s.read(); err != nil {
		return err
	}
	if taken := now.taken(-1); len(taken) > 0 {
		return violationf("readers are in the section that a writer enters: seats %v", taken)
	}
	return nil
}

package torture

import (
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Which witnesses there are. Without some, the others have to find everything
// by themselves.
const (
	seeFile    = "file"
	seeCounter = "counter"
	seeProcess = "process"
	seeSeat    = "seat"
	seeKind    = "kind" // Hold.Shared
)

// A section is the critical section of one pack, as one process enters it: a spot
// for each file that was ever its sidecar, if it is one whose sidecar is lost under
// those who hold it, and else one for all of them.
type section struct {
	site     site
	pack     int
	patience time.Duration
	blind    map[string]bool // without these witnesses
	seats    int             // how many readers there can be

	mu    sync.Mutex // guards the following
	spots map[uint64]*spot
}

// A spot is where nobody may be but who has the lock of the file. Its witnesses
// are a file that is created by O_EXCL on entering and removed on leaving; a counter
// in another file that is read, and written one higher; the seats of the readers
// (readers.go); and what goroutines of one process can see of each other.
//
// The counter's file (ledger) has a second word, the number of witness files that the
// foreman cleared away after their creator was killed. Somebody who holds the
// lock and finds the witness file there waits for that: the foreman notices
// every death, and is the only one who can know of it for sure. A process that
// lives removes its file before it releases the lock.
type spot struct {
	*section
	file    uint64 // its identity, or 0 for whichever it is
	counter *os.File

	within, readers atomic.Int32
	// plain is guarded by nothing but the lock: the race detector has to see
	// one hold happen before the next.
	plain uint64
}

func newSection(s site, pack int, patience time.Duration, blind map[string]bool, seats int) *section {
	return &section{site: s, pack: pack, patience: patience, blind: blind, seats: seats, spots: make(map[uint64]*spot)}
}

// at returns the spot of a file.
func (s *section) at(file uint64) (*spot, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sp := s.spots[file]; sp != nil {
		return sp, nil
	}
	f, err := os.OpenFile(s.site.counter(s.pack, file), os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, err
	}
	sp := &spot{section: s, file: file, counter: f}
	s.spots[file] = sp
	return sp, nil
}

// forget closes, at rest, what belongs to single files: most are lost by then.
func (s *section) forget() { s.closeBut(func(file uint64) bool { return file == 0 }) }

func (s *section) close() { s.closeBut(func(uint64) bool { return false }) }

func (s *section) closeBut(stays func(file uint64) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for file, sp := range s.spots {
		if !stays(file) {
			sp.counter.Close()
			delete(s.spots, file)
		}
	}
}

// A ledger is what a counter's file has.
type ledger struct {
	count   uint64 // of exclusive sections
	cleared uint64 // how often the foreman has cleared away what a killed process left
	lost    uint64 // when the disturber last took the file away, in Unix nanoseconds; 0 if it never did, or is about to
	seats   []uint64
}

const firstSeat = 3 // of the words

// readLedger reads a counter's file. What was never written is 0.
func readLedger(f io.ReaderAt, seats int) (l ledger, err error) {
	buf := make([]byte, 8*(firstSeat+seats))
	if _, err = f.ReadAt(buf, 0); err == io.EOF {
		err = nil
	}
	words := make([]uint64, firstSeat+seats)
	for i := range words {
		words[i] = binary.LittleEndian.Uint64(buf[8*i:])
	}
	return ledger{words[0], words[1], words[2], words[firstSeat:]}, err
}

func (s *spot) read() (ledger, error) { return readLedger(s.counter, s.seats) }

func (s *spot) writeWord(i int, v uint64) error {
	_, err := s.counter.WriteAt(binary.LittleEndian.AppendUint64(nil, v), 8*int64(i))
	return err
}

func (s *spot) writeCount(count uint64) error      { return s.writeWord(0, count) }
func (s *spot) writeCleared(cleared uint64) error  { return s.writeWord(1, cleared) }
func (s *spot) writeSeat(seat int, v uint64) error { return s.writeWord(firstSeat+seat, v) }

func (s *spot) witness() string { return s.site.witness(s.pack, s.file) }

// A scribe keeps one record of a board up to date.
type scribe struct {
	board *board
	index int
	seat  int // among the readers of every spot
	record
}

func (s *scribe) post() error { return s.board.write(s.index, &s.record) }

func (s *scribe) phase(pack int, p phase) error {
	s.notes[pack].phase = p
	return s.post()
}

// pass goes through the section, with a stay in the middle of it. The caller
// has the lock, or so it was told: if somebody else is seen to have it too, that
// is an ErrViolation.
func (s *section) pass(by *scribe, file uint64, k kind, stay func()) error {
	sp, err := s.at(file)
	if err != nil {
		return err
	}
	if k == shared {
		return sp.together(func() error {
			joined, err := sp.join(by)
			if err != nil {
				return err
			}
			stay()
			return sp.depart(by, joined)
		})
	}
	return sp.alone(func() error {
		if err := sp.enter(by); err != nil {
			return err
		}
		stay()
		return sp.leave(by)
	})
}

// alone calls fn, with no witness but the other goroutines of this process.
func (s *spot) alone(fn func() error) error {
	if s.blind[seeProcess] {
		return fn()
	}
	defer s.within.Add(-1)
	if n := s.within.Add(1); n != 1 {
		return violationf("%d goroutines of this process are in the section", n)
	}
	if n := s.readers.Load(); n != 0 {
		return violationf("%d readers of this process are in the section that a writer enters", n)
	}
	s.plain++
	return fn()
}

func (s *spot) enter(by *scribe) error {
	before, err := s.read()
	if err != nil {
		return err
	}
	by.notes[s.pack].file = s.file
	if err := by.phase(s.pack, entering); err != nil {
		return err
	}
	created, err := s.create()
	if err == nil && !created {
		if err = by.phase(s.pack, held); err == nil {
			err = s.awaitClearing(before, "the witness file")
		}
		if err == nil {
			err = by.phase(s.pack, entering)
		}
		if err == nil {
			created, err = s.create()
		}
		if err == nil && !created {
			err = violationf("the witness file is there again although no goroutine was let in")
		}
	}
	if err == nil {
		err = s.awaitReaders(before)
	}
	if err != nil {
		return err
	}
	now, err := s.read()
	if err != nil {
		return err
	}
	note := &by.notes[s.pack]
	note.value = now.count + 1
	if err := by.phase(s.pack, inside); err != nil {
		return err
	}
	return s.writeCount(note.value)
}

// create creates the witness file and reports whether it was not there before.
func (s *spot) create() (bool, error) {
	if s.blind[seeFile] {
		return true, nil
	}
	f, err := os.OpenFile(s.witness(), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666)
	switch {
	case err == nil:
		return true, f.Close()
	case errors.Is(err, fs.ErrExist):
		return false, nil
	}
	return false, err
}

// awaitClearing waits until the foreman has cleared away more than before.
func (s *spot) awaitClearing(before ledger, what string) error {
	for left := newPatience(s.patience / 3); ; time.Sleep(time.Millisecond) {
		now, err := s.read()
		if err != nil {
			return err
		}
		if now.cleared != before.cleared {
			return nil
		}
		if left.over() {
			return violationf("%s was there on entering, and not because its creator was killed", what)
		}
	}
}

func (s *spot) leave(by *scribe) error {
	note := &by.notes[s.pack]
	now, err := s.read()
	if err != nil {
		return err
	}
	if now.count != note.value && !s.blind[seeCounter] {
		return violationf("the counter is %d after it was set to %d", now.count, note.value)
	}
	if taken := now.taken(-1); len(taken) > 0 && !s.blind[seeSeat] {
		return violationf("readers came in while a writer was in the section: seats %v", taken)
	}
	note.done++
	if err := by.phase(s.pack, leaving); err != nil {
		return err
	}
	if !s.blind[seeFile] {
		if err := os.Remove(s.witness()); err != nil {
			return violationf("the witness file was not there on leaving: %v", err)
		}
	}
	return by.phase(s.pack, outside)
}

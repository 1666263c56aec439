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
)

// A section is the critical section of one pack, as one process enters it: a spot
// for each file that was ever its sidecar, if it is one whose sidecar is lost under
// those who hold it, and else one for all of them.
type section struct {
	site     site
	pack     int
	patience time.Duration
	blind    map[string]bool // without these witnesses

	mu    sync.Mutex // guards the following
	spots map[uint64]*spot
}

// A spot is where nobody may be but who has the lock of the file. Its witnesses
// are a file that is created by O_EXCL on entering and removed on leaving; a counter
// in another file that is read, and written one higher; and what goroutines of one
// process can see of each other.
//
// The counter's file has a second word, the number of witness files that the
// foreman cleared away after their creator was killed. Somebody who holds the
// lock and finds the witness file there waits for that: the foreman notices
// every death, and is the only one who can know of it for sure. A process that
// lives removes its file before it releases the lock.
type spot struct {
	*section
	file    uint64 // its identity, or 0 for whichever it is
	counter *os.File

	within atomic.Int32
	// plain is guarded by nothing but the lock: the race detector has to see
	// one hold happen before the next.
	plain uint64
}

func newSection(s site, pack int, patience time.Duration, blind map[string]bool) *section {
	return &section{site: s, pack: pack, patience: patience, blind: blind, spots: make(map[uint64]*spot)}
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

// readCounter reads a counter's file. What was never written is 0.
func readCounter(f io.ReaderAt) (count, cleared uint64, err error) {
	var buf [16]byte
	if _, err = f.ReadAt(buf[:], 0); err == io.EOF {
		err = nil
	}
	return binary.LittleEndian.Uint64(buf[:]), binary.LittleEndian.Uint64(buf[8:]), err
}

func (s *spot) read() (count, cleared uint64, err error) { return readCounter(s.counter) }

func (s *spot) writeCount(count uint64) error {
	_, err := s.counter.WriteAt(binary.LittleEndian.AppendUint64(nil, count), 0)
	return err
}

func (s *spot) writeCleared(cleared uint64) error {
	_, err := s.counter.WriteAt(binary.LittleEndian.AppendUint64(nil, cleared), 8)
	return err
}

func (s *spot) witness() string { return s.site.witness(s.pack, s.file) }

// A scribe keeps one record of a board up to date.
type scribe struct {
	board *board
	index int
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
func (s *section) pass(by *scribe, file uint64, stay func()) error {
	sp, err := s.at(file)
	if err != nil {
		return err
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
	s.plain++
	return fn()
}

func (s *spot) enter(by *scribe) error {
	count, cleared, err := s.read()
	if err != nil {
		return err
	}
	by.notes[s.pack].file = s.file
	if err := by.phase(s.pack, entering); err != nil {
		return err
	}
	created, err := s.create()
	if err == nil && !created {
		if err = s.awaitClearing(by, cleared); err == nil {
			created, err = s.create()
		}
		if err == nil && !created {
			err = violationf("the witness file is there again although nobody was let in")
		}
		if err == nil {
			count, _, err = s.read()
		}
	}
	if err != nil {
		return err
	}
	note := &by.notes[s.pack]
	note.value = count + 1
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

// awaitClearing waits until more than cleared witness files were cleared away.
func (s *spot) awaitClearing(by *scribe, cleared uint64) error {
	if err := by.phase(s.pack, held); err != nil {
		return err
	}
	for left := newPatience(s.patience / 3); ; time.Sleep(time.Millisecond) {
		_, now, err := s.read()
		if err != nil {
			return err
		}
		if now != cleared {
			return by.phase(s.pack, entering)
		}
		if left.over() {
			return violationf("the witness file was there on entering, and not because its creator was killed")
		}
	}
}

func (s *spot) leave(by *scribe) error {
	note := &by.notes[s.pack]
	count, _, err := s.read()
	if err != nil {
		return err
	}
	if count != note.value && !s.blind[seeCounter] {
		return violationf("the counter is %d after it was set to %d", count, note.value)
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

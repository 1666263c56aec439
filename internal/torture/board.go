package torture

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"

	"packlock"
)

// The packs, by what happens to them.
const (
	packStill = iota // nothing: its sidecar may have a hard link and its Stats are exact
	packFiled        // the sidecar is deleted or replaced by who has locked it
	packMoved        // the directory is swapped by who has locked the sidecar
	packLost         // sidecar and directory are deleted and replaced, whoever has locked it
	packs
)

var packNames = [packs]string{"still", "filed", "moved", "lost"}

// vanishes reports whether there are moments without the directory of a pack.
func vanishes(p int) bool { return p == packMoved || p == packLost }

// phase is how far a goroutine is in the critical section of a pack.
type phase uint64

const (
	outside   phase = iota
	entering        // may create the witness file
	held            // found it there and waits for what that means
	inside          // has created it; the counter is value-1 or value
	leaving         // the counter is value, and done says so; may remove the witness file
	reading         // shared: the seat is value, or value+1
	departing       // shared: the seat is value+1, or value+2, and read says so
)

// A note is what one goroutine tells of one pack.
type note struct {
	phase phase
	file  uint64 // whose section it is in
	value uint64 // of the counter as of this section, or of the seat before it
	done  uint64 // exclusive sections that ended, those that only remained to leave included
	read  uint64 // shared sections that ended, likewise
}

// A record is what one goroutine tells about itself: the words of a board, so
// that it survives the process.
type record struct {
	beats  uint64 // changes whenever there is progress
	doing  doing  // now
	pack   int    // that it last wanted to acquire,
	kind   kind   // and how
	counts [countable]uint64
	notes  [packs]note
}

// What a record counts.
const (
	countOperations = iota
	countCancelled
	countBusy
	countRefused
	countShared       // acquires of a shared hold
	countMet          // shared sections in which another reader was seen
	countMetElsewhere // of those, the ones in which one of a different process was
	countable
)

const (
	recordWords = 4 + countable + 5*packs
	recordSize  = 8 * recordWords
)

func (r *record) encode(b []byte) {
	put := func(v uint64) {
		binary.LittleEndian.PutUint64(b, v)
		b = b[8:]
	}
	put(r.beats)
	put(uint64(r.doing))
	put(uint64(r.pack))
	if r.kind == shared {
		put(1)
	} else {
		put(0)
	}
	for _, c := range r.counts {
		put(c)
	}
	for _, n := range r.notes {
		put(uint64(n.phase))
		put(n.file)
		put(n.value)
		put(n.done)
		put(n.read)
	}
}

func (r *record) decode(b []byte) {
	get := func() uint64 {
		v := binary.LittleEndian.Uint64(b)
		b = b[8:]
		return v
	}
	r.beats = get()
	r.doing = doing(get())
	r.pack = int(get())
	r.kind = kind(get() == 1)
	for i := range r.counts {
		r.counts[i] = get()
	}
	for i := range r.notes {
		r.notes[i] = note{phase(get()), get(), get(), get(), get()}
	}
}

// tally is what a process tells of its Stats, summed over the packs.
type tally [tallied]uint64

const (
	tallyKernelWaits = iota
	tallyHandedOver
	tallyAdopted
	tallyDrained
	tallyReopened
	tallied
)

// A board is the file in which a process keeps the records of its goroutines
// and its tally. What was written to a file is there for others even if the
// writer is killed in the next moment.
type board struct {
	file    *os.File
	records int
}

func openBoard(dir string, process, life, records int) (*board, error) {
	f, err := os.OpenFile(filepath.Join(dir, fmt.Sprintf("board-%d-%d", process, life)), os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, err
	}
	// Read as zero what was never written.
	if err := f.Truncate(int64(records)*recordSize + 8*tallied); err != nil {
		f.Close()
		return nil, err
	}
	return &board{f, records}, nil
}

// write puts up record i. The file being local and the record small, it is
// written at once or not at all, as far as a kill is concerned.
func (b *board) write(i int, r *record) error {
	var buf [recordSize]byte
	r.encode(buf[:])
	_, err := b.file.WriteAt(buf[:], int64(i)*recordSize)
	return err
}

func (b *board) read() ([]record, error) {
	buf := make([]byte, b.records*recordSize)
	if _, err := b.file.ReadAt(buf, 0); err != nil {
		return nil, err
	}
	records := make([]record, b.records)
	for i := range records {
		records[i].decode(buf[i*recordSize:])
	}
	return records, nil
}

func (b *board) writeTally(t tally) error {
	var buf [8 * tallied]byte
	for i, v := range t {
		binary.LittleEndian.PutUint64(buf[8*i:], v)
	}
	_, err := b.file.WriteAt(buf[:], int64(b.records)*recordSize)
	return err
}

func (b *board) readTally() (t tally, err error) {
	var buf [8 * tallied]byte
	if _, err := b.file.ReadAt(buf[:], int64(b.records)*recordSize); err != nil {
		return t, err
	}
	for i := range t {
		t[i] = binary.LittleEndian.Uint64(buf[8*i:])
	}
	return t, nil
}

func (b *board) remove() {
	b.file.Close()
	os.Remove(b.file.Name())
}

// site is where it all takes place. The packs may be on another file system than
// the witnesses.
type site struct{ dir, packs string }

func (s site) pack(p int) string     { return filepath.Join(s.packs, packNames[p]) }
func (s site) sidecar(p int) string  { return filepath.Join(s.pack(p), packlock.FileName) }
func (s site) link(p int) string     { return filepath.Join(s.dir, "links", packNames[p]) }     // a symlink to the pack
func (s site) hardLink(p int) string { return filepath.Join(s.packs, packNames[p]+"-sidecar") } // of its sidecar

// Each section has a witness and a counter of its own; file is as in a spot.
func (s site) witness(p int, file uint64) string { return s.ofFile("witness", p, file) }
func (s site) counter(p int, file uint64) string { return s.ofFile("counter", p, file) }

func (s site) ofFile(what string, p int, file uint64) string {
	return filepath.Join(s.dir, what, fmt.Sprintf("%s-%d", packNames[p], file))
}

// all returns the paths of the witnesses, or of the counters, of a pack.
func (s site) all(what string, p int) ([]string, error) {
	return filepath.Glob(filepath.Join(s.dir, what, packNames[p]+"-*"))
}

// set makes the packs and what belongs to them. What the system has no links
// for, there is none of.
func (s site) set() error {
	for _, dir := range []string{"links", "witness", "counter"} {
		if err := os.Mkdir(filepath.Join(s.dir, dir), 0o777); err != nil {
			return err
		}
	}
	if err := os.Mkdir(s.packs, 0o777); err != nil {
		return err
	}
	for p := range packs {
		if err := os.Mkdir(s.pack(p), 0o777); err != nil {
			return err
		}
		os.Symlink(s.pack(p), s.link(p))
	}
	sidecar := s.sidecar(packStill)
	if err := os.WriteFile(sidecar, nil, 0o666); err != nil {
		return err
	}
	if !terrainOf(s.packs).settled {
		os.Link(sidecar, s.hardLink(packStill))
	}
	return nil
}

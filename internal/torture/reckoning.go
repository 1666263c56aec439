package torture

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"time"
)

// An estate is what processes had counted when they were killed.
type estate struct {
	done   [packs]uint64
	read   [packs]uint64
	counts [countable]uint64
	tally  tally
}

// add adds what a board says.
func (e *estate) add(b *board) error {
	records, err := b.read()
	if err != nil {
		return err
	}
	t, err := b.readTally()
	if err != nil {
		return err
	}
	for _, r := range records {
		for p, n := range r.notes {
			e.done[p] += n.done
			e.read[p] += n.read
		}
		for i, n := range r.counts {
			e.counts[i] += n
		}
	}
	for i, n := range t {
		e.tally[i] += n
	}
	return nil
}

// settle finds out what h, which was killed, had done in the sections it was
// in, and clears its witness files away. It is called for one process at a
// time, so the others are alive.
func (f *foreman) settle(h *hireling) error {
	defer h.board.remove()
	if err := f.dead.add(h.board); err != nil {
		return err
	}
	records, err := h.board.read()
	if err != nil {
		return err
	}
	for p := range packs {
		in := make(map[uint64][]note) // by file
		for _, r := range records {
			if n := r.notes[p]; n.phase != outside {
				in[n.file] = append(in[n.file], n)
			}
		}
		for file, notes := range in {
			readers := func(n note) bool { return n.phase == reading || n.phase == departing }
			if len(notes) > 1 && !allOf(notes, readers) {
				return violationf("%v was killed with %d goroutines in one section of pack %s: %v", h, len(notes), packNames[p], notes)
			}
			s, err := f.sections[p].at(file)
			if err != nil {
				return err
			}
			if readers(notes[0]) {
				err = f.settleReaders(s, h, records)
			} else {
				err = f.settleIn(s, h, notes[0])
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// settleIn is the part of settle for one section that h was in.
func (f *foreman) settleIn(s *spot, h *hireling, in note) error {
	p := s.pack
	ledger, err := s.read()
	if err != nil {
		return err
	}
	count := ledger.count
	left := true
	switch in.phase {
	case held:
		left = false
	case inside:
		// Nobody comes in as long as the witness file is there.
		switch count {
		case in.value:
			f.dead.done[p]++
		case in.value - 1:
		default:
			return violationf("%v was killed when the counter of pack %s was %d, or to become that; it is %d",
				h, packNames[p], in.value, count)
		}
	default:
		if left, err = f.abandoned(s, h); err != nil {
			return err
		}
	}
	if !left || s.blind[seeFile] {
		return nil
	}
	if err := os.Remove(s.witness()); err != nil {
		return violationf("%v was killed in the section of pack %s, but the witness file is not there: %v", h, packNames[p], err)
	}
	return s.writeCleared(ledger.cleared + 1)
}

func allOf(notes []note, is func(note) bool) bool {
	return !slices.ContainsFunc(notes, func(n note) bool { return !is(n) })
}

// settleReaders clears away the seats that h, which was killed, had taken in a spot. Until
// then no writer passes.
func (f *foreman) settleReaders(s *spot, h *hireling, records []record) error {
	ledger, err := s.read()
	if err != nil {
		return err
	}
	for i, r := range records {
		n := r.notes[s.pack]
		if n.file != s.file || n.phase == outside {
			continue
		}
		seat := h.seat() + i
		free := n.value
		if n.phase == departing { // and counted
			free += 2
		}
		if is := ledger.seats[seat]; is != free && is != n.value+1 {
			return violationf("%v was killed when a seat in pack %s was about to become %d; it is %d", h, packNames[s.pack], n.value+1, is)
		}
		if err := s.writeSeat(seat, free); err != nil {
			return err
		}
	}
	return s.writeCleared(ledger.cleared + 1)
}

// abandoned reports whether the witness file is that of h, which was killed when it
// was about to create or to remove it.
//
// It is if it is there and none of the others is at a point where it could
// have created it. Whoever is about to create it is so for a moment only: then
// it has, or has found that it is there.
func (f *foreman) abandoned(s *spot, h *hireling) (bool, error) {
	for left := newPatience(f.Patience); sleep(f.ctx, 50*time.Microsecond); {
		before, err := f.notes(s.pack, h)
		if err != nil {
			return false, err
		}
		_, err = os.Lstat(s.witness())
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		after, err := f.notes(s.pack, h)
		if err != nil {
			return false, err
		}
		elsewhere := func(n note) bool { return n.file != s.file }
		before, after = slices.DeleteFunc(before, elsewhere), slices.DeleteFunc(after, elsewhere)
		if slices.Equal(before, after) {
			others := func(phase phase) bool {
				return slices.ContainsFunc(after, func(n note) bool { return n.phase == phase })
			}
			switch {
			case others(inside):
				return false, nil
			case !others(entering) && !others(leaving):
				return true, nil
			}
		}
		if left.over() {
			return false, violationf("pack %s: whose the witness file is remains open: %v", packNames[s.pack], after)
		}
	}
	return false, f.ctx.Err()
}

// notes returns what all but h tell of a pack.
func (f *foreman) notes(p int, h *hireling) ([]note, error) {
	boards := []*board{f.board}
	for _, other := range f.members() {
		if other != h {
			boards = append(boards, other.board)
		}
	}
	var notes []note
	for _, b := range boards {
		records, err := b.read()
		if err != nil {
			return nil, err
		}
		for _, r := range records {
			notes = append(notes, r.notes[p])
		}
	}
	return notes, nil
}

// total returns what was counted by all, the dead included.
func (f *foreman) total() (estate, error) {
	sum := f.dead
	err := sum.add(f.board)
	for _, h := range f.members() {
		err = errors.Join(err, sum.add(h.board))
	}
	return sum, err
}

// reckon compares the sections that were reported, when everybody is outside,
// with what the counters are.
func (f *foreman) reckon() error {
	sum, err := f.total()
	if err != nil {
		return err
	}
	for p := range packs {
		notes, err := f.notes(p, nil)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(notes, func(n note) bool { return n.phase != outside }) {
			return violationf("at rest, a goroutine is in the section of pack %s: %v", packNames[p], notes)
		}
		if left, err := f.site.all("witness", p); err != nil || len(left) > 0 {
			return violationf("at rest, the witness file of pack %s is there: %v (%v)", packNames[p], left, err)
		}
		count, err := f.count(p)
		if err != nil {
			return err
		}
		if count.written != sum.done[p] && !f.flaw.Blind[seeCounter] {
			return violationf("the counter of pack %s is %d after %d sections", packNames[p], count.written, sum.done[p])
		}
		if count.read != sum.read[p] {
			return violationf("the seats of pack %s count %d after %d shared sections", packNames[p], count.read, sum.read[p])
		}
	}
	return f.reckonMeetings(sum)
}

// reckonMeetings insists that readers share the lock: of so many of them, some must have seen
// another in the section.
func (f *foreman) reckonMeetings(sum estate) error {
	const many = 2000
	read := uint64(0)
	for _, n := range sum.read {
		read += n
	}
	if read-f.judged.read < many || f.Processes*f.Goroutines == 1 {
		return nil
	}
	met := sum.counts[countMet]
	if met == f.judged.met {
		return violationf("none of %d readers has seen another in the section", read-f.judged.read)
	}
	f.judged.read, f.judged.met = read, met
	return nil
}

// reckonAnnouncements insists that no writer is announced when everybody rests. One that was
// may be withdrawn a moment later.
func (f *foreman) reckonAnnouncements() error {
	for p := range packs {
		for left := newPatience(f.Patience); f.disturber.terrain.prompt && announced(f.site.sidecar(p)); {
			if left.over() {
				return violationf("at rest, a writer is announced on the lock file of pack %s", packNames[p])
			}
			if !sleep(f.ctx, time.Millisecond) {
				return f.ctx.Err()
			}
		}
	}
	return nil
}

// A count is how many sections there were, according to the ledgers.
type count struct{ written, read uint64 }

func (c *count) add(l ledger) {
	c.written += l.count
	for _, v := range l.seats {
		c.read += v / 2
	}
}

// count returns the sum of the counters of a pack. Those of files that were lost are
// removed, as there are more with every disturbance.
func (f *foreman) count(p int) (count, error) {
	f.sections[p].forget()
	counters, err := f.site.all("counter", p)
	if err != nil {
		return count{}, err
	}
	sum := f.lost[p]
	for _, path := range counters {
		file, err := os.Open(path)
		if err != nil {
			return sum, err
		}
		l, err := readLedger(file, f.seats())
		file.Close()
		if err != nil {
			return sum, err
		}
		if taken := l.taken(-1); len(taken) > 0 {
			return sum, violationf("at rest, seats of pack %s are taken: %v", packNames[p], taken)
		}
		sum.add(l)
		if path != f.site.counter(p, 0) {
			f.lost[p].add(l)
			if err := os.Remove(path); err != nil {
				return sum, err
			}
		}
	}
	return sum, nil
}

func (f *foreman) summary() Summary {
	s := f.sum
	s.Disturbed, s.Lost, s.Announced = f.disturber.n, f.disturber.lost, f.disturber.announced
	f.mu.Lock()
	s.Longest = f.longest
	f.mu.Unlock()
	if errors.Is(context.Cause(f.ctx), ErrViolation) {
		s.Violations = 1
	}
	sum, err := f.total()
	if err != nil {
		return s
	}
	for _, n := range sum.done {
		s.Sections += n
	}
	for _, n := range sum.read {
		s.SharedSections += n
	}
	s.Shared = sum.counts[countShared]
	s.Met, s.MetElsewhere = sum.counts[countMet], sum.counts[countMetElsewhere]
	s.Operations = sum.counts[countOperations]
	s.Cancelled = sum.counts[countCancelled]
	s.Busy = sum.counts[countBusy]
	s.Refused = sum.counts[countRefused]
	s.KernelWaits = sum.tally[tallyKernelWaits]
	s.HandedOver = sum.tally[tallyHandedOver]
	s.Adopted = sum.tally[tallyAdopted]
	s.Drained = sum.tally[tallyDrained]
	s.Reopened = sum.tally[tallyReopened]
	return s
}

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
			if len(notes) > 1 {
				return violationf("%v was killed with %d goroutines in one section of pack %s: %v", h, len(notes), packNames[p], notes)
			}
			s, err := f.sections[p].at(file)
			if err != nil {
				return err
			}
			if err := f.settleIn(s, h, notes[0]); err != nil {
				return err
			}
		}
	}
	return nil
}

// settleIn is the part of settle for one section that h was in.
func (f *foreman) settleIn(s *spot, h *hireling, in note) error {
	p := s.pack
	count, cleared, err := s.read()
	if err != nil {
		return err
	}
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
	return s.writeCleared(cleared + 1)
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
		if slices.Equal(before, after) {
			others := func(phase phase) bool {
				return slices.ContainsFunc(after, func(n note) bool { return n.phase == phase && n.file == s.file })
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
			return violationf("at rest, somebody is in the section of pack %s: %v", packNames[p], notes)
		}
		if left, err := f.site.all("witness", p); err != nil || len(left) > 0 {
			return violationf("at rest, the witness file of pack %s is there: %v (%v)", packNames[p], left, err)
		}
		count, err := f.count(p)
		if err != nil {
			return err
		}
		if count != sum.done[p] && !f.flaw.Blind[seeCounter] {
			return violationf("the counter of pack %s is %d after %d sections", packNames[p], count, sum.done[p])
		}
	}
	return nil
}

// count returns the sum of the counters of a pack. Those of files that were lost are
// removed, as there are more with every disturbance.
func (f *foreman) count(p int) (uint64, error) {
	f.sections[p].forget()
	counters, err := f.site.all("counter", p)
	if err != nil {
		return 0, err
	}
	sum := f.lost[p]
	for _, path := range counters {
		file, err := os.Open(path)
		if err != nil {
			return 0, err
		}
		count, _, err := readCounter(file)
		file.Close()
		if err != nil {
			return 0, err
		}
		sum += count
		if path != f.site.counter(p, 0) {
			f.lost[p] += count
			if err := os.Remove(path); err != nil {
				return 0, err
			}
		}
	}
	return sum, nil
}

func (f *foreman) summary() Summary {
	s := f.sum
	s.Disturbed, s.Lost = f.disturber.n, f.disturber.lost
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

package proclocks

import "slices"

// A Link is a process that has one locked file and waits for the lock of another,
// or of the same by another descriptor.
type Link struct {
	Process       Process
	Has, WaitsFor string // files
}

// Circle returns the shortest circle of processes that has to do with file: the
// first link has file, each waits for what the next has, and the last one waits
// for file. It is nil if there is none.
//
// A process whose other threads let go of what it has is in no trouble, which
// cannot be told from here. So who took the lock of file himself and waits for it
// too is no circle: those are threads that take turns.
func (t *Tables) Circle(file string) []Link {
	file = listed(file)
	// before has for each file, once it was reached from the first one, how.
	before := map[string]Link{}
	for reached := []string{file}; len(reached) > 0; reached = reached[1:] {
		has := reached[0]
		for _, pid := range t.holders(has) {
			for _, l := range t.Locks {
				if !l.Waits || l.PID != pid || l.File == has && slices.ContainsFunc(t.Takers(has), func(l Lock) bool { return l.PID == pid }) {
					continue
				}
				if _, again := before[l.File]; again {
					continue
				}
				before[l.File] = Link{Process{PID: pid}, has, l.File}
				reached = append(reached, l.File)
			}
		}
	}
	last, ok := before[file]
	if !ok {
		return nil
	}
	circle := []Link{last}
	for circle[0].Has != file {
		circle = slices.Insert(circle, 0, before[circle[0].Has])
	}
	for i := range circle {
		circle[i].Process = Describe(circle[i].Process.PID)
	}
	return circle
}

package packlock

import "iter"

// owners counts the members of a group by goroutine. A few goroutines need no map, which
// would take a sixth of the time of joining and leaving.
type owners struct {
	few [4]struct {
		goroutine uint64
		n         int
	}
	many map[uint64]int // those for which there was no room, none of them in few
}

// of returns how many members belong to the goroutine.
func (o *owners) of(goroutine uint64) int {
	for i := range o.few {
		if o.few[i].goroutine == goroutine && o.few[i].n > 0 {
			return o.few[i].n
		}
	}
	return o.many[goroutine]
}

// add counts a member of the goroutine, or takes one back with n = -1. A detached hold, with
// goroutine 0, belongs to none.
func (o *owners) add(goroutine uint64, n int) {
	if goroutine == 0 {
		return
	}
	free := -1
	for i := range o.few {
		switch {
		case o.few[i].n == 0:
			free = i
		case o.few[i].goroutine == goroutine:
			o.few[i].n += n
			return
		}
	}
	if free >= 0 && o.many[goroutine] == 0 {
		o.few[free].goroutine, o.few[free].n = goroutine, n
		return
	}
	if o.many == nil {
		o.many = make(map[uint64]int)
	}
	if o.many[goroutine] += n; o.many[goroutine] == 0 {
		delete(o.many, goroutine)
	}
}

// all yields the goroutines that members belong to.
func (o *owners) all() iter.Seq[uint64] {
	return func(yield func(uint64) bool) {
		for _, few := range o.few {
			if few.n > 0 && !yield(few.goroutine) {
				return
			}
		}
		for goroutine := range o.many {
			if !yield(goroutine) {
				return
			}
		}
	}
}

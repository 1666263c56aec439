package packlock

import (
	"testing"
	"time"
)

// The rules of courtesy, each as a row of what happens at which time.
func TestCourtesy(t *testing.T) {
	const ms = int64(time.Millisecond)
	start := int64(time.Hour)
	yields := func(c *courtesy, at, t int64) func() bool { return func() bool { return c.found(at, start+t) } }
	var c courtesy
	for _, step := range []struct {
		what string
		got  func() bool
		want bool
	}{
		{"the first reader asks", func() bool { return c.shouldAsk(start) }, true},
		{"no other for a millisecond", func() bool { return c.shouldAsk(start + ms - 1) }, false},
		{"then the next one", func() bool { return c.shouldAsk(start + ms) }, true},
		{"not on an older clock", func() bool { return c.shouldAsk(start) }, true},

		{"it yields to an announcement", yields(&c, 1, 0), true},
		{"for a second", yields(&c, 1, 999*ms), true},
		{"and no longer", yields(&c, 1, 1000*ms), false},
		{"it ignores that one from then on", func() bool { return len(c.stale) == 1 && c.stale[0] == 1 }, true},
		{"a new one gets its own second", yields(&c, 2, 1100*ms), true},
		{"as do others in a row", yields(&c, 3, 2000*ms), true},
		{"", yields(&c, 4, 3000*ms), true},
		{"but not for more than maxYield in all", yields(&c, 5, 10000*ms), false},
		{"so that readers get in for a while", yields(&c, 6, 10900*ms), false},
		{"then it yields again", yields(&c, 7, 11100*ms), true},
		{"", func() bool { c.foundNone(true); return len(c.stale) == 1 }, true},
		{"when there is none, it begins anew", yields(&c, 8, 21000*ms), true},
		{"and forgets the stale ones when they are gone", func() bool { c.foundNone(false); return c.stale == nil }, true},

		{"a group closes when it is old", func() bool { return c.shouldClose(start, start+int64(groupSlice)) }, true},
		{"not before", func() bool { return c.shouldClose(start, start+int64(groupSlice)-1) }, false},
		{"later if it took long to drain", func() bool {
			c.closedAt = start
			c.drained(start + 10*ms)
			return c.shouldClose(start, start+500*ms-1)
		}, false},
		{"", func() bool { return c.shouldClose(start, start+500*ms) }, true},
		{"and then the next acquire asks", func() bool { return c.mustAsk }, true},
	} {
		if got := step.got(); got != step.want {
			t.Errorf("%s: %v", step.what, got)
		}
	}
	for at := range int64(2 * maxStale) {
		c.found(at+100, start)
		c.found(at+100, start+1000*ms)
	}
	if len(c.stale) != maxStale || c.stale[maxStale-1] != 2*maxStale+99 {
		t.Errorf("%d stale announcements, want the last %d", len(c.stale), maxStale)
	}
}

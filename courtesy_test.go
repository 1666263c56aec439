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
		{"for a second and a tenth", yields(&c, 1, 1099*ms), true},
		{"and no longer", yields(&c, 1, 1100*ms), false},
		{"it ignores that one from then on", func() bool { return len(c.stale) == 1 && c.stale[0] == 1 }, true},
		{"a new one gets its own second", yields(&c, 2, 1200*ms), true},
		{"as does the one that it is renewed by", yields(&c, 3, 2201*ms), true},
		{"", yields(&c, 4, 3202*ms), true},
		{"but not for more than maxYield in all", yields(&c, 5, 10000*ms), false},
		{"so that readers get in for a while", yields(&c, 6, 10950*ms), false},
		{"then it yields again", yields(&c, 6, 11150*ms), true},
		{"but not to the next writer, when the first was served", yields(&c, 20, 11155*ms), false},
		{"but after that", yields(&c, 20, 11156*ms), true},
		{"and to one that comes long after the first was seen", yields(&c, 6, 11156*ms+2*int64(yieldMax)), true},
		{"when there is none, it does not yield", func() bool { return c.foundNone(true, start+11170*ms) }, false},
		{"", func() bool { return c.yieldingSince != 0 || len(c.stale) != 1 }, false},
		{"when there is none, it begins again", yields(&c, 8, 21000*ms), true},
		{"and forgets the stale ones when they are gone", func() bool { c.foundNone(false, start); return c.stale == nil }, true},

		{"after it has yielded for long, it asks once more", func() bool {
			c.found(40, start+30000*ms)
			c.found(40, start+30060*ms)
			return c.foundNone(false, start+30061*ms)
		}, true},
		{"and yields to the one that is there then", yields(&c, 41, 30064*ms), true},
		{"", func() bool { return c.foundNone(false, start+30065*ms) }, true},
		{"but not twice", func() bool { return c.foundNone(false, start+30069*ms) }, false},
		{"a try yields for a second", func() bool { c.found(50, start+40000*ms); return c.tryYields(start + 40999*ms) }, true},
		{"and no longer", func() bool { return c.tryYields(start + 41000*ms) }, false},
		{"a group that is old may take longer to drain", func() bool { return sliceDrain(start, start+5000*ms) == 100*time.Millisecond }, true},
		{"a young one may not", func() bool { return sliceDrain(start, start+100*ms) == 2*time.Millisecond }, true},
		{"and a second is enough", func() bool { return sliceDrain(start, start+3600000*ms) == time.Second }, true},
		{"a group that has opened again counts from then on", func() bool {
			c.reopenedAt = start + 50*ms
			defer func() { c.reopenedAt = 0 }()
			return c.shouldClose(start, start+149*ms)
		}, false},

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
		c.found(at+100, start+1100*ms)
	}
	if len(c.stale) != maxStale {
		t.Errorf("%d stale announcements, want the last %d", len(c.stale), maxStale)
	}
}

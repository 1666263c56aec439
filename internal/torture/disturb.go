package torture

import "math/rand/v2"

// The disturber deletes and replaces sidecars and packs.
//
// It has locked the sidecar whenever it does, which nobody else has therefore,
// and it is the one at its path. What it puts there instead, others may lock at
// once. They are not in its way, as it does nothing more in the section.
// Whoever gets the lock of the old file when the disturber lets it go has to
// notice. While somebody else has the lock, nothing happens to the file that is
// locked. The hard link is to a sidecar that is left in peace: to replace a file
// at one of two paths makes two locks of one.
//
// With packLost it is not so considerate: see lose.
type disturber struct {
	site      site
	rng       *rand.Rand
	scribe    scribe
	sections  [packs]*section
	terrain   terrain
	freeze    func() (goOn func()) // stops all processes
	stopOne   func() (goOn func()) // stops one of them
	n         int                  // disturbances so far
	lost      int                  // of those, the ones that another process had locked
	announced int                  // announcements of writers that it has found
	hung      []*rawLock           // of packLost, held by somebody who hangs
	note      func(format string, args ...any)
}

func (d *disturber) begin(what doing) error {
	d.scribe.beats++
	d.scribe.doing = what
	return d.scribe.post()
}

// maxHung is how many may hang with a sidecar of packLost at a time.
const maxHung = 8

// letGo lets those go on that hang.
func (d *disturber) letGo() {
	for _, l := range d.hung {
		l.close()
	}
	d.hung = nil
}

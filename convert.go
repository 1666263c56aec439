package packlock

import "packlock/internal/dropin"

// Holds that change their kind, for package flock. The API of this package has none: a
// conversion that fails may lose the lock that there was.

func init() {
	dropin.MustExist = Option(func(o *options) { o.mustExist = true })
	dropin.Unowned = Option(func(o *options) { o.unowned = true })
	dropin.Upgrade = func(hold any) (bool, error) { return hold.(*Hold).upgrade() }
	dropin.Downgrade = func(hold any) error { return hold.(*Hold).downgrade() }
}

// errLostInConversion is an ErrLost with a text of its own: the file is where it was.
var errLostInConversion error = describedError{"another process acquired the lock while it was converted", ErrLost}

// upgrade is dropin.Upgrade.
func (h *Hold) upgrade() (bool, error) {
	e := h.opened()
	e.mu.Lock()
	switch {
	case !e.isLiveLocked(h):
		e.mu.Unlock()
		return false, h.fail("upgrade", ErrReleased)
	case !h.member, e.group.n > 1:
		e.mu.Unlock()
		return !h.member, nil
	}
	owner, orphaned := h.owner, e.orphan.file != nil
	e.endGroupLocked(h)
	e.shared = false // a shared try must not wait for how this ends
	e.mu.Unlock()

	// From here on the turn is ours, and the hold is not live.
	if err := e.unlock(); err != nil {
		e.pass()
		return false, h.fail("upgrade", err)
	}
	exclusive, err := e.active.try(false)
	ok := exclusive
	if !ok && err == nil {
		ok, err = e.active.try(true)
	}
	if !ok && err == nil && orphaned {
		e.awaitOrphan()
		ok, err = e.active.try(true)
	}
	return exclusive, h.converted("upgrade", owner, ok, !exclusive, err)
}

// downgrade is dropin.Downgrade.
func (h *Hold) downgrade() error {
	e := h.opened()
	e.mu.Lock()
	switch {
	case !e.isLiveLocked(h):
		e.mu.Unlock()
		return h.fail("downgrade", ErrReleased)
	case h.member:
		e.mu.Unlock()
		return nil
	}
	e.hold = nil
	e.shared = true // a shared try may wait for how this ends
	e.mu.Unlock()

	ok, err := e.active.toShared()
	switch {
	case err != nil:
		ok = false
		e.unlock() // the lock may be there still
	case !ok:
		if err = e.unlock(); err == nil {
			ok, err = e.active.try(true)
		}
	}
	return h.converted("downgrade", h.owner, ok, true, err)
}

// converted ends a conversion of h, of the goroutine owner, to a lock of that kind, which is
// ours if ok is set. The caller has the turn.
func (h *Hold) converted(op string, owner uint64, ok, shared bool, err error) error {
	e := h.entry
	if !ok {
		if err == nil {
			err = errLostInConversion
		}
		e.pass()
		return h.fail(op, err)
	}
	t := now()
	e.mu.Lock()
	h.shared = shared
	e.takeLocked(h, owner)
	e.fair.startSlice(t)
	e.mu.Unlock()
	if shared {
		e.openGroup(h)
	}
	return nil
}

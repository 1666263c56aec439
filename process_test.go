package packlock

import (
	"os"
	"testing"
)

func TestKilledHolderLetsGo(t *testing.T) {
	dir := t.TempDir()
	l := openReal(t, dir)
	holder := childHolder(t, dir)
	ctx := bounded(t)
	wg := queueUp(t, l, 3, func(int) { takeTurn(ctx, t, l) })
	holder.kill()
	wg.Wait()

	holder = childHolder(t, dir)
	checkBusy(t, l)
	holder.kill()
	release(t, acquireReal(t, l))
}

func TestKilledWaiterLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	l := openReal(t, dir)
	h := acquireReal(t, l)
	killed, other := childWaiter(t, dir), childWaiter(t, dir)
	killed.kill()
	checkExcludes(t, h)
	release(t, h)
	other.expect("locked")
	other.kill()
	release(t, acquireReal(t, l))
}

func TestDroppedHoldStaysHeld(t *testing.T) {
	dir := t.TempDir()
	l := openReal(t, dir)
	elsewhere := childStart(t, "drop", dir) // a process of its own, as nothing can ever end the hold
	elsewhere.expect("dropped")
	if !isLocked(t, l.Path()) {
		t.Error("not locked")
	}
	checkBusy(t, l)
	elsewhere.finish()
	release(t, acquireReal(t, l))
}

func TestChildrenDoNotInheritTheLock(t *testing.T) {
	dir := t.TempDir()
	l := openReal(t, dir)
	c := childStart(t, "start", dir)
	c.expect("started")
	checkBusy(t, l)
	c.checkAlive()
	c.kill()
	release(t, acquireReal(t, l))
	c.checkAlive() // the child's child, that is
}

func TestChildKeepsDupOfKilledProcess(t *testing.T) {
	skipWithoutDup(t)
	dir := t.TempDir()
	l := openReal(t, dir)
	c := childStart(t, "start", dir, "dup")
	c.expect("started")
	c.kill()
	c.checkAlive()
	if !isLocked(t, l.Path()) {
		t.Error("not locked although the duplicate is still open")
	}
	c.stdin.Close() // and the child's child exits
	release(t, acquireReal(t, l))
}

func TestReleaseLetsGoOfDups(t *testing.T) {
	skipWithoutDup(t)
	dir := t.TempDir()
	l := openReal(t, dir)
	h := acquireReal(t, l)
	dup, err := h.Dup()
	if err != nil {
		t.Fatal(err)
	}
	cmd, err := childCommand(bounded(t), "echo")
	if err != nil {
		t.Fatal(err)
	}
	cmd.ExtraFiles = []*os.File{dup}
	c := childStartCommand(t, cmd)
	c.checkAlive()
	if err := dup.Close(); err != nil {
		t.Error(err)
	}
	checkExcludes(t, h) // closing a duplicate lets go of nothing
	release(t, h)
	childHolder(t, dir).finish()
	c.checkAlive()
	c.finish()
}

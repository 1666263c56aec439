package main

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"testing"

	gofrs "github.com/gofrs/flock"

	"packlock/flock"
)

// aFlock is what the Flocks of both libraries have in common.
type aFlock interface {
	TryLock() (bool, error)
	TryRLock() (bool, error)
	Unlock() error
	Locked() bool
	RLocked() bool
}

// Any sequence of calls has the same results with both libraries, but for two things that
// docs/from-gofrs-flock.md lists. So no third lock is acquired by a Flock that has had
// both kinds, and one whose TryLock failed while it had a shared lock is unlocked at once.
func TestDropInAnswersAsGofrsDoes(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there gofrs/flock cannot make a shared lock exclusive")
	}
	const flocks, calls = 3, 200
	for seed := range uint64(100) {
		dir := t.TempDir()
		var ours, theirs [flocks]aFlock
		for i := range flocks {
			ours[i] = flock.New(filepath.Join(dir, "ours"))
			theirs[i] = gofrs.New(filepath.Join(dir, "theirs"))
		}
		random := rand.New(rand.NewPCG(seed, 0))
		var log string
		unlock := -1 // what must be unlocked at once
		for range calls {
			i, call := random.IntN(flocks), random.IntN(3)
			if unlock >= 0 {
				i, call = unlock, 0
			} else if theirs[i].Locked() && theirs[i].RLocked() {
				call = 0
			}
			answer := func(f aFlock) string {
				var ok bool
				var err error
				switch call {
				case 0:
					err = f.Unlock()
				case 1:
					ok, err = f.TryLock()
				case 2:
					ok, err = f.TryRLock()
				}
				return fmt.Sprintf("%s of %d: %v, %v, Locked %v, RLocked %v",
					[]string{"Unlock", "TryLock", "TryRLock"}[call], i, ok, err, f.Locked(), f.RLocked())
			}
			shared := theirs[i].RLocked()
			want, got := answer(theirs[i]), answer(ours[i])
			log += want + "\n"
			if got != want {
				t.Fatalf("with seed %d, after\n%spacklock/flock returns %s", seed, log, got)
			}
			unlock = -1
			if call == 1 && shared && !theirs[i].Locked() {
				unlock = i
			}
		}
		for _, f := range ours {
			f.Unlock()
		}
		for _, f := range theirs {
			f.Unlock()
		}
	}
}

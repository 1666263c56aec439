package locktest

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// wakes is whether waiting for the lock lasts as long as another has it, and no
// longer.
func wakes(x *exam) (string, error) {
	holder, other, err := x.startPair()
	if err != nil {
		return "", err
	}
	for range 7 {
		w, err := other.park()
		if err != nil {
			return "", err
		}
		released, err := holder.unlock()
		if err != nil {
			return "", err
		}
		wake, err := w.woken(released.At)
		if err != nil {
			return "", err
		}
		if wake > time.Second {
			break // each of them may take as long
		}
		holder, other = other, holder
	}
	took := slices.Sorted(slices.Values(x.latencies))
	worst := took[len(took)-1]
	detail := fmt.Sprintf("after %v, %v at worst", rounded(took[len(took)/2]), rounded(worst))
	if worst > time.Second {
		detail += ": whoever waits here asks again and again, and late"
	}
	return detail, nil
}

// polls is whether a process that waits keeps going to sleep anew. In a window
// of time one that is woken does so hardly ever, and one that polls does so in
// every window.
func polls(x *exam) (string, error) {
	_, other, err := x.startPair()
	if err != nil {
		return "", err
	}
	before, err := other.sleeps()
	if err != nil {
		return "", err
	}
	if _, err := other.park(); err != nil {
		return "", err
	}
	while, err := other.sleeps()
	if err != nil {
		return "", err
	}
	// What the process does beside, it did before.
	least, noise := slices.Min(while), slices.Min(before)
	if least >= noise+2 {
		return "", fmt.Errorf("it asks again and again: while it waits, it goes to sleep %d times in %v", least-noise, sleepWindow)
	}
	return "", nil
}

// sleepWindow is the window that polls counts in. In some of them falls nothing
// that happens twice a second.
const sleepWindow = 250 * time.Millisecond

// sleeps returns how often the process of h went to sleep in each of some
// windows.
func (h handleOf) sleeps() (counts []int64, err error) {
	said, err := h.ask("counting how often it sleeps", order{Do: doScript, Path: scriptSleeps})
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(said.Result, &counts); err != nil {
		return nil, err
	}
	if len(counts) == 0 {
		return nil, skip("the system does not tell how often a process goes to sleep")
	}
	return counts, nil
}

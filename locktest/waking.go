package locktest

import (
	"encoding/json"
	"errors"
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
		detail += ": a waiter polls here, and is late"
	}
	return detail, nil
}

// polls is whether a process that waits keeps going to sleep anew. There are
// moments in which one that is woken does not, and none for one that polls.
func polls(x *exam) (string, error) {
	_, other, err := x.startPair()
	if err != nil {
		return "", err
	}
	// The runtime does so, too, for the counting alone.
	idle, err := other.sleeps(5)
	if err != nil {
		return "", err
	}
	if _, err := other.park(); err != nil {
		return "", err
	}
	const noise = 3 // to ask every 100 ms is more
	waiting, err := other.sleeps(idle + noise)
	if err != nil {
		return "", err
	}
	if waiting > idle+noise {
		return "", fmt.Errorf("it polls: while it waits, it goes to sleep %d times in %v at least", waiting, sleepWindow)
	}
	return "", nil
}

// sleepWindow is the time that sleeps counts in, and sleepWindows is how many of
// them there are at most. In some falls nothing that happens twice a second.
const (
	sleepWindow  = 250 * time.Millisecond
	sleepWindows = 16
)

// sleeps returns how often the process of h goes to sleep in a window at least.
// It looks until it has seen one with no more than enough.
func (h handleOf) sleeps(enough int64) (least int64, err error) {
	said, err := h.script(scriptSleeps, enough, h.x.bounds.answer)
	if errors.Is(err, errors.ErrUnsupported) {
		return 0, skip("the system does not tell how often a process goes to sleep")
	}
	if err != nil {
		return 0, err
	}
	return least, json.Unmarshal(said.Result, &least)
}

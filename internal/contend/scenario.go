package contend

import (
	"fmt"
	"time"
)

// A Scenario is who contends, and how.
type Scenario struct {
	Name      string
	Processes []Contender

	// Section is how long a lock is held. It is spent spinning on the clock,
	// whatever its length: what slept would be late by what the scheduler and
	// its timers make of it, and the section would be of no certain length.
	// So no more processors can be busy with sections than one. Shared locks
	// are different: those of a millisecond and more are held asleep.
	Section time.Duration

	// Unclocked leaves out the two looks at the clock that an operation takes
	// otherwise, and with them the waits: for operations within one process
	// that cost little more than that. Section must be zero.
	Unclocked bool

	// Cold leaves out the warm-up: the first acquires of a process are measured.
	Cold bool

	// wakeUp is the scenario of WakingUp.
	wakeUp bool
}

// A Contender is one process of a Scenario.
type Contender struct {
	Goroutines int
	Pause      time.Duration // of each goroutine, asleep, after each operation
	Library    string        // its own; "" is that of the run
	Empty      bool          // its sections are, whatever Section is

	// Shared says that its locks are shared. If OneIn is not zero, one in so many is
	// exclusive nevertheless.
	Shared bool
	OneIn  int

	// Joins keeps a shared lock in the process for as long as the run takes.
	Joins bool

	GiveUp time.Duration // after which it gives up a wait and pauses; zero: never
	Poll   time.Duration // between its tries of an exclusive lock, if it does not wait in the kernel
	Sleep  time.Duration // of one that locks nothing: its Waits are how late it was woken
}

// locks reports whether it locks exclusively, and whether it locks shared.
func (c Contender) locks() (exclusive, shared bool) {
	return c.Sleep == 0 && (!c.Shared || c.OneIn > 0), c.Sleep == 0 && (c.Shared || c.Joins)
}

// HasRate, HasWaits and HasShare report which of the Figures of s mean anything.
func (s Scenario) HasRate() bool  { return !s.wakeUp }
func (s Scenario) HasWaits() bool { return !s.Unclocked }
func (s Scenario) HasShare() bool { return len(s.Processes) > 1 && s.symmetric() }

// symmetric reports whether all processes do the same.
func (s Scenario) symmetric() bool {
	for _, c := range s.Processes {
		if c != s.Processes[0] {
			return false
		}
	}
	return true
}

// Even is the scenario in which all processes do the same, without pause.
func Even(processes, goroutines int, section time.Duration) Scenario {
	s := Scenario{Section: section}
	s.Name = fmt.Sprintf("%d × %d, ", processes, goroutines)
	if section == 0 {
		s.Name += "empty section"
	} else {
		s.Name += Duration(section) + " section"
	}
	for range processes {
		s.Processes = append(s.Processes, Contender{Goroutines: goroutines})
	}
	return s
}

// Inside is the scenario of one process with an empty section, without the
// waits.
func Inside(goroutines int) Scenario {
	s := Even(1, goroutines, 0)
	s.Unclocked = true
	return s
}

// FromCold is Inside without a warm-up.
func FromCold(goroutines int) Scenario {
	s := Inside(goroutines)
	s.Name += ", from cold"
	s.Cold = true
	return s
}

// Asking is the scenario in which one process in a tight loop meets another
// whose only goroutine asks every 10 ms. The waits are those of the latter.
func Asking(tight int) Scenario {
	return Scenario{
		Name: fmt.Sprintf("1 × %d against one asking every 10 ms", tight),
		Processes: []Contender{
			{Goroutines: tight},
			{Goroutines: 1, Pause: 10 * time.Millisecond},
		},
	}
}

// Beside is the scenario in which one process in a tight loop, with sections of
// that length, meets another program: one goroutine that locks by the library
// other, lets go at once, pauses for 10 ms, and asks again. The waits are those of
// the latter.
func Beside(tight int, section time.Duration, other string) Scenario {
	s := Even(1, tight, section)
	s.Name += " beside " + other
	s.Processes = append(s.Processes, Contender{Goroutines: 1, Pause: 10 * time.Millisecond, Library: other, Empty: true})
	return s
}

// WakingUp is the scenario in which the waits are not those from asking for the
// lock but those from another process's release; see WakeUp.
func WakingUp() Scenario {
	return Scenario{Name: "wake-up after another's release", wakeUp: true}
}

// Matrix is the set of scenarios that shows what there is to see: the price
// inside a process, throughput and fairness between processes.
func Matrix(processes int) []Scenario {
	set := []Scenario{Inside(1), Inside(8), Inside(64)}
	for _, section := range []time.Duration{0, 20 * time.Microsecond, time.Millisecond} {
		for _, goroutines := range []int{1, 8} {
			set = append(set, Even(processes, goroutines, section))
		}
	}
	return append(set, Asking(1), Asking(8), WakingUp())
}

package main

import (
	"fmt"
	"time"
)

// A holder is who has the lock of a sidecar, as far as the system tells: more
// than one process if the descriptor was inherited, or if somebody locks
// shared. The zero holder is unknown.
type holder struct {
	// takers are the pids by which the system lists the lock: of those who
	// took it, even if they have ended since.
	takers []int
	// processes are those that can be seen to have it now, but for this one.
	processes []process
	// self is whether this process has it, too.
	self bool
}

// A process is what can be told about one.
type process struct {
	pid     int
	command string        // command line or name, made printable; "" if not to be had
	age     time.Duration // 0 if not to be had
}

func (h holder) known() bool { return h.self || len(h.takers) > 0 || len(h.processes) > 0 }

// String returns what fits after "held by".
func (h holder) String() string {
	switch {
	case len(h.processes) > 1:
		return fmt.Sprintf("%v and %d more", h.processes[0], len(h.processes)-1)
	case len(h.processes) == 1:
		return h.processes[0].String()
	case h.self:
		return "this very process, which inherited the lock"
	case len(h.takers) > 0:
		return fmt.Sprintf("a process that cannot be seen from here and inherited the lock from pid %d, which has ended", h.takers[0])
	}
	return unknownHolder
}

func (p process) String() string {
	s := fmt.Sprintf("pid %d", p.pid)
	if p.command != "" {
		s += " (" + p.command + ")"
	}
	if p.age > 0 {
		s += fmt.Sprintf(", which started %v ago", p.age.Round(time.Second))
	}
	return s
}

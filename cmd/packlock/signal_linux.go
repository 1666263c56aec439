package main

import (
	"os"
	"runtime"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// morePassedOn are the signals of passedOn that not every Unix has. Of the real-time
// signals, Go leaves the first, 34, to C libraries.
var morePassedOn = func() []os.Signal {
	signals := []os.Signal{unix.SIGPWR}
	for n := 35; n <= 64; n++ {
		signals = append(signals, syscall.Signal(n))
	}
	return signals
}()

// byDefault has the kernel do by s what it does to a process that takes no notice of
// s, and reports that it can. Go itself handles most signals, prints stacks for some
// of them, and gives back none. No core is written for this process: the one that is
// of interest is that of the command.
func byDefault(s syscall.Signal) bool {
	// RLIMIT_CORE says nothing to a core that goes to a program.
	if unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) != nil {
		return false
	}
	size := uintptr(8) // of a set of signals
	if strings.HasPrefix(runtime.GOARCH, "mips") {
		size = 16
	}
	var zeros [64]byte // SIG_DFL, however the fields are arranged
	if s != unix.SIGKILL {
		if _, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(s), uintptr(unsafe.Pointer(&zeros)), 0, size, 0, 0); errno != 0 {
			return false
		}
	}
	// This thread may have s blocked, from the start.
	runtime.LockOSThread()
	var none unix.Sigset_t
	return unix.PthreadSigmask(unix.SIG_SETMASK, &none, nil) == nil
}

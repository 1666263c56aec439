package main

import (
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A witness is a process in the process group of run. It has all signals blocked and
// does nothing. A signal that was sent to the whole group is pending there for good,
// and one that was sent to run alone is not. Nothing else tells the two apart: they
// have the same siginfo.
//
// The state of the witness is the kernel's. So it makes no difference whether the
// witness has begun to run, is stopped, or is late.
type witness struct {
	process
	seen signalSet // by an earlier process
	idle signalSet // at the last tidy
}

// process is the process of a witness. It ends when its standard input does, with run
// at the latest. It is a cat, which is everywhere, leaves the mask of signals as it is,
// which Go does not, and is not among those that "pkill packlock" is for.
type process struct {
	cmd   *exec.Cmd
	stdin io.Closer
}

// startWitness starts a witness. Where it cannot, got does not know anything.
//
// It costs a process for each run, and a millisecond or two.
func startWitness() *witness {
	p, err := startProcess()
	if err != nil {
		return nil
	}
	w := &witness{process: p}
	if _, ok := w.pending(); !ok {
		w.end()
		return nil
	}
	return w
}

func startProcess() (process, error) {
	r, stdin, err := os.Pipe()
	if err != nil {
		return process{}, err
	}
	defer r.Close()
	cmd := exec.Command("cat")
	cmd.Dir, cmd.Stdin = "/", r

	// It inherits the mask of the thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var all, before unix.Sigset_t
	for i := range all.Val {
		all.Val[i] = ^all.Val[i]
	}
	if err = unix.PthreadSigmask(unix.SIG_SETMASK, &all, &before); err == nil {
		err = cmd.Start()
		unix.PthreadSigmask(unix.SIG_SETMASK, &before, nil)
	}
	if err != nil {
		stdin.Close()
		return process{}, err
	}
	return process{cmd, stdin}, nil
}

func (p process) end() {
	p.stdin.Close()
	p.cmd.Process.Kill()
	p.cmd.Wait()
}

// pending returns the signals that were sent to the process.
func (p process) pending() (pending signalSet, ok bool) {
	status := statusOf(p.cmd.Process.Pid)
	n, err := strconv.ParseUint(status["ShdPnd"], 16, 64)
	// If it has another parent, /proc is that of another pid namespace.
	return signalSet(n), err == nil && status["PPid"] == strconv.Itoa(os.Getpid())
}

func (w *witness) end() {
	if w != nil {
		w.process.end()
	}
}

// forget has the witness forget what has come to it.
func (w *witness) forget() {
	if w != nil {
		w.renew()
		w.seen, w.idle = 0, 0
	}
}

// tidy, called from time to time, has the witness forget what was sent to it alone, as
// by killall cat. That never comes to run, and what does later would be taken for it.
func (w *witness) tidy() {
	if w == nil {
		return
	}
	pending, _ := w.pending()
	idle := w.idle
	if w.idle = pending | w.seen; w.idle&idle != 0 {
		w.forget()
	}
}

// renew puts a new process in the place of the old one, where the signals that
// have come would not be seen to come again. What comes in between is pending in
// one of the two.
func (w *witness) renew() {
	before, _ := w.pending()
	p, err := startProcess()
	after, _ := w.pending()
	w.seen |= after &^ before
	w.process.end()
	if err == nil {
		w.process = p
	}
}

// got reports whether the witness, too, has got s, which has come to run.
func (w *witness) got(s os.Signal) (got, known bool) {
	if w == nil {
		return false, false
	}
	bit := setOf(s.(syscall.Signal))
	// A signal to a group is sent under a lock of the kernel that is released when all
	// have it, and setpgid waits for that lock.
	if group, err := unix.Getpgid(0); err == nil {
		unix.Setpgid(0, group)
	}
	// systemd sends a signal to one process of a service after the other, and timeout(1)
	// to run and then to the group of run.
	const atATime, moment = time.Millisecond, 20 * time.Millisecond
	for waited := time.Duration(0); ; waited += atATime {
		pending, ok := w.pending()
		switch {
		case !ok:
			return false, false
		case (w.seen|pending)&bit != 0:
			if pending&bit != 0 {
				w.seen |= pending
				w.renew()
			}
			w.seen &^= bit
			return true, true
		case waited >= moment:
			return false, true
		}
		time.Sleep(atATime)
	}
}

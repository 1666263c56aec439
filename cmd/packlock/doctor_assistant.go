package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"time"

	"packlock"
)

// assistantArg, alone, is how doctor starts its own child processes.
const assistantArg = "-assistant"

// openScratch opens the lock that is examined. Tests have every process lock a
// file of its own: that is a file system whose locks exclude nobody.
var openScratch = packlock.OpenFile

// An order is what an assistant is told to do.
type order struct {
	Do   string
	Path string // of orderOpen
}

const (
	orderOpen    = "open"
	orderTry     = "try"     // take the lock, or say that it is busy
	orderLock    = "lock"    // take the lock; say first that it is busy, and then that it is taken
	orderCheck   = "check"   // is the locked file the one at its path?
	orderRelease = "release" // answers with the time before
	orderClose   = "close"   // release and close
	orderExit    = "exit"    // while it holds the lock; there is no answer
	orderStart   = "start"   // start another, which takes its place on its standard input and output
	orderHandOn  = "hand on" // the same, with a duplicate of the locked descriptor
	orderDrop    = "drop"    // close the duplicate that was handed on
	orderNothing = "nothing"
)

// An answer is what an assistant says to an order.
type answer struct {
	Busy        bool
	At          time.Time     // when it happened, on the clock of this machine
	Took        time.Duration // how long the order took
	Error       string
	Unsupported bool // Error is an errors.ErrUnsupported
}

// assistantCommand returns the command of an assistant, by way of the emulator
// that the tests run under, if any.
func assistantCommand() (*exec.Cmd, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	command := append(append([]string(nil), contenders.Launcher...), exe, "doctor", assistantArg)
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stderr = os.Stderr
	return cmd, nil
}

// assist is the life of an assistant: it does what it is told on its standard
// input, in order, and ends at once when that does.
func assist() {
	// Ctrl-C in a terminal reaches it, too, and is for doctor, which must not
	// see it die of that first and put it down to the file system.
	signal.Ignore(endings...)
	orders := make(chan order)
	go func() {
		defer close(orders)
		for in := json.NewDecoder(os.Stdin); ; {
			var o order
			if in.Decode(&o) != nil {
				os.Exit(0)
			}
			orders <- o
			if o.Do == orderStart || o.Do == orderHandOn {
				return // the rest is for the other
			}
		}
	}()
	a := assisting{out: json.NewEncoder(os.Stdout)}
	a.out.Encode(answer{}) // it is up
	for o := range orders {
		started := time.Now()
		said, err := a.do(o)
		said.Took = time.Since(started)
		if err != nil {
			said.Error = err.Error()
			said.Unsupported = errors.Is(err, errors.ErrUnsupported)
		}
		a.out.Encode(said)
	}
	os.Exit(0) // the start of the other failed
}

// assisting is the state of an assistant.
type assisting struct {
	out  *json.Encoder
	lock *packlock.Lock
	hold *packlock.Hold
}

func (a *assisting) do(o order) (said answer, err error) {
	switch o.Do {
	case orderOpen:
		a.lock, err = openScratch(o.Path)
	case orderTry:
		a.hold, err = a.lock.TryAcquire()
		if errors.Is(err, packlock.ErrBusy) {
			return answer{Busy: true}, nil
		}
	case orderLock:
		return a.wait()
	case orderCheck:
		err = a.hold.Check()
	case orderRelease:
		said.At = time.Now()
		err = a.hold.Release()
	case orderClose:
		err = errors.Join(a.hold.Release(), a.lock.Close())
	case orderExit:
		os.Exit(0)
	case orderStart, orderHandOn:
		err = a.start(o.Do == orderHandOn)
	case orderDrop:
		err = os.NewFile(firstExtraFile, "").Close()
	}
	return said, err
}

// wait takes the lock. If it has to wait, it says so when it has come as far as
// the kernel.
func (a *assisting) wait() (answer, error) {
	got := make(chan answer, 1)
	var err error
	go func() {
		a.hold, err = a.lock.Acquire(context.Background())
		at := time.Now()
		if err == nil {
			a.hold.Detach() // from this goroutine
		}
		got <- answer{At: at}
	}()
	for look := time.Tick(time.Millisecond); !a.lock.Stats().Parked; {
		select {
		case said := <-got:
			return said, err
		case <-look:
		}
	}
	a.out.Encode(answer{Busy: true})
	said := <-got
	return said, err
}

// firstExtraFile is the descriptor of the first of an exec.Cmd's ExtraFiles.
const firstExtraFile = 3

// start starts an assistant in place of this one, which is left with waiting
// for its end.
func (a *assisting) start(handOn bool) error {
	cmd, err := assistantCommand()
	if err != nil {
		return err
	}
	cmd.Stdin, cmd.Stdout = os.Stdin, os.Stdout
	if handOn {
		dup, err := a.hold.Dup()
		if err != nil {
			return err
		}
		cmd.ExtraFiles = append(cmd.ExtraFiles, dup)
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	for _, f := range cmd.ExtraFiles {
		f.Close()
	}
	cmd.Wait()
	os.Exit(0)
	return nil
}

// An assistant is a process that locks as it is told.
type assistant struct {
	cmd     *exec.Cmd
	stdin   *os.File
	orders  *json.Encoder
	answers chan answer // closed when it and those that it started are gone
	killed  bool
}

// answerBound is how long an assistant may take for what should take no time,
// a slow network and a busy machine included.
const answerBound = 15 * time.Second

// newAssistant starts one.
func newAssistant(ctx context.Context) (*assistant, error) {
	cmd, err := assistantCommand()
	if err != nil {
		return nil, err
	}
	// Not the pipes of cmd, which Wait closes: others may take its place.
	theirStdin, stdin, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer theirStdin.Close()
	stdout, theirStdout, err := os.Pipe()
	if err != nil {
		stdin.Close()
		return nil, err
	}
	defer theirStdout.Close()
	cmd.Stdin, cmd.Stdout = theirStdin, theirStdout
	if err := cmd.Start(); err != nil {
		stdin.Close()
		stdout.Close()
		return nil, err
	}
	a := &assistant{cmd: cmd, stdin: stdin, orders: json.NewEncoder(stdin), answers: make(chan answer, 16)}
	go func() {
		defer stdout.Close()
		defer close(a.answers)
		for in := json.NewDecoder(stdout); ; {
			var said answer
			if in.Decode(&said) != nil {
				return
			}
			a.answers <- said
		}
	}()
	if _, err := a.answer(ctx, answerBound); err != nil {
		a.dismiss()
		return nil, err
	}
	return a, nil
}

// tell gives an order without waiting for the answer.
func (a *assistant) tell(o order) error { return a.orders.Encode(o) }

// answer waits for the next answer.
func (a *assistant) answer(ctx context.Context, bound time.Duration) (answer, error) {
	timer := time.NewTimer(bound)
	defer timer.Stop()
	select {
	case said, ok := <-a.answers:
		switch {
		case !ok:
			return said, errEnded
		case said.Unsupported:
			return said, fmt.Errorf("%s: %w", said.Error, errors.ErrUnsupported)
		case said.Error != "":
			return said, errors.New(said.Error)
		}
		return said, nil
	case <-timer.C:
		return answer{}, fmt.Errorf("no answer from the file system in %v", bound)
	case <-ctx.Done():
		return answer{}, ctx.Err()
	}
}

var errEnded = errors.New("a process that was to lock ended before it did")

// ask gives an order and waits for the answer.
func (a *assistant) ask(ctx context.Context, o order) (answer, error) {
	if err := a.tell(o); err != nil {
		return answer{}, err
	}
	return a.answer(ctx, answerBound)
}

// kill kills the process that was started first. When it returns, that is gone.
func (a *assistant) kill() {
	if !a.killed {
		a.killed = true
		a.cmd.Process.Kill()
		a.cmd.Wait()
	}
}

// dismiss has it end, and those that it started. One that a dead network file
// system does not even let die is left behind.
func (a *assistant) dismiss() {
	a.stdin.Close()
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		for range a.answers {
		}
		if !a.killed {
			a.cmd.Wait()
		}
	}()
	const patience = 2 * time.Second
	select {
	case <-gone:
		return
	case <-time.After(patience):
		a.cmd.Process.Kill()
	}
	select {
	case <-gone:
	case <-time.After(patience):
	}
}

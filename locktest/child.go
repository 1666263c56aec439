package locktest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"packlock/internal/goid"
)

// An order is what a child is told to do.
type order struct {
	ID     int
	Do     string
	Handle int
	Shared bool // of doTry, doLock and doEnded
	Path   string
	Script json.RawMessage // of doScript
}

const (
	doOpen   = "open"
	doTry    = "try"    // says Busy if the lock is
	doLock   = "lock"   // says Waits if it has to wait, and then the end of it
	doCancel = "cancel" // ends the context of the lock under way; says the time before
	doEnded  = "ended"  // lock with a context that has ended
	doCheck  = "check"  // is the locked file the one at its path?
	doUnlock = "unlock" // says the time before
	doClose  = "close"
	doExit   = "exit"    // there is no answer
	doStart  = "start"   // start another, which takes its place on its standard input and output
	doHandOn = "hand on" // the same, with the file of Dup
	doDrop   = "drop"    // close the file that was handed on
	doScript = "script"  // the one named Path
)

// An answer is what a child says to the order of that ID.
type answer struct {
	ID          int
	Waits       bool // another answer follows
	Busy        bool
	At          time.Time     // when it happened, on the clock of this machine
	Took        time.Duration // how long the order took
	Error       string
	Unsupported bool // Error is an errors.ErrUnsupported
	Cancelled   bool // Error is the context's
	Result      json.RawMessage
}

// mark is what the lines begin with that are answers, and not what the program
// prints for other reasons.
const mark = "locktest:"

// firstExtraFile is the descriptor of the first of an exec.Cmd's ExtraFiles.
const firstExtraFile = 3

// life is the state of a child.
type life struct {
	lib Lib

	mu sync.Mutex // guards the following
	// handles are those opened. One is used by the order that names it.
	handles map[int]*handle
	out     *bufio.Writer
}

type handle struct {
	Locker
	cancel context.CancelFunc // of the lock under way
}

// try and lock acquire the lock of either kind.

func (h *handle) try(shared bool) (bool, error) {
	if !shared {
		return h.TryLock()
	}
	s, err := h.sharing()
	if err != nil {
		return false, err
	}
	return s.TryLockShared()
}

func (h *handle) lock(ctx context.Context, shared bool) error {
	if !shared {
		return h.Lock(ctx)
	}
	s, err := h.sharing()
	if err != nil {
		return err
	}
	return s.LockShared(ctx)
}

func (h *handle) sharing() (SharedLocker, error) {
	s, ok := h.Locker.(SharedLocker)
	if !ok {
		return nil, fmt.Errorf("the library has no shared locks: %w", errors.ErrUnsupported)
	}
	return s, nil
}

// live does what it is told on standard input until that ends. Orders that are
// given before the answer to another are done at the same time.
func live(lib Lib, r role) {
	// Ctrl-C in a terminal reaches it, too, and is for the parent, which must
	// not see it die of that first and put it down to the lock.
	signal.Ignore(endings...)
	l := &life{lib: lib, handles: make(map[int]*handle), out: bufio.NewWriter(os.Stdout)}
	l.say(answer{ID: r.Hello})
	for in := json.NewDecoder(os.Stdin); ; {
		var o order
		if in.Decode(&o) != nil {
			os.Exit(0)
		}
		if o.Do == doStart || o.Do == doHandOn {
			l.obey(o) // what comes next is for the other
			continue
		}
		go l.obey(o)
	}
}

func (l *life) say(a answer) {
	encoded, err := json.Marshal(a)
	if err != nil {
		panic(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintf(l.out, "%s%s\n", mark, encoded)
	l.out.Flush()
}

// obey does what is ordered and says how it went.
func (l *life) obey(o order) {
	started := time.Now()
	said, err := l.do(o)
	said.ID, said.Took = o.ID, time.Since(started)
	if err != nil {
		said.Error = explain(err)
		said.Unsupported = errors.Is(err, errors.ErrUnsupported)
		said.Cancelled = errors.Is(err, context.Canceled)
	}
	l.say(said)
}

func (l *life) do(o order) (said answer, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	l.mu.Lock()
	h := l.handles[o.Handle]
	l.mu.Unlock()
	switch o.Do {
	case doOpen:
		locker, err := l.lib.Open(o.Path)
		if err != nil {
			return said, err
		}
		l.mu.Lock()
		l.handles[o.Handle] = &handle{Locker: locker}
		l.mu.Unlock()
	case doTry:
		took, err := h.try(o.Shared)
		return answer{Busy: err == nil && !took}, err
	case doLock:
		ctx, cancel := context.WithCancel(context.Background())
		h.cancel = cancel
		taken := make(chan struct{})
		ids := []uint64{goid.Get()}
		go func() {
			if awaitBlocked(ids, taken) {
				l.say(answer{ID: o.ID, Waits: true})
			}
		}()
		err = h.lock(ctx, o.Shared)
		said.At = time.Now()
		close(taken)
		return said, err
	case doCancel:
		said.At = time.Now()
		h.cancel()
	case doEnded:
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		err = h.lock(ctx, o.Shared)
	case doCheck:
		if c, ok := h.Locker.(Checker); ok {
			err = c.Check()
		}
	case doUnlock:
		said.At = time.Now()
		err = h.Unlock()
	case doClose:
		said.At = time.Now()
		err = h.Close()
	case doExit:
		os.Exit(0)
	case doStart, doHandOn:
		err = l.replace(o, h)
	case doDrop:
		err = os.NewFile(firstExtraFile, "").Close()
	case doScript:
		said.Result, err = l.script(o)
	default:
		err = fmt.Errorf("no order %q", o.Do)
	}
	return said, err
}

// replace starts a child in place of this one, which is left with waiting for
// its end.
func (l *life) replace(o order, h *handle) error {
	// It has no library to be asked for: it opens nothing.
	cmd, err := command(role{Lib: Packlock().Name, Hello: o.ID})
	if err != nil {
		return err
	}
	cmd.Stdin, cmd.Stdout = os.Stdin, os.Stdout
	if o.Do == doHandOn {
		d, ok := h.Locker.(Dupper)
		if !ok {
			return fmt.Errorf("%s has no Dup: %w", l.lib.Name, errors.ErrUnsupported)
		}
		dup, err := d.Dup()
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

// awaitBlocked waits until the goroutines of those ids are blocked, wherever that
// is, and reports whether they were before done was closed. One that is running,
// or about to, may not have come to the queue yet.
func awaitBlocked(ids []uint64, done <-chan struct{}) bool {
	const looks = 4 // in a row: a system call that ends soon looks the same
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	// A program may keep itself busy instead of being blocked.
	patience := time.After(time.Second)
	for blocked := 0; blocked < looks; {
		select {
		case <-done:
			return false
		case <-patience:
			return true
		case <-tick.C:
		}
		if areBlocked(ids) {
			blocked++
		} else {
			blocked = 0
		}
	}
	return true
}

func areBlocked(ids []uint64) bool {
	buf := make([]byte, 1<<16)
	for {
		n := runtime.Stack(buf, true)
		if n < len(buf) {
			buf = buf[:n]
			break
		}
		buf = make([]byte, 2*len(buf))
	}
	stacks := "\n" + string(buf)
	for _, id := range ids {
		_, after, _ := strings.Cut(stacks, "\ngoroutine "+strconv.FormatUint(id, 10)+" [")
		state, _, _ := strings.Cut(after, "]")
		state, _, _ = strings.Cut(state, ",")
		switch state {
		case "", "running", "runnable", "sync.Mutex.Lock", "GC assist wait", "GC assist marking", "preempted", "copystack":
			return false
		}
	}
	return true
}

package locktest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// A process is a child that locks as it is told.
type process struct {
	cmd   *exec.Cmd
	stdin *os.File
	gone  chan struct{} // closed when it and those that it started have closed their output

	mu       sync.Mutex // guards the following
	last     int        // the latest order
	answers  map[int]chan answer
	said     []string // the latest lines that are no answers
	signaled bool     // it was killed
}

// A hang is the error of something that did not end in time.
type hang struct {
	what  string
	bound time.Duration
}

func (h hang) Error() string { return fmt.Sprintf("%s: no answer in %v", h.what, h.bound) }

// startBound is how long a process may take to start, which says nothing of the
// lock: on an emulator that is busy it takes seconds.
const startBound = time.Minute

// startProcess starts one.
func startProcess(ctx context.Context, r role) (*process, error) {
	cmd, err := command(r)
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
	p := &process{cmd: cmd, stdin: stdin, gone: make(chan struct{}), answers: make(map[int]chan answer)}
	p.mu.Lock()
	hello := p.channelLocked(r.Hello)
	p.mu.Unlock()
	go p.listen(stdout)
	if _, err := p.await(ctx, "the start of a child process", hello, startBound); err != nil {
		p.dismiss()
		return nil, err
	}
	return p, nil
}

// listen passes on what the process says until it is gone.
func (p *process) listen(stdout *os.File) {
	defer close(p.gone)
	defer stdout.Close()
	for lines := bufio.NewReader(stdout); ; {
		line, err := lines.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimSpace(line)
		// Something that does not end its lines may stand in front of it.
		_, encoded, ours := strings.Cut(line, mark)
		var a answer
		p.mu.Lock()
		if ours && json.Unmarshal([]byte(encoded), &a) == nil {
			if c := p.answers[a.ID]; c != nil {
				c <- a // there is room for all that an order can have
			}
		} else if line != "" {
			p.said = append(p.said, line)[max(0, len(p.said)-4):]
		}
		p.mu.Unlock()
	}
}

func (p *process) channelLocked(id int) chan answer {
	c := make(chan answer, 2)
	p.answers[id] = c
	return c
}

// tell gives an order without waiting for the answer.
func (p *process) tell(o order) (<-chan answer, error) {
	p.mu.Lock()
	p.last++
	o.ID = p.last
	c := p.channelLocked(o.ID)
	p.mu.Unlock()
	return c, json.NewEncoder(p.stdin).Encode(o)
}

// await waits for the next answer to an order. Its error is the one of the
// answer, or says that there was none.
func (p *process) await(ctx context.Context, what string, c <-chan answer, bound time.Duration) (answer, error) {
	timer := time.NewTimer(bound)
	defer timer.Stop()
	select {
	case a := <-c:
		return a, a.err()
	case <-p.gone:
		select {
		case a := <-c: // it came before the end
			return a, a.err()
		default:
		}
		return answer{}, p.ended(what)
	case <-timer.C:
		return answer{}, hang{what, bound}
	case <-ctx.Done():
		return answer{}, ctx.Err()
	}
}

var errEnded = errors.New("the process ended before it answered")

// ended returns the error for a process that is gone.
func (p *process) ended(what string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.said) > 0 {
		return fmt.Errorf("%s: %w; it said: %s", what, errEnded, strings.Join(p.said, "; "))
	}
	return fmt.Errorf("%s: %w", what, errEnded)
}

func (a answer) err() error {
	switch {
	case a.Cancelled:
		return fmt.Errorf("%s%w", a.Error, cancelledError{})
	case a.Unsupported:
		return fmt.Errorf("%s%w", a.Error, unsupportedError{})
	case a.Error != "":
		return errors.New(a.Error)
	}
	return nil
}

// The error of a child is a text. These say what it was, and add nothing to it.
type (
	cancelledError   struct{}
	unsupportedError struct{}
)

func (cancelledError) Error() string          { return "" }
func (cancelledError) Is(target error) bool   { return target == context.Canceled }
func (unsupportedError) Error() string        { return "" }
func (unsupportedError) Is(target error) bool { return target == errors.ErrUnsupported }

// patience is how long a process may take to be gone when it was killed. One
// that a dead network file system does not even let die is left behind.
const patience = 2 * time.Second

// kill kills the process that was started first. When it returns, that is gone,
// or cannot be killed.
func (p *process) kill() {
	p.mu.Lock()
	first := !p.signaled
	p.signaled = true
	p.mu.Unlock()
	if !first {
		return
	}
	p.cmd.Process.Kill()
	waited := make(chan struct{})
	go func() {
		defer close(waited)
		p.cmd.Wait()
	}()
	select {
	case <-waited:
	case <-time.After(patience):
	}
}

// dismiss ends it, and those that it started, which do so when their input ends.
func (p *process) dismiss() {
	p.stdin.Close()
	p.kill()
	select {
	case <-p.gone:
	case <-time.After(patience):
	}
}

package contend

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// A Program is an executable that measures, and what its workers, which are
// copies of itself, can do.
type Program struct {
	// Args are the arguments with which the executable calls Work and nothing
	// else. Launcher is put in front of its command line: an emulator.
	Args, Launcher []string

	Libraries []Library

	// Tasks are what workers do beside the runs of this package. The reply of
	// a Task is what json can encode.
	Tasks map[string]Task
}

// A Task is done in a process of its own.
type Task func(request json.RawMessage) (reply any, err error)

// request is what a worker finds on its standard input.
type request struct {
	Task    string
	Request json.RawMessage
}

// Work is the life of a worker: it does the task that it finds on its standard
// input, replies on its standard output, and ends. It ends at once when its
// standard input does.
func (p *Program) Work() {
	err := func() error {
		in := json.NewDecoder(os.Stdin)
		var r request
		if err := in.Decode(&r); err != nil {
			return fmt.Errorf("workers are started by another process, and not by hand: %w", err)
		}
		go func() {
			in.Decode(new(any)) // returns when whoever started us is gone
			os.Exit(1)
		}()
		task := p.task(r.Task)
		if task == nil {
			return fmt.Errorf("no task %q", r.Task)
		}
		reply, err := task(r.Request)
		if err != nil {
			return err
		}
		return json.NewEncoder(os.Stdout).Encode(reply)
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0) // whatever goroutines there still are
}

func (p *Program) task(name string) Task {
	switch name {
	case "run":
		return p.workRun
	case "hold":
		return p.workHold
	case "wake":
		return p.workWake
	}
	return p.Tasks[name]
}

func (p *Program) library(name string) (Library, error) {
	for _, l := range p.Libraries {
		if l.Name == name {
			return l, nil
		}
	}
	return Library{}, fmt.Errorf("no library %q", name)
}

// Available returns the names of the libraries that the system has, for the lock
// file at path.
func (p *Program) Available(path string) (names []string, err error) {
	for _, l := range p.Libraries {
		locker, err := l.Open(path)
		switch {
		case errors.Is(err, errors.ErrUnsupported):
			continue
		case err != nil:
			return nil, err
		}
		names = append(names, l.Name)
		if c, ok := locker.(io.Closer); ok {
			if err := c.Close(); err != nil {
				return nil, err
			}
		}
	}
	return names, nil
}

// Call has a new process do task and decodes its reply. When ctx ends, the
// process is killed. It is gone when Call returns.
func (p *Program) Call(ctx context.Context, task string, ask, reply any) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	encoded, err := json.Marshal(ask)
	if err != nil {
		return err
	}
	command := append(append(append([]string(nil), p.Launcher...), exe), p.Args...)
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	// Open until the end, but for the worker nothing more comes.
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	// A worker that is gone already says why when waited for.
	json.NewEncoder(stdin).Encode(request{task, encoded})
	if err := cmd.Wait(); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if said := strings.TrimSpace(stderr.String()); said != "" {
			return errors.New(said)
		}
		return err
	}
	if err := json.Unmarshal(stdout.Bytes(), reply); err != nil {
		return fmt.Errorf("reply of a worker: %w", err)
	}
	return nil
}

// A call is one process of a group.
type call struct {
	task       string
	ask, reply any
}

// slack is how much longer than it should a group of processes may take before it is
// given up. Processes starve each other for a second, but the machine may stand still for
// longer, and they have to be started first.
const slack = 2 * time.Minute

// together makes the calls at the same time. When one fails, or after the time
// they should take and some slack, the others are ended, and the error is that
// of the first.
func (p *Program) together(ctx context.Context, calls []call, length time.Duration) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	timer := time.AfterFunc(length+slack, func() {
		cancel(fmt.Errorf("processes that should have ended after %v still waited %v later", length, slack))
	})
	defer timer.Stop()
	var all sync.WaitGroup
	for _, c := range calls {
		all.Go(func() {
			if err := p.Call(ctx, c.task, c.ask, c.reply); err != nil {
				cancel(err)
			}
		})
	}
	all.Wait()
	return context.Cause(ctx)
}

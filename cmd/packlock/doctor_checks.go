package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// An examination is of one directory, by a scratch file in a directory of its
// own there.
type examination struct {
	ctx     context.Context
	dir     string // the temporary one
	scratch string

	// Of the check under way:
	assistants []*assistant
	latencies  []time.Duration // of those that waited
}

func newExamination(ctx context.Context, dir string) (*examination, error) {
	own, err := os.MkdirTemp(dir, ".packlock-doctor-")
	if err != nil {
		return nil, fmt.Errorf("a temporary directory is needed there: %w", err)
	}
	x := &examination{ctx: ctx, dir: own, scratch: filepath.Join(own, "scratch", "lock")}
	if err := os.Mkdir(filepath.Dir(x.scratch), 0o777); err != nil {
		x.end()
		return nil, err
	}
	return x, nil
}

func (x *examination) end() { os.RemoveAll(x.dir) }

// dismiss ends the assistants of a check.
func (x *examination) dismiss() {
	for _, a := range x.assistants {
		a.dismiss()
	}
	x.assistants = nil
}

// start starts an assistant that opens the lock of the file at path.
func (x *examination) start(path string) (*assistant, error) {
	a, err := newAssistant(x.ctx)
	if err != nil {
		return nil, err
	}
	x.assistants = append(x.assistants, a)
	_, err = a.ask(x.ctx, order{orderOpen, path})
	return a, err
}

// startHolder starts an assistant that has the lock of the file at path.
func (x *examination) startHolder(path string) (*assistant, error) {
	a, err := x.start(path)
	if err != nil {
		return nil, err
	}
	said, err := x.do(a, orderTry)
	if said.Busy {
		err = errors.New("the lock is busy, and nobody has it")
	}
	return a, err
}

// startPair starts an assistant that has the lock and one that has it only
// open.
func (x *examination) startPair() (holder, other *assistant, err error) {
	if holder, err = x.startHolder(x.scratch); err == nil {
		other, err = x.start(x.scratch)
	}
	return holder, other, err
}

func (x *examination) do(a *assistant, what string) (answer, error) {
	return a.ask(x.ctx, order{Do: what})
}

// refused has a try the lock, which another has.
func (x *examination) refused(a *assistant) error {
	said, err := x.do(a, orderTry)
	if err == nil && !said.Busy {
		err = errTaken
	}
	return err
}

var errTaken = errors.New("a process took the lock while another had it")

// park has a wait for the lock, which another has.
func (x *examination) park(a *assistant) error {
	said, err := x.do(a, orderLock)
	switch {
	case err != nil:
		return err
	case !said.Busy:
		return errTaken
	}
	// It is about to call the kernel, and nothing tells when it has.
	select {
	case <-time.After(5 * time.Millisecond):
	case _, ok := <-a.answers:
		if !ok {
			return errEnded
		}
		return errTaken
	case <-x.ctx.Done():
	}
	return x.ctx.Err()
}

// wakeBound is how long the wait for a free lock may take. NFS version 4 on
// Linux asks the server anew only every 30 seconds when it has waited for long.
const wakeBound = 45 * time.Second

// woken waits until a, which was parked, has the lock, and returns how long
// after it was let go.
func (x *examination) woken(a *assistant, free time.Time) (time.Duration, error) {
	said, err := a.answer(x.ctx, wakeBound)
	if err != nil {
		return 0, fmt.Errorf("a process that waited did not get the lock when it was free: %w", err)
	}
	took := max(0, said.At.Sub(free)) // the clock may have been set
	x.latencies = append(x.latencies, took)
	return took, nil
}

// checks are what doctor checks, in this order. The rest goes without saying
// if the first fails.
var checks = []struct {
	name string
	do   func(x *examination) (detail string, err error)
}{
	{"locks", checkLocks},
	{"identity is stable", checkIdentity},
	{"excludes", checkExcludes},
	{"try never waits", checkTry},
	{"blocks and wakes", checkWakes},
	{"released on close", checkClose},
	{"released on exit", checkExit},
	{"released on kill", checkKill},
	{"not inherited", checkNotInherited},
	{"handed to a child", checkHandedOn},
	{"one lock by any path", checkPaths},
}

// checkLocks is whether there is a lock at all.
func checkLocks(x *examination) (string, error) {
	_, err := x.startHolder(x.scratch)
	if errors.Is(err, errors.ErrUnsupported) {
		err = fmt.Errorf("there is no such lock here: %w", err)
	}
	return "", err
}

// checkIdentity is whether the file is the same one whenever it is opened or
// looked at: by that it is told from one that took its place.
func checkIdentity(x *examination) (string, error) {
	a, err := x.startHolder(x.scratch)
	if err != nil {
		return "", err
	}
	first, err := os.Stat(x.scratch)
	if err != nil {
		return "", err
	}
	for range 20 {
		f, err := os.Open(x.scratch)
		if err != nil {
			return "", err
		}
		opened, err := f.Stat()
		f.Close()
		if err != nil {
			return "", err
		}
		there, err := os.Lstat(x.scratch)
		if err != nil {
			return "", err
		}
		if !os.SameFile(first, opened) || !os.SameFile(first, there) {
			return "", errors.New("the file has another identity (device or inode) when it is opened again")
		}
	}
	_, err = x.do(a, orderCheck)
	return "", err
}

// checkExcludes is whether the lock that one process has is busy for others.
func checkExcludes(x *examination) (string, error) {
	holder, other, err := x.startPair()
	if err != nil {
		return "", err
	}
	for range 10 {
		if err := x.refused(other); err != nil {
			return "", err
		}
		if _, err := x.do(holder, orderRelease); err != nil {
			return "", err
		}
		said, err := x.do(other, orderTry)
		if err != nil {
			return "", err
		}
		if said.Busy {
			return "", errors.New("the lock was still busy when it had been released")
		}
		holder, other = other, holder
	}
	return "", nil
}

// checkTry is whether trying to take a lock that is busy returns soon.
func checkTry(x *examination) (string, error) {
	_, other, err := x.startPair()
	if err != nil {
		return "", err
	}
	const tries, bound = 20, 5 * time.Second
	var worst time.Duration
	for range tries {
		said, err := x.do(other, orderTry)
		switch {
		case err != nil:
			return "", err
		case !said.Busy:
			return "", errTaken
		case said.Took > bound:
			return "", fmt.Errorf("trying a lock that was busy took %v", said.Took.Round(time.Millisecond))
		}
		worst = max(worst, said.Took)
	}
	return fmt.Sprintf("%v at worst", rounded(worst)), nil
}

// checkWakes is whether waiting for the lock lasts as long as another has it,
// and no longer.
func checkWakes(x *examination) (string, error) {
	holder, waiter, err := x.startPair()
	if err != nil {
		return "", err
	}
	for range 7 {
		if err := x.park(waiter); err != nil {
			return "", err
		}
		released, err := x.do(holder, orderRelease)
		if err != nil {
			return "", err
		}
		wake, err := x.woken(waiter, released.At)
		if err != nil {
			return "", err
		}
		if wake > time.Second {
			break // each of them may take as long
		}
		holder, waiter = waiter, holder
	}
	took := slices.Sorted(slices.Values(x.latencies))
	worst := took[len(took)-1]
	detail := fmt.Sprintf("after %v, %v at worst", rounded(took[len(took)/2]), rounded(worst))
	if worst > time.Second {
		detail += ": whoever waits here asks again and again, and late"
	}
	return detail, nil
}

// released is whether a process that waits gets the lock when end has ended
// the hold of another.
func released(x *examination, end func(holder *assistant) error) (string, error) {
	holder, waiter, err := x.startPair()
	if err != nil {
		return "", err
	}
	if err := x.park(waiter); err != nil {
		return "", err
	}
	ending := time.Now()
	if err := end(holder); err != nil {
		return "", err
	}
	took, err := x.woken(waiter, ending)
	return fmt.Sprintf("after %v", rounded(took)), err
}

func checkClose(x *examination) (string, error) {
	return released(x, func(holder *assistant) error {
		_, err := x.do(holder, orderClose)
		return err
	})
}

func checkExit(x *examination) (string, error) {
	return released(x, func(holder *assistant) error { return holder.tell(order{Do: orderExit}) })
}

func checkKill(x *examination) (string, error) {
	return released(x, func(holder *assistant) error {
		holder.kill()
		return nil
	})
}

// survivor starts a pair of which the holder then starts a process and is
// killed.
func survivor(x *examination, start string) (left, other *assistant, err error) {
	left, other, err = x.startPair()
	if err != nil {
		return nil, nil, err
	}
	if _, err := x.do(left, start); err != nil {
		return nil, nil, err
	}
	left.kill()
	_, err = x.do(left, orderNothing)
	return left, other, err
}

// checkNotInherited is whether a process that the holder started does not keep
// the lock when the holder is gone.
func checkNotInherited(x *examination) (string, error) {
	_, other, err := survivor(x, orderStart)
	if err != nil {
		return "", err
	}
	said, err := x.do(other, orderLock)
	if err == nil && said.Busy {
		if _, err = x.woken(other, time.Now()); err != nil {
			err = fmt.Errorf("a process that the holder had started was left with the lock: %w", err)
		}
	}
	return "", err
}

// checkHandedOn is whether a process that the holder gave a duplicate of the
// locked descriptor keeps the lock when the holder is gone, until it closes it.
func checkHandedOn(x *examination) (string, error) {
	keeper, other, err := survivor(x, orderHandOn)
	if errors.Is(err, errors.ErrUnsupported) {
		return "", skip("there is no such thing on " + runtime.GOOS)
	}
	if err != nil {
		return "", err
	}
	if err := x.refused(other); err != nil {
		return "", err
	}
	if err := x.park(other); err != nil {
		return "", err
	}
	if _, err := x.do(keeper, orderDrop); err != nil {
		return "", err
	}
	_, err = x.woken(other, time.Now())
	return "", err
}

// checkPaths is whether the paths to one file lead to one lock.
func checkPaths(x *examination) (string, error) {
	dir, name := filepath.Split(x.scratch)
	dir = filepath.Clean(dir)
	linked, hard := filepath.Join(x.dir, "link"), filepath.Join(dir, "hard")
	separator := string(filepath.Separator)
	var ways, not []string
	for _, way := range []struct {
		name string
		path string
		make func() error
	}{
		{`".."`, dir + separator + ".." + separator + filepath.Base(dir) + separator + name, func() error { return nil }},
		{"symbolic link to the directory", filepath.Join(linked, name), func() error { return os.Symlink(dir, linked) }},
		{"hard link", hard, func() error { return os.Link(x.scratch, hard) }},
	} {
		err := way.make()
		if err == nil {
			_, err = os.Stat(filepath.Dir(way.path)) // there are links that lead nowhere, as on Wine
		}
		if err != nil {
			not = append(not, "no "+way.name)
			continue
		}
		for _, paths := range [][2]string{{x.scratch, way.path}, {way.path, x.scratch}} {
			_, err := x.startHolder(paths[0])
			if err != nil {
				return "", err
			}
			other, err := x.start(paths[1])
			if err != nil {
				return "", err
			}
			if err := x.refused(other); err != nil {
				return "", fmt.Errorf("%s: %w", way.name, err)
			}
			x.dismiss()
		}
		ways = append(ways, way.name)
	}
	return strings.Join(append(ways, not...), ", "), nil
}

// rounded returns d with as many digits as mean anything.
func rounded(d time.Duration) time.Duration {
	switch {
	case d < time.Millisecond:
		return d.Round(time.Microsecond)
	case d < time.Second:
		return d.Round(100 * time.Microsecond)
	}
	return d.Round(100 * time.Millisecond)
}

package packlock

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// childEnv is the variable that makes this test binary a child process of a
// test and names its role.
const childEnv = "PACKLOCK_TEST_CHILD"

// childRoles says what child processes do. Every role ends when its standard
// input does, and so with the test that it belongs to.
var childRoles = map[string]func(args []string) error{
	"hold":  childHold,
	"flock": childRawLock,
	"count": childCount,
	"drop":  childDrop,
	"start": childStartAnother,
	"echo":  childEcho,
}

func TestMain(m *testing.M) {
	role := os.Getenv(childEnv)
	if role == "" {
		os.Exit(m.Run())
	}
	if err := childRoles[role](os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "child %s: %v\n", role, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// childCommand returns the command that runs a role in a process of its own,
// by way of the emulator that the tests themselves run under, if any.
func childCommand(ctx context.Context, role string, args ...string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	argv := slices.Concat(strings.Fields(os.Getenv("TEST_EXEC")), []string{self}, args)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), childEnv+"="+role,
		"GORACE=atexit_sleep_ms=0 "+os.Getenv("GORACE")) // or the race detector has every child exit a second later
	cmd.Stderr = os.Stderr
	return cmd, nil
}

// child is a process that a test talks to line by line.
type child struct {
	t      testing.TB
	cmd    *exec.Cmd
	stdin  *os.File // its end tells the child to finish
	stdout *bufio.Reader
}

// childStart starts the role, and kills the child at the end of the test if it
// still runs by then.
func childStart(t testing.TB, role string, args ...string) *child {
	t.Helper()
	cmd, err := childCommand(bounded(t), role, args...)
	if err != nil {
		t.Fatal(err)
	}
	return childStartCommand(t, cmd)
}

func childStartCommand(t testing.TB, cmd *exec.Cmd) *child {
	t.Helper()
	// Not cmd's own pipes: these outlive the child, for its own children.
	theirStdin, stdin, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer theirStdin.Close()
	stdout, theirStdout, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer theirStdout.Close()
	cmd.Stdin, cmd.Stdout = theirStdin, theirStdout
	c := &child{t: t, cmd: cmd, stdin: stdin, stdout: bufio.NewReader(stdout)}
	t.Cleanup(func() {
		c.kill()
		stdin.Close()
		stdout.Close()
	})
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return c
}

// expect waits for the child to say a line.
func (c *child) expect(want string) {
	c.t.Helper()
	got, err := c.stdout.ReadString('\n')
	if strings.TrimSpace(got) != want {
		c.t.Fatalf("child said %q (%v), want %q", got, err, want)
	}
}

// checkAlive checks that the child, an echo, is alive.
func (c *child) checkAlive() {
	c.t.Helper()
	if _, err := io.WriteString(c.stdin, "alive\n"); err != nil {
		c.t.Error(err)
	}
	c.expect("alive")
}

// finish tells the child to finish and waits until it has, without an error.
func (c *child) finish() {
	c.t.Helper()
	c.stdin.Close()
	if err := c.cmd.Wait(); err != nil {
		c.t.Errorf("child: %v", err)
	}
}

// kill ends the child without warning, if it has not ended, and waits until it
// is gone.
func (c *child) kill() {
	if c.cmd.Process != nil && c.cmd.ProcessState == nil {
		c.cmd.Process.Kill()
		c.cmd.Wait()
	}
}

// childHolder returns a child that has the lock of dir until it is told to
// finish or killed.
func childHolder(t testing.TB, dir string) *child {
	t.Helper()
	c := childStart(t, "hold", dir)
	c.expect("locked")
	return c
}

// childWaiter returns a child that waits for the lock of dir, which somebody
// else has to have, with a thread parked in the kernel. It says "locked" when
// it has it.
func childWaiter(t testing.TB, dir string) *child {
	t.Helper()
	c := childStart(t, "hold", dir)
	c.expect("parked")
	return c
}

// childFlock returns a child that locks the file at path as a program without
// this package does. It says "locked" when it has the lock, and "busy" first if
// that needs waiting.
func childFlock(t testing.TB, path string) *child {
	t.Helper()
	return childStart(t, "flock", path)
}

// flockCommand is flock(1) of util-linux.
func flockCommand(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	path, err := exec.LookPath("flock")
	if err != nil {
		t.Skipf("without flock(1): %v", err)
	}
	return exec.CommandContext(bounded(t), path, args...)
}

// childHold is the role of childHolder and childWaiter: args is the pack.
func childHold(args []string) error {
	l, err := Open(args[0])
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	h, err := l.TryAcquire()
	if errors.Is(err, ErrBusy) {
		go func() {
			for !l.Stats().Parked { // of which no event tells
				time.Sleep(time.Millisecond)
			}
			fmt.Println("parked")
		}()
		h, err = l.Acquire(ctx)
	}
	if err != nil {
		return err
	}
	fmt.Println("locked")
	<-ctx.Done()
	return h.Release()
}

// childRawLock is the role of childFlock: args is the sidecar.
func childRawLock(args []string) error {
	unlock, err := rawLock(args[0], false)
	if err == nil && unlock == nil {
		fmt.Println("busy")
		unlock, err = rawLock(args[0], true)
	}
	if err != nil {
		return err
	}
	fmt.Println("locked")
	io.Copy(io.Discard, os.Stdin)
	unlock()
	return nil
}

// childCount is the role of a child that counts in a file: args are the pack,
// the file, and how many goroutines count how often.
func childCount(args []string) error {
	l, err := Open(args[0])
	if err != nil {
		return err
	}
	goroutines, _ := strconv.Atoi(args[2])
	rounds, _ := strconv.Atoi(args[3])
	fmt.Println("ready")
	io.Copy(io.Discard, os.Stdin)
	errs := make(chan error)
	for range goroutines {
		go func() { errs <- countIn(l, args[1], rounds) }()
	}
	for range goroutines {
		err = errors.Join(err, <-errs)
	}
	return err
}

// countIn adds 1 to the number in file, rounds times, under l. Beside the file
// there is a witness while somebody is at it.
func countIn(l *Lock, file string, rounds int) error {
	for range rounds {
		err := l.Do(context.Background(), func(context.Context) error {
			witness, err := os.OpenFile(file+".witness", os.O_CREATE|os.O_EXCL, 0o666)
			if err != nil {
				return fmt.Errorf("two at a time: %w", err)
			}
			witness.Close()
			content, err := os.ReadFile(file)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			n, _ := strconv.Atoi(string(content))
			if err := os.WriteFile(file, []byte(strconv.Itoa(n+1)), 0o666); err != nil {
				return err
			}
			return os.Remove(witness.Name())
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// childDrop is the role of a child that drops Lock and Hold without Close and
// Release: args is the pack.
func childDrop(args []string) error {
	inner, err := func() (*lock, error) {
		l, err := Open(args[0])
		if err != nil {
			return nil, err
		}
		_, err = l.AcquireBlocking()
		return l.lock, err
	}()
	if err != nil {
		return err
	}
	for !closedByCollector(inner) {
	}
	fmt.Println("dropped")
	io.Copy(io.Discard, os.Stdin)
	return nil
}

// childStartAnother is the role of a child that acquires the lock and has a
// child itself, with which it shares standard input and output: args are the
// pack and, if the child's child is to inherit a duplicate of the lock, "dup".
func childStartAnother(args []string) error {
	l, err := Open(args[0])
	if err != nil {
		return err
	}
	h, err := l.TryAcquire()
	if err != nil {
		return err
	}
	another, err := childCommand(context.Background(), "echo")
	if err != nil {
		return err
	}
	another.Stdin, another.Stdout = os.Stdin, os.Stdout
	dup, err := h.Dup()
	if err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	defer dup.Close()
	if len(args) > 1 {
		another.ExtraFiles = []*os.File{dup}
	}
	if err := another.Start(); err != nil {
		return err
	}
	fmt.Println("started")
	return another.Wait()
}

// childEcho is the role of a child that proves to be alive by repeating what it
// is told, and that has nothing to do with locks.
func childEcho([]string) error {
	_, err := io.Copy(os.Stdout, os.Stdin)
	return err
}

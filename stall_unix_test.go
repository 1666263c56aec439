//go:build darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd

package packlock

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func init() { childRoles["crowd"] = childCrowd }

// childCrowd holds packs, each with waiters that have a time limit and come again. For
// each line it reads it prints how many goroutines there are beside those, and how long
// an Open takes.
func childCrowd(args []string) error {
	dir := args[0]
	packs, _ := strconv.Atoi(args[1])
	waiters, _ := strconv.Atoi(args[2])
	var locks []*Lock
	for i := range packs {
		l, err := Open(filepath.Join(dir, strconv.Itoa(i)))
		if err != nil {
			return err
		}
		held := make(chan error)
		go func() {
			h, err := l.Acquire(context.Background())
			held <- err
			runtime.KeepAlive(h)
		}()
		if err := <-held; err != nil {
			return err
		}
		locks = append(locks, l)
	}
	for i, l := range locks {
		for j := range waiters {
			limit := 200*time.Millisecond + time.Duration((i*waiters+j)%1800)*time.Millisecond
			go func() {
				for {
					ctx, cancel := context.WithTimeout(context.Background(), limit)
					if _, err := l.Acquire(ctx); !errors.Is(err, ErrCancelled) {
						panic(err)
					}
					cancel()
				}
			}()
		}
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		start := time.Now()
		l, err := Open(filepath.Join(dir, "one-more"))
		if err != nil {
			return err
		}
		took := time.Since(start)
		l.Close()
		fmt.Println(runtime.NumGoroutine()-packs*waiters, took.Microseconds())
	}
	return nil
}

// What runs in the background comes back after the process was stopped, and nothing
// piles up, also under load.
func TestStopsUnderLoadPileNothingUp(t *testing.T) {
	packs, waiters, stops, stopped := 1000, 50, 15, time.Second
	if testing.Short() {
		packs, waiters, stops, stopped = 200, 10, 1, 400*time.Millisecond
	}
	c := childStart(t, "crowd", t.TempDir(), strconv.Itoa(packs), strconv.Itoa(waiters))
	state := func() (more int, open time.Duration) {
		t.Helper()
		if _, err := c.stdin.WriteString("state\n"); err != nil {
			t.Fatal(err)
		}
		line, err := c.stdout.ReadString('\n')
		fields := strings.Fields(line)
		if len(fields) != 2 {
			t.Fatalf("child said %q (%v)", line, err)
		}
		more, err = strconv.Atoi(fields[0])
		us, err2 := strconv.Atoi(fields[1])
		if err != nil || err2 != nil {
			t.Fatal(err, err2)
		}
		return more, time.Duration(us) * time.Microsecond
	}
	more, open := state()
	t.Logf("before: %d more goroutines, an Open takes %v", more, open)
	for range stops {
		for _, sig := range []unix.Signal{unix.SIGSTOP, unix.SIGCONT} {
			if err := unix.Kill(c.cmd.Process.Pid, sig); err != nil {
				t.Fatal(err)
			}
			time.Sleep(stopped) // that the process is, and then is not
		}
		more, open = state()
		t.Logf("after a stop: %d more goroutines, an Open takes %v", more, open)
	}
	// Each pack may be in the middle of a path check and a search.
	until(t, "the goroutines to be as many as belong there", func() bool {
		more, open = state()
		return more < 2*packs+100
	})
	t.Logf("in the end: %d more goroutines, an Open takes %v", more, open)
}

package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	gofrs "github.com/gofrs/flock"

	"packlock/flock"
	"packlock/internal/contend"
)

// dropIns are what is compared: gofrs/flock with each of the retry delays, and
// packlock/flock, which ignores them.
var dropIns = []contend.Library{
	dropIn("gofrs/flock, retry 100 ms", func(path string) tryLocker { return gofrs.New(path) }, 100*time.Millisecond),
	dropIn("gofrs/flock, retry 2 ms", func(path string) tryLocker { return gofrs.New(path) }, 2*time.Millisecond),
	dropIn("drop-in (packlock/flock)", func(path string) tryLocker { return flock.New(path) }, 100*time.Millisecond),
}

func dropIn(name string, open func(path string) tryLocker, retry time.Duration) contend.Library {
	return contend.Library{Name: name, PerGoroutine: true, Open: func(path string) (contend.Locker, error) {
		return &byContext{open(path), retry}, nil
	}}
}

// dropInPauses are how long the processes do something else after each operation.
var dropInPauses = []time.Duration{0, 20 * time.Millisecond}

// makeDropIn makes drop-in.md.
func makeDropIn(ctx context.Context, own string, short bool) (string, drawing, error) {
	path, err := newLockFile(own)
	if err != nil {
		return "", nil, err
	}
	c := contend.Comparison{Path: path, Rounds: 5, Duration: 4 * time.Second}
	if short {
		c.Rounds, c.Duration = 1, time.Second
	}
	for _, l := range dropIns {
		c.Libraries = append(c.Libraries, l.Name)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<!-- Generated: the command below writes it. -->

# gofrs/flock, and packlock/flock in its place

Eight processes acquire the lock for 1 ms each, by `+"`TryLockContext`"+`, in a loop. %s

The figures are medians of %d rounds of %v, which alternate. *Locks* are those of all processes together. *Least* is the operations of the process with the fewest, over an
even share. packlock/flock ignores the retry delay.
`, measuredBy("drop-in", short, machine(path)), c.Rounds, c.Duration)
	for _, pause := range dropInPauses {
		s := contend.Even(8, 1, time.Millisecond)
		title := "Without a pause"
		if pause > 0 {
			title = fmt.Sprintf("With a pause of %s after each lock", contend.Duration(pause))
		}
		fmt.Fprintln(os.Stderr, title)
		for i := range s.Processes {
			s.Processes[i].Pause = pause
		}
		rounds, err := program.Compare(ctx, c, s)
		if err != nil {
			return "", nil, err
		}
		fmt.Fprintf(&b, "\n## %s\n\n| | locks per second | median wait | 99th percentile | worst | least |\n|---|--:|--:|--:|--:|--:|\n", title)
		for i, library := range c.Libraries {
			f := contend.MedianFigures(rounds[i])
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %.2f |\n", library, contend.Rate(f.Rate),
				contend.Duration(f.P50), contend.Duration(f.P99), contend.Duration(f.Worst), f.Least)
		}
	}
	fmt.Fprintln(os.Stderr, "Alone")
	rounds, err := program.Compare(ctx, c, alone)
	if err != nil {
		return "", nil, err
	}
	b.WriteString("\n## Alone\n\nOne process, which waits for no other: a lock and an unlock. Both libraries open and close the file.\n\n| | each |\n|---|--:|\n")
	for i, library := range c.Libraries {
		each := time.Duration(float64(time.Second) / contend.MedianFigures(rounds[i]).Rate)
		fmt.Fprintf(&b, "| %s | %s |\n", library, contend.Duration(each))
	}
	return b.String(), nil, nil
}

// Command bench compares packlock with other libraries that lock files for Go: how
// fast they are, how fair, what a wait costs, and what a cancelled wait leaves behind.
//
//	go -C bench run . -out ../docs/data
//
// It measures everything in alternating rounds, and writes benchmarks.md and its
// pictures. Each part of the page has a flag, to measure it alone:
//
//	-contention  throughput, waits and costs, and the project's targets
//	-beside      how other programs get in alongside a busy one
//	-growth      how the cost grows with processes, waiters and packs
//
// With -short all three take less than 10 minutes, and without it some 45. Three pages are
// made only when they are asked for:
//
//	-shared      shared.md: what shared locks cost, and how a writer gets in among readers
//	-peers       peers.md: what each library excludes, notices and leaves behind
//	-drop-in     drop-in.md: programs that use gofrs/flock, before and after they are built
//	             with packlock/flock in its place
//
//	main.go       this overview; the command
//	libraries.go  the libraries
//	measure.go    what is measured, how long, in which order
//	waiting.go    what waits and cancelled waits cost
//	targets.go    the targets
//	page.go       the pages, and their parts
//	markdown.go   the tables
//	picture.go    the picture
//	growth.go     the curves
//	growtasks.go  what a process does for them
//	chart.go      their tables and pictures
//	beside.go     other programs alongside a busy one
//	peers.go      what they exclude, notice and leave behind
//	shared.go     shared locks, in a process
//	visits.go     a writer among readers, a reader among writers
//	dropin.go     gofrs/flock and packlock/flock
//	machine.go    where it was measured
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"

	"packlock"
	"packlock/internal/contend"
	"packlock/locktest"
)

// workerArg, alone, is how this program starts its own workers.
const workerArg = "-worker"

var program = contend.Program{
	Args: []string{workerArg},
	Tasks: map[string]contend.Task{
		taskWait: costOfWaits, taskCancel: costOfCancels, taskShare: costOfSharing,
		taskServe: growingWaits, taskPacks: growingPacks, taskLate: waitingForPacks, taskParallel: parallel,
	},
}

func init() {
	for _, l := range libraries {
		program.Libraries = append(program.Libraries, l.Library)
	}
	program.Libraries = append(program.Libraries, contend.PacklockEach, contend.FlockAndStat, semaphoreLimit, mutexLimit, sharedSemaphoreLimit)
	program.Libraries = append(program.Libraries, dropIns...)
}

func main() {
	if len(os.Args) == 2 && os.Args[1] == workerArg {
		program.Work()
	}
	locktest.Child(peerLibs()...)
	m := maker{}
	flag.StringVar(&m.out, "out", "", "`directory` to write to; none: print the pages only")
	flag.StringVar(&m.dir, "dir", os.TempDir(), "`directory` on the file system to lock files on")
	flag.BoolVar(&m.short, "short", false, "a first impression, within 10 minutes")
	chosen := make([]*bool, len(pages))
	for i, p := range pages {
		chosen[i] = flag.Bool(p.name, false, p.about+", and only what else is asked for")
	}
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "bench: no arguments here, not %q\n", flag.Arg(0))
		os.Exit(2)
	}
	someChosen := slices.ContainsFunc(chosen, func(c *bool) bool { return *c })
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	for i, p := range pages {
		if *chosen[i] || !someChosen && !p.onlyAsked {
			if err := m.make(ctx, p); err != nil {
				fmt.Fprintln(os.Stderr, "bench:", err)
				os.Exit(1)
			}
		}
	}
}

func newLockFile(dir string) (path string, err error) {
	path = filepath.Join(dir, packlock.FileName)
	return path, os.WriteFile(path, nil, 0o666)
}

// A maker makes pages.
type maker struct {
	out, dir string
	short    bool
}

func (m maker) make(ctx context.Context, p page) error {
	if m.out != "" {
		// Now, and not when there is much to lose.
		if err := os.MkdirAll(m.out, 0o777); err != nil {
			return err
		}
	}
	own, err := os.MkdirTemp(m.dir, "packlock-"+p.name+"-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(own)
	text, draw, err := p.measure(ctx, own, m.short)
	if err != nil {
		return err
	}
	if m.out == "" {
		fmt.Print(text)
		return nil
	}
	if err := p.write(m.out, text); err != nil {
		return err
	}
	if draw == nil {
		return nil
	}
	return draw(m.out)
}

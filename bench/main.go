// Command bench compares packlock with what else Go programs use to lock a
// file: how fast, how fair, how dear it is to wait, and what is left behind by
// giving up.
//
//	go -C bench run . -out ../docs
//
// It measures everything in alternating rounds, prints which of the project's
// targets are reached, and writes benchmarks.md, benchmarks.svg and
// benchmarks.png.
//
// and
//
//	go -C bench run . -peers -out ../docs
//
// tests what each of them excludes, notices and leaves behind, and writes
// peers.md.
//
//	main.go       this overview; the command
//	libraries.go  the libraries
//	measure.go    what is measured, how long, in which order
//	waiting.go    what waits and cancelled waits cost
//	targets.go    the targets
//	markdown.go   the tables
//	picture.go    the picture
//	peers.go      what they exclude, notice and leave behind
//	machine.go    where it was measured
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"

	"packlock"
	"packlock/internal/contend"
	"packlock/locktest"
)

// workerArg, alone, is how this program starts its own workers.
const workerArg = "-worker"

var program = contend.Program{
	Args:  []string{workerArg},
	Tasks: map[string]contend.Task{taskWait: costOfWaits, taskCancel: costOfCancels},
}

func init() {
	for _, l := range libraries {
		program.Libraries = append(program.Libraries, l.Library)
	}
}

func main() {
	if len(os.Args) == 2 && os.Args[1] == workerArg {
		program.Work()
	}
	locktest.Child(peerLibs()...)
	out := flag.String("out", "", "`directory` to write to; none: print the tables only")
	dir := flag.String("dir", os.TempDir(), "`directory` on the file system to lock files on")
	quick := flag.Bool("quick", false, "a single short round: to see that it works, not how well")
	ofPeers := flag.Bool("peers", false, "test what the libraries exclude, notice and leave behind, instead")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "bench: no arguments here, not %q\n", flag.Arg(0))
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	do := func() error { return bench(ctx, *out, *dir, *quick) }
	if *ofPeers {
		do = func() error { return writePeers(ctx, *out, *dir) }
	}
	if err := do(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// writePeers tests the peers and writes the page about them.
func writePeers(ctx context.Context, out, dir string) error {
	own, err := os.MkdirTemp(dir, "packlock-peers-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(own)
	page, err := testPeers(ctx, own, func(p peer, r locktest.Report) { fmt.Fprintf(os.Stderr, "%s: %s\n", p.Name, r.Verdict) })
	if err != nil {
		return err
	}
	if out == "" {
		fmt.Print(page)
		return nil
	}
	if err := os.MkdirAll(out, 0o777); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(out, "peers.md"), []byte(page), 0o666)
}

func bench(ctx context.Context, out, dir string, quick bool) error {
	if out != "" {
		// Now, and not when there is much to lose.
		if err := os.MkdirAll(out, 0o777); err != nil {
			return err
		}
	}
	own, err := os.MkdirTemp(dir, "packlock-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(own)
	path := filepath.Join(own, packlock.FileName)
	if err := os.WriteFile(path, nil, 0o666); err != nil {
		return err
	}

	effort := fullEffort
	if quick {
		effort = quickEffort
	}
	r, err := measure(ctx, path, effort)
	if err != nil {
		return err
	}
	if out == "" {
		fmt.Print(r.markdown())
		return nil
	}
	for _, t := range r.targets() {
		fmt.Println(t)
	}
	if err := os.WriteFile(filepath.Join(out, "benchmarks.md"), []byte(r.markdown()), 0o666); err != nil {
		return err
	}
	return r.draw(filepath.Join(out, "benchmarks"))
}

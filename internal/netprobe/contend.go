//go:build linux

package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"packlock"
)

// A witness tells whether somebody else is in the section too: by a file that is
// made on entering and removed on leaving, and by a counter that is read and
// written one higher, past the caches of this machine.
type witness struct {
	inside  string
	counter int // a descriptor
	page    []byte
}

func newWitness(dir string) (*witness, error) {
	fd, err := unix.Open(filepath.Join(dir, "counter"), unix.O_RDWR|unix.O_CREAT|unix.O_DIRECT|unix.O_CLOEXEC, 0o666)
	if err != nil {
		return nil, os.NewSyscallError("open", err)
	}
	// O_DIRECT wants memory that begins with a page.
	page, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	return &witness{filepath.Join(dir, "inside"), fd, page}, nil
}

func (w *witness) enter() error {
	f, err := os.OpenFile(w.inside, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666)
	if err != nil {
		return err
	}
	return f.Close()
}

func (w *witness) leave() error { return os.Remove(w.inside) }

func (w *witness) count() error {
	clear(w.page)
	if _, err := unix.Pread(w.counter, w.page, 0); err != nil {
		return os.NewSyscallError("pread", err)
	}
	binary.LittleEndian.PutUint64(w.page, binary.LittleEndian.Uint64(w.page)+1)
	if _, err := unix.Pwrite(w.counter, w.page, 0); err != nil {
		return os.NewSyscallError("pwrite", err)
	}
	return nil
}

// contend has goroutines take the lock of dir again and again.
func contend(dir string, args []string) error {
	if len(args) != 3 {
		return errors.New("usage: netprobe contend DIR WITNESS DURATION GOROUTINES")
	}
	w, err := newWitness(args[0])
	if err != nil {
		return err
	}
	d, err := time.ParseDuration(args[1])
	if err != nil {
		return err
	}
	goroutines, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	l, err := packlock.Open(dir)
	if err != nil {
		return err
	}
	defer l.Close()

	var mu sync.Mutex // guards the following
	sections, violations, failures := 0, 0, 0
	var worst time.Duration
	note := func(n *int, what string, err error) {
		mu.Lock()
		defer mu.Unlock()
		if *n++; *n <= 5 {
			say(what, err)
		}
	}

	section := func() {
		start := time.Now()
		h, err := l.Acquire(context.Background())
		if err != nil {
			note(&failures, "failure", err)
			time.Sleep(tick)
			return
		}
		mu.Lock()
		worst = max(worst, time.Since(start))
		mu.Unlock()
		if err := w.enter(); err != nil {
			note(&violations, "violation", err)
		}
		if err := w.count(); err != nil {
			note(&failures, "failure", err)
		} else {
			mu.Lock()
			sections++
			mu.Unlock()
		}
		if err := h.Check(); err != nil {
			note(&failures, "failure", err)
		}
		if err := w.leave(); err != nil {
			note(&violations, "violation", err)
		}
		if err := h.Release(); err != nil {
			note(&failures, "failure", err)
		}
	}
	var all sync.WaitGroup
	for end := time.Now().Add(d); goroutines > 0; goroutines-- {
		all.Go(func() {
			for time.Now().Before(end) {
				section()
			}
		})
	}
	all.Wait()
	fmt.Printf("sections=%d violations=%d failures=%d worst=%v\n", sections, violations, failures, worst.Round(time.Millisecond))
	return nil
}

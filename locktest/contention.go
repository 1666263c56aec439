package locktest

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// A stress is what each process of contention is asked.
type stress struct {
	Path    string
	Counter string // a file with a number
	For     time.Duration
	Readers bool // three times of four it only reads, by a shared lock
}

// strain is what it replies.
type strain struct {
	Operations int
	Writes     int           // of them
	Worst      time.Duration // wait
}

// contention has processes add one to a number in a file, over and over. None of
// it is lost if they exclude each other.
func contention(x *exam) (string, error) { return contend(x, false) }

// sharedContention has them read it most of the time. None sees it change while it reads.
func sharedContention(x *exam) (string, error) { return contend(x, true) }

func contend(x *exam, readers bool) (string, error) {
	s := stress{x.scratch, filepath.Join(filepath.Dir(x.scratch), "counter"), 100 * time.Millisecond, readers}
	if err := os.WriteFile(s.Counter, []byte(counterText(0)), 0o666); err != nil {
		return "", err
	}
	encoded, err := json.Marshal(s)
	if err != nil {
		return "", err
	}
	const n = 3
	var all []handleOf
	for range n {
		p, err := startProcess(x.ctx, x.role)
		if err != nil {
			return "", err
		}
		x.processes = append(x.processes, p)
		all = append(all, handleOf{p, x, 0, false})
	}
	var ends []<-chan answer
	for _, h := range all {
		c, err := h.tell(order{Do: doScript, Path: scriptContend, Script: encoded})
		if err != nil {
			return "", h.ended("contending")
		}
		ends = append(ends, c)
	}
	sum, writes, least, most := 0, 0, 0, 0
	var worst time.Duration
	for i, h := range all {
		said, err := h.await(x.ctx, "contending for the lock", ends[i], x.bounds.wake)
		if err != nil {
			return "", err
		}
		var got strain
		if err := json.Unmarshal(said.Result, &got); err != nil {
			return "", err
		}
		if sum += got.Operations; i == 0 {
			least = got.Operations
		}
		writes += got.Writes
		least, most, worst = min(least, got.Operations), max(most, got.Operations), max(worst, got.Worst)
	}
	counted, err := readCounter(s.Counter)
	if err != nil {
		return "", err
	}
	if counted != writes {
		return "", fmt.Errorf("%d processes counted to %d, and %d is written", n, writes, counted)
	}
	return fmt.Sprintf("%d processes, %d times, the least %d and the most %d of one; the worst wait %v", n, sum, least, most, rounded(worst)), nil
}

// counterText is how a number is written, always as long.
func counterText(n int) string { return fmt.Sprintf("%019d\n", n) }

func readCounter(path string) (int, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	if len(data) != len(counterText(0)) {
		return 0, fmt.Errorf("%s: %q is no number", path, data)
	}
	n, err := strconv.Atoi(string(data[:len(data)-1]))
	return n, err
}

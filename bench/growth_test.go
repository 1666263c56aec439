package main

import (
	"image/png"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"packlock/internal/contend"
)

func TestGrowthOfEverything(t *testing.T) {
	if _, _, err := status(); err != nil {
		t.Skipf("no threads and memory of a process on %s: %v", runtime.GOOS, err)
	}
	few := []int{1, 3}
	parts, err := measureGrowth(t.Context(), t.TempDir(), growEffort{
		rounds: 1, unit: 20 * time.Millisecond,
		processes: few, waiters: []int{200}, packs: []int{200}, contended: []int{1, mostParked + 20}, parallel: few,
	})
	if err != nil {
		t.Fatal(err)
	}
	last := make(map[string]map[string]float64)
	for _, part := range parts {
		for _, c := range part.charts {
			last[c.title] = make(map[string]float64)
			for _, l := range c.lines {
				last[c.title][l.name] = l.ys[len(l.ys)-1]
			}
		}
	}
	for _, want := range []struct {
		title, name string
		least, most float64
	}{
		{"Threads more", contend.Packlock.Name, mostParked, mostParked + 10}, // the last of that title: 532 packs
		{"Threads more", contend.Flock.Name, mostParked + 10, mostParked + 40},
		{"Least share, 20 µs section", contend.Packlock.Name, 0, 1},
	} {
		got, ok := last[want.title][want.name]
		if !ok || got < want.least || got > want.most {
			t.Errorf("%s of %s: %v, want from %v to %v", want.title, want.name, got, want.least, want.most)
		}
	}
	for _, chart := range []string{"Late by, median", "Until all were served", "Time to open", "Operations per second, of all"} {
		if !(last[chart][contend.Packlock.Name] > 0) {
			t.Errorf("%s: %v", chart, last[chart])
		}
	}
	out := t.TempDir()
	if err := drawParts(out, parts); err != nil {
		t.Fatal(err)
	}
	page := growthText(parts, shortGrowth, "a machine")
	for _, part := range parts {
		f, err := os.Open(filepath.Join(out, part.name+".png"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := png.Decode(f); err != nil {
			t.Errorf("%s: %v", part.name, err)
		}
		if !strings.Contains(page, "("+part.name+".svg)") {
			t.Errorf("the page has no picture %s", part.name)
		}
	}
}

func TestOtherProgramAlongsideABusyOne(t *testing.T) {
	path, err := newLockFile(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	rows, err := measureBeside(t.Context(), path, besideEffort{rounds: 1, length: 30 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		for i, f := range row.of {
			if f.worst == 0 || f.rate == 0 {
				t.Errorf("%s, one that %s, %s: %+v", row.busy, row.other, busy[i], f)
			}
		}
	}
	page := besideText(rows, shortBeside, "a machine")
	if got := strings.Count(page, "\n| 1 × "); got != len(rows) || len(rows) != 18 {
		t.Errorf("%d rows, %d of them in\n%s", len(rows), got, page)
	}
}

func TestChartHasNoFigureWhereNothingWasMeasured(t *testing.T) {
	c := &chart{title: "Things", x: "cooks", xs: []int{1, 1000}, format: whole}
	c.set("a", 0, 3)
	c.set("a", 1, 4)
	c.set("b", 1, 0)
	const want = "Things.\n\n| cooks | a | b |\n|--:|--:|--:|\n| 1 | 3 | |\n| 1,000 | 4 | 0 |\n"
	if got := c.table(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if !math.IsNaN(c.lines[1].ys[0]) {
		t.Errorf("what was not measured is %v", c.lines[1].ys[0])
	}
	if err := drawCharts(filepath.Join(t.TempDir(), "picture"), []*chart{c}); err != nil {
		t.Error(err) // a zero has no place on a logarithmic axis
	}
}

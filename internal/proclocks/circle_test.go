package proclocks

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

func TestCircles(t *testing.T) {
	self := os.Getpid() // a taker that is alive, and whose descriptors are shown: none locked
	for _, test := range []struct {
		name  string
		open  map[int][]string // who has what
		table []string         // "PID FILE" took it, "-> PID FILE" waits for it
		want  []string         // from file 1
	}{
		{"nobody waits", map[int][]string{10: {"1"}, 20: {"2"}}, []string{"10 1", "20 2"}, nil},
		{"a line", map[int][]string{10: {"1"}, 20: {"2"}}, []string{"10 1", "20 2", "-> 10 2"}, nil},
		{"two", map[int][]string{10: {"1"}, 20: {"2"}}, []string{"10 1", "20 2", "-> 10 2", "-> 20 1"},
			[]string{"10 has 1 waits for 2", "20 has 2 waits for 1"}},
		{"three, and a way that leads nowhere", map[int][]string{10: {"1"}, 20: {"2"}, 30: {"3"}, 40: {"4"}},
			[]string{"10 1", "20 2", "30 3", "40 4", "-> 10 4", "-> 10 2", "-> 20 3", "-> 30 1"},
			[]string{"10 has 1 waits for 2", "20 has 2 waits for 3", "30 has 3 waits for 1"}},
		{"a shorter one first", map[int][]string{10: {"1"}, 20: {"2"}, 30: {"3"}},
			[]string{"10 1", "20 2", "30 3", "-> 10 2", "-> 10 3", "-> 20 3", "-> 30 1"},
			[]string{"10 has 1 waits for 3", "30 has 3 waits for 1"}},
		{"a circle of others", map[int][]string{10: {"1"}, 20: {"2"}, 30: {"3"}},
			[]string{"10 1", "20 2", "30 3", "-> 10 2", "-> 20 3", "-> 30 2"}, nil},
		{"heirs", map[int][]string{10: {"1"}, 11: {"1"}, 20: {"2"}, 21: {"2"}},
			[]string{"10 1", "20 2", "-> 11 2", "-> 21 1"},
			[]string{"11 has 1 waits for 2", "21 has 2 waits for 1"}},
		{"an heir that waits for what it has", map[int][]string{10: {"1"}, 11: {"1"}},
			[]string{"10 1", "-> 11 1"}, []string{"11 has 1 waits for 1"}},
		{"threads that take turns", map[int][]string{10: {"1"}}, []string{"10 1", "-> 10 1"}, nil},
		{"who has let go", map[int][]string{20: {"2"}},
			[]string{fmt.Sprint(self, " 1"), "20 2", fmt.Sprint("-> ", self, " 2"), "-> 20 1"}, nil},
	} {
		var table strings.Builder
		for i, line := range test.table {
			rest := strings.TrimPrefix(line, "-> ")
			arrow := line[:len(line)-len(rest)]
			var pid int
			var file string
			fmt.Sscan(rest, &pid, &file)
			fmt.Fprintf(&table, "%d: %sFLOCK  ADVISORY  WRITE %d fe:00:%s 0 EOF\n", i, arrow, pid, file)
		}
		tables := parseTable([]byte(table.String()))
		tables.open = map[int][]descriptor{}
		for pid, files := range test.open {
			for _, file := range files {
				tables.open[pid] = append(tables.open[pid], descriptor{file: "fe:00:" + file, number: "3"})
			}
		}
		var got []string
		for _, l := range tables.Circle("fe:00:1") {
			got = append(got, fmt.Sprintf("%d has %s waits for %s", l.Process.PID, l.Has[6:], l.WaitsFor[6:]))
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}

package proclocks

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestLinesOfTheTable(t *testing.T) {
	for _, test := range []struct {
		line string
		kind string // "" if it is none
		want Lock
	}{
		{"1: FLOCK  ADVISORY  WRITE 4711 fe:00:1234 0 EOF\n", "FLOCK", Lock{File: "fe:00:1234", PID: 4711}},
		{"1: FLOCK  ADVISORY  READ  4712 fe:00:1234 0 EOF\n", "FLOCK", Lock{File: "fe:00:1234", PID: 4712, Shared: true}},
		{"1: -> FLOCK  ADVISORY  WRITE 4713 fe:00:1234 0 EOF\n", "FLOCK", Lock{File: "fe:00:1234", PID: 4713, Waits: true}},
		{"1:   -> FLOCK  ADVISORY  WRITE 4713 fe:00:1234 0 EOF\n", "FLOCK", Lock{File: "fe:00:1234", PID: 4713, Waits: true}},
		{"1: -> FLOCK  ADVISORY  READ  4713 fe:00:1234 0 EOF\n", "FLOCK", Lock{File: "fe:00:1234", PID: 4713, Waits: true, Shared: true}},
		{"2: POSIX  ADVISORY  WRITE 4714 fe:00:1234 0 EOF\n", "POSIX", Lock{File: "fe:00:1234", PID: 4714}},
		{"2: OFDLCK ADVISORY  WRITE -1 fe:00:1234 0 EOF\n", "OFDLCK", Lock{File: "fe:00:1234", PID: -1}},
		{"3: LEASE  ACTIVE    READ  4715 fe:01:1234 0 EOF\n", "LEASE", Lock{File: "fe:01:1234", PID: 4715, Shared: true}},
		{"4: FLOCK  ADVISORY  WRITE 0 fe:00:1234 0 EOF\n", "FLOCK", Lock{File: "fe:00:1234", PID: 0}},
		{"5: FLOCK  ADVISORY  WRITE 4711 <none>:0 0 EOF\n", "", Lock{}},
		{"5: FLOCK  ADVISORY  WRITE pid fe:00:1234 0 EOF\n", "", Lock{}},
		{"6: FLOCK\n", "", Lock{}},
		{"7: ->\n", "", Lock{}},
		{"\n", "", Lock{}},
		{"", "", Lock{}},
	} {
		kind, got, ok := parseLock([]byte(test.line))
		if ok != (test.kind != "") || ok && (kind != test.kind || got != test.want) {
			t.Errorf("%q: %s %+v, %v; want %s %+v", test.line, kind, got, ok, test.kind, test.want)
		}
	}
}

const table = `1: FLOCK  ADVISORY  WRITE 10 fe:00:1234 0 EOF
1: -> FLOCK  ADVISORY  WRITE 20 fe:00:1234 0 EOF
1: -> FLOCK  ADVISORY  WRITE 30 fe:00:1234 0 EOF
2: POSIX  ADVISORY  WRITE 40 fe:01:1234 0 EOF
3: FLOCK  ADVISORY  READ  50 fe:00:12345 0 EOF
3: FLOCK  ADVISORY  READ  60 fe:00:12345 0 EOF
`

func TestTableIsByFile(t *testing.T) {
	tables := parseTable([]byte(table))
	for _, test := range []struct {
		file            string
		takers, waiters []int
		device          bool
	}{
		{"fe:00:1234", []int{10}, []int{20, 30}, true},
		{"fe:00:12345", []int{50, 60}, nil, true},
		{"fe:01:1234", nil, nil, true}, // not by flock
		{"fe:02:1234", nil, nil, false},
	} {
		var takers, waiters []int
		for _, l := range tables.Takers(test.file) {
			takers = append(takers, l.PID)
		}
		for _, p := range tables.Waiters(test.file) {
			waiters = append(waiters, p.PID)
		}
		if !slices.Equal(takers, test.takers) || !slices.Equal(waiters, test.waiters) {
			t.Errorf("%s: taken by %v, waited for by %v; want %v, %v", test.file, takers, waiters, test.takers, test.waiters)
		}
		if got := tables.Held(test.file); got != (test.takers != nil) {
			t.Errorf("%s: held is %v", test.file, got)
		}
		if got := tables.ListsDevice(test.file); got != test.device {
			t.Errorf("%s: device listed is %v", test.file, got)
		}
	}
}

func TestHoldersOfASharedLock(t *testing.T) {
	const file = "fe:00:1"
	// Descriptors of these processes, none of which exists, that have the lock.
	open := func(taker int, shared bool) []descriptor {
		return []descriptor{{file: file, number: "3", taker: taker, shared: shared}}
	}
	const gone = 1 << 30
	for _, test := range []struct {
		name  string
		table string // the pids that took the lock, shared if with a dash
		open  map[int][]descriptor
		want  []Process
	}{
		{"exclusive", "1", map[int][]descriptor{gone + 1: open(gone+1, false)}, []Process{{PID: gone + 1}}},
		{"two", "-1 -2", map[int][]descriptor{gone + 1: open(gone+1, true), gone + 2: open(gone+2, true)},
			[]Process{{PID: gone + 1, Shared: true}, {PID: gone + 2, Shared: true}}},
		{"one by two descriptors", "-1 -1", map[int][]descriptor{gone + 1: append(open(gone+1, true), open(gone+1, true)...)},
			[]Process{{PID: gone + 1, Shared: true}}},
		{"one has ended, and its child inherited", "-1 -2", map[int][]descriptor{gone + 2: open(gone+2, true), gone + 3: open(gone+1, true)},
			[]Process{{PID: gone + 2, Shared: true}, {PID: gone + 3, Shared: true}}},
		{"one is no longer listed", "-1 -2", map[int][]descriptor{gone + 1: open(gone+1, true)}, []Process{{PID: gone + 1, Shared: true}}},
		{"two in other namespaces", "-0 -0 -1", map[int][]descriptor{gone + 1: open(gone+1, true)},
			[]Process{{PID: gone + 1, Shared: true}, {Shared: true}, {Shared: true}}},
	} {
		var table strings.Builder
		for _, taker := range strings.Fields(test.table) {
			kind := "WRITE"
			if taker[0] == '-' {
				kind, taker = "READ ", taker[1:]
			}
			n, err := strconv.Atoi(taker)
			if err != nil {
				t.Fatal(err)
			}
			if n > 0 {
				n += gone
			}
			fmt.Fprintf(&table, "1: FLOCK  ADVISORY  %s %d %s 0 EOF\n", kind, n, file)
		}
		tables := parseTable([]byte(table.String()))
		tables.open = test.open
		if got := tables.Holders(file); !slices.EqualFunc(got, test.want, func(a, b Process) bool { return a.PID == b.PID && a.Shared == b.Shared }) {
			t.Errorf("%s: %+v, want %+v", test.name, got, test.want)
		}
	}
}

func TestFileInASubvolumeIsListedByAnAmbiguousName(t *testing.T) {
	const file = "fe:00:1234 00:2f"
	tables := parseTable([]byte(table))
	if !Ambiguous(file) || !tables.Held(file) || !tables.ListsDevice(file) || tables.Held("fe:00:123 00:2f") {
		t.Errorf("ambiguous is %v, held is %v, device listed is %v", Ambiguous(file), tables.Held(file), tables.ListsDevice(file))
	}
}

func TestTableIsSettledByWhatItSaysAboutAFile(t *testing.T) {
	// A lock that came elsewhere changes the numbers of those after it.
	later := "1: FLOCK  ADVISORY  WRITE 70 fe:00:77 0 EOF\n" + strings.NewReplacer("1: ", "2: ", "2: ", "3: ", "3: ", "4: ").Replace(table)
	of := func(table string, files ...string) []string { return about([]byte(table), files) }
	if a, b := of(table, "fe:00:1234"), of(later, "fe:00:1234"); len(a) != 3 || !slices.Equal(a, b) {
		t.Errorf("%q, then %q", a, b)
	}
	if a := of(table, "fe:00:1234 00:2f"); len(a) != 3 {
		t.Errorf("%q", a)
	}
	if a, b := of(table, "fe:00:1234", "fe:00:77"), of(later, "fe:00:1234", "fe:00:77"); slices.Equal(a, b) {
		t.Errorf("%q twice, although a lock came", a)
	}
}

func TestArgumentsAreWhole(t *testing.T) {
	long := strings.Repeat("x", 5000)
	for cmdline, want := range map[string][]string{
		"":                         nil,
		"make\x00":                 {"make"},
		"make\x00-j\x002\x00":      {"make", "-j", "2"},
		"sh\x00-c\x00a\nb \x00":    {"sh", "-c", "a\nb "},
		"echo\x00\x00a\x00\x00":    {"echo", "", "a", ""},
		"echo\x00" + long + "\x00": {"echo", long},
		"nginx: master process":    {"nginx: master process"},
	} {
		if got := parseArgs(cmdline); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", cmdline, got, want)
		}
	}
}

func TestStartOfAProcess(t *testing.T) {
	const after = " S 1 4711 4711 0 -1 4194560 100 0 0 0 1 2 0 0 20 0 1 0 12345 1000 100 0\n"
	for stat, want := range map[string]time.Duration{
		"4711 (make)" + after:       123450 * time.Millisecond,
		"4711 (a) S 1 (b)" + after:  123450 * time.Millisecond,
		"4711 (two words) S 1 4711": -1,
		"":                          -1,
	} {
		got, ok := parseStart(stat)
		if !ok {
			got = -1
		}
		if got != want {
			t.Errorf("%q: %v, want %v", stat, got, want)
		}
	}
}

func TestStateOfAProcess(t *testing.T) {
	for stat, want := range map[string]bool{
		"4711 (make) T 1 4711 4711 0": true,
		"4711 (make) S 1 4711 4711 0": false,
		"4711 (make) t 1 4711 4711 0": false,
		"4711 (a) T 1 (b) S 1 4711":   false,
		"":                            false,
	} {
		if got := isStopped(stat); got != want {
			t.Errorf("%q: %v, want %v", stat, got, want)
		}
	}
}

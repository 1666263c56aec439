package proclocks

import (
	"slices"
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
		{"1: FLOCK  ADVISORY  WRITE 4711 fe:00:1234 0 EOF\n", "FLOCK", Lock{"fe:00:1234", 4711, false}},
		{"1: FLOCK  ADVISORY  READ  4712 fe:00:1234 0 EOF\n", "FLOCK", Lock{"fe:00:1234", 4712, false}},
		{"1: -> FLOCK  ADVISORY  WRITE 4713 fe:00:1234 0 EOF\n", "FLOCK", Lock{"fe:00:1234", 4713, true}},
		{"1:   -> FLOCK  ADVISORY  WRITE 4713 fe:00:1234 0 EOF\n", "FLOCK", Lock{"fe:00:1234", 4713, true}},
		{"2: POSIX  ADVISORY  WRITE 4714 fe:00:1234 0 EOF\n", "POSIX", Lock{"fe:00:1234", 4714, false}},
		{"2: OFDLCK ADVISORY  WRITE -1 fe:00:1234 0 EOF\n", "OFDLCK", Lock{"fe:00:1234", -1, false}},
		{"3: LEASE  ACTIVE    READ  4715 fe:01:1234 0 EOF\n", "LEASE", Lock{"fe:01:1234", 4715, false}},
		{"4: FLOCK  ADVISORY  WRITE 0 fe:00:1234 0 EOF\n", "FLOCK", Lock{"fe:00:1234", 0, false}},
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
		takers, waiters := tables.Takers(test.file), tables.Waiters(test.file)
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

func TestFileInASubvolumeIsListedByItsSharedName(t *testing.T) {
	const file = "fe:00:1234 00:2f"
	tables := parseTable([]byte(table))
	if !Shared(file) || !tables.Held(file) || !tables.ListsDevice(file) || tables.Held("fe:00:123 00:2f") {
		t.Errorf("shared is %v, held is %v, device listed is %v", Shared(file), tables.Held(file), tables.ListsDevice(file))
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

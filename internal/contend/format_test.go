package contend

import (
	"testing"
	"time"
)

func TestFiguresHaveThreeDigitsAtMost(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0:                       "0 ns",
		100:                     "100 ns",
		1234:                    "1.23 µs",
		20 * time.Microsecond:   "20 µs",
		time.Millisecond:        "1 ms",
		12345 * time.Nanosecond: "12.3 µs",
		123456789:               "123 ms",
		90 * time.Second:        "90 s",
	} {
		if got := Duration(d); got != want {
			t.Errorf("%d ns: %q, want %q", d, got, want)
		}
	}
	for r, want := range map[float64]string{
		0: "0", 0.5: "0.5", 99.96: "100", 970: "970", 38123: "38.1 k", 1234567: "1.23 M",
	} {
		if got := Rate(r); got != want {
			t.Errorf("%v a second: %q, want %q", r, got, want)
		}
	}
}

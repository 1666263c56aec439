package contend

import (
	"strconv"
	"strings"
	"time"
)

// Duration formats d with three digits, or without those that are zero.
func Duration(d time.Duration) string {
	ns := float64(d.Nanoseconds())
	switch {
	case d >= time.Second:
		return digits(ns/1e9) + " s"
	case d >= time.Millisecond:
		return digits(ns/1e6) + " ms"
	case d >= time.Microsecond:
		return digits(ns/1e3) + " µs"
	}
	return digits(ns) + " ns"
}

// Rate formats so many a second with three digits.
func Rate(perSecond float64) string {
	switch {
	case perSecond >= 1e6:
		return digits(perSecond/1e6) + " M"
	case perSecond >= 1e3:
		return digits(perSecond/1e3) + " k"
	}
	return digits(perSecond)
}

func digits(x float64) string {
	after := 2
	if x >= 100 {
		after = 0
	} else if x >= 10 {
		after = 1
	}
	s := strconv.FormatFloat(x, 'f', after, 64)
	if after > 0 {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s
}

package main

import (
	"fmt"
	"math"
	"strings"
	"time"

	"packlock/internal/contend"
)

// A target is a figure that the project has set itself. All are printed, and those that
// were missed are on the page.
type target struct {
	what   string
	sign   string // ≤ or ≥
	bound  float64
	got    float64 // NaN if it was not measured
	format string
}

// reached goes by the figure as it is printed: 1.701 is 1.70.
func (t target) reached() bool {
	var got float64
	fmt.Sscanf(fmt.Sprintf("%.2f", t.got), "%f", &got)
	if t.sign == "≤" {
		return got <= t.bound
	}
	return got >= t.bound
}

func (t target) figures() string {
	if math.IsNaN(t.got) {
		return fmt.Sprintf("want %s "+t.format+", not measured here", t.sign, t.bound)
	}
	return fmt.Sprintf("want %s "+t.format+", got "+t.format, t.sign, t.bound, t.got)
}

func (t target) verdict() string {
	if t.reached() {
		return "reached"
	}
	return "missed"
}

func (t target) String() string { return fmt.Sprintf("%-8s %s: %s", t.verdict(), t.what, t.figures()) }

// toLimit returns the time of a library's operation over that of the limit of s.
func (r *results) toLimit(s contend.Scenario, library string) float64 {
	return r.of(s, limits[s.Name].Name).Rate / r.of(s, library).Rate
}

// targets returns all of them. Ratios are those of medians.
func (r *results) targets() []target {
	const (
		ratio = "%.2f"
		count = "%.0f"
	)
	us, raw := contend.Packlock.Name, contend.Flock.Name
	var all []target
	add := func(what, sign string, bound, got float64, format string) {
		all = append(all, target{what, sign, bound, got, format})
	}
	faster := func(s contend.Scenario, than string) float64 { return r.of(s, us).Rate / r.of(s, than).Rate }
	longest := func(s contend.Scenario) float64 {
		return float64(r.of(s, us).Worst) / float64(r.of(s, raw).Worst)
	}

	add("alone, time of raw flock's", "≤", 1.7, 1/faster(alone, raw), ratio)
	add("alone, time of its limit", "≤", 1.12, r.toLimit(alone, us), ratio)
	add("alone, allocations", "≤", 1, r.of(alone, us).Mallocs, ratio)
	add("alone, times as fast as "+nameGofrs, "≥", 3, faster(alone, nameGofrs), ratio)
	add("alone, times as fast as "+nameLockedfile, "≥", 3, faster(alone, nameLockedfile), ratio)
	for _, s := range []contend.Scenario{inside8, inside64, cold8, cold64} {
		for _, ours := range []string{us, contend.PacklockEach.Name} {
			what := ours + ", " + strings.Replace(s.Name, ", empty section", "", 1)
			add(what+", time of raw flock's", "≤", 0.4, r.of(s, raw).Rate/r.of(s, ours).Rate, ratio)
			add(what+", time of its limit", "≤", 1.2, r.toLimit(s, ours), ratio)
		}
	}

	for _, t := range []struct {
		scenario    contend.Scenario
		rate, worst float64
	}{
		{empty8, 1.2, 0.5}, {empty1, 0.6, 0.5},
		{micro8, 0.9, 0.1}, {micro1, 0.9, 0.3},
		{milli8, 0.9, 0.1}, {milli1, 0.9, 0.3},
	} {
		add(t.scenario.Name+", throughput of raw flock's", "≥", t.rate, faster(t.scenario, raw), ratio)
		add(t.scenario.Name+", worst wait of raw flock's", "≤", t.worst, longest(t.scenario), ratio)
		add(t.scenario.Name+", least share of the most", "≥", 0.9, r.of(t.scenario, us).Share, ratio)
	}
	for _, s := range asking {
		p99 := float64(r.of(s, us).P99) / float64(time.Millisecond)
		add(s.Name+", 99th percentile of its waits", "≤", 5, p99, "%.2f ms")
	}
	wake, wakeRaw := r.of(wakeUp, us), r.of(wakeUp, raw)
	add("wake-up, median of raw flock's", "≤", 1.4, float64(wake.P50)/float64(wakeRaw.P50), ratio)
	add("wake-up, 99th percentile of raw flock's", "≤", 1.3, float64(wake.P99)/float64(wakeRaw.P99), ratio)

	threads, memory := math.NaN(), math.NaN()
	if r.noUsage == nil {
		waits := r.waits[indexOf(us)]
		threads = float64(waits.Threads)
		memory = float64(waits.Memory) / 1024 / float64(r.effort.waits)
	}
	add(fmt.Sprintf("%d waiters, threads more", r.effort.waits), "≤", 1, threads, count)
	add(fmt.Sprintf("%d waiters, memory of each", r.effort.waits), "≤", 3.5, memory, "%.2f KB")
	return all
}

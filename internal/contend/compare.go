package contend

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// A Comparison is the same measured for several libraries in alternating
// rounds, A B C A B C ..., so that what the machine does meanwhile happens to
// all of them.
type Comparison struct {
	Path      string // of the lock file, which exists
	Libraries []string
	Rounds    int
	Duration  time.Duration // of a round of one library

	// Before, if not nil, is called before each round of a library.
	Before func(scenario Scenario, library string, round int)
}

// Compare measures scenario and returns, for each library, the figures of the
// rounds.
func (p *Program) Compare(ctx context.Context, c Comparison, scenario Scenario) ([][]Figures, error) {
	return compare(c, scenario, func(spec Spec) (Figures, error) { return p.measure(ctx, spec) })
}

func compare[F any](c Comparison, scenario Scenario, measure func(Spec) (F, error)) ([][]F, error) {
	rounds := make([][]F, len(c.Libraries))
	for round := range c.Rounds {
		for i, library := range c.Libraries {
			if c.Before != nil {
				c.Before(scenario, library, round)
			}
			f, err := measure(Spec{Library: library, Path: c.Path, Scenario: scenario, Duration: c.Duration})
			if err != nil {
				return nil, fmt.Errorf("%s, %s: %w", library, scenario.Name, err)
			}
			rounds[i] = append(rounds[i], f)
		}
	}
	return rounds, nil
}

func (p *Program) measure(ctx context.Context, spec Spec) (Figures, error) {
	if spec.Scenario.wakeUp {
		h, err := p.WakeUp(ctx, spec)
		return Figures{P50: h.Quantile(0.5), P99: h.Quantile(0.99), Worst: h.Max(), Waits: &h}, err
	}
	r, err := p.Run(ctx, spec)
	return r.Figures(), err
}

// MedianFigures returns the figures of which each is the median of that figure
// in the rounds.
func MedianFigures(rounds []Figures) Figures {
	return Figures{
		Rate:    medianOf(rounds, func(f Figures) float64 { return f.Rate }),
		P50:     medianOf(rounds, func(f Figures) time.Duration { return f.P50 }),
		P99:     medianOf(rounds, func(f Figures) time.Duration { return f.P99 }),
		Worst:   medianOf(rounds, func(f Figures) time.Duration { return f.Worst }),
		Share:   medianOf(rounds, func(f Figures) float64 { return f.Share }),
		Least:   medianOf(rounds, func(f Figures) float64 { return f.Least }),
		Mallocs: medianOf(rounds, func(f Figures) float64 { return f.Mallocs }),
	}
}

// MedianQuantile returns the median of the quantile q of the waits in the rounds.
func MedianQuantile(rounds []Figures, q float64) time.Duration {
	return medianOf(rounds, func(f Figures) time.Duration { return f.Waits.Quantile(q) })
}

func medianOf[F any, T ~int64 | ~float64](rounds []F, figure func(F) T) T {
	all := make([]T, len(rounds))
	for i, f := range rounds {
		all[i] = figure(f)
	}
	return Median(all)
}

// Median returns the median of all, of which there is at least one; of an even
// number, the mean of the two in the middle.
func Median[T ~int | ~int64 | ~float64](all []T) T {
	s := slices.Sorted(slices.Values(all))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

package contend

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestQuantilesAreRightWithinThreePercent(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var h, part Histogram
	var all []int64
	for i := range 20_000 {
		ns := int64(math.Exp(random.Float64() * 25)) // 1 ns to a minute
		all = append(all, ns)
		if i%3 == 0 {
			part.Add(ns)
		} else {
			h.Add(ns)
		}
	}
	h.Merge(&part)
	slices.Sort(all)
	for _, q := range []float64{0.001, 0.1, 0.5, 0.9, 0.99, 0.999, 1} {
		want := float64(all[int(math.Ceil(q*float64(len(all))))-1])
		if got := float64(h.Quantile(q)); math.Abs(got-want) > 0.032*want {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
	if want := time.Duration(all[len(all)-1]); h.Max() != want {
		t.Errorf("max is %v, want exactly %v", h.Max(), want)
	}
}

func TestHistogramTakesAnyDuration(t *testing.T) {
	var h Histogram
	for _, ns := range []int64{math.MinInt64, -1, 0, 1, 15, 16, 31, 32, 33, math.MaxInt64} {
		h.Add(ns)
	}
	if h.Max() != math.MaxInt64 {
		t.Errorf("max is %d", h.Max())
	}
}

func TestNoQuantileExceedsTheMax(t *testing.T) {
	var h Histogram
	h.Add(1 << 20)
	if got := h.Quantile(0.5); got != 1<<20 {
		t.Errorf("median of one duration is %d, want %d", got, 1<<20)
	}
	if got := new(Histogram).Quantile(0.5); got != 0 {
		t.Errorf("median of nothing is %v", got)
	}
}

func TestHistogramSurvivesJSON(t *testing.T) {
	var h, back Histogram
	for ns := int64(1); ns < 1e12; ns *= 3 {
		h.Add(ns)
	}
	encoded, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(encoded, &back); err != nil {
		t.Fatal(err)
	}
	if back != h {
		t.Errorf("came back different: %s", encoded)
	}
	if err := json.Unmarshal([]byte(`{"Counts":{"99999":1}}`), &back); err == nil {
		t.Error("took a bucket that does not exist")
	}
}

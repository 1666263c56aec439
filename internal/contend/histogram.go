package contend

import (
	"encoding/json"
	"fmt"
	"math"
	"math/bits"
	"time"
)

// A Histogram counts durations in buckets that are at most 1/16 of their
// lower bound wide, so that quantiles are right within 3 %. The greatest
// duration is kept as it is. The zero value is empty.
type Histogram struct {
	counts [buckets]uint64
	max    int64
}

const (
	subBits = 4
	buckets = (64 - subBits) << subBits
)

// bucket returns the bucket of ns: below 2<<subBits every number has its own;
// above, the highest set bit and the subBits after it decide.
func bucket(ns uint64) int {
	if ns < 1<<subBits {
		return int(ns)
	}
	shift := bits.Len64(ns) - 1 - subBits
	return shift<<subBits + int(ns>>shift)
}

// middle returns the middle of bucket i.
func middle(i int) int64 {
	if i < 2<<subBits {
		return int64(i)
	}
	shift := i>>subBits - 1
	low := uint64(i-shift<<subBits) << shift
	return int64(low + 1<<shift/2)
}

// Add counts ns nanoseconds. It makes no system call and no allocation.
func (h *Histogram) Add(ns int64) {
	ns = max(ns, 0)
	h.counts[bucket(uint64(ns))]++
	h.max = max(h.max, ns)
}

// Merge adds what g counted.
func (h *Histogram) Merge(g *Histogram) {
	for i, n := range g.counts {
		h.counts[i] += n
	}
	h.max = max(h.max, g.max)
}

// Max returns the greatest duration, zero if there is none.
func (h *Histogram) Max() time.Duration { return time.Duration(h.max) }

// Quantile returns the duration that the part q of all does not exceed, zero
// if there is none.
func (h *Histogram) Quantile(q float64) time.Duration {
	var total uint64
	for _, n := range h.counts {
		total += n
	}
	rank := uint64(math.Ceil(q * float64(total)))
	var seen uint64
	for i, n := range h.counts {
		seen += n
		if n > 0 && seen >= rank {
			return time.Duration(min(middle(i), h.max))
		}
	}
	return 0
}

// jsonHistogram has the buckets that are not empty, by number.
type jsonHistogram struct {
	Counts map[int]uint64
	Max    int64
}

func (h Histogram) MarshalJSON() ([]byte, error) {
	j := jsonHistogram{Counts: make(map[int]uint64), Max: h.max}
	for i, n := range h.counts {
		if n > 0 {
			j.Counts[i] = n
		}
	}
	return json.Marshal(j)
}

func (h *Histogram) UnmarshalJSON(b []byte) error {
	var j jsonHistogram
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	*h = Histogram{max: j.Max}
	for i, n := range j.Counts {
		if i < 0 || i >= buckets {
			return fmt.Errorf("no bucket %d in a histogram", i)
		}
		h.counts[i] = n
	}
	return nil
}

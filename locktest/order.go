package locktest

import (
	"encoding/json"
	"fmt"
	"slices"
)

// inOrder is whether those of a process that wait get the lock in the order in
// which they came, and who lets it go and wants it again is the last.
func inOrder(x *exam) (string, error) {
	h, err := x.start(x.scratch)
	if err != nil {
		return "", err
	}
	const queue = 8
	var want []int
	for i := range queue {
		want = append(want, i+1)
	}
	want = append(want, 0)
	// That one came after the other cannot be seen for certain from outside. So
	// it is claimed wrongly if most of the attempts are in disorder, and found
	// where nobody claims it if none is.
	const attempts = 4
	enough := attempts / 2
	if x.claims&FirstComeFirstServed == 0 {
		enough = attempts
	}
	inOrder, disorder := 0, []int(nil)
	for range attempts {
		said, err := h.script(scriptOrder, waits{Path: x.scratch, Waits: queue}, x.bounds.wake)
		if err != nil {
			return "", err
		}
		var got []int
		if err := json.Unmarshal(said.Result, &got); err != nil {
			return "", err
		}
		if slices.Equal(got, want) {
			inOrder++
		} else {
			disorder = got
		}
	}
	if inOrder < enough {
		return "", fmt.Errorf("arrived as %v, the 0 after its release, served as %v; in order %d times of %d", want, disorder, inOrder, attempts)
	}
	return fmt.Sprintf("in order %d times of %d", inOrder, attempts), nil
}

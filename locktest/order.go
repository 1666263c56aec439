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
	var got []int
	// That one came after the other cannot be seen for certain from outside:
	// who never serves in order was not mistaken for it.
	for range 4 {
		said, err := h.script(scriptOrder, waits{Path: x.scratch, Waits: queue}, x.bounds.wake)
		if err != nil {
			return "", err
		}
		if err := json.Unmarshal(said.Result, &got); err != nil {
			return "", err
		}
		if slices.Equal(got, want) {
			return "", nil
		}
	}
	return "", fmt.Errorf("who came as %v, the 0 after it had let go, was served as %v", want, got)
}

package locktest

import "os"

// threads returns how many threads this process has.
func threads() *int {
	entries, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return nil
	}
	n := len(entries)
	return &n
}

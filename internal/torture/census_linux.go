package torture

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

func (c *census) fromSystem(packs string) {
	if real, err := filepath.EvalSymlinks(packs); err == nil {
		packs = real
	}
	descriptors, _ := os.ReadDir("/proc/self/fd")
	for _, d := range descriptors {
		if path, _ := os.Readlink("/proc/self/fd/" + d.Name()); strings.HasPrefix(path, packs+"/") {
			c.LockFiles++
		} else {
			c.Descriptors++
		}
	}
	threads, _ := os.ReadDir("/proc/self/task")
	c.Threads = len(threads)
	for _, t := range threads {
		// The number of the system call it is in comes first.
		call, _ := os.ReadFile("/proc/self/task/" + t.Name() + "/syscall")
		if number, _, _ := strings.Cut(string(call), " "); number == strconv.Itoa(unix.SYS_FLOCK) {
			c.Locking++
		}
	}
}

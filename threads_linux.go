package packlock

import (
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// threadLimit returns the lower of the limits on the threads of the user
// (RLIMIT_NPROC) and on those of the control group and the groups around it (pids.max).
func (osKernel) threadLimit() int {
	limit := 0
	lower := func(n uint64) {
		if n < 1<<31 && (limit == 0 || int(n) < limit) {
			limit = max(int(n), 1)
		}
	}
	var r unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NPROC, &r) == nil {
		lower(r.Cur)
	}
	groups, _ := os.ReadFile("/proc/self/cgroup")
	for _, file := range pidsFiles(string(groups)) {
		text, _ := os.ReadFile(file)
		if n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64); err == nil {
			lower(n)
		}
	}
	return limit
}

// pidsFiles returns the files that limit the threads of a process, whose /proc/self/cgroup
// has the lines of groups.
func pidsFiles(groups string) (files []string) {
	for line := range strings.Lines(groups) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3) // hierarchy, controllers, path
		if len(parts) < 3 {
			continue
		}
		root := ""
		switch {
		case parts[1] == "":
			root = "/sys/fs/cgroup"
		case parts[1] == "pids":
			root = "/sys/fs/cgroup/pids"
		default:
			continue
		}
		// In a container without a cgroup namespace the path may lead nowhere. What is
		// mounted is then the container's own group, which comes last.
		for dir := path.Clean("/" + parts[2]); ; dir = path.Dir(dir) {
			files = append(files, root+path.Join(dir, "pids.max"))
			if dir == "/" {
				break
			}
		}
	}
	return files
}

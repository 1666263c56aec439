package packlock

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// The limits on threads are those of the control group and of all groups around it, in
// both versions of control groups.
func TestFilesOfThreadLimits(t *testing.T) {
	for groups, want := range map[string][]string{
		"0::/user.slice/a.service\n": {
			"/sys/fs/cgroup/user.slice/a.service/pids.max", "/sys/fs/cgroup/user.slice/pids.max", "/sys/fs/cgroup/pids.max",
		},
		"9:name=systemd:/x\n8:pids:/docker/a:b\n7:cpu:/y\n": {
			"/sys/fs/cgroup/pids/docker/a:b/pids.max", "/sys/fs/cgroup/pids/docker/pids.max", "/sys/fs/cgroup/pids/pids.max",
		},
		"0::/../elsewhere\n": {"/sys/fs/cgroup/elsewhere/pids.max", "/sys/fs/cgroup/pids.max"},
		"0::/\n":             {"/sys/fs/cgroup/pids.max"},
		"broken\n":           nil,
		"":                   nil,
	} {
		if got := pidsFiles(groups); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", groups, got, want)
		}
	}
}

// The kernel's limits are read: a lower RLIMIT_NPROC is a lower limit.
func TestThreadLimitIsRead(t *testing.T) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NPROC, &limit); err != nil {
		t.Fatal(err)
	}
	before := osKernel{}.threadLimit()
	lower := limit
	lower.Cur = 7
	if err := unix.Setrlimit(unix.RLIMIT_NPROC, &lower); err != nil {
		t.Fatal(err)
	}
	defer unix.Setrlimit(unix.RLIMIT_NPROC, &limit)
	if n := (osKernel{}).threadLimit(); n != 7 {
		t.Errorf("the limit is %d, want 7; before it was %d", n, before)
	}
}

// A process that may have few threads waits for many packs: it parks some threads and
// polls for the rest. Without that the Go runtime ends the program.
func TestManyPacksWithFewThreads(t *testing.T) {
	if os.Geteuid() != 0 && os.Getenv("PACKLOCK_TEST_UNPRIVILEGED") == "" {
		t.Skip("only root can run it as a user without other processes, whose threads would count")
	}
	unprivileged(t, func(t *testing.T) {
		const threads, packs = 60, 200
		if err := unix.Setrlimit(unix.RLIMIT_NPROC, &unix.Rlimit{Cur: threads, Max: threads}); err != nil {
			t.Skipf("no limit can be set here: %v", err)
		}
		dir := t.TempDir()
		ctx := bounded(t)
		var unlocks []func()
		var locks []*Lock
		var all sync.WaitGroup
		for i := range packs {
			l := openReal(t, filepath.Join(dir, strconv.Itoa(i)))
			unlock, err := rawLock(l.Path(), true)
			if err != nil {
				t.Fatal(err)
			}
			locks, unlocks = append(locks, l), append(unlocks, unlock)
			all.Go(func() { takeTurn(ctx, t, l) })
		}
		for _, l := range locks {
			until(t, "an acquire to wait", func() bool { return l.Stats().Waiting == 1 })
		}
		for _, unlock := range unlocks {
			unlock()
		}
		all.Wait()
	})
}

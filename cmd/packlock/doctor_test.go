package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"packlock"
	"packlock/locktest"
)

// asunderVariable has every process of doctor lock a file of its own: that is a
// file system whose locks exclude nobody.
const asunderVariable = "PACKLOCK_TEST_ASUNDER"

// oneKindVariable has the processes that doctor starts acquire every lock exclusively: that
// is a file system that takes LOCK_SH for LOCK_EX.
const oneKindVariable = "PACKLOCK_TEST_ONE_KIND"

// stuckVariable has the processes that doctor starts say so and wait forever:
// that is a file system that does not answer.
const stuckVariable = "PACKLOCK_TEST_STUCK"

// slowVariable has a half of doctor -peer find that every step takes long.
const slowVariable = "PACKLOCK_TEST_SLOW"

// killVariable has a half of doctor -peer be killed when it writes a note:
// "before 3" and "after 3" are about the one with step 3 of the conversation,
// and with "after pairing" it is the first with a partner.
const killVariable = "PACKLOCK_TEST_KILL"

// killAt returns a renameNote that kills this process.
func killAt(when string) func(draft, path string) error {
	die := func() {
		if self, err := os.FindProcess(os.Getpid()); err == nil {
			self.Kill()
		}
		select {}
	}
	return func(draft, path string) error {
		var n note
		if data, err := os.ReadFile(draft); err != nil || json.Unmarshal(data, &n) != nil {
			panic("no note")
		}
		step := fmt.Sprint(n.Step)
		if when == "before "+step {
			die()
		}
		err := os.Rename(draft, path)
		if when == "after "+step || when == "after pairing" && n.Partner != "" {
			die()
		}
		return err
	}
}

// scratchPath is where the lock is that processes of doctor open as that at path.
func scratchPath(path string) string {
	if os.Getenv(stuckVariable) != "" {
		fmt.Fprintln(os.Stderr, "stuck")
		select {}
	}
	if os.Getenv(asunderVariable) != "" {
		path += "." + strconv.Itoa(os.Getpid())
	}
	return path
}

func init() {
	openScratch = func(path string, _ ...packlock.Option) (*packlock.Lock, error) {
		return packlock.OpenFile(scratchPath(path))
	}
	if os.Getenv(slowVariable) != "" {
		stepNotice = 0
	}
	if when := os.Getenv(killVariable); when != "" {
		renameNote = killAt(when)
	}
}

// scratchLibs is the library that the processes of doctor lock with.
func scratchLibs() []locktest.Lib {
	lib := locktest.Packlock()
	open := lib.Open
	lib.Open = func(path string) (locktest.Locker, error) {
		if beforeOpen != nil {
			beforeOpen()
		}
		locker, err := open(scratchPath(path))
		if err == nil && os.Getenv(oneKindVariable) != "" {
			locker = oneKind{locker}
		}
		return locker, err
	}
	return []locktest.Lib{lib}
}

type oneKind struct{ locktest.Locker }

func (l oneKind) LockShared(ctx context.Context) error { return l.Lock(ctx) }
func (l oneKind) TryLockShared() (bool, error)         { return l.TryLock() }

// beforeOpen is called by a process of doctor that opens a lock.
var beforeOpen func()

// checkNames are the lines of doctor, but for the last.
var checkNames = []string{
	"locks", "identity is stable", "excludes", "try never waits", "blocks and wakes", "released on close", "released on exit",
	"released on kill", "not inherited", "handed to a child", "one lock by any path",
	"shares", "shared excludes", "try shared never waits", "shared blocks and wakes", "shared released on kill", "readers get in together",
}

// checkLine returns what doctor printed about a check.
func checkLine(t *testing.T, stdout, name string) string {
	t.Helper()
	for line := range strings.Lines(stdout) {
		if said, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(said)
		}
	}
	t.Fatalf("no line about %q in:\n%s", name, stdout)
	return ""
}

func TestDoctorTrustsLocksThatExclude(t *testing.T) {
	dir := t.TempDir()
	status, stdout, stderr := command(t, "doctor", dir).output()
	if status != 0 || stderr != "" {
		t.Fatalf("status %d, stderr: %s\n%s", status, stderr, stdout)
	}
	for _, name := range checkNames {
		said := checkLine(t, stdout, name)
		if name == "handed to a child" && runtime.GOOS == "windows" {
			if !strings.HasPrefix(said, "skipped: ") {
				t.Errorf("%s: %s", name, said)
			}
		} else if said != "ok" && !strings.HasPrefix(said, "ok: ") {
			t.Errorf("%s: %s", name, said)
		}
	}
	if !strings.Contains(stdout, "\nA lock in "+dir+" can be trusted") {
		t.Errorf("no verdict in:\n%s", stdout)
	}
	checkEmpty(t, dir)
}

func TestDoctorDistrustsLocksThatExcludeNobody(t *testing.T) {
	dir := t.TempDir()
	c := command(t, "doctor", dir)
	c.cmd.Env = append(c.cmd.Env, asunderVariable+"=1")
	status, stdout, stderr := c.output()
	if status != 1 || stderr != "" {
		t.Errorf("status %d, stderr: %s", status, stderr)
	}
	for _, name := range []string{"excludes", "try never waits", "blocks and wakes", "one lock by any path", "shared excludes", "shared blocks and wakes"} {
		if said := checkLine(t, stdout, name); !strings.HasPrefix(said, "FAILED: ") || !strings.Contains(said, errTaken.Error()) {
			t.Errorf("%s: %s", name, said)
		}
	}
	if !strings.Contains(stdout, "\nA lock in "+dir+" cannot be trusted") {
		t.Errorf("no verdict in:\n%s", stdout)
	}
	checkEmpty(t, dir)
}

func TestDoctorNoticesThatSharedLocksAreExclusive(t *testing.T) {
	dir := t.TempDir()
	c := command(t, "doctor", dir)
	c.cmd.Env = append(c.cmd.Env, oneKindVariable+"=1")
	status, stdout, stderr := c.output()
	if status != 1 || stderr != "" {
		t.Errorf("status %d, stderr: %s", status, stderr)
	}
	if said := checkLine(t, stdout, "shares"); !strings.HasPrefix(said, "FAILED: ") {
		t.Errorf("shares: %s", said)
	}
	if !strings.Contains(stdout, "\nAn exclusive lock in "+dir+" can be trusted") || !strings.HasSuffix(stdout, "a shared one cannot be trusted. What failed: shares.\n") {
		t.Errorf("no verdict in:\n%s", stdout)
	}
	checkEmpty(t, dir)
}

func TestDoctorJSON(t *testing.T) {
	dir := t.TempDir()
	status, stdout, stderr := command(t, "doctor", dir, "-json").output()
	if status != 0 || stderr != "" {
		t.Fatalf("status %d, stderr: %s", status, stderr)
	}
	var report doctorReport
	if err := json.Unmarshal([]byte(stdout), &report); err != nil {
		t.Fatal(err)
	}
	if report.Directory != dir || !report.Trusted || report.Verdict == "" || len(report.Checks) != len(checkNames)+1 {
		t.Errorf("%s", stdout)
	}
	for _, c := range report.Checks {
		if c.Name == "blocks and wakes" && len(c.Latencies) == 0 {
			t.Errorf("no latencies: %+v", c)
		}
		if c.Outcome == locktest.Failed {
			t.Errorf("%+v", c)
		}
	}
}

func TestDoctorJSONTellsOfTrouble(t *testing.T) {
	dir := t.TempDir()
	missing := filepath.Join(dir, "missing")
	for _, test := range []struct {
		args []string
		dir  string
		says string
	}{
		{[]string{missing}, missing, "there is no directory"},
		{[]string{"-peer", "-wait", "200ms", dir}, dir, "no other half"},
	} {
		status, stdout, stderr := command(t, append([]string{"doctor", "-json"}, test.args...)...).output()
		if status != 1 || !strings.Contains(stderr, test.says) {
			t.Errorf("%q: status %d, stderr: %s", test.args, status, stderr)
		}
		var said map[string]any
		if err := json.Unmarshal([]byte(stdout), &said); err != nil {
			t.Fatalf("%q: %v in: %s", test.args, err, stdout)
		}
		why, _ := said["error"].(string)
		if said["trusted"] != false || said["directory"] != test.dir || !strings.Contains(why, test.says) || said["verdict"] != nil {
			t.Errorf("%q: %s", test.args, stdout)
		}
	}
}

func TestDoctorLeavesThePackAlone(t *testing.T) {
	dir := t.TempDir()
	l, err := packlock.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	h, err := l.TryAcquire()
	if err != nil {
		t.Fatal(err)
	}
	defer h.Release()
	if status, stdout, stderr := command(t, "doctor", dir).output(); status != 0 {
		t.Errorf("status %d, stderr: %s\n%s", status, stderr, stdout)
	}
}

func TestDoctorSaysWhatIsWrongWithTheCommandLine(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args   []string
		status int
		says   string
	}{
		{nil, 2, "which directory?"},
		{[]string{"-peer"}, 2, "which directory?"},
		{[]string{""}, 2, "DIR is empty; for the current directory type: packlock doctor ."},
		{[]string{dir, ""}, 2, "DIR is empty"},
		{[]string{dir, dir}, 2, "one directory at a time"},
		{[]string{"-frob", dir}, 2, "packlock help doctor"},
		{[]string{"-peer=perhaps", dir}, 2, "packlock help doctor"},
		{[]string{"-json=perhaps", dir}, 2, "packlock help doctor"},
		{[]string{dir, "-wait"}, 2, "packlock help doctor"},
		{[]string{"-peer", dir, "-wait", "0s"}, 2, "-wait must be more than 0, as in: packlock doctor -peer -wait 5m DIR"},
		{[]string{"-peer", dir, "-wait", "5"}, 2, "a time has a unit, as in 5s; type: packlock help doctor"},
		{[]string{"-peer", dir, "-wait", "-1s"}, 2, "a time is not negative; type: packlock help doctor"},
		{[]string{"-peer", dir, "-wait", "x"}, 2, "that is not a time, such as 5s or 1m30s; type: packlock help doctor"},
		{[]string{"-wait", "5s", dir}, 2, "-wait is for -peer"},
		{[]string{filepath.Join(dir, "missing")}, 1, "there is no directory"},
		{[]string{"-peer", filepath.Join(dir, "missing")}, 1, "there is no directory"},
		{[]string{file}, 1, "is not a directory"},
	} {
		status, stdout, stderr := command(t, append([]string{"doctor"}, test.args...)...).output()
		if status != test.status || !strings.Contains(stderr, test.says) || strings.Count(stderr, "\n") != 1 || stdout != "" {
			t.Errorf("%q: status %d, want %d; said %q, want %q in one line; stdout: %s", test.args, status, test.status, stderr, test.says, stdout)
		}
	}
	checkEmpty(t, dir)
}

// runPeers runs that many halves to their end, and returns what they print.
// Their exit status is to be the one given.
func runPeers(t *testing.T, dir string, n, status int, env ...string) []string {
	t.Helper()
	printed := make([]string, n)
	var all sync.WaitGroup
	for i := range n {
		c := command(t, "doctor", "-peer", dir)
		c.cmd.Env = append(c.cmd.Env, env...)
		all.Go(func() {
			got, stdout, stderr := c.output()
			if got != status {
				t.Errorf("half %d: status %d, want %d; stderr: %s", i, got, status, stderr)
			}
			printed[i] = stdout
		})
	}
	all.Wait()
	checkEmpty(t, dir)
	return printed
}

func TestPeersProveThatTheLockExcludes(t *testing.T) {
	t.Parallel()
	for _, stdout := range runPeers(t, t.TempDir(), 2, 0) {
		for _, name := range []string{"held here, tried there", "held there, tried here", "wakes here", "wakes there"} {
			if said := checkLine(t, stdout, name); !strings.HasPrefix(said, "ok: ") {
				t.Errorf("%s: %s", name, said)
			}
		}
		if !strings.Contains(stdout, "\nProved: ") {
			t.Errorf("no verdict in:\n%s", stdout)
		}
	}
}

func TestPeersSayWhatTheyWaitFor(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var said [2]string
	var both sync.WaitGroup
	for i := range said {
		c := command(t, "doctor", "-peer", dir)
		c.cmd.Env = append(c.cmd.Env, slowVariable+"=1")
		both.Go(func() {
			status, _, stderr := c.output()
			if status != 0 {
				t.Errorf("status %d, stderr: %s", status, stderr)
			}
			said[i] = stderr
		})
	}
	both.Wait()
	for _, said := range said {
		for _, what := range []string{"), to acquire the lock\n", "), to wait for the lock\n", "), to release the lock\n"} {
			if !strings.Contains(said, what) || !strings.Contains(said, "packlock: doctor: waiting for the other half, ") {
				t.Errorf("nothing of %q in:\n%s", what, said)
			}
		}
	}
}

func TestPeersRefuteLocksThatExcludeNobody(t *testing.T) {
	t.Parallel()
	failed := make(map[string]int)
	for _, stdout := range runPeers(t, t.TempDir(), 2, 1, asunderVariable+"=1") {
		for _, name := range []string{"held here, tried there", "held there, tried here"} {
			if strings.HasPrefix(checkLine(t, stdout, name), "FAILED: ") {
				failed[name]++
			}
		}
		if !strings.Contains(stdout, "\nRefuted: ") {
			t.Errorf("no verdict in:\n%s", stdout)
		}
	}
	// What is here to the one is there to the other.
	for name, n := range failed {
		if n != 1 {
			t.Errorf("%s: failed for %d of the two", name, n)
		}
	}
	if len(failed) != 2 {
		t.Errorf("failed: %v", failed)
	}
}

func TestPeersPairUp(t *testing.T) {
	t.Parallel()
	runPeers(t, t.TempDir(), 4, 0)
}

func TestPeersIgnoreWhatAKilledOneLeft(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	killed := command(t, "doctor", "-peer", dir).start()
	killed.readLine(killed.stderr) // it waits, and has said what to do
	killed.cmd.Process.Kill()
	killed.wait()
	left, err := filepath.Glob(filepath.Join(dir, peerPrefix+"*"))
	if err != nil || len(left) == 0 {
		t.Fatalf("left behind: %q, %v", left, err)
	}
	halves := []*child{command(t, "doctor", "-peer", dir).start(), command(t, "doctor", "-peer", dir).start()}
	for _, c := range halves {
		for !strings.HasPrefix(c.readLine(c.stdout), "Proved: ") {
		}
		if status := c.wait(); status != 0 {
			t.Errorf("status %d", status)
		}
	}
	for _, path := range left {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Error(err)
		}
	}
	checkEmpty(t, dir)
}

func TestPeerEndsWhenNobodyComes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	expect(t, 1, []string{"doctor", "-peer", "-wait", "200ms", dir}, "no other half within 200ms", "packlock doctor -peer DIR")
	checkEmpty(t, dir)
}

func TestPeerEndsWhenTheOtherIsKilled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	one := command(t, "doctor", "-peer", "-wait", "8s", dir).start() // as long as the other may take to start, and the test lasts
	other := command(t, "doctor", "-peer", dir).start()
	for !strings.HasPrefix(one.readLine(one.stdout), "other half ") {
	}
	other.cmd.Process.Kill()
	said, err := io.ReadAll(one.stderr)
	if err != nil || !strings.Contains(string(said), "nothing came from the other half") {
		t.Errorf("said %q, %v", said, err)
	}
	if status := one.wait(); status != 1 {
		t.Errorf("status %d, want 1", status)
	}
}

// A lock that is let go by a death is neither one that does not exclude nor one
// that was released.
func TestKilledPeerProvesAndRefutesNothing(t *testing.T) {
	t.Parallel()
	moments := []string{"after pairing"}
	for step := range 10 { // a turn, and the start of the next
		moments = append(moments, fmt.Sprint("before ", step+1), fmt.Sprint("after ", step+1))
	}
	if testing.Short() {
		moments = moments[:7]
	}
	var all sync.WaitGroup
	for _, when := range moments { // each takes next to no work, but time
		dir := t.TempDir()
		all.Go(func() { runToAKill(t, dir, when) })
	}
	all.Wait()
}

// runToAKill runs two halves, of which one is killed at that moment.
func runToAKill(t *testing.T, dir, when string) {
	const wait = "8s" // as long as two processes may take to start, and the test lasts
	one := command(t, "doctor", "-peer", "-wait", wait, dir)
	other := command(t, "doctor", "-peer", "-wait", wait, dir)
	other.cmd.Env = append(other.cmd.Env, killVariable+"="+when)
	if when != "after pairing" { // a step is taken by one of the two, whichever that is
		one.cmd.Env = append(one.cmd.Env, killVariable+"="+when)
	}
	var both sync.WaitGroup
	var survivors atomic.Int32
	for _, c := range []*child{one, other} {
		both.Go(func() {
			status, stdout, stderr := c.output()
			if status == 1 && strings.Contains(stderr, "nothing came from the other half") {
				survivors.Add(1)
			}
			for _, wrong := range []string{"Refuted", "Proved", "FAILED"} {
				if strings.Contains(stdout, wrong) {
					t.Errorf("%s: status %d, stderr: %s\n%s", when, status, stderr, stdout)
				}
			}
		})
	}
	both.Wait()
	if n := survivors.Load(); n != 1 {
		t.Errorf("%s: %d of the two say that nothing came from the other half", when, n)
	}

	// What there is left is of the one that was killed.
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Error(err)
	}
	var killed string
	for _, entry := range entries {
		name, ours := strings.CutPrefix(entry.Name(), peerPrefix)
		id, _, single := strings.Cut(name, ".")
		if killed == "" {
			killed = id
		}
		if !ours || !single || id != killed {
			t.Errorf("%s: left behind: %v", when, entries)
		}
	}
}

func TestInterruptedDoctorLeavesNothing(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("a process cannot be interrupted from a program on Windows, only from its console")
	}
	for _, args := range [][]string{{"doctor"}, {"doctor", "-peer"}} {
		for _, s := range endings {
			dir := t.TempDir()
			c := command(t, append(args, dir)...)
			c.cmd.Env = append(c.cmd.Env, stuckVariable+"=1")
			c.start()
			c.readLine(c.stderr) // it is stuck, or waits for the other half
			if entries, err := os.ReadDir(dir); err != nil || len(entries) == 0 {
				t.Errorf("%q: %v, %v", args, entries, err)
			}
			if err := c.cmd.Process.Signal(s); err != nil {
				t.Fatal(err)
			}
			if line := c.readLine(c.stderr); line != "packlock: doctor: interrupted" {
				t.Errorf("%q, %v: said %q", args, s, line)
			}
			if got := c.wait(); got != signalStatus(s) {
				t.Errorf("%q, %v: status %d, want %d", args, s, got, signalStatus(s))
			}
			checkEmpty(t, dir)
		}
	}
}

func TestDoctorNoticesALockFileWithSeveralLinks(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("how many links a file has is not told without opening it")
	}
	dirs := packs(t, "pack", "copy")
	lockFile, link := filepath.Join(dirs[0], packlock.FileName), filepath.Join(dirs[1], packlock.FileName)
	const says = "has 2 links"
	if _, stdout, _ := command(t, "doctor", dirs[0]).output(); strings.Contains(stdout, "links") {
		t.Errorf("%q", stdout)
	}
	if err := os.Remove(link); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(lockFile, link); err != nil {
		t.Skipf("no hard links here: %v", err)
	}
	if status, stdout, _ := command(t, "doctor", dirs[1]).output(); status != 0 || !strings.Contains(stdout, says) {
		t.Errorf("exit status %d, %q lacks %q", status, stdout, says)
	}
	if status, stdout, _ := command(t, "doctor", "-json", dirs[0]).output(); status != 0 || !strings.Contains(stdout, `"lock_file_links": 2`) {
		t.Errorf("exit status %d, %q", status, stdout)
	}
}

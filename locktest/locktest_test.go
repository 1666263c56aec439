package locktest

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// nobodyVariable has TestRunOnALockThatExcludesNobody do what its name says.
const nobodyVariable = "PACKLOCK_TEST_NOBODY"

// hung is a lock of a file system that does not answer.
var hung = Lib{Name: "hung", Open: func(string) (Locker, error) { select {} }}

func TestMain(m *testing.M) {
	libs := []Lib{hung}
	for _, f := range append(flaws, systemFlaws...) {
		libs = append(libs, f.Lib)
	}
	Child(libs...)
	Main(m)
}

func TestPacklockIsWhatItClaims(t *testing.T) {
	t.Parallel()
	Run(t, Packlock())
}

func TestRunOnALockThatExcludesNobody(t *testing.T) {
	if os.Getenv(nobodyVariable) == "" {
		t.Skip("it fails, and is run by TestRunFailsForWhatALockCannotDoWithout")
	}
	i := slices.IndexFunc(flaws, func(f flaw) bool { return f.Name == "excludes nobody" })
	Run(t, flaws[i].Lib)
}

func TestRunFailsForWhatALockCannotDoWithout(t *testing.T) {
	t.Parallel()
	cmd := selfRunning(t, "TestRunOnALockThatExcludesNobody")
	cmd.Env = append(os.Environ(), nobodyVariable+"=1")
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, says := range []string{
		"--- PASS: TestRunOnALockThatExcludesNobody/locks",
		"--- FAIL: TestRunOnALockThatExcludesNobody/excludes ",
		errTaken.Error(),
		"--- SKIP: TestRunOnALockThatExcludesNobody/blocks_and_wakes",
	} {
		if !strings.Contains(string(out), says) {
			t.Errorf("does not say %q:\n%s", says, out)
		}
	}
}

// selfRunning returns the command that runs a test in another process.
func selfRunning(t *testing.T, test string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	line := append(strings.Fields(os.Getenv("TEST_EXEC")), exe, "-test.v", "-test.run=^"+test+"$")
	return exec.Command(line[0], line[1:]...)
}

func TestCheckTrustsWhereLocksExclude(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var told []string
	r, err := Check(WithProgress(t.Context(), func(r Result) { told = append(told, r.Name) }), dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, c := range r.Checks {
		names = append(names, c.Name)
		if c.Outcome == Failed || c.Outcome == Lacks {
			t.Errorf("%s: %s", c.Name, c)
		}
	}
	if !slices.Equal(names, told) {
		t.Errorf("told of %q, and reports %q", told, names)
	}
	if r.Directory != dir || !r.Trusted || !strings.Contains(r.Verdict, dir) || r.System != runtime.GOOS+"/"+runtime.GOARCH {
		t.Errorf("%+v", r)
	}
	for _, line := range append(names, r.Verdict) {
		if !strings.Contains(r.String(), line) {
			t.Errorf("no %q in:\n%s", line, r)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestCheckSaysWhyItCannotFindOut(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Check(t.Context(), file); err == nil || !strings.Contains(err.Error(), "not a directory") {
		t.Errorf("a file: %v", err)
	}
	if _, err := Check(t.Context(), file+".missing"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("nothing: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Check(ended, filepath.Dir(file)); !errors.Is(err, context.Canceled) {
		t.Errorf("an ended context: %v", err)
	}
	if _, err := Test(t.Context(), filepath.Dir(file), Lib{Name: "unheard of"}); err == nil || !strings.Contains(err.Error(), "Child was not given") {
		t.Errorf("a library that no child knows: %v", err)
	}
}

func TestWithoutChildNothingIsRun(t *testing.T) {
	defer func() { ready = true }()
	ready = false
	if _, err := Check(t.Context(), t.TempDir()); err != errNotReady {
		t.Errorf("Check: %v", err)
	}
	if _, err := Test(t.Context(), t.TempDir(), hung); err != errNotReady {
		t.Errorf("Test: %v", err)
	}
}

// A server without a lock manager has flock sit in the kernel.
func TestWhatHangsIsSaid(t *testing.T) {
	t.Parallel()
	x, err := newExam(t.TempDir(), role{Lib: hung.Name}, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer x.end()
	x.bounds.answer = 5 * time.Second
	x.network = true
	var r Report
	if err := x.examineAll(t.Context(), ofFileSystems, properties, &r); err != nil {
		t.Fatal(err)
	}
	first := r.Checks[0]
	if first.Outcome != Failed || first.Detail != "open: no answer in 5s: the server has no lock manager, or cannot be reached" {
		t.Errorf("%s: %s", first.Name, first)
	}
	for _, c := range r.Checks[1:] {
		if c.Outcome != Skipped || !strings.Contains(c.Detail, "no lock to check") {
			t.Errorf("%s: %s", c.Name, c)
		}
	}
	x.network = false
	if says := x.inWords(hang{"open", time.Second}); strings.Contains(says, "server") {
		t.Errorf("without a network: %s", says)
	}
}

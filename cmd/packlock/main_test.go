package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"packlock/locktest"
)

// The test binary is packlock itself when roleVariable is set, or, if its first
// argument is one of roles, a command that packlock runs.
const roleVariable = "PACKLOCK_TEST_ROLE"

var roles = map[string]func(args []string) int{
	"test:exit": func(args []string) int {
		status, _ := strconv.Atoi(args[0])
		return status
	},
	"test:wait": func([]string) int {
		fmt.Println("ready", os.Getpid())
		io.Copy(io.Discard, os.Stdin)
		return 0
	},
	"test:held": func([]string) int {
		fmt.Println(os.Getenv(heldVariable))
		return 0
	},
}

func TestMain(m *testing.M) {
	locktest.Child(scratchLibs()...) // of doctor
	if os.Getenv(roleVariable) == "" {
		os.Unsetenv(heldVariable) // of a run that the tests are run under
		os.Unsetenv("NO_COLOR")
		os.Unsetenv("TERM")
		// Two at a time, on two processors, would do nothing for most of the time: what
		// is parallel here waits for a second or for several. Windows starts processes
		// slowly.
		flag.Parse()
		if p := flag.Lookup("test.parallel"); runtime.GOOS != "windows" && p.Value.String() == p.DefValue {
			flag.Set("test.parallel", "4")
		}
		os.Exit(m.Run())
	}
	if len(os.Args) > 1 {
		if role := roles[os.Args[1]]; role != nil {
			os.Exit(role(os.Args[2:]))
		}
	}
	os.Exit(execute(os.Args[1:]))
}

// self returns the command line of packlock, or of a role, with args.
func self(t *testing.T, args ...string) []string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return append(append(strings.Fields(os.Getenv("TEST_EXEC")), exe), args...)
}

// underLock returns the arguments of packlock for running a role under the lock
// of dir.
func underLock(t *testing.T, dir string, role ...string) []string {
	t.Helper()
	return append([]string{"run", dir, "--"}, self(t, role...)...)
}

// A child is a packlock under test.
type child struct {
	t              *testing.T
	cmd            *exec.Cmd
	stdin          io.WriteCloser
	stdout, stderr *bufio.Reader
	waited         bool
}

// command prepares packlock with args.
func command(t *testing.T, args ...string) *child {
	t.Helper()
	line := self(t, args...)
	c := &child{t: t, cmd: exec.Command(line[0], line[1:]...)}
	// The race detector would have every process wait for a second at its end.
	c.cmd.Env = append(os.Environ(), roleVariable+"=1", "GORACE=atexit_sleep_ms=0")
	return c
}

// start starts c, which ends with the test: by the end of its standard input,
// or killed.
func (c *child) start() *child {
	c.t.Helper()
	must := func(err error) {
		c.t.Helper()
		if err != nil {
			c.t.Fatal(err)
		}
	}
	stdin, err := c.cmd.StdinPipe()
	must(err)
	stdout, err := c.cmd.StdoutPipe()
	must(err)
	stderr, err := c.cmd.StderrPipe()
	must(err)
	c.stdin, c.stdout, c.stderr = stdin, bufio.NewReader(stdout), bufio.NewReader(stderr)
	must(c.cmd.Start())
	c.t.Cleanup(func() {
		stdin.Close()
		if !c.waited {
			c.cmd.Process.Kill()
			c.cmd.Wait()
		}
	})
	return c
}

// readLine returns the next line that comes from r.
func (c *child) readLine(r *bufio.Reader) string {
	c.t.Helper()
	line, err := r.ReadString('\n')
	if err != nil {
		rest, _ := io.ReadAll(c.stderr)
		c.t.Fatalf("read %q, %v; stderr: %s", line, err, rest)
	}
	return strings.TrimSpace(line)
}

// ready waits until the role test:wait runs and returns its pid.
func (c *child) ready() int {
	c.t.Helper()
	var pid int
	line := c.readLine(c.stdout)
	if _, err := fmt.Sscanf(line, "ready %d", &pid); err != nil {
		c.t.Fatalf("%q: %v", line, err)
	}
	return pid
}

// wait waits for the end of c and returns its exit status, as shells have it.
func (c *child) wait() int {
	c.t.Helper()
	err := c.cmd.Wait()
	c.waited = true
	if c.cmd.ProcessState == nil {
		c.t.Fatal(err)
	}
	if s := killer(c.cmd.ProcessState); s != nil {
		return signalStatus(s)
	}
	return c.cmd.ProcessState.ExitCode()
}

// output runs c to its end.
func (c *child) output() (status int, stdout, stderr string) {
	c.t.Helper()
	var out, errs strings.Builder
	c.cmd.Stdout, c.cmd.Stderr = &out, &errs
	if err := c.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	return c.wait(), out.String(), errs.String()
}

// hold starts a packlock that holds the lock of dir as long as its stdin is
// open, and returns it and the pid of its command.
func hold(t *testing.T, dir string) (*child, int) {
	t.Helper()
	c := command(t, underLock(t, dir, "test:wait")...).start()
	return c, c.ready()
}

// expect runs packlock with args to its end and checks its exit status and that
// each of said is in what it prints to stderr.
func expect(t *testing.T, status int, args []string, said ...string) (stderr string) {
	t.Helper()
	got, _, stderr := command(t, args...).output()
	if got != status {
		t.Errorf("packlock %q: exit status %d, want %d; stderr: %s", args, got, status, stderr)
	}
	for _, s := range said {
		if !strings.Contains(stderr, s) {
			t.Errorf("packlock %q: stderr %q lacks %q", args, stderr, s)
		}
	}
	return stderr
}

func TestUsageErrorIsOneLineThatSaysWhatToType(t *testing.T) {
	dir := t.TempDir()
	for _, args := range [][]string{
		{},
		{"lock"},
		{"help", "lock"},
		{"help", "run", "version"},
		{"version", "run"},
		{"run"},
		{"run", "-y", dir, "--", "true"},
		{"run", dir, "-s", "--", "true"},
		{"run", dir, "-x", "true"},
		{"run", "-s=maybe", dir, "--", "true"},
		{"run", "--", "true"},
		{"run", "", "--", "true"},
		{"run", dir},
		{"run", dir, "--"},
		{"run", dir, filepath.Join(dir, "missing"), "--", "true"},
		{"run", dir, dir, "--", "true"},
		{"run", dir, dir + "/.", "--", "true"},
		{"run", "-f", "", "--", "true"},
		{"run", "-f", filepath.Join(dir, "file")},
		{"run", "-c", "true", "--"},
		{"run", dir, "-c", "true", "--", "true"},
		{"run", dir, "git", "checkout", "--", "file"},
		{"run", "-n", "-timeout", "1s", dir, "--", "true"},
		{"run", "-timeout", "-5s", dir, "--", "true"},
		{"run", "-E", "256", dir, "--", "true"},
		{"run", "-E", "-1", dir, "--", "true"},
		{"run", dir, "-E", "--", "true"},
	} {
		stderr := expect(t, 2, args, "packlock: ")
		if !strings.Contains(stderr, "type") && !strings.Contains(stderr, "packlock run DIR -- ") {
			t.Errorf("packlock %q: %q does not say what to type", args, stderr)
		}
		if strings.Count(stderr, "\n") != 1 {
			t.Errorf("packlock %q: not one line: %q", args, stderr)
		}
	}
}

func TestHelpTellsAboutEveryVerb(t *testing.T) {
	status, overview, _ := command(t, "help").output()
	if status != 0 {
		t.Errorf("help: exit status %d", status)
	}
	for _, args := range [][]string{{"-h"}, {"--help"}} {
		if status, stdout, _ := command(t, args...).output(); status != 0 || stdout != overview {
			t.Errorf("packlock %q: exit status %d, %q", args, status, stdout)
		}
	}
	for _, v := range verbs() {
		if !strings.Contains(overview, "  "+v.name+" ") || !strings.Contains(overview, v.summary) {
			t.Errorf("help does not mention %s", v.name)
		}
		for _, args := range [][]string{{"help", v.name}, {v.name, "-h"}} {
			status, stdout, stderr := command(t, args...).output()
			if status != 0 || stderr != "" || !strings.HasPrefix(stdout, "usage: packlock "+v.name) {
				t.Errorf("packlock %q: exit status %d, %q, %q", args, status, stdout, stderr)
			}
		}
	}
}

func TestVerbWithoutMoreToSaySaysItsSummary(t *testing.T) {
	for _, verb := range []string{"help", "version"} {
		want := "usage: " + findVerb(verb).synopsis() + "\n\n" + sentence(findVerb(verb).summary) + "\n"
		if _, stdout, _ := command(t, "help", verb).output(); stdout != want {
			t.Errorf("%q, want %q", stdout, want)
		}
	}
}

func TestOutputThatCannotBeWrittenIsTrouble(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	bench := []string{"bench", "-processes", "1", "-goroutines", "1", "-duration", "10ms", "-rounds", "1", dir}
	for _, test := range []struct {
		status int
		args   []string
	}{
		{1, []string{"help"}},
		{1, []string{"help", "run"}},
		{1, []string{"run", "-h"}},
		{1, []string{"version"}},
		{1, []string{"completion", "bash"}},
		{2, []string{"status", "-h"}},
		{2, []string{"status", dir}},
		{2, []string{"status", "-json", dir}},
		{1, bench},
		{1, append([]string{bench[0], "-json"}, bench[1:]...)},
		{1, []string{"doctor", dir}},
	} {
		c := command(t, test.args...)
		readOnly, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		defer readOnly.Close()
		c.cmd.Stdout = readOnly
		var stderr strings.Builder
		c.cmd.Stderr = &stderr
		if err := c.cmd.Start(); err != nil {
			t.Fatal(err)
		}
		want := "packlock: " + test.args[0] + ": write "
		if status := c.wait(); status != test.status || !strings.HasPrefix(stderr.String(), want) || strings.Count(stderr.String(), "\n") != 1 {
			t.Errorf("packlock %q: exit status %d, want %d; stderr: %q", test.args, status, test.status, &stderr)
		}
	}
}

func TestVersionNamesToolchainAndPlatform(t *testing.T) {
	for _, verb := range []string{"version", "--version"} {
		status, stdout, _ := command(t, verb).output()
		fields := strings.Fields(stdout)
		if status != 0 || len(fields) == 0 || fields[0] != "packlock" ||
			!slices.Contains(fields, runtime.Version()) ||
			!slices.Contains(fields, runtime.GOOS+"/"+runtime.GOARCH) {
			t.Errorf("%s: exit status %d, %q", verb, status, stdout)
		}
	}
}

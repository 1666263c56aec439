package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ofCommand returns a line of /proc/self/status as the command of a run has it.
func ofCommand(t *testing.T, c *child) signalSet {
	t.Helper()
	status, stdout, stderr := c.output()
	n, err := strconv.ParseUint(strings.TrimSpace(stdout), 16, 64)
	if status != 0 || err != nil {
		t.Fatalf("exit status %d, %q, %q, %v", status, stdout, stderr, err)
	}
	return signalSet(n)
}

func statusLine(t *testing.T, name string) *child {
	t.Helper()
	return command(t, "run", t.TempDir(), "--", "sed", "-n", "s/"+name+":\t//p", "/proc/self/status")
}

func TestIgnoredSignalsStayIgnoredUnderAShell(t *testing.T) {
	if os.Getenv("TEST_EXEC") != "" {
		t.Skip("an emulator catches the ignored signals itself, and so resets them when it executes a command")
	}
	const more = "; exit $?" // so that the shell does not execute run in its own place
	for _, test := range []struct {
		shell, script string
		want          signalSet
	}{
		{"dash", `trap "" TERM QUIT USR1 PIPE; "$@"` + more, setOf(unix.SIGTERM, unix.SIGQUIT, unix.SIGUSR1, unix.SIGPIPE)},
		{"dash", `trap "" CHLD INT; "$@"` + more, setOf(unix.SIGINT)},
		{"dash", `trap "" HUP; "$@" & wait $!`, setOf(unix.SIGHUP, unix.SIGINT, unix.SIGQUIT)},
		{"dash", `"$@"` + more, 0},
		{"bash", `trap "" TERM USR1 PIPE; "$@"` + more, setOf(unix.SIGTERM, unix.SIGUSR1, unix.SIGPIPE)},
		{"bash", `"$@" & wait $!`, setOf(unix.SIGINT, unix.SIGQUIT)},
		{"bash", `"$@"` + more, 0},
		{"bash", `set -m; "$@"` + more, 0},
	} {
		exe, err := exec.LookPath(test.shell)
		if err != nil {
			t.Logf("%s is not installed", test.shell)
			continue
		}
		c := statusLine(t, "SigIgn")
		c.cmd.Args = append([]string{test.shell, "-c", test.script, test.shell}, c.cmd.Args...)
		c.cmd.Path = exe
		if got := ofCommand(t, c); got != test.want {
			t.Errorf("%s: %s: ignored are %016x, want %016x", test.shell, test.script, got, test.want)
		}
	}
}

func TestWhatOthersIgnoreForTheirOwnPartIsNotIgnored(t *testing.T) {
	for _, test := range []struct {
		exe    string
		sigIgn signalSet
		want   []os.Signal
	}{
		{"dash", setOf(unix.SIGQUIT, unix.SIGTERM), []os.Signal{unix.SIGQUIT, unix.SIGTERM}},
		{"bash", setOf(unix.SIGQUIT, unix.SIGTERM), []os.Signal{unix.SIGTERM}},
		// Interactive.
		{"bash", 0x384004, nil},
		{"bash", 0x384204, []os.Signal{unix.SIGUSR1}},
		{"dash", 0x284004, nil},
		// Neither Python nor systemd gives it to all that it starts.
		{"python3.13", setOf(unix.SIGPIPE, unix.SIGXFSZ), nil},
		{"systemd", setOf(unix.SIGPIPE), nil},
		{".", setOf(unix.SIGTERM), nil},
	} {
		if got := ignoredBy(test.exe, fmt.Sprintf("%016x", uint64(test.sigIgn))); !slices.Equal(got, test.want) {
			t.Errorf("%s, %x: %v, want %v", test.exe, test.sigIgn, got, test.want)
		}
	}
	if got := ignoredBy("dash", ""); got != nil {
		t.Errorf("of a parent that is not shown: %v", got)
	}
}

func TestBlockedSignalsStayBlocked(t *testing.T) {
	if os.Getenv("TEST_EXEC") != "" {
		t.Skip("an emulator keeps the mask of signals to itself")
	}
	want := setOf(unix.SIGUSR1, unix.SIGUSR2, unix.SIGPIPE, unix.SIGALRM, unix.SIGWINCH, 40)
	var mask, before unix.Sigset_t
	const word = int(8 * unsafe.Sizeof(mask.Val[0]))
	for n := range 64 {
		if want&(1<<n) != 0 {
			mask.Val[n/word] |= 1 << (n % word)
		}
	}
	c := statusLine(t, "SigBlk")
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &mask, &before); err != nil {
		t.Fatal(err)
	}
	defer unix.PthreadSigmask(unix.SIG_SETMASK, &before, nil)
	if got := ofCommand(t, c); got != want {
		t.Errorf("blocked are %016x, want %016x", got, want)
	}
}

func TestCommandAfterAMessageWithoutAReaderIgnoresNoSIGPIPE(t *testing.T) {
	missing := t.TempDir() + "/missing" // run says that it has created it
	for _, line := range []string{"SigIgn", "SigBlk"} {
		c := command(t, "run", missing+line, "--", "sed", "-n", "s/"+line+":\t//p", "/proc/self/status")
		c.withoutReader()
		stdout, err := c.cmd.Output()
		if got := strings.TrimSpace(string(stdout)); err != nil || got != "0000000000000000" {
			t.Errorf("%s: %q, %v", line, got, err)
		}
	}
}

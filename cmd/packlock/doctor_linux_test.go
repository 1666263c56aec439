package main

import (
	"bufio"
	"os"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"packlock"
)

func TestMountOptionsAreFound(t *testing.T) {
	const mountinfo = `22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/root rw,discard
36 22 0:45 / /mnt/two\040words rw,noatime shared:7 master:2 - nfs4 server:/export rw,vers=4.2,local_lock=none
37 22 0:46 / /mnt/bare rw - tmpfs none
`
	for id, want := range map[string]fileSystem{
		"36": {Type: "nfs4", Source: "server:/export", Mount: "/mnt/two words",
			Options: []string{"rw", "noatime", "vers=4.2", "local_lock=none"}},
		"37": {Type: "tmpfs", Source: "none", Mount: "/mnt/bare", Options: []string{"rw"}},
		"38": {},
	} {
		if got := parseMount(mountinfo, id); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, want %+v", id, got, want)
		}
	}
}

func TestFileSystemIsNamed(t *testing.T) {
	if f := findFileSystem("/proc"); f.Type != "proc" || f.Mount != "/proc" || f.local {
		t.Errorf("/proc: %+v", f)
	}
}

func TestDoctorHasColoursOnATerminalOnly(t *testing.T) {
	onTerminal := func(env ...string) string {
		master, slave := openTerminal(t)
		c := command(t, "doctor", t.TempDir())
		c.cmd.Env = append(c.cmd.Env, env...)
		c.cmd.Stdout = slave
		if err := c.cmd.Start(); err != nil {
			t.Fatal(err)
		}
		slave.Close()
		var printed strings.Builder
		for lines := bufio.NewScanner(master); lines.Scan(); { // until it has closed its side
			printed.WriteString(lines.Text() + "\n")
		}
		if status := c.wait(); status != 0 {
			t.Errorf("status %d:\n%s", status, &printed)
		}
		return printed.String()
	}
	const escape = "\x1b["
	if printed := onTerminal("NO_COLOR="); !strings.Contains(printed, escape+"32mok"+escape+"0m") {
		t.Errorf("no colours on a terminal:\n%s", printed)
	}
	if printed := onTerminal("NO_COLOR=1"); strings.Contains(printed, escape) {
		t.Errorf("colours in spite of NO_COLOR:\n%s", printed)
	}
	if _, printed, _ := command(t, "doctor", t.TempDir()).output(); strings.Contains(printed, escape) {
		t.Errorf("colours in a pipe:\n%s", printed)
	}
}

// interruptVariable has the processes that doctor starts get what Ctrl-C sends
// to all on a terminal, before doctor itself does.
const interruptVariable = "PACKLOCK_TEST_INTERRUPT"

func init() {
	if os.Getenv(interruptVariable) != "" {
		openScratch = func(path string) (*packlock.Lock, error) {
			if err := unix.Kill(os.Getpid(), unix.SIGINT); err != nil {
				return nil, err
			}
			return packlock.OpenFile(path)
		}
	}
}

func TestCtrlCIsNotPutDownToTheFileSystem(t *testing.T) {
	c := command(t, "doctor", t.TempDir())
	c.cmd.Env = append(c.cmd.Env, interruptVariable+"=1")
	if status, stdout, stderr := c.output(); status != 0 || strings.Contains(stdout, "FAILED") {
		t.Errorf("status %d, stderr: %s\n%s", status, stderr, stdout)
	}
}

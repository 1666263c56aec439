package main

import (
	"bufio"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

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
		beforeOpen = func() {
			if err := unix.Kill(os.Getpid(), unix.SIGINT); err != nil {
				panic(err)
			}
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

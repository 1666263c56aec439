package locktest

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// childVariable makes this program a child. It is a role in JSON.
const childVariable = "PACKLOCK_LOCKTEST_CHILD"

// A role is what a child is to be.
type role struct {
	Lib   string
	Test  string // the name of the test that calls Run with the Lib, if it is one
	Hello int    // the number of its first answer
}

var (
	ready      bool  // children of this program become some
	registered []Lib // those that Child was given
	awaited    *role // of this process, until Run is called for it
)

// Main runs the tests of m and exits. TestMain must call it if a test calls Run or
// Check:
//
//	func TestMain(m *testing.M) { locktest.Main(m) }
func Main(m interface{ Run() int }) {
	Child()
	status := m.Run()
	if awaited != nil {
		fmt.Fprintf(os.Stderr, "locktest: %s, run again, did not call Run for %q\n", awaited.Test, awaited.Lib)
		status = 1
	}
	os.Exit(status)
}

// Child must be called at the start of a command that calls Check or Test. If this process
// is a child of a check, Child does not return. The libs are those that Test is called
// for.
func Child(libs ...Lib) {
	ready = true
	registered = append(registered, libs...)
	encoded, isChild := os.LookupEnv(childVariable)
	if !isChild {
		return
	}
	os.Unsetenv(childVariable) // it is nothing to the processes that this one starts
	r := &role{}
	if err := json.Unmarshal([]byte(encoded), r); err != nil {
		fmt.Fprintf(os.Stderr, "locktest: %s: %v\n", childVariable, err)
		os.Exit(1)
	}
	if r.Test != "" {
		awaited = r
		return
	}
	lib, err := libNamed(r.Lib)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	live(lib, *r)
}

// libNamed returns the library of that name: of those given to Child, or
// Packlock.
func libNamed(name string) (Lib, error) {
	libs := append(slices.Clone(registered), Packlock())
	i := slices.IndexFunc(libs, func(l Lib) bool { return l.Name == name })
	if i < 0 {
		return Lib{}, fmt.Errorf("locktest: Child was not given the library %q", name)
	}
	return libs[i], nil
}

// becomeChild does not return if this process is to be a child with that library.
func becomeChild(t *testing.T, lib Lib) {
	if r := awaited; r != nil && r.Test == t.Name() && r.Lib == lib.Name {
		live(lib, *r)
	}
}

var errNotReady = errors.New("locktest: the check runs this program again: call locktest.Main in TestMain, or locktest.Child at the start of main")

// command returns what starts a child in that role.
func command(r role) (*exec.Cmd, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	line := append(strings.Fields(os.Getenv("TEST_EXEC")), exe)
	if r.Test != "" {
		elements := strings.Split(r.Test, "/")
		for i, e := range elements {
			elements[i] = "^" + regexp.QuoteMeta(e) + "$"
		}
		line = append(line, "-test.run="+strings.Join(elements, "/"), "-test.count=1", "-test.timeout=0")
	}
	encoded, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(line[0], line[1:]...)
	// The race detector lets a process linger for a second, by default.
	cmd.Env = append(os.Environ(), childVariable+"="+string(encoded), "GORACE="+os.Getenv("GORACE")+" atexit_sleep_ms=0")
	cmd.Stderr = os.Stderr
	return cmd, nil
}

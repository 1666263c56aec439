package packlock

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func init() { childRoles["terminal"] = childTerminal }

// A terminal in the place of a sidecar is turned away, and has not become that of
// a process without one by then: it would die with the terminal.
func TestTerminalInPlaceOfSidecarDoesNotBecomeOurs(t *testing.T) {
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no terminals here: %v", err)
	}
	defer master.Close()
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Skipf("the terminal cannot be unlocked: %v", err)
	}
	n, err := unix.IoctlGetUint32(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Skipf("the terminal has no number: %v", err)
	}
	cmd, err := childCommand(bounded(t), "terminal", fmt.Sprintf("/dev/pts/%d", n))
	if err != nil {
		t.Fatal(err)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	childStartCommand(t, cmd).finish()
}

// childTerminal is the role of a child in a session of its own: args is the
// terminal.
func childTerminal(args []string) error {
	if l, err := OpenFile(args[0]); !errors.Is(err, fs.ErrInvalid) {
		return fmt.Errorf("OpenFile of a terminal: %v, %v", l, err)
	}
	switch tty, err := os.Open("/dev/tty"); {
	case err == nil:
		tty.Close()
		return errors.New("the terminal is ours")
	case !errors.Is(err, unix.ENXIO):
		return fmt.Errorf("/dev/tty: %v, want ENXIO", err)
	}
	return nil
}

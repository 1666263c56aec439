package packlock

import (
	"bufio"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func init() {
	childRoles["lease"] = childLease
}

// childLease has a lease on a file and gives it up when it is asked to and has been
// told that it may.
func childLease(args []string) error {
	f, err := os.OpenFile(args[0], os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return err
	}
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, unix.SIGIO)
	if _, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_WRLCK); err != nil {
		fmt.Println("no leases:", err)
		return nil
	}
	fmt.Println("leased")
	<-asked
	fmt.Println("asked")
	bufio.NewReader(os.Stdin).ReadString('\n')
	_, err = unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_UNLCK)
	return err
}

// Whoever has a lease on the sidecar is waited for, and is not an error.
func TestOpenWaitsForALease(t *testing.T) {
	dir := t.TempDir()
	child := childStart(t, "lease", filepath.Join(dir, FileName))
	if line, err := child.stdout.ReadString('\n'); err != nil || line != "leased\n" {
		t.Skipf("no lease is to be had here, whose end could be waited for: %s%v", line, err)
	}
	opened := make(chan error, 1)
	go func() {
		l, err := Open(dir)
		if err == nil {
			defer l.Close()
			var h *Hold
			if h, err = l.TryAcquire(); err == nil {
				err = h.Release()
			}
		}
		opened <- err
	}()
	child.expect("asked")
	select {
	case err := <-opened:
		t.Fatalf("opened under the lease: %v", err)
	default:
	}
	fmt.Fprintln(child.stdin)
	if err := <-opened; err != nil {
		t.Error(err)
	}
	child.finish()
}

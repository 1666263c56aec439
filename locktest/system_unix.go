//go:build darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd

package locktest

import (
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// endings are the signals by which a terminal or somebody ends a program.
var endings = []os.Signal{os.Interrupt, unix.SIGTERM, unix.SIGHUP}

func makeFIFO(path string) error { return unix.Mkfifo(path, 0o666) }

func makeSocket(path string) error {
	l, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	return l.Close()
}

// sleeps returns how often the threads of this process have gone to sleep.
func sleeps() (int64, error) {
	var usage unix.Rusage
	err := unix.Getrusage(unix.RUSAGE_SELF, &usage)
	return int64(usage.Nvcsw), err
}

// files returns how many files this process has open.
func files() *int {
	entries, err := os.ReadDir("/dev/fd")
	if err != nil {
		return nil
	}
	n := len(entries)
	return &n
}

// explain returns the text of an error, and says what the system's own does not.
func explain(err error) string {
	if errors.Is(err, unix.ENOLCK) {
		return fmt.Sprintf("%v: the server has no lock manager, or it does not answer", err)
	}
	return err.Error()
}

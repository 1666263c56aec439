//go:build !(darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd)

package locktest

import (
	"errors"
	"os"
	"syscall"
)

// endings are the signals by which a terminal or somebody ends a program.
var endings = []os.Signal{os.Interrupt, syscall.SIGTERM}

func makeFIFO(string) error { return errors.ErrUnsupported }

func makeSocket(string) error { return errors.ErrUnsupported }

func sleeps() (int64, error) { return 0, errors.ErrUnsupported }

func files() *int { return nil }

func explain(err error) string { return err.Error() }

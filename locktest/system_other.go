//go:build !(darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd)

package locktest

import "errors"

func makeFIFO(string) error { return errors.ErrUnsupported }

func makeSocket(string) error { return errors.ErrUnsupported }

func sleeps() (int64, error) { return 0, errors.ErrUnsupported }

func files() *int { return nil }

func explain(err error) string { return err.Error() }

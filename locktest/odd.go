package locktest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// refusesOddFiles is whether a path that leads to no regular file is an error.
func refusesOddFiles(x *exam) (string, error) {
	dir := filepath.Dir(x.scratch)
	var refused, accepted, none []string
	var why error
	for _, odd := range []struct {
		name string
		make func(path string) error
	}{
		{"directory", func(path string) error { return os.Mkdir(path, 0o777) }},
		{"symbolic link", func(path string) error { return os.Symlink(x.scratch, path) }},
		{"named pipe", makeFIFO},
		{"socket", makeSocket},
	} {
		path := filepath.Join(dir, odd.name[:3])
		if err := odd.make(path); err != nil {
			none = append(none, "no "+odd.name)
			continue
		}
		if _, err := os.Lstat(path); err != nil { // there are systems that only say they made it
			none = append(none, "no "+odd.name)
			continue
		}
		switch err := x.refuses(path); {
		case x.ctx.Err() != nil:
			return "", x.ctx.Err()
		case err != nil:
			accepted, why = append(accepted, odd.name), err
		default:
			refused = append(refused, odd.name)
		}
		x.dismiss()
	}
	if why != nil {
		return "", fmt.Errorf("%s: %w", strings.Join(accepted, ", "), why)
	}
	return strings.Join(append(refused, none...), ", "), nil
}

// refuses returns nil if what is at path cannot be opened or locked.
func (x *exam) refuses(path string) error {
	h, err := x.start(path)
	if err == nil {
		err = h.take()
	}
	switch {
	case err == nil:
		return errors.New("accepted as a lock file")
	case errors.As(err, new(hang)) || errors.Is(err, errEnded):
		return err
	}
	return nil
}

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"time"
)

// duration is the value of a flag that takes a time. Unlike that of the flag
// package, it says what is wrong with another.
type duration time.Duration

func (d *duration) String() string { return time.Duration(*d).String() }

func (d *duration) Set(s string) error {
	parsed, err := parseDuration(s)
	if err == nil {
		*d = duration(parsed)
	}
	return err
}

// wellFormed matches what is a time, be it too long to be had.
var wellFormed = regexp.MustCompile(`^[+-]?(([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+$`)

// parseDuration parses a time that is not negative.
func parseDuration(s string) (time.Duration, error) {
	const longest = time.Duration(1<<63 - 1)
	d, err := time.ParseDuration(s)
	switch {
	case err == nil && d >= 0:
		return d, nil
	case err == nil || wellFormed.MatchString(s) && s[0] == '-':
		return 0, errors.New("a time is not negative")
	case wellFormed.MatchString(s):
		return 0, fmt.Errorf("that is too long, the longest time is %v", longest.Truncate(time.Hour))
	}
	if _, err := strconv.ParseFloat(s, 64); err == nil {
		return 0, errors.New("a time has a unit, as in 5s")
	}
	return 0, errors.New("that is not a time, such as 5s or 1m30s")
}

// parseTimeout is parseDuration, but takes a number without a unit as seconds, as
// flock(1) and timeout(1) do.
func parseTimeout(s string) (time.Duration, error) {
	if wellFormed.MatchString(s + "s") {
		if _, err := strconv.ParseFloat(s, 64); err == nil {
			s += "s"
		}
	}
	return parseDuration(s)
}

// number is the value of a flag that takes a number. One too large for an int
// becomes the largest, so that the limits of the flag say what is wrong.
type number int

func (n *number) String() string { return strconv.Itoa(int(*n)) }

func (n *number) Set(s string) error {
	parsed, err := strconv.ParseInt(s, 0, strconv.IntSize)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return errors.New("that is not a number, such as 3")
	}
	*n = number(parsed)
	return nil
}

// anyDirs parses a command line of flags and directories in any order and returns
// the directories, none of them "". What follows "--" are directories, whatever
// they look like.
func (v *verb) anyDirs(args []string) (dirs []string, err error) {
	var plain []string
	if dashes := slices.Index(args, "--"); dashes >= 0 {
		args, plain = args[:dashes], args[dashes+1:]
	}
	for {
		if args, err = v.parse(args); err != nil {
			return nil, err
		}
		if len(args) == 0 {
			break
		}
		dirs, args = append(dirs, args[0]), args[1:]
	}
	dirs = append(dirs, plain...)
	if slices.Contains(dirs, "") {
		return nil, emptyDir(v.name + " .")
	}
	return dirs, nil
}

// oneDir is anyDirs for a verb that takes one directory.
func (v *verb) oneDir(args []string) (dir string, err error) {
	dirs, err := v.anyDirs(args)
	switch {
	case err != nil:
		return "", err
	case len(dirs) == 0:
		return "", usageError("which directory? as in: packlock %s DIR", v.name)
	case len(dirs) > 1:
		return "", usageError("one directory at a time, not also %q; type: packlock help %s", dirs[1], v.name)
	}
	return dirs[0], nil
}

// emptyDir returns the error for a DIR that is "": next to always it is a
// variable of a script that is not set, and not to be taken for the current
// directory, as most of what takes a path would.
func emptyDir(instead string) error {
	return usageError("DIR is empty; for the current directory type: packlock %s", instead)
}

// noDirectory returns the error for a dir that does not exist.
func noDirectory(dir string) error {
	if deletedHere(dir) {
		return errDeletedHere
	}
	if link := danglingLink(dir); link != "" {
		return fmt.Errorf("%s is a symbolic link to nothing", legible(link))
	}
	return fmt.Errorf("there is no directory %s", legible(dir))
}

// danglingLink returns the part of dir that is a symbolic link to nothing, "" if
// there is none. The system says that such a dir does not exist, but also that
// it cannot be created because it does.
func danglingLink(dir string) string {
	for part := filepath.Clean(dir); ; part = filepath.Dir(part) {
		info, err := os.Lstat(part)
		switch {
		case err != nil && part != filepath.Dir(part):
			continue
		case err != nil || info.Mode()&fs.ModeSymlink == 0:
			return ""
		}
		if _, err := os.Stat(part); !errors.Is(err, fs.ErrNotExist) {
			return ""
		}
		return part
	}
}

// errDeletedHere is why nothing is found by a path that is not absolute.
var errDeletedHere = errors.New("the current directory has been deleted")

// deletedHere reports whether path is one from a current directory that has been
// deleted.
func deletedHere(path string) bool {
	_, err := os.Getwd()
	return !filepath.IsAbs(path) && errors.Is(err, fs.ErrNotExist)
}

// reason returns what err says, without the operation and the path.
func reason(err error) error {
	var about *fs.PathError
	var command *exec.Error
	switch {
	case errors.As(err, &about):
		return about.Err
	case errors.As(err, &command):
		return command.Err
	}
	return err
}

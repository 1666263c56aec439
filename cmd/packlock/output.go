package main

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"
)

// stdout is where verbs print to. It remembers its first error, which execute
// reports, so that they need not check every line.
var stdout output

// output is the standard output.
type output struct{ err error }

func (o *output) Write(p []byte) (int, error) {
	n, err := os.Stdout.Write(p)
	if o.err == nil {
		o.err = err
	}
	return n, err
}

// stderr is where verbs print messages to. A message is a courtesy: if it cannot be
// written, because its reader is gone, the verb goes on, and its exit status is the same.
var stderr messages

// messages is the standard error.
type messages struct{}

func (messages) Write(p []byte) (int, error) {
	writeMessage(p)
	return len(p), nil
}

// printJSON prints v for programs.
func printJSON(v any) error {
	out := json.NewEncoder(&stdout)
	out.SetIndent("", "  ")
	return out.Encode(v)
}

// isTerminal reports whether somebody may be looking at f, by way of a terminal
// that knows colours and how to take a line back.
func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
}

// legible returns name, quoted if there is something in it that could play
// tricks on a terminal or on a script that reads lines.
func legible(name string) string {
	if strings.IndexFunc(name, func(r rune) bool { return r == utf8.RuneError || !strconv.IsPrint(r) }) >= 0 {
		return strconv.Quote(name)
	}
	return name
}

// message returns what err says, with the path it is about made legible.
func message(err error) string {
	if call := (*os.SyscallError)(nil); errors.As(err, &call) && call.Syscall == "getwd" && deletedHere("") {
		return errDeletedHere.Error()
	}
	s := err.Error()
	var about *fs.PathError
	if errors.As(err, &about) && about.Path != "" {
		s = strings.ReplaceAll(s, about.Path, legible(about.Path))
	}
	return s
}

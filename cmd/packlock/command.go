package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
)

// start starts a command line with an environment, and returns it even if that
// fails.
func start(line, env []string) (*exec.Cmd, error) {
	with := func(line []string) (*exec.Cmd, error) {
		cmd := exec.Command(line[0], line[1:]...)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		cmd.Env = env
		allowRelative(cmd)
		return cmd, cmd.Start()
	}
	usualPath()
	cmd, err := with(line)
	if err != nil && isScript(err) {
		// The shell takes a path that begins with a dash for an option.
		path := cmd.Path
		if strings.HasPrefix(path, "-") {
			path = "./" + path
		}
		return with(append([]string{"/bin/sh", path}, line[1:]...))
	}
	return cmd, err
}

// startStatus returns the status, as shells have it, for a command that err
// kept from being started.
func startStatus(cmd *exec.Cmd, err error) int {
	if errors.Is(err, exec.ErrNotFound) {
		return 127
	}
	// A script whose interpreter is missing is there all the same.
	if _, missing := os.Stat(cmd.Path); errors.Is(missing, fs.ErrNotExist) {
		return 127
	}
	return 126
}

// cannotStart returns err, which kept cmd from being started, for people.
func cannotStart(cmd *exec.Cmd, err error) error {
	name := legible(cmd.Args[0])
	info, missing := os.Stat(cmd.Path)
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return fmt.Errorf("%s: command not found", name)
	case missing == nil && info.IsDir():
		return fmt.Errorf("%s: is a directory", name)
	case missing == nil && errors.Is(err, fs.ErrNotExist):
		if interpreter := interpreterOf(cmd.Path); interpreter != "" {
			return fmt.Errorf("%s: its interpreter %s is missing", name, legible(interpreter))
		}
		return fmt.Errorf("%s: the program that is to load it is missing", name)
	}
	return fmt.Errorf("%s: %w", name, reason(err))
}

// interpreterOf returns what the first line of a script names, "" if it is none.
func interpreterOf(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	const longest = 256 // that the kernel reads
	first, _ := bufio.NewReaderSize(f, longest).ReadSlice('\n')
	line, ok := bytes.CutPrefix(first, []byte("#!"))
	if fields := bytes.Fields(line); ok && len(fields) > 0 {
		return string(fields[0])
	}
	return ""
}

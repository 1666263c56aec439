// Command packlock is the lock of a pack, a directory guarded by the sidecar
// file .grex-lock in it, for shells and people.
//
//	packlock run DIR -- COMMAND ARGS...
//
// runs a command under the lock; "packlock help" lists what else there is.
//
// # Where things are
//
//	main.go       the table of verbs; how a verb fails
//	help.go       help, version
//	flags.go      what flags take; the directories on a command line
//	output.go     standard output and standard error; names in messages
//	interrupt.go  the signals that end a verb
//	run.go        run: its flags, and what happens in which order
//	runline.go    run: its command line
//	acquire.go    run: getting the locks
//	nested.go     run: a run under a run of the same pack
//	command.go    run: starting the command
//	command_unix.go, command_other.go   run: exit statuses, the inherited descriptor
//	signal_*.go   run: signals, and dying of them
//	witness_*.go  run: whether a signal was for run alone
//	ignored_*.go  run: which signals it was started to ignore
//	rundetails.go   run: what help leaves to the pages
//	lost.go       run: locks that are lost under the command
//	wait.go       waiting for locks, and saying so
//	holder.go     who has a lock, in words
//	status.go     status: its flags and its output, waiting until all are free
//	pack.go       status: the state of a pack
//	bench.go, benchtable.go, benchlist.go   bench, on internal/contend
//	benchshared.go   bench -shared
//	doctor.go     doctor, on the package locktest
//	doctor_peer.go   doctor -peer
//	completion.go, completion_bash.go, completion_zsh.go, completion_fish.go   completion
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"packlock/locktest"
)

// verbs is the table of what packlock does, in the order of help. It is a
// function because help, which is in it, reads it.
func verbs() []*verb {
	return []*verb{newRun(), newStatus(), newBench(), newDoctor(), newCompletion(), newHelp(), newVersion()}
}

// A verb is one thing that packlock does.
type verb struct {
	name    string
	args    string // what follows the name
	summary string // one line for the list of verbs
	about   string // what there is to say, up to the flags
	notes   string // and after them
	details string // and what help leaves to the pages that are made from it
	flags   flag.FlagSet
	trouble int // the exit status on trouble, 0 for 1

	// run does it, and prints to stdout. args is what followed the name on the
	// command line.
	run func(args []string) error
}

// findVerb returns the verb of that name, nil if there is none.
func findVerb(name string) *verb {
	for _, v := range verbs() {
		if v.name == name {
			return v
		}
	}
	return nil
}

// parse parses the flags at the start of args and returns what follows them. It
// may be called again on what follows.
func (v *verb) parse(args []string) ([]string, error) {
	v.flags.SetOutput(io.Discard) // the error comes back, and that is enough
	err := v.flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		v.printHelp(&stdout)
		return nil, exit{}
	case err != nil:
		return nil, usageError("%v; type: packlock help %s", err, v.name)
	}
	return v.flags.Args(), nil
}

// An exit is the error of a verb that ends packlock with a status of its own.
// Any other error ends it with the verb's status for trouble.
type exit struct {
	status int
	err    error // to be printed, nil if there is nothing to say
}

func (e exit) Error() string { return fmt.Sprintf("exit status %d: %v", e.status, e.err) }

// usageError returns the error for a command line that makes no sense: it is
// one line and says what to type instead.
func usageError(format string, args ...any) error {
	return exit{2, fmt.Errorf(format, args...)}
}

func main() {
	locktest.Child() // of doctor
	os.Exit(execute(os.Args[1:]))
}

// execute runs the verb that args begins with, says what went wrong, and
// returns the exit status. If the verb was ended by a signal, so is the process.
func execute(args []string) int {
	prefix, trouble, err := "packlock", 1, error(nil)
	if len(args) == 0 {
		err = usageError("no verb; type: packlock help")
	} else {
		name := args[0]
		switch name {
		case "-h", "-help", "--help":
			name = "help"
		case "-version", "--version":
			name = "version"
		}
		if v := findVerb(name); v == nil {
			err = usageError("%q is not a verb of packlock; type: packlock help", name)
		} else {
			prefix += ": " + name
			trouble = max(trouble, v.trouble)
			if err = checkDescriptors(); err == nil {
				err = v.run(args[1:])
			}
		}
	}
	var s ending
	if isBrokenPipe(stdout.err) {
		// A verb that cleans up may learn of it before its signal comes.
		return signalStatus(brokenPipe[0])
	}
	if errors.As(err, &s) {
		if s.said != "" {
			fmt.Fprintf(stderr, "%s: %s\n", prefix, s.said)
		}
		die(s.signal)
		return signalStatus(s.signal)
	}
	e := exit{trouble, err}
	if err == nil {
		e.status = 0
	} else {
		errors.As(err, &e)
	}
	// What nobody gets to read is no answer.
	if e.err == nil && stdout.err != nil {
		e = exit{trouble, stdout.err}
	}
	if e.err != nil {
		fmt.Fprintf(stderr, "%s: %s\n", prefix, message(e.err))
	}
	return e.status
}

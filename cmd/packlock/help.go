package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strings"
)

func newHelp() *verb {
	v := &verb{
		name:    "help",
		args:    "[VERB]",
		summary: "say what packlock does, or what one of its verbs does",
	}
	v.run = func(args []string) error {
		args, err := v.parse(args)
		switch {
		case err != nil:
			return err
		case len(args) == 0:
			printOverview(&stdout)
			return nil
		case len(args) > 1:
			return usageError("one verb at a time; type: packlock help %s", args[0])
		}
		about := findVerb(args[0])
		if about == nil {
			return usageError("%q is not a verb of packlock; type: packlock help", args[0])
		}
		about.printHelp(&stdout)
		return nil
	}
	return v
}

func printOverview(w io.Writer) {
	fmt.Fprint(w, `packlock guards a pack, that is, a directory, with an advisory lock on the file
.grex-lock in it. At any time one process holds the lock exclusively, or any
number of processes hold it shared.

usage: packlock VERB ...

`)
	for _, v := range verbs() {
		fmt.Fprintf(w, "  %-10s %s\n", v.name, v.summary)
	}
	fmt.Fprint(w, "\nFor more about one of them type: packlock help VERB\n")
}

func (v *verb) printHelp(w io.Writer) {
	fmt.Fprintf(w, "usage: %s\n\n%s", v.synopsis(), v.about)
	if v.about == "" {
		fmt.Fprintf(w, "%s\n", sentence(v.summary))
	}
	v.flags.SetOutput(w)
	v.flags.PrintDefaults()
	fmt.Fprint(w, v.notes)
}

// synopsis returns the form of the verb's command line.
func (v *verb) synopsis() string { return strings.TrimSpace("packlock " + v.name + " " + v.args) }

// sentence returns a summary as a sentence.
func sentence(summary string) string {
	return strings.ToUpper(summary[:1]) + summary[1:] + "."
}

func newVersion() *verb {
	v := &verb{
		name:    "version",
		summary: "print which packlock this is",
	}
	v.run = func(args []string) error {
		args, err := v.parse(args)
		switch {
		case err != nil:
			return err
		case len(args) > 0:
			return usageError("no arguments here, not %q; type: packlock version", args[0])
		}
		fmt.Fprintln(&stdout, versionLine())
		return nil
	}
	return v
}

func versionLine() string {
	line := "packlock"
	if info, ok := debug.ReadBuildInfo(); ok {
		if info.Main.Version != "" {
			line += " " + info.Main.Version
		}
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision":
				line += " commit " + s.Value
			case s.Key == "vcs.modified" && s.Value == "true":
				line += " (modified)"
			}
		}
	}
	return fmt.Sprintf("%s %s %s/%s", line, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

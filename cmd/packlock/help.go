package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
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
			printOverview(os.Stdout)
			return nil
		case len(args) > 1:
			return usageError("one verb at a time; type: packlock help %s", args[0])
		}
		about := findVerb(args[0])
		if about == nil {
			return usageError("%q is not a verb of packlock; type: packlock help", args[0])
		}
		about.printHelp(os.Stdout)
		return nil
	}
	return v
}

func printOverview(w io.Writer) {
	fmt.Fprint(w, `packlock guards a pack, that is, a directory, with an advisory lock on the file
.grex-lock in it. At any time at most one of those who take the lock has it.

usage: packlock VERB ...

`)
	for _, v := range verbs() {
		fmt.Fprintf(w, "  %-10s %s\n", v.name, v.summary)
	}
	fmt.Fprint(w, "\nFor more about one of them type: packlock help VERB\n")
}

func (v *verb) printHelp(w io.Writer) {
	fmt.Fprintf(w, "usage: packlock %s %s\n\n%s", v.name, v.args, v.about)
	if v.about == "" {
		fmt.Fprintf(w, "%s\n", v.summary)
	}
	v.flags.SetOutput(w)
	v.flags.PrintDefaults()
	fmt.Fprint(w, v.notes)
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
		fmt.Println(versionLine())
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

package main

import (
	"flag"
	"io"
	"strings"
)

func newCompletion() *verb {
	v := &verb{
		name:    "completion",
		args:    "bash|zsh|fish",
		summary: "print a script that completes packlock's command lines in a shell",
		about: `Prints a script that has the shell complete verbs, their flags, directories, and
the command that run is given. To have it in every shell:

bash, in ~/.bashrc:

	eval "$(packlock completion bash)"

zsh, in ~/.zshrc after compinit:

	eval "$(packlock completion zsh)"

fish, once:

	packlock completion fish >~/.config/fish/completions/packlock.fish

`,
	}
	v.run = func(args []string) error {
		args, err := v.parse(args)
		switch {
		case err != nil:
			return err
		case len(args) == 0:
			return usageError("which shell? as in: packlock completion bash")
		case len(args) > 1:
			return usageError("one shell at a time; type: packlock completion %s", args[0])
		}
		print := map[string]func(io.Writer){"bash": completeBash, "zsh": completeZsh, "fish": completeFish}[args[0]]
		if print == nil {
			return usageError("%q is not a shell known here; type: packlock completion bash, zsh or fish", args[0])
		}
		print(&stdout)
		return nil
	}
	return v
}

// takesDir reports whether directories follow the name of v.
func (v *verb) takesDir() bool { return strings.Contains(v.args, "DIR") }

// takesCommand reports whether a command line follows them.
func (v *verb) takesCommand() bool { return strings.Contains(v.args, "COMMAND") }

// words returns what follows the name of v if it is one of a few words.
func (v *verb) words() (words []string) {
	switch {
	case strings.Contains(v.args, "|"):
		return strings.Split(v.args, "|")
	case strings.Contains(v.args, "VERB"):
		for _, v := range verbs() {
			words = append(words, v.name)
		}
	}
	return words
}

// A verbFlag is a flag as shells are told of it.
type verbFlag struct {
	name  string
	value string // what stands for its value; "" if it has none
	usage string
}

func (v *verb) listFlags() (flags []verbFlag) {
	v.flags.VisitAll(func(f *flag.Flag) {
		value, usage := flag.UnquoteUsage(f)
		flags = append(flags, verbFlag{f.Name, value, usage})
	})
	return flags
}

// takesFile reports whether the value of f is a file.
func (f verbFlag) takesFile() bool { return f.value == "FILE" }

// valued returns the flags that a value follows, with their dash.
func (v *verb) valued() (names []string) {
	for _, f := range v.listFlags() {
		if f.value != "" {
			names = append(names, "-"+f.name)
		}
	}
	return names
}

package main

import (
	"fmt"
	"slices"
)

// synopsis is what to type.
const synopsis = "packlock run DIR -- COMMAND ARGS..."

// parse takes the command line apart.
func (r *runner) parse(args []string) error {
	dashes := slices.Index(args, "--")
	var err error
	switch {
	case dashes >= 0:
		err = r.parseDashed(args[:dashes], args[dashes+1:])
	default:
		err = r.parsePlain(args)
	}
	empty := func(o operand) bool { return o.name == "" }
	switch {
	case err != nil:
		return err
	case slices.ContainsFunc(r.dirs, empty):
		return emptyDir("run . -- COMMAND ARGS...")
	case slices.ContainsFunc(r.files, empty):
		return usageError("FILE is empty; type: packlock run -f FILE -- COMMAND ARGS...")
	case r.unused != "" && len(r.dirs)+len(r.files) > 0:
		return usageError("-%s is for the DIRs after it, and there is none; type: packlock run -%[1]s DIR -- COMMAND ARGS...", r.unused)
	case len(r.dirs) == 0 && len(r.files) == 0:
		return usageError("no DIR; type: %s", synopsis)
	case r.shell != nil && len(r.command) > 0:
		return usageError("-c and COMMAND contradict each other; type one of them")
	case r.shell == nil && len(r.command) == 0:
		return usageError("no COMMAND; type: %s", synopsis)
	case r.shell == nil && r.command[0] == "":
		return exit{127, fmt.Errorf("COMMAND is empty; type: %s", synopsis)} // the status of shells
	case r.dontWait && r.timeout >= 0:
		return usageError("-n and -timeout contradict each other; type one of them")
	}
	if r.dontWait {
		r.timeout = 0
	}
	if r.shell != nil {
		r.command = shellLine(*r.shell)
	}
	return nil
}

// parseDashed parses what is before and after the first "--": flags and DIRs, and
// COMMAND. If nothing is locked before it, it is the end of the flags and DIR
// follows, which may then look like one.
func (r *runner) parseDashed(before, after []string) (err error) {
	for len(before) > 0 {
		if before, err = r.verb.parse(before); err != nil {
			return err
		}
		if len(before) > 0 {
			r.addDirs(before[0])
			before = before[1:]
		}
	}
	if len(r.dirs) > 0 || len(r.files) > 0 || len(after) == 0 {
		r.command = after
		return nil
	}
	dirs := 1
	if second := slices.Index(after, "--"); second >= 0 {
		dirs = second
		r.command = after[second+1:]
	} else if r.shell != nil {
		dirs = len(after)
	} else {
		r.command = after[1:]
	}
	r.addDirs(after[:dirs]...)
	return nil
}

// addDirs adds DIRs, which are locked as the last -s or -x before them says.
func (r *runner) addDirs(names ...string) {
	for _, name := range names {
		r.dirs = append(r.dirs, r.operand(name))
	}
}

// operand returns the operand of that name.
func (r *runner) operand(name string) operand {
	r.unused = ""
	return operand{name, r.shared}
}

// parsePlain parses a command line without "--": COMMAND follows the first DIR,
// or what -f locks, and with -c there is none.
func (r *runner) parsePlain(args []string) (err error) {
	for {
		if args, err = r.verb.parse(args); err != nil {
			return err
		}
		if len(args) == 0 {
			return nil
		}
		if r.shell == nil && (len(r.dirs) > 0 || len(r.files) > 0) {
			r.command = args
			return nil
		}
		r.addDirs(args[0])
		args = args[1:]
	}
}

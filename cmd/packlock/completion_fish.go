package main

import (
	"fmt"
	"io"
	"strings"
)

func completeFish(w io.Writer) {
	fmt.Fprint(w, `# completion of packlock for fish

# Whether the cursor is at the flags or the operands of this verb.
function __packlock_at
    set -l words (commandline -opc)
    test (count $words) -ge 2; and test "$words[2]" = "$argv[1]"; and not contains -- -- $words
    and not __packlock_command_at >/dev/null
end

# Whether it is at the first of them.
function __packlock_first
    test (count (commandline -opc)) -eq 2; and __packlock_at $argv
end

# Whether the cursor is at a directory of this verb, which may also be after "--".
function __packlock_at_directory
    set -l words (commandline -opc)
    test (count $words) -ge 2; and test "$words[2]" = "$argv[1]"
    and not __packlock_command_at >/dev/null
end

# Completes a directory, but none that would be taken for a flag, and none with a
# newline in its name, which comes here in two pieces.
function __packlock_directories
    for line in (__fish_complete_directories (commandline -ct))
        set -l name (string split -f 1 \t -- $line)
        string match -q -- '~*' $name; or test -d $name; or continue
        if string match -q -- '-*' $name; and not contains -- -- (commandline -opc)
            continue
        end
        string join -- '' $line
    end
end

# Prints at which word begins the command that a verb is given, after "--" or
# after DIR, or fails if the cursor is before it.
function __packlock_command_at
    set -l words (commandline -opc)
    set -l operands 0
    set -l dashes 0
    set -l i 3
    set -l valued
    switch "$words[2]"
`)
	for _, v := range verbs() {
		if v.takesCommand() {
			fmt.Fprintf(w, "        case %s\n            set valued %s\n", v.name, strings.Join(v.valued(), " "))
		}
	}
	fmt.Fprint(w, `        case '*'
            return 1
    end
    while test $i -le (count $words)
        switch $words[$i]
            case --
                if test $operands -gt 0
                    set i (math $i + 1)
                    set operands 2
                    break
                end
                set dashes 1
            case -c --c
                return 1 # there is none
            case -f --f
                set operands 1 # DIR may be left out
                set i (math $i + 1)
            case '-*'
                if test $dashes -eq 1
                    set operands (math $operands + 1)
                    test $operands -eq 2; and break
                else if contains -- (string replace -r '^--' - -- $words[$i]) $valued
                    set i (math $i + 1)
                end
            case '*'
                set operands (math $operands + 1)
                if test $operands -eq 2
                    contains -- -- $words[$i..-1]; or break
                    set operands 1 # it is a directory
                end
        end
        set i (math $i + 1)
    end
    if test $operands -ne 2
        # At the word after DIR, unless that is a flag or the value of one.
        test $operands -eq 1 -a $i -eq (math (count $words) + 1); or return 1
        string match -q -- '-*' (commandline -ct); and return 1
    end
    echo $i
end

# Completes that.
function __packlock_command
    set -l at (__packlock_command_at); or return
    set -l words (commandline -opc)
    set -e words[1..(math $at - 1)]
    complete -C (string join -- ' ' (string escape -- $words) (commandline -ct))
end

complete -c packlock -f
`)
	quote := func(s string) string {
		return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(s) + "'"
	}
	for _, v := range verbs() {
		fmt.Fprintf(w, "complete -c packlock -n 'test (count (commandline -opc)) -eq 1' -a %s -d %s\n", v.name, quote(v.summary))
		at := fmt.Sprintf("complete -c packlock -n '__packlock_at %s'", v.name)
		for _, f := range v.listFlags() {
			fmt.Fprintf(w, "%s -o %s -d %s", at, f.name, quote(f.usage))
			switch {
			case f.takesFile():
				fmt.Fprint(w, " -r -F")
			case f.value != "":
				fmt.Fprint(w, " -x")
			}
			fmt.Fprintln(w)
		}
		if words := v.words(); words != nil {
			fmt.Fprintf(w, "complete -c packlock -n '__packlock_first %s' -a %s\n", v.name, quote(strings.Join(words, " ")))
		}
		if v.takesDir() {
			fmt.Fprintf(w, "complete -c packlock -n '__packlock_at_directory %s' -a '(__packlock_directories)'\n", v.name)
		}
		if v.takesCommand() {
			fmt.Fprintf(w, "%s -a -- -d 'the command follows'\n", at)
		}
	}
	fmt.Fprintln(w, "complete -c packlock -a '(__packlock_command)'")
}

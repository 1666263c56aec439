package main

import (
	"flag"
	"fmt"
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

func (f verbFlag) completedByZsh() string {
	if f.takesFile() {
		return "_files"
	}
	return " "
}

// valued returns the flags that a value follows, with their dash.
func (v *verb) valued() (names []string) {
	for _, f := range v.listFlags() {
		if f.value != "" {
			names = append(names, "-"+f.name)
		}
	}
	return names
}

// completeBash prints a script that gets by with the bash 3.2 of macOS and
// without the bash-completion package, which it leaves commands to if it is
// there.
func completeBash(w io.Writer) {
	fmt.Fprint(w, `# completion of packlock for bash

# Adds what compgen finds for $cur.
_packlock_add() {
	local word
	while IFS= read -r word; do
		COMPREPLY+=("$word")
	done < <(compgen "$@" -- "$cur")
}

_packlock() {
	local cur=${COMP_WORDS[COMP_CWORD]}
	local flags= valued= words= dir= command= # what the verb takes
	local word i operands=0 dashes= file=
	COMPREPLY=()
	if ((COMP_CWORD == 1)); then
`)
	var names []string
	for _, v := range verbs() {
		names = append(names, v.name)
	}
	fmt.Fprintf(w, "\t\t_packlock_add -W '%s'\n\t\treturn\n\tfi\n", strings.Join(names, " "))
	fmt.Fprint(w, "\tcase ${COMP_WORDS[1]} in\n")
	for _, v := range verbs() {
		var all []string
		for _, f := range v.listFlags() {
			all = append(all, "-"+f.name)
		}
		fmt.Fprintf(w, "\t%s)\n\t\tflags='%s' valued=' %s ' words='%s'", v.name,
			strings.Join(all, " "), strings.Join(v.valued(), " "), strings.Join(v.words(), " "))
		if v.takesDir() {
			fmt.Fprint(w, " dir=1")
		}
		if v.takesCommand() {
			fmt.Fprint(w, " command=1")
		}
		fmt.Fprint(w, "\n\t\t;;\n")
	}
	fmt.Fprint(w, `	*)
		return
		;;
	esac

	for ((i = 2; i < COMP_CWORD; i++)); do
		word=${COMP_WORDS[i]}
		if [[ $word == -- && $command && (! $dashes || $operands -gt 0) ]]; then
			dashes=1
			if ((operands > 0)); then
				_packlock_command $((i + 1))
				return
			fi
		elif [[ $word == -- && ! $dashes ]]; then
			dashes=1
		elif [[ $word == -* && ! $dashes ]]; then
			case $command$word in
			1-f | 1--f)
				operands=1 # DIR may be left out
				file=$((i + 1))
				;;
			1-c | 1--c)
				command=
				;;
			esac
			# "-flag=value" is three words here.
			if [[ ${COMP_WORDS[i + 1]} == = ]]; then
				((i += 2))
			elif [[ $valued == *" ${word/#--/-} "* ]]; then
				((i += 1))
			fi
		elif [[ $command ]] && ((operands == 1)) && ! _packlock_dashes_follow $i; then
			_packlock_command $i
			return
		else
			((operands += 1))
		fi
	done
	if ((i > COMP_CWORD)); then # in the value of a flag
		[[ $file == "$COMP_CWORD" ]] && _packlock_files -f
		return
	fi
	if [[ $cur == -* && ! $dashes ]]; then
		_packlock_add -W "$flags ${command:+--}"
	elif [[ $words ]]; then
		((operands == 0)) && _packlock_add -W "$words"
	elif [[ $command ]] && ((operands == 1)); then
		_packlock_command $COMP_CWORD
	elif [[ $dir ]]; then
		_packlock_files -d
	fi
}

# Whether there is a "--" between that word and the cursor.
_packlock_dashes_follow() {
	local i
	for ((i = $1; i < COMP_CWORD; i++)); do
		[[ ${COMP_WORDS[i]} == -- ]] && return 0
	done
	return 1
}

# Completes the name of a file, which is quoted by bash itself.
_packlock_files() {
	local path odd=
	cur=${cur//[\\\"\']/}
	compopt -o filenames 2>/dev/null
	_packlock_add "$@"
	for path in "${COMPREPLY[@]}"; do
		[[ $path == '~'* || -e $path || -L $path ]] || odd=1
	done
	if [[ $odd ]]; then
		# There is a name with a newline in it.
		COMPREPLY=()
		for path in "$cur"*; do
			if [[ -d $path || $1 == -f ]]; then
				COMPREPLY+=("$path")
			fi
		done
	fi
	COMPREPLY=("${COMPREPLY[@]/#-/./-}") # not to be taken for a flag
}

# Completes a command line that begins with that word.
_packlock_command() {
	if declare -F _comp_command_offset >/dev/null; then
		_comp_command_offset $1
	elif declare -F _command_offset >/dev/null; then
		_command_offset $1
	elif ((COMP_CWORD > $1)) || [[ $cur == */* ]]; then
		_packlock_files -f
	else
		_packlock_add -c
	fi
}

complete -F _packlock packlock
`)
}

// completeZsh prints a script to be sourced, or to be a file in fpath.
func completeZsh(w io.Writer) {
	fmt.Fprint(w, `#compdef packlock
# completion of packlock for zsh

# Completes the command, of which something is there already, or to which "--"
# leads. The arguments are the flags that a value follows.
_packlock_in_command() {
	local -i i operands=0 dashes=0 file=0
	for ((i = 2; i < CURRENT; i++)); do
		case $words[i] in
		--)
			if ((operands)); then
				_packlock_command $((i + 1))
				return 0
			fi
			dashes=1
			;;
		-*)
			if ((dashes)); then
				((operands++))
				continue
			fi
			case $words[i] in
			-c | --c)
				return 1 # there is none
				;;
			-f | --f)
				((operands = file = 1)) # DIR may be left out
				;;
			esac
			((${@[(Ie)${words[i]/#--/-}]})) && ((i++))
			;;
		*)
			if ((operands++)) && ! ((${words[(I)--]} > i && ${words[(I)--]} < CURRENT)); then
				_packlock_command $i
				return 0
			fi
			;;
		esac
	done
	if ((file && operands == 1 && i == CURRENT)) && [[ $PREFIX != -* ]]; then
		_packlock_at_command
		return 0
	fi
	# It may also be left out.
	if ((operands && i == CURRENT)) && [[ $PREFIX == (|-|--) ]]; then
		compadd -- --
	fi
	return 1
}

# Completes the command itself, which is at the cursor, or another directory.
_packlock_at_command() {
	_files -/
	_packlock_command $CURRENT
}

# Completes the command line that begins with that word.
_packlock_command() {
	words=("${(@)words[$1,-1]}")
	((CURRENT -= $1 - 1))
	_normal
}

_packlock() {
	local verb
	local -a verbs
	verbs=(
`)
	// In what follows a name, a colon or a bracket ends something.
	escape := strings.NewReplacer(`\`, `\\`, ":", `\:`, "[", `\[`, "]", `\]`).Replace
	quote := func(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
	for _, v := range verbs() {
		fmt.Fprintf(w, "\t\t%s\n", quote(v.name+":"+escape(v.summary)))
	}
	fmt.Fprint(w, `	)
	if ((CURRENT == 2)); then
		_describe verb verbs
		return
	fi
	verb=$words[2]
	shift words
	((CURRENT--))
	case $verb in
`)
	for _, v := range verbs() {
		var specs []string
		for _, f := range v.listFlags() {
			spec := "-" + f.name
			if f.value == "" {
				spec += "[" + escape(f.usage) + "]"
			} else {
				spec += "[" + escape(f.usage) + "]:" + escape(f.value) + ":" + f.completedByZsh()
			}
			specs = append(specs, quote(spec))
		}
		switch words := v.words(); {
		case words != nil:
			specs = append(specs, quote("1:word:("+strings.Join(words, " ")+")"))
		case v.takesCommand():
			specs = append(specs, quote("1:directory:_files -/"), quote("2:command:_packlock_at_command"), quote("*:directory:_files -/"))
		case v.takesDir():
			specs = append(specs, quote("*:directory:_files -/"))
		}
		if specs == nil {
			continue
		}
		fmt.Fprintf(w, "\t%s)\n", v.name)
		if v.takesCommand() {
			fmt.Fprintf(w, "\t\t_packlock_in_command %s && return\n", strings.Join(v.valued(), " "))
		}
		fmt.Fprintf(w, "\t\t_arguments -S %s\n\t\t;;\n", strings.Join(specs, " \\\n\t\t\t"))
	}
	fmt.Fprint(w, `	esac
}

if [[ $funcstack[1] == _packlock ]]; then
	_packlock "$@"
else
	compdef _packlock packlock
fi
`)
}

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

# Completes a directory, but none that would be taken for a flag.
function __packlock_directories
    if contains -- -- (commandline -opc)
        __fish_complete_directories (commandline -ct)
    else
        __fish_complete_directories (commandline -ct) | string match -v -- '-*'
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

package main

import (
	"fmt"
	"io"
	"strings"
)

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

func (f verbFlag) completedByZsh() string {
	if f.takesFile() {
		return "_files"
	}
	return " "
}

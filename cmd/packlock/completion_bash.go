package main

import (
	"fmt"
	"io"
	"strings"
)

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

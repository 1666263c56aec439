package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// completionScript returns a file with what packlock completion prints, and
// the shell's executable.
func completionScript(t *testing.T, shell string) (script, exe string) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("the shells of Unix are found on Windows only inside of an emulation of it, with paths of its own")
	}
	exe, err := exec.LookPath(shell)
	if err != nil {
		t.Skipf("%s is not installed", shell)
	}
	status, stdout, stderr := command(t, "completion", shell).output()
	if status != 0 || stderr != "" {
		t.Fatalf("exit status %d, %q", status, stderr)
	}
	script = filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte(stdout), 0o666); err != nil {
		t.Fatal(err)
	}
	return script, exe
}

func TestCompletionIsAcceptedByTheShell(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		t.Run(shell, func(t *testing.T) {
			script, exe := completionScript(t, shell)
			if out, err := exec.Command(exe, "-n", script).CombinedOutput(); err != nil || len(out) > 0 {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}

// somePlace makes a directory with two others and a file in it.
func somePlace(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"pack", "two words", "-dash"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestBashCompletes(t *testing.T) {
	script, exe := completionScript(t, "bash")
	dir := somePlace(t)
	var names []string
	for _, v := range verbs() {
		names = append(names, v.name)
	}
	directories := []string{"pack", "two words", "./-dash", "new\nline"}
	if err := os.Mkdir(filepath.Join(dir, "new\nline"), 0o777); err != nil {
		t.Fatal(err)
	}
	runFlags := []string{"-E", "-c", "-f", "-n", "-o", "-q", "-s", "-timeout", "-x", "--"}
	for _, test := range []struct {
		line []string // the last word is being typed
		want []string
	}{
		{[]string{""}, names},
		{[]string{"st"}, []string{"status"}},
		{[]string{"frob", ""}, nil},
		{[]string{"help", ""}, names},
		{[]string{"help", "run", ""}, nil},
		{[]string{"version", ""}, nil},
		{[]string{"completion", ""}, []string{"bash", "zsh", "fish"}},
		{[]string{"completion", "bash", ""}, nil},

		{[]string{"status", "-"}, []string{"-json", "-wait"}},
		{[]string{"status", ""}, directories},
		{[]string{"status", "pack", ""}, directories},
		{[]string{"status", "pack", "-j"}, []string{"-json"}},
		{[]string{"status", `two\ `}, []string{"two words"}},
		{[]string{"status", "--", "-"}, []string{"./-dash"}},

		{[]string{"run", "-"}, runFlags},
		{[]string{"run", "pa"}, []string{"pack"}},
		{[]string{"run", "pack", "-"}, runFlags},
		{[]string{"run", "-timeout", ""}, nil},
		{[]string{"run", "-timeout", "5s", ""}, directories},
		{[]string{"run", "--timeout", "5s", ""}, directories},
		{[]string{"run", "-timeout", "=", ""}, nil}, // as bash splits -timeout=
		{[]string{"run", "-timeout", "=", "5s", ""}, directories},
		{[]string{"run", "pack", "--", "comm"}, []string{"command"}},
		{[]string{"run", "-n", "pack", "-E", "9", "--", "comm"}, []string{"command"}},
		{[]string{"run", "pack", "comm"}, []string{"command"}},
		{[]string{"run", "pack", "--", "./f"}, []string{"./file"}},
		{[]string{"run", "pack", "--", "cat", ""}, append([]string{"file"}, directories...)},
		{[]string{"run", "pack", "cat", "f"}, []string{"file"}},

		{[]string{"run", "--", "pa"}, []string{"pack"}},
		{[]string{"run", "--", "-"}, []string{"./-dash"}},
		{[]string{"run", "--", "-dash", "--", "comm"}, []string{"command"}},
		{[]string{"run", "-f", "fi"}, []string{"file"}},
		{[]string{"run", "-f", "file", "comm"}, []string{"command"}},
		{[]string{"run", "-f", "file", "--", "comm"}, []string{"command"}},
		{[]string{"run", "-c", ""}, nil},
		{[]string{"run", "-c", "true", "pack", ""}, directories},
		{[]string{"run", "pack", "two words", "--", "comm"}, []string{"command"}},
		{[]string{"run", "-s", "pa"}, []string{"pack"}},
		{[]string{"run", "-s", "pack", "-x", "pack", "--", "comm"}, []string{"command"}},
		{[]string{"status", "new"}, []string{"new\nline"}},
	} {
		// Without PATH, so that only what is built in completes a command.
		cmd := exec.Command(exe, append([]string{"--norc", "-c", `
			source "$0"; PATH=
			COMP_WORDS=(packlock "$@") COMP_CWORD=$#
			_packlock
			for word in "${COMPREPLY[@]}"; do printf '%s\0' "$word"; done
		`, script}, test.line...)...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		got := strings.FieldsFunc(string(out), func(r rune) bool { return r == 0 })
		slices.Sort(got)
		want := slices.Sorted(slices.Values(test.want))
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %v, %q, want %q", test.line, err, got, want)
		}
	}
}

// completeInZsh types a command line into an interactive zsh, presses Tab, and
// prints what is offered, a line each. It tells compadd adding what is found from
// the completion system using it to look something up.
const completeInZsh = `
zmodload zsh/zpty || exit 1
zpty shell zsh -f -i
zpty -w shell "PROMPT=; autoload compinit; compinit -u -D; source ${(q)1}; PATH="
zpty -w shell '
compadd() {
	if [[ ${@[1,(i)(-|--)]} != *-(O|A|D)\ * ]]; then
		typeset -a found
		builtin compadd -A found "$@"
		print -rl -- "<"$^found">"
	fi
	builtin compadd "$@"
}
offer() {
	print
	compstate[insert]= compstate[list]=
	_main_complete
	print "<""end>"
}
zle -C offer complete-word offer
bindkey "^X" offer
print "<""ready>"
'
zpty -r shell before "*<ready>*"
zpty -wn shell "packlock $2"$'\x18'
zpty -r shell offered "*<end>*"
print -r -- $offered
`

func TestZshCompletes(t *testing.T) {
	t.Parallel() // a new zsh takes a second until it can complete anything
	script, exe := completionScript(t, "zsh")
	dir := somePlace(t)
	runFlags := []string{"-E", "-c", "-f", "-n", "-o", "-q", "-s", "-timeout", "-x"}
	for _, test := range []struct {
		line     string
		want     []string // are offered
		unwanted []string // are not
	}{
		{"st", []string{"status"}, []string{"run"}},
		{"completion ", []string{"bash", "zsh", "fish"}, nil},
		{"completion bash ", nil, []string{"bash", "zsh"}},
		{"status pa", []string{"pack"}, []string{"file"}},
		{"run -", runFlags, []string{"--"}},
		{"run pack -", append(runFlags, "--"), nil},
		{"run pack --", []string{"--"}, nil},
		{"run -timeout 5s pa", []string{"pack"}, nil},
		{"run pack ech", []string{"echo"}, nil},
		{"run -E 9 pack -n ech", []string{"echo"}, nil},
		{"run pack -- ech", []string{"echo"}, nil},
		{"run pack -- cat fi", []string{"file"}, nil},
		{"run pack cat fi", []string{"file"}, nil},
		{"run pack cat -", nil, []string{"-timeout", "--"}},
		{"run pack tw", []string{`two\ words`}, []string{"file"}},
		{"run -- pa", []string{"pack"}, []string{"file"}},
		{"run -- pack -- ech", []string{"echo"}, nil},
		{"run pack sub -- ech", []string{"echo"}, nil},
		{"run -f fi", []string{"file"}, nil},
		{"run -f file ech", []string{"echo"}, nil},
		{"run -s pa", []string{"pack"}, nil},
		{"run -s pack -x pack -- ech", []string{"echo"}, nil},
		{"run -c true pack tw", []string{`two\ words`}, nil},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, exe, "-f", "-c", completeInZsh, "zsh", script, test.line)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%q: %v, %q", test.line, err, out)
		}
		offers := func(word string) bool { return strings.Contains(string(out), "<"+word+">") }
		for _, word := range test.want {
			if !offers(word) {
				t.Errorf("%q: does not offer %q: %q", test.line, word, out)
			}
		}
		for _, word := range test.unwanted {
			if offers(word) {
				t.Errorf("%q: offers %q", test.line, word)
			}
		}
	}
}

func TestFishCompletes(t *testing.T) {
	script, exe := completionScript(t, "fish")
	dir := somePlace(t)
	if err := os.Mkdir(filepath.Join(dir, "new\nline"), 0o777); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		line string
		want []string
	}{
		{"st", []string{"status"}},
		{"help comp", []string{"completion"}},
		{"status -", []string{"-json", "-wait"}},
		{"status pack tw", []string{"two words/"}},
		{"status ", []string{"pack/", "two words/"}},
		{"run -t", []string{"-timeout"}},
		{"run -timeout ", nil},
		{"run pack -- cat f", []string{"file"}},
		{"run pack cat f", []string{"file"}},
		{"run pack ech", []string{"echo"}},
		{"run -timeout 5s pack -n ech", []string{"echo"}},
		{"run pack -timeout ", nil},
		{"completion ", []string{"bash", "fish", "zsh"}},
		{"completion bash ", nil},
		{"run -n pack -- ./f", nil}, // cannot be executed
		{"run pack sub -- ech", []string{"echo"}},
		{"run -- -d", []string{"-dash/"}},
		{"run -- -dash -- ech", []string{"echo"}},
		{"run -f fi", []string{"file"}},
		{"run -f file ech", []string{"echo"}},
		{"run -s pa", []string{"pack/"}},
		{"run -s pack -x pack -- ech", []string{"echo"}},
		{"run -c true pack tw", []string{"two words/"}},
		{"status -- -d", []string{"-dash/"}},
		{"status ne", nil}, // fish has no way to offer that
	} {
		cmd := exec.Command(exe, "--no-config", "-c", `source $argv[1]; complete -C "packlock $argv[2]"`, script, test.line)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		var got []string
		for line := range strings.Lines(string(out)) {
			word, _, _ := strings.Cut(strings.TrimSpace(line), "\t") // a description follows
			got = append(got, word)
		}
		if err != nil || !slices.Equal(got, test.want) {
			t.Errorf("%q: %v, %q, want %q", test.line, err, got, test.want)
		}
	}
}

func TestCompletionSaysWhatIsWrongWithTheCommandLine(t *testing.T) {
	for _, test := range []struct {
		args []string
		says string
	}{
		{nil, "which shell?"},
		{[]string{"csh"}, `"csh" is not a shell known here`},
		{[]string{"bash", "zsh"}, "one shell at a time"},
		{[]string{"-frob", "bash"}, "packlock help completion"},
	} {
		stderr := expect(t, 2, append([]string{"completion"}, test.args...), "packlock: completion: ", test.says, "packlock")
		if strings.Count(stderr, "\n") != 1 {
			t.Errorf("%q: not one line: %q", test.args, stderr)
		}
	}
}

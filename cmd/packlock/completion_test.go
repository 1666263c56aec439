package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
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
	for _, name := range []string{"pack", "two words"} {
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
	directories := []string{"pack", "two words"}
	runFlags := []string{"-E", "-n", "-o", "-q", "-timeout", "--"}
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

		{[]string{"status", "-"}, []string{"-json"}},
		{[]string{"status", ""}, directories},
		{[]string{"status", "pack", ""}, directories},
		{[]string{"status", "pack", "-j"}, []string{"-json"}},
		{[]string{"status", `two\ `}, []string{"two words"}},
		{[]string{"status", "--", "-"}, nil},

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
	} {
		// Without PATH, so that only what is built in completes a command.
		cmd := exec.Command(exe, append([]string{"--norc", "-c", `
			source "$0"; PATH=
			COMP_WORDS=(packlock "$@") COMP_CWORD=$#
			_packlock
			for word in "${COMPREPLY[@]}"; do printf '%s\n' "$word"; done
		`, script}, test.line...)...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		got := strings.FieldsFunc(string(out), func(r rune) bool { return r == '\n' })
		slices.Sort(got)
		want := slices.Sorted(slices.Values(test.want))
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %v, %q, want %q", test.line, err, got, want)
		}
	}
}

func TestFishCompletes(t *testing.T) {
	script, exe := completionScript(t, "fish")
	dir := somePlace(t)
	for _, test := range []struct {
		line string
		want []string
	}{
		{"st", []string{"status"}},
		{"help comp", []string{"completion"}},
		{"status -", []string{"-json"}},
		{"status pack tw", []string{"two words/"}},
		{"run -t", []string{"-timeout"}},
		{"run -timeout ", nil},
		{"run pack -- cat f", []string{"file"}},
		{"run -n pack -- ./f", nil}, // cannot be executed
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

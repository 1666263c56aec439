package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/packlock.md and docs/packlock.1")

// references are the pages in docs that are made from the help text.
var references = map[string]func(io.Writer){
	"packlock.md": printReference,
	"packlock.1":  printManual,
}

func TestReferenceIsWhatHelpSays(t *testing.T) {
	for name, print := range references {
		path := filepath.Join("..", "..", "docs", name)
		var want bytes.Buffer
		print(&want)
		if *update {
			if err := os.WriteFile(path, want.Bytes(), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		// Git may have given it the line ends of Windows.
		got = bytes.ReplaceAll(got, []byte("\r\n"), []byte("\n"))
		if !bytes.Equal(got, want.Bytes()) {
			t.Errorf("%s is not what help says; run: go test ./cmd/packlock -run %s -update", path, t.Name())
		}
	}
}

// printReference prints what help has to say about everything, as Markdown.
func printReference(w io.Writer) {
	fmt.Fprint(w, "<!-- Generated from the help text: go test ./cmd/packlock -run TestReferenceIsWhatHelpSays -update -->\n\n# packlock\n\n")
	var overview strings.Builder
	printOverview(&overview)
	printMarkdown(w, overview.String())
	for _, v := range verbs() {
		fmt.Fprintf(w, "## packlock %s\n\n%s\n\n", v.name, sentence(v.summary))
		fmt.Fprintf(w, "```text\n%s\n```\n\n", v.synopsis())
		printMarkdown(w, v.about)
		printMarkdown(w, flagsOf(v))
		printMarkdown(w, v.notes)
		printMarkdown(w, v.details)
	}
}

// flagsOf returns what help says about the flags of v.
func flagsOf(v *verb) string {
	var flags strings.Builder
	v.flags.SetOutput(&flags)
	v.flags.PrintDefaults()
	return flags.String()
}

// printMarkdown prints paragraphs of help as such, those in columns or with
// commands as they are.
func printMarkdown(w io.Writer, help string) {
	for _, p := range paragraphsOf(help) {
		if p.literal {
			fmt.Fprintf(w, "```text\n%s\n```\n\n", p.text)
		} else {
			fmt.Fprintf(w, "%s\n\n", p.text)
		}
	}
}

// A paragraph is one of help. It is literal if it has columns, or commands.
type paragraph struct {
	text    string
	literal bool
}

func paragraphsOf(help string) (paragraphs []paragraph) {
	for text := range strings.SplitSeq(help, "\n\n") {
		text = strings.Trim(text, "\n")
		if text != "" {
			paragraphs = append(paragraphs, paragraph{text, strings.HasPrefix(text, "usage: ") ||
				strings.HasPrefix(text, " ") || strings.HasPrefix(text, "\t") || strings.Contains(text, "\n ")})
		}
	}
	return paragraphs
}

// printManual prints the same as a manual page.
func printManual(w io.Writer) {
	fmt.Fprint(w, `.\" Generated from the help text: go test ./cmd/packlock -run TestReferenceIsWhatHelpSays -update
.TH PACKLOCK 1
.SH NAME
packlock \- run commands under the lock of a directory, and see who has it
.SH SYNOPSIS
`)
	for _, v := range verbs() {
		fmt.Fprintf(w, ".B packlock %s\n%s\n.br\n", v.name, roff(v.args))
	}
	fmt.Fprint(w, ".SH DESCRIPTION\n")
	var overview strings.Builder
	printOverview(&overview)
	before, _, _ := strings.Cut(overview.String(), "usage: ")
	printRoff(w, before)
	for _, v := range verbs() {
		fmt.Fprintf(w, ".SH \"PACKLOCK %s\"\n%s\n", strings.ToUpper(v.name), roff(sentence(v.summary)))
		fmt.Fprintf(w, ".PP\n.B %s\n", roff(v.synopsis()))
		printRoff(w, v.about)
		for _, f := range strings.Split("\n"+flagsOf(v), "\n  -")[1:] {
			name, usage, _ := strings.Cut(f, "\t")
			fmt.Fprintf(w, ".TP\n.B \\-%s\n%s\n", roff(strings.TrimSpace(name)), roff(strings.TrimSpace(usage)))
		}
		printRoff(w, v.notes)
		printRoff(w, v.details)
	}
	fmt.Fprintf(w, ".SH FILES\n.TP\n.I %s\nthe locked file in a pack. It is empty, and its being there means nothing.\n", roff("DIR/.grex-lock"))
	fmt.Fprint(w, ".SH SEE ALSO\n.BR flock (1),\n.BR flock (2),\n.BR lslocks (8)\n")
}

// printRoff prints paragraphs of help as those of a manual page.
func printRoff(w io.Writer, help string) {
	for _, p := range paragraphsOf(help) {
		if p.literal {
			fmt.Fprintf(w, ".PP\n.nf\n%s\n.fi\n", roff(p.text))
		} else {
			fmt.Fprintf(w, ".PP\n%s\n", roff(p.text))
		}
	}
}

// roff returns text with nothing in it that a formatter takes for a request.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "\t", "    ", "^", `\(ha`, "~", `\(ti`, "`", "\\`").Replace(text)
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") {
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}

func TestManualIsAcceptedByTheFormatter(t *testing.T) {
	groff, err := exec.LookPath("groff")
	if err != nil {
		t.Skip("groff is not installed")
	}
	page := filepath.Join("..", "..", "docs", "packlock.1")
	out, err := exec.Command(groff, "-man", "-Tascii", "-ww", "-z", page).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("%v: %s", err, out)
	}
	text, err := exec.Command(groff, "-man", "-Tascii", "-P-cbou", page).CombinedOutput()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"PACKLOCK RUN", "-timeout time", ".grex-lock", "waits_for", "\"--\" may be left out"} {
		// Lines are filled up with spaces.
		if !strings.Contains(strings.Join(strings.Fields(string(text)), " "), want) {
			t.Errorf("lacks %q", want)
		}
	}
}

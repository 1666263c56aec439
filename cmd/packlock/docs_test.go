package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/packlock.md")

func TestReferenceIsWhatHelpSays(t *testing.T) {
	path := filepath.Join("..", "..", "docs", "packlock.md")
	var want bytes.Buffer
	printReference(&want)
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
		var flags strings.Builder
		v.flags.SetOutput(&flags)
		v.flags.PrintDefaults()
		printMarkdown(w, flags.String())
		printMarkdown(w, v.notes)
	}
}

// printMarkdown prints paragraphs of help as such, those in columns or with
// commands as they are.
func printMarkdown(w io.Writer, help string) {
	for paragraph := range strings.SplitSeq(help, "\n\n") {
		paragraph = strings.Trim(paragraph, "\n")
		switch {
		case paragraph == "":
		case strings.HasPrefix(paragraph, "usage: "), strings.HasPrefix(paragraph, " "),
			strings.HasPrefix(paragraph, "\t"), strings.Contains(paragraph, "\n "):
			fmt.Fprintf(w, "```text\n%s\n```\n\n", paragraph)
		default:
			fmt.Fprintf(w, "%s\n\n", paragraph)
		}
	}
}

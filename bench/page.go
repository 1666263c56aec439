package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// A page is one of its own, if it is made only when it is asked for, or else a part of
// benchmarks.md.
type page struct {
	name, about string
	onlyAsked   bool
	// measure returns the text, measured on a lock file, or packs, in the directory
	// own, and what draws its pictures in a directory.
	measure func(ctx context.Context, own string, short bool) (text string, draw drawing, err error)
}

// A drawing writes the pictures of a page to the directory out; nil if there are
// none.
type drawing func(out string) error

var pages = []page{
	{"contention", "measure packlock and other libraries under contention", false, makeContention},
	{"beside", "measure how other programs get in alongside a busy one", false, makeBeside},
	{"growth", "measure how the cost grows", false, makeGrowth},
	{"shared", "measure shared locks", true, makeShared},
	{"peers", "test what the libraries exclude, notice and leave behind", true, makePeers},
	{"drop-in", "measure gofrs/flock and packlock/flock in its place", true, makeDropIn},
}

const pageStart = `<!-- Generated: the command of each part writes it. -->

# Benchmarks

What was measured. [performance.md](../performance.md) says what it means.
`

// write writes the page to the directory out. A part takes the place of the one that
// was measured before.
func (p page) write(out, text string) error {
	if p.onlyAsked {
		return os.WriteFile(filepath.Join(out, p.name+".md"), []byte(text), 0o666)
	}
	path := filepath.Join(out, "benchmarks.md")
	old, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		old, err = []byte(pageStart), nil
	}
	if err != nil {
		return err
	}
	return os.WriteFile(path, []byte(withPart(string(old), p.name, text)), 0o666)
}

// withPart returns the page with text as the part of that name, which is between
// comments: in the place of the old one, or at the end.
func withPart(page, name, text string) string {
	first, last := "<!-- "+name+" -->\n", "<!-- /"+name+" -->\n"
	part := first + "\n" + text + "\n" + last
	if before, rest, ok := strings.Cut(page, first); ok {
		if _, after, ok := strings.Cut(rest, last); ok {
			return before + part + after
		}
	}
	return page + "\n" + part
}

// measuredBy returns the command that measures a part, the day and the machine.
func measuredBy(name string, short bool, machine string) string {
	if short {
		name += " -short"
	}
	text := fmt.Sprintf("Measured by `go -C bench run . -%s -out ../docs/data` on %s, on %s.", name, time.Now().Format(time.DateOnly), machine)
	if short {
		text += " **A short run is a first impression, and no more.**"
	}
	return text
}

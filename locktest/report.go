package locktest

import (
	"context"
	"fmt"
	"strings"
	"time"

	"packlock/internal/fsinfo"
)

// A Report is the result of Check or Test.
type Report struct {
	Directory  string     `json:"directory"`
	System     string     `json:"system"` // GOOS/GOARCH
	FileSystem FileSystem `json:"file_system,omitzero"`
	Library    string     `json:"library,omitempty"` // of Test
	Checks     []Result   `json:"checks"`
	Trusted    bool       `json:"trusted"`           // nothing failed
	Verdict    string     `json:"verdict,omitempty"` // Trusted in words
}

// FileSystem describes the file system of a directory.
type FileSystem struct {
	Type    string   `json:"type"` // "" if not known
	Source  string   `json:"source,omitempty"`
	Mount   string   `json:"mount,omitempty"`
	Options []string `json:"options,omitempty"`
}

// String returns one line with the type, the mount and the options that concern locks.
func (f FileSystem) String() string {
	return fsinfo.FileSystem{Type: f.Type, Source: f.Source, Mount: f.Mount, Options: f.Options}.String()
}

// A Result is the result for one property.
type Result struct {
	Name    string  `json:"name"`
	Outcome Outcome `json:"result"`
	Detail  string  `json:"detail,omitempty"`

	// Latencies are the times from the release of the lock to the acquire of a waiter.
	Latencies []time.Duration `json:"latencies_ns,omitempty"`
}

// An Outcome tells whether a lock has a property.
type Outcome string

const (
	OK      Outcome = "ok"
	Failed  Outcome = "failed"  // it lacks a property that it claims or must have
	Lacks   Outcome = "lacks"   // it lacks a property that it does not claim
	Skipped Outcome = "skipped" // the property could not be tested
)

// Failed returns the names of the properties that failed.
func (r Report) Failed() (names []string) {
	for _, c := range r.Checks {
		if c.Outcome == Failed {
			names = append(names, c.Name)
		}
	}
	return names
}

// String returns the report as lines, a line for each property.
func (r Report) String() string {
	var b strings.Builder
	line := func(name, says string) { fmt.Fprintf(&b, "%-29s  %s\n", name, says) }
	line("directory", r.Directory)
	line("file system", r.FileSystem.String())
	if r.Library != "" {
		line("library", r.Library)
	}
	for _, c := range r.Checks {
		line(c.Name, c.String())
	}
	fmt.Fprintf(&b, "\n%s\n", r.Verdict)
	return b.String()
}

// String returns the outcome and the detail.
func (r Result) String() string {
	said := string(r.Outcome)
	if r.Outcome == Failed {
		said = "FAILED"
	}
	if r.Detail != "" {
		said += ": " + r.Detail
	}
	return said
}

// conclude makes the verdict on what is so, or not.
func (r *Report) conclude(what, so, not string) {
	bad := r.Failed()
	if r.Trusted = len(bad) == 0; r.Trusted {
		r.Verdict = what + " " + so + "."
	} else {
		r.Verdict = fmt.Sprintf("%s %s. What failed: %s.", what, not, strings.Join(bad, ", "))
	}
}

// progressKey is the context key of what is told of each result.
type progressKey struct{}

// WithProgress returns a context with which Check and Test call told with each
// result as soon as it is known.
func WithProgress(ctx context.Context, told func(Result)) context.Context {
	return context.WithValue(ctx, progressKey{}, told)
}

func (r *Report) add(ctx context.Context, result Result) {
	r.Checks = append(r.Checks, result)
	if told, ok := ctx.Value(progressKey{}).(func(Result)); ok {
		told(result)
	}
}

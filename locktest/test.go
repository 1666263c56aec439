package locktest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"packlock/internal/fsinfo"
)

// Run runs a subtest for each property that a lock can have. The subtest fails if lib
// lacks a property that it claims, or one that every lock must have. If lib lacks another
// property, the subtest is skipped, with the reason in its log.
//
// TestMain must call Main.
func Run(t *testing.T, lib Lib) {
	becomeChild(t, lib)
	if !ready {
		t.Fatal(errNotReady)
	}
	x, err := newExam(t.TempDir(), role{Lib: lib.Name, Test: t.Name()}, lib.Claims)
	if err != nil {
		t.Fatal(err)
	}
	defer x.end()
	for _, p := range properties {
		if p.of&ofLocks == 0 {
			continue
		}
		t.Run(p.name, func(t *testing.T) {
			r := x.examine(t.Context(), p)
			switch r.Outcome {
			case OK:
				t.Log(r.Detail)
			case Failed:
				t.Error(r.Detail)
			case Lacks:
				t.Skip("not claimed, and not so:", r.Detail)
			case Skipped:
				t.Skip(r.Detail)
			}
		})
	}
}

// Test does what Run does, with files in a temporary directory that it makes in
// dir. It returns an error if lib could not be tested.
//
// The program must call Child with lib.
func Test(ctx context.Context, dir string, lib Lib) (Report, error) {
	if !ready {
		return Report{}, errNotReady
	}
	if _, err := libNamed(lib.Name); err != nil {
		return Report{}, err
	}
	return test(ctx, dir, lib, defaultBounds, properties)
}

func test(ctx context.Context, dir string, lib Lib, bounds bounds, of []property) (r Report, err error) {
	if r, err = newReport(dir); err != nil {
		return r, err
	}
	r.Library = lib.Name
	x, err := newExam(r.Directory, role{Lib: lib.Name}, lib.Claims)
	if err != nil {
		return r, err
	}
	defer x.end()
	x.bounds = bounds
	if err := x.examineAll(ctx, ofLocks, of, &r); err != nil {
		return r, err
	}
	r.conclude(fmt.Sprintf("What %s claims", lib.Name), "is so", "is not all so")
	return r, nil
}

// Check tests, with child processes that lock a scratch file, whether a lock in the
// directory dir can be trusted. The scratch file is in a temporary directory made there.
// Check returns an error if that could not be tested.
//
// The program must call Child, or Main in a test.
func Check(ctx context.Context, dir string) (Report, error) {
	if !ready {
		return Report{}, errNotReady
	}
	r, err := newReport(dir)
	if err != nil {
		return r, err
	}
	x, err := newExam(r.Directory, role{Lib: Packlock().Name}, AllClaims)
	if err != nil {
		return r, err
	}
	defer x.end()
	x.each = true
	x.network = fsinfo.ReachAt(r.Directory) == fsinfo.Network
	if err := x.examineAll(ctx, ofFileSystems, properties, &r); err != nil {
		return r, err
	}
	bad := r.Failed()
	across := acrossMachines(r.Directory)
	r.add(ctx, across)
	switch {
	case x.outcomes[nameLocks] != OK:
		r.Verdict = r.Directory + " cannot be locked."
	case len(bad) > 0 && allShared(bad):
		r.Verdict = fmt.Sprintf("An exclusive lock in %s can be trusted among the processes of this machine,\n"+
			"but a shared one cannot be trusted. What failed: %s.", r.Directory, strings.Join(bad, ", "))
	case len(bad) > 0:
		r.conclude("A lock in "+r.Directory, "can be trusted", "cannot be trusted")
	case across.Outcome == Failed:
		r.Verdict = "A lock in " + r.Directory + " can be trusted among the processes of this machine,\n" +
			"but not across machines: it does not keep out those of another."
	case across.Outcome == Skipped:
		r.Trusted = true
		r.Verdict = "A lock in " + r.Directory + " can be trusted among the processes of this machine.\n" +
			"Whether it keeps out those of another is shown by running on both: packlock doctor -peer DIR"
	default:
		r.conclude("A lock in "+r.Directory, "can be trusted", "cannot be trusted")
	}
	return r, nil
}

// allShared reports whether a lock that is never acquired shared does without all of the
// properties of those names.
func allShared(names []string) bool {
	for _, p := range properties {
		if p.of&ofSharedLocks == 0 && slices.Contains(names, p.name) {
			return false
		}
	}
	return true
}

// acrossMachines is what is known of the file system without a second machine.
func acrossMachines(dir string) Result {
	excludes, says := fsinfo.Find(dir).AcrossMachines()
	return Result{
		Name:    "across machines",
		Detail:  says,
		Outcome: map[fsinfo.Exclusion]Outcome{fsinfo.NoOthers: OK, fsinfo.KeptLocal: Failed, fsinfo.NotKnown: Skipped}[excludes],
	}
}

// bounds are how long what should take no time may take.
type bounds struct {
	answer time.Duration // a slow network and a busy machine included
	wake   time.Duration // until who waits has the lock that is free
}

// NFS version 4 on Linux asks the server anew only every 30 seconds when it has
// waited for long.
var defaultBounds = bounds{answer: 15 * time.Second, wake: 45 * time.Second}

// boundOf returns how long to wait for what shows that the claim is true. Where
// it is not claimed, it is likely not to come.
func (x *exam) boundOf(claim Claims) time.Duration {
	if x.claims&claim == 0 {
		return min(x.bounds.answer, 2*time.Second)
	}
	return x.bounds.answer
}

// An exam is of one lock, by files in a directory of its own.
type exam struct {
	dir     string // the temporary one
	role    role
	claims  Claims
	bounds  bounds
	each    bool // property is examined for itself, so long as there is a lock
	network bool

	outcomes map[string]Outcome // of the properties so far

	// Of the property that is examined:
	ctx       context.Context
	scratch   string // the lock file
	processes []*process
	latencies []time.Duration // of those that waited
}

func newExam(dir string, r role, claims Claims) (*exam, error) {
	own, err := os.MkdirTemp(dir, ".packlock-doctor-")
	if err != nil {
		return nil, fmt.Errorf("a temporary directory is needed there: %w", err)
	}
	return &exam{dir: own, role: r, claims: claims, bounds: defaultBounds, outcomes: make(map[string]Outcome)}, nil
}

// end removes the files, unless the file system hangs.
func (x *exam) end() {
	removed := make(chan struct{})
	go func() {
		defer close(removed)
		os.RemoveAll(x.dir)
	}()
	select {
	case <-removed:
	case <-time.After(x.bounds.answer):
	}
}

// examineAll examines those of the properties that are of that kind, and adds the
// results to r.
func (x *exam) examineAll(ctx context.Context, of kind, properties []property, r *Report) error {
	for _, p := range properties {
		if p.of&of == 0 {
			continue
		}
		result := x.examine(ctx, p)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		r.add(ctx, result)
	}
	return nil
}

// A skip is the error of a property that cannot be examined: it says why.
type skip string

func (s skip) Error() string { return string(s) }

// examine finds out whether the lock has the property.
func (x *exam) examine(ctx context.Context, p property) Result {
	r := Result{Name: p.name}
	x.ctx, x.latencies = ctx, nil
	err := x.lackOf(p)
	if err == nil {
		if err = x.prepare(); err == nil {
			r.Detail, err = p.do(x)
		}
		for _, p := range x.processes {
			p.dismiss()
		}
		x.processes = nil
		r.Latencies = x.latencies
	}
	switch {
	case err == nil:
		r.Outcome = OK
	case errors.As(err, new(skip)):
		r.Outcome, r.Detail = Skipped, err.Error()
	case p.claim != 0 && x.claims&p.claim == 0:
		r.Outcome, r.Detail = Lacks, err.Error()
	default:
		r.Outcome, r.Detail = Failed, x.inWords(err)
	}
	x.outcomes[p.name] = r.Outcome
	return r
}

// inWords returns what an error means that may have to do with a server.
func (x *exam) inWords(err error) string {
	if errors.As(err, new(hang)) && x.network {
		return err.Error() + ": the server has no lock manager, or cannot be reached"
	}
	return err.Error()
}

// lackOf returns the error of a property that says nothing because of another,
// which the lock has not.
func (x *exam) lackOf(p property) error {
	if outcome, examined := x.outcomes[nameLocks]; examined && outcome != OK {
		return skip("there is no lock to check")
	}
	for _, needed := range p.needs {
		each := x.each && needed != nameShares
		if outcome, examined := x.outcomes[needed]; examined && outcome != OK && !each {
			return skip(fmt.Sprintf("says nothing without %q", needed))
		}
	}
	return nil
}

// prepare makes a scratch file for the property.
func (x *exam) prepare() error {
	dir, err := os.MkdirTemp(x.dir, "")
	if err != nil {
		return err
	}
	x.scratch = filepath.Join(dir, "scratch", "lock")
	if err := os.Mkdir(filepath.Dir(x.scratch), 0o777); err != nil {
		return err
	}
	return os.WriteFile(x.scratch, nil, 0o666)
}

// newReport begins a report on the directory dir.
func newReport(dir string) (Report, error) {
	r := Report{Directory: dir, System: runtime.GOOS + "/" + runtime.GOARCH, Checks: []Result{}}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return r, err
	}
	r.Directory = dir
	info, err := os.Stat(dir)
	if err != nil {
		return r, err
	}
	if !info.IsDir() {
		return r, &fs.PathError{Op: "check", Path: dir, Err: errors.New("not a directory")}
	}
	found := fsinfo.Find(dir)
	r.FileSystem = FileSystem{found.Type, found.Source, found.Mount, found.Options}
	return r, nil
}

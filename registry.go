package packlock

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
)

// process is the registry of this process.
var process = newRegistry(osKernel{})

// registry is the process-wide table of lock files. It is keyed by the identity
// of the open file and not by its path, so that all Locks of a file, by any path,
// meet at the same entry.
//
// Lock order: registry.mu, then entry.mu, then longWaits.mu or checkCap.mu; two entries at
// once only under registry.mu.
type registry struct {
	kernel  kernel
	threads threadCap // parked in the kernel
	checks  checkCap
	waiters sync.Pool // of *waiter, none of them queued
	long    longWaits

	mu sync.Mutex // guards the following
	// entries holds every entry whose file stays open. Its file being open, an
	// entry's identity is not another file's.
	entries map[fileID]*entry
}

func newRegistry(k kernel) *registry {
	r := &registry{
		kernel:  k,
		threads: threadCap{max: maxParked, limit: &threadLimit{kernel: k}},
		entries: make(map[fileID]*entry),
	}
	r.waiters.New = func() any { return new(waiter) }
	return r
}

func (r *registry) openPack(packPath string, opts ...Option) (*Lock, error) {
	dir, err := absolute(packPath)
	if err != nil {
		return nil, err
	}
	o, err := newOptions(opts)
	if err == nil && o.anyFile {
		err = fmt.Errorf("WithAnyFile is for OpenFile, because Open locks %s in a directory: %w", FileName, fs.ErrInvalid)
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: packPath, Err: err}
	}
	path := strings.TrimRight(dir, separators) + string(filepath.Separator) + FileName
	l, err := r.openLock(path, o)
	if !errors.Is(err, fs.ErrNotExist) {
		return l, err
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, err
	}
	return r.openLock(path, o)
}

func (r *registry) openFile(lockPath string, opts ...Option) (*Lock, error) {
	path, err := absolute(lockPath)
	if err != nil {
		return nil, err
	}
	o, err := newOptions(opts)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return r.openLock(path, o)
}

// openLock opens path, which is absolute.
func (r *registry) openLock(path string, o options) (*Lock, error) {
	inner := &lock{path: path, options: o, reg: r}
	if err := r.attach(inner); err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	l := &Lock{lock: inner}
	l.cleanup = runtime.AddCleanup(l, func(inner *lock) { inner.close() }, inner)
	return l, nil
}

// separators is what separates the elements of a path here.
var separators = func() string {
	var s strings.Builder
	for c := range uint8(0x80) {
		if os.IsPathSeparator(c) {
			s.WriteByte(c)
		}
	}
	return s.String()
}()

// absolute returns path, made absolute so that a later chdir does not take the
// Lock elsewhere. It does not clean it: "link/.." is not "." when link is a
// symlink.
func absolute(path string) (string, error) {
	invalid := func(what string) (string, error) {
		return "", &fs.PathError{Op: "open", Path: path, Err: fmt.Errorf("%s: %w", what, fs.ErrInvalid)}
	}
	switch {
	case path == "":
		return invalid("empty path")
	case strings.IndexByte(path, 0) >= 0:
		return invalid("path with a NUL byte")
	case filepath.IsAbs(path):
		return path, nil
	case filepath.VolumeName(path) != "" || os.IsPathSeparator(path[0]):
		// Relative to a drive, or to the root of one: Windows resolves ".."
		// in the text itself, so cleaning is right there.
		abs, err := filepath.Abs(path)
		if err != nil {
			return "", &fs.PathError{Op: "open", Path: path, Err: err}
		}
		return abs, nil
	}
	wd, err := os.Getwd()
	if err != nil {
		return "", &fs.PathError{Op: "open", Path: path, Err: explainDirectory(err)}
	}
	return wd + string(filepath.Separator) + path, nil
}

// attach opens the lock file of l and makes its entry that of l.
func (r *registry) attach(l *lock) error {
	t := now()
	f, err := r.kernel.open(l.path, l.options)
	if err != nil {
		return err
	}
	l.options.mustExist = l.options.mustExist || !f.regular()
	r.mu.Lock()
	e := r.entryLocked(f)
	e.mu.Lock()
	e.locationLocked(l.path, l.options, t).joinLocked(l)
	e.mu.Unlock()
	r.mu.Unlock()
	if e.file != f {
		f.close()
	}
	return nil
}

// entryLocked returns the entry of the file that f has open: f's own if there
// was none.
func (r *registry) entryLocked(f file) *entry {
	e := r.entries[f.id()]
	if e == nil {
		e = newEntry(r, f)
		r.entries[e.id] = e
	}
	return e
}

// retire closes the file of e and forgets e, if it is no longer used.
func (r *registry) retire(e *entry) {
	r.mu.Lock()
	e.mu.Lock()
	files := r.retireLocked(e)
	e.mu.Unlock()
	r.mu.Unlock()
	e.closeAll(files)
}

// retireLocked is the part of retire under the registry's mu and the entry's. It returns
// the files for the caller to close. What an orphaned wait occupies, its thread closes.
func (r *registry) retireLocked(e *entry) []file {
	if !e.unusedLocked() {
		return nil
	}
	e.closed = true
	if r.entries[e.id] == e {
		delete(r.entries, e.id)
	}
	if e.spare != nil {
		return []file{e.active, e.spare}
	}
	return []file{e.active}
}

// closeAll closes the files that retireLocked has returned, and what else e has open.
func (e *entry) closeAll(files []file) error {
	if files != nil {
		e.closeIntent()
	}
	return closeFiles(files)
}

// closeFiles closes files and returns the first error.
func closeFiles(files []file) (err error) {
	for _, f := range files {
		err = cmp.Or(err, f.close())
	}
	return err
}

// abandonFile makes e unusable, because its file would not unlock or must be closed for
// its name to be free. The file is closed, which releases the lock, and the next owner of
// the turn finds it lost and opens the path again. The caller has the turn.
func (r *registry) abandonFile(e *entry) {
	r.mu.Lock()
	e.mu.Lock()
	e.unusable = true
	e.abandonedAt = now()
	// A pin may put off the closing, but no Open may find e from now on.
	delete(r.entries, e.id)
	e.mu.Unlock()
	r.mu.Unlock()
	r.retire(e)
}

// close is Lock.Close.
func (l *lock) close() error {
	r := l.reg
	r.mu.Lock() // and so the entry of l cannot change
	e := l.entry()
	e.mu.Lock()
	if l.closed {
		e.mu.Unlock()
		r.mu.Unlock()
		return &fs.PathError{Op: "close", Path: l.path, Err: errClosed}
	}
	l.closed = true
	if l.closing != nil {
		close(l.closing)
	}
	l.location.Load().leaveLocked(l)
	turnedAway := e.queue.removeFunc(func(w *waiter) bool { return w.lock == l })
	e.headChangedLocked()
	files := r.retireLocked(e)
	e.mu.Unlock()
	r.mu.Unlock()

	deliverError(turnedAway, errClosed)
	if err := e.closeAll(files); err != nil {
		return &fs.PathError{Op: "close", Path: l.path, Err: err}
	}
	return nil
}

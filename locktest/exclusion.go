package locktest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// locks is whether there is a lock at all.
func locks(x *exam) (string, error) {
	_, err := x.startHolder(x.scratch)
	if errors.Is(err, errors.ErrUnsupported) {
		err = fmt.Errorf("there is no such lock here: %w", err)
	}
	return "", err
}

// identity is whether the file is the same one whenever it is opened or looked
// at: by that it is told from one that took its place.
func identity(x *exam) (string, error) {
	h, err := x.startHolder(x.scratch)
	if err != nil {
		return "", err
	}
	first, err := os.Stat(x.scratch)
	if err != nil {
		return "", err
	}
	for range 20 {
		f, err := os.Open(x.scratch)
		if err != nil {
			return "", err
		}
		opened, err := f.Stat()
		f.Close()
		if err != nil {
			return "", err
		}
		same, err := sameFile(x.scratch, first)
		if err != nil {
			return "", err
		}
		if !same || !os.SameFile(first, opened) {
			return "", errors.New("the file has another identity (device or inode) when it is opened again")
		}
	}
	_, err = h.ask("check", order{Do: doCheck})
	return "", err
}

// excludes is whether the lock that one process has is busy for others.
func excludes(x *exam) (string, error) {
	holder, other, err := x.startPair()
	if err != nil {
		return "", err
	}
	switch said, err := other.ask("trying the lock, which another has", order{Do: doTry}); {
	case errors.Is(err, errors.ErrUnsupported):
		return "as far as waiting shows: there is no trying", other.refused()
	case err != nil:
		return "", err
	case !said.Busy:
		return "", errTaken
	}
	for range 10 {
		if err := other.refused(); err != nil {
			return "", err
		}
		if _, err := holder.unlock(); err != nil {
			return "", err
		}
		said, err := other.ask("trying the lock, which was released", order{Do: doTry})
		if err != nil {
			return "", err
		}
		if said.Busy {
			return "", errors.New("the lock was still busy when it had been released")
		}
		holder, other = other, holder
	}
	return "", nil
}

// excludesHandles is the same for two handles of one process.
func excludesHandles(x *exam) (string, error) {
	holder, err := x.startHolder(x.scratch)
	if err != nil {
		return "", err
	}
	other, err := holder.another(x.scratch)
	if err != nil {
		return "", err
	}
	err = other.refused()
	if errors.Is(err, errTaken) {
		err = errors.New("a handle took the lock while another of the same process had it")
	}
	return "", err
}

// tries is whether trying to take a lock that is busy returns.
func tries(x *exam) (string, error) {
	_, other, err := x.startPair()
	if err != nil {
		return "", err
	}
	var worst time.Duration
	for range 20 {
		said, err := other.ask("trying the lock, which another has", order{Do: doTry})
		switch {
		case errors.Is(err, errors.ErrUnsupported):
			return "", errors.New("there is no trying")
		case err != nil:
			return "", err
		case !said.Busy:
			return "", errTaken
		}
		worst = max(worst, said.Took)
	}
	return fmt.Sprintf("%v at worst", rounded(worst)), nil
}

// anyPath is whether the paths to one file lead to one lock.
func anyPath(x *exam) (string, error) {
	dir, name := filepath.Split(x.scratch)
	dir = filepath.Clean(dir)
	linked, hard := filepath.Join(filepath.Dir(dir), "link"), filepath.Join(dir, "hard")
	separator := string(filepath.Separator)
	var ways, not []string
	for _, way := range []struct {
		name string
		path string
		make func() error
	}{
		{`".."`, dir + separator + ".." + separator + filepath.Base(dir) + separator + name, func() error { return nil }},
		{"symbolic link to the directory", filepath.Join(linked, name), func() error { return os.Symlink(dir, linked) }},
		{"hard link", hard, func() error { return os.Link(x.scratch, hard) }},
	} {
		err := way.make()
		if err == nil {
			_, err = os.Stat(filepath.Dir(way.path)) // there are links that lead nowhere, as on Wine
		}
		if err != nil {
			not = append(not, "no "+way.name)
			continue
		}
		switch err := x.oneLock(way.path); {
		case errors.As(err, new(skip)):
			not = append(not, way.name+" "+err.Error())
		case err != nil:
			return "", fmt.Errorf("%s: %w", way.name, err)
		default:
			ways = append(ways, way.name)
		}
	}
	return strings.Join(append(ways, not...), ", "), nil
}

// oneLock is whether the lock of the scratch file is also that of path, whichever
// is locked first.
func (x *exam) oneLock(path string) error {
	for _, paths := range [][2]string{{x.scratch, path}, {path, x.scratch}} {
		if _, err := x.startHolder(paths[0]); err != nil {
			return err
		}
		other, err := x.start(paths[1])
		if err != nil && x.cannotOpen(paths[1]) {
			// SMB opens no second name of a file that is open. That is not two
			// locks.
			err = skip("cannot be opened beside the first name")
		}
		if err == nil {
			err = other.refused()
		}
		x.dismiss()
		if err != nil {
			return err
		}
	}
	return nil
}

// cannotOpen reports whether the system itself does not open the file at path.
func (x *exam) cannotOpen(path string) bool {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err == nil {
		f.Close()
	}
	return err != nil
}

// dismiss ends the processes.
func (x *exam) dismiss() {
	for _, p := range x.processes {
		p.dismiss()
	}
	x.processes = nil
}

// secondUnlock is whether a handle that unlocks twice leaves others alone.
func secondUnlock(x *exam) (string, error) {
	first, err := x.startHolder(x.scratch)
	if err != nil {
		return "", err
	}
	if _, err := first.unlock(); err != nil {
		return "", err
	}
	second, err := first.another(x.scratch)
	if err != nil {
		return "", err
	}
	if err := second.take(); err != nil {
		return "", err
	}
	said := "it says so"
	if a, err := first.unlock(); err == nil {
		said = "it says nothing"
	} else if a.Error == "" {
		return "", err
	}
	other, err := x.start(x.scratch)
	if err != nil {
		return "", err
	}
	err = other.refused()
	if errors.Is(err, errTaken) {
		return "", errors.New("a second Unlock released the lock that another handle held")
	}
	if err != nil {
		return "", err
	}
	_, err = second.unlock()
	return said, err
}

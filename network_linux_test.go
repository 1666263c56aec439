package packlock

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// The questions that servers are asked have the right answers on a file system that
// is none.
func TestQuestionsToServers(t *testing.T) {
	for _, n := range []network{noNetwork, nfs, smb, otherNetwork} {
		dir := filepath.Join(t.TempDir(), "pack")
		if err := os.Mkdir(dir, 0o777); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, FileName)
		f, err := openFile(path)
		if err != nil {
			t.Fatal(err)
		}
		f.network = n
		f.network.prepare(f.fd)
		same := func(what string, want bool) {
			t.Helper()
			if got, err := f.sameAt(path); got != want || err != nil {
				t.Errorf("network %d, %s: %v, %v, want %v", n, what, got, err, want)
			}
		}
		same("in place", true)
		if ok, err := f.try(); !ok || err != nil {
			t.Fatal(ok, err)
		}
		if held, err := f.serverStillGrants(); !held || err != nil {
			t.Errorf("network %d: held %v, %v", n, held, err)
		}
		if linked, _, err := f.stat(); !linked || err != nil {
			t.Errorf("network %d: linked %v, %v", n, linked, err)
		}
		if f.remote() != (n != noNetwork) {
			t.Errorf("network %d: remote %v", n, f.remote())
		}

		if err := os.Rename(dir, dir+".away"); err != nil {
			t.Fatal(err)
		}
		same("directory renamed", false)
		if err := os.Rename(dir+".away", dir); err != nil {
			t.Fatal(err)
		}
		same("and back", true)
		if err := os.Rename(path, path+".away"); err != nil {
			t.Fatal(err)
		}
		same("renamed", false)
		writeFile(t, path, 0o666)
		same("replaced", false)
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path+".away", path); err != nil {
			t.Fatal(err)
		}
		same("a symlink in its place", false)
		if err := os.Remove(path + ".away"); err != nil {
			t.Fatal(err)
		}
		var want error
		if f.network != noNetwork {
			want = errFileLost
		}
		if linked, _, err := f.stat(); linked || err != want {
			t.Errorf("network %d: linked %v, %v after the deletion", n, linked, err)
		}
		f.close()
	}
}

// What is dear to a server is asked once in expensiveCheckInterval.
func TestDearQuestionsAreRare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(osFile)
		for _, row := range []struct {
			after time.Duration
			asks  bool
		}{{0, true}, {0, false}, {expensiveCheckInterval - 1, false}, {1, true}, {expensiveCheckInterval - 1, false}} {
			time.Sleep(row.after)
			if asks := f.allowExpensiveCheck(); asks != row.asks {
				t.Errorf("%v later: %v, want %v", row.after, asks, row.asks)
			}
		}
	})
}

// On a file system that does not count links, none is no sign.
func TestLinksThatAreNotCounted(t *testing.T) {
	path := filepath.Join(t.TempDir(), FileName)
	f, err := openFile(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	f.countsLinks = false
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if linked, _, err := f.stat(); !linked || err != nil {
		t.Errorf("linked %v, %v", linked, err)
	}
}

func TestDirectoryOfAPath(t *testing.T) {
	for path, want := range map[string]string{
		"/a/b/.grex-lock":     "/a/b",
		"/a/link/../x":        "/a/link/..",
		"/a":                  "/",
		"/":                   "/",
		"/a/b/":               "/a",
		"/a//b":               "/a/",
		"//a":                 "/",
		"/a/b/../.grex-lock/": "/a/b/..",
	} {
		if got := directory(path); got != want {
			t.Errorf("%q: %q, want %q", path, got, want)
		}
	}
}

// Of a name, both directories are asked: a directory that another machine renamed is
// remembered by its parent.
func TestDirectoriesThatRememberAName(t *testing.T) {
	for path, want := range map[string][]string{
		"/srv/pack/.grex-lock": {"/srv", "/srv/pack"},
		"/pack/.grex-lock":     {"/", "/pack"},
		"/.grex-lock":          {"/", "/"},
		"/a/../b/c/":           {"/a/..", "/a/../b"},
	} {
		if got := directoriesOf(path); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", path, got, want)
		}
	}
}

func TestCallIsRepeatedWhileAClientConnectsAgain(t *testing.T) {
	for _, row := range []struct {
		until int // so many EAGAIN
		then  error
		calls int
	}{{0, nil, 1}, {3, nil, 4}, {3, unix.EBADF, 4}, {maxAgain - 1, nil, maxAgain}, {maxAgain + 5, unix.EAGAIN, maxAgain}} {
		calls := 0
		err := whileEAGAIN(func() error {
			if calls++; calls <= row.until {
				return unix.EAGAIN
			}
			return row.then
		})
		if err != row.then || calls != row.calls {
			t.Errorf("%d times EAGAIN: %v after %d calls, want %v after %d", row.until, err, calls, row.then, row.calls)
		}
	}
}

// A server that cannot be asked, because this process can open no file, is an error: what
// the client remembers must not be taken for its answer.
func TestCheckWithoutDescriptorsIsAnError(t *testing.T) {
	path := filepath.Join(t.TempDir(), FileName)
	f, err := openFile(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	none := limit
	none.Cur = 0
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	defer unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
	for _, n := range []network{smb, otherNetwork} {
		f.network = n
		f.expensiveCheckAt.Store(0)
		if same, err := f.sameAt(path); same || err != unix.EMFILE {
			t.Errorf("network %d: %t, %v; want EMFILE", n, same, err)
		}
	}
}

package packlock

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
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

package fsinfo

import (
	"os"
	"reflect"
	"testing"
)

func TestMountOptionsAreFound(t *testing.T) {
	const mountinfo = `22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/root rw,discard
36 22 0:45 / /mnt/two\040words rw,noatime shared:7 master:2 - nfs4 server:/export rw,vers=4.2,local_lock=none
37 22 0:46 / /mnt/bare rw - tmpfs none
`
	for id, want := range map[string]FileSystem{
		"36": {Type: "nfs4", Source: "server:/export", Mount: "/mnt/two words",
			Options: []string{"rw", "noatime", "vers=4.2", "local_lock=none"}},
		"37": {Type: "tmpfs", Source: "none", Mount: "/mnt/bare", Options: []string{"rw"}},
		"38": {},
	} {
		if got := parseMount(mountinfo, id); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, want %+v", id, got, want)
		}
	}
}

func TestFileSystemIsNamed(t *testing.T) {
	if f := Find("/proc"); f.Type != "proc" || f.Mount != "/proc" || f.Reach == Local {
		t.Errorf("/proc: %+v", f)
	}
}

func TestTypeInTheListOfMounts(t *testing.T) {
	for _, path := range []string{"/proc", t.TempDir()} {
		f, err := os.Open(path)
		if err != nil {
			t.Error(err)
			continue
		}
		if got, want := MountedType(f.Fd()), Find(path).Type; got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
		f.Close()
	}
	if got := MountedType(^uintptr(0)); got != "" {
		t.Errorf("%q for no file", got)
	}
}

func TestReachIsTheSameByPathDescriptorAndMount(t *testing.T) {
	for _, path := range []string{t.TempDir(), "/dev/shm", "/proc"} {
		f, err := os.Open(path)
		if err != nil {
			t.Error(err)
			continue
		}
		at, of, found := ReachAt(path), Of(f.Fd()).Reach, Find(path)
		f.Close()
		if at != found.Reach || of != found.Reach {
			t.Errorf("%s: %v by path, %v by descriptor, %v", path, at, of, found)
		}
	}
}

func TestWhatOthersMayHaveIsNetwork(t *testing.T) {
	for name, want := range map[string]Reach{
		"ext4": Local, "tmpfs": Local, "fuseblk": Local,
		"nfs": Network, "nfs4": Network, "cifs": Network, "fuse": Network, "fuse.sshfs": Network,
		"overlay": Unknown, "": Unknown,
	} {
		if got := reachOfType(name); got != want {
			t.Errorf("%q: %v, want %v", name, got, want)
		}
	}
}

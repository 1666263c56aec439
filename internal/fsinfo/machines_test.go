package fsinfo

import (
	"strings"
	"testing"
)

func TestWhatIsKnownOfLocksAcrossMachines(t *testing.T) {
	for _, test := range []struct {
		fs        FileSystem
		exclusion Exclusion
		says      string
	}{
		{FileSystem{Type: "ext4", Reach: Local}, NoOthers, "own"},
		{FileSystem{Type: "nfs4", Options: []string{"rw", "local_lock=none"}}, NotKnown, "server"},
		{FileSystem{Type: "nfs", Options: []string{"local_lock=posix"}}, NotKnown, "server"},
		{FileSystem{Type: "nfs4", Options: []string{"rw", "local_lock=flock"}}, KeptLocal, "local_lock=flock"},
		{FileSystem{Type: "nfs4", Options: []string{"rw", "local_lock=all"}}, KeptLocal, "local_lock=all"},
		{FileSystem{Type: "nfs", Options: []string{"nolock", "local_lock=all"}}, KeptLocal, "nolock"},
		{FileSystem{Type: "cifs"}, NotKnown, "server"},
		{FileSystem{Type: "cifs"}, NotKnown, "do not share locks"},
		{FileSystem{Type: "cifs", Options: []string{"nobrl"}}, KeptLocal, "nobrl"},
		{FileSystem{Type: "ocfs2", Options: []string{"localflocks"}}, KeptLocal, "localflocks"},
		{FileSystem{Type: "fuse.sshfs"}, KeptLocal, "fuse.sshfs"},
		{FileSystem{Type: "fuse.glusterfs"}, NotKnown, "FUSE"},
		{FileSystem{Type: "overlay"}, NotKnown, "upper directory"},
		{FileSystem{Type: "9p"}, NotKnown, "locktimeout=1"},
		{FileSystem{Type: "9p", Options: []string{"trans=tcp"}}, NotKnown, "locktimeout=1"},
		{FileSystem{Type: "9p", Options: []string{"trans=tcp", "locktimeout=1"}}, NotKnown, "two machines finds out"},
		{FileSystem{Type: "9p", Options: []string{"trans=virtio"}}, KeptLocal, "known to keep locks in the guest"},
		{FileSystem{Type: "9p", Options: []string{"trans=virtio"}}, KeptLocal, "NFS 4 or SMB instead; packlock doctor -peer"},
		{FileSystem{Type: "virtiofs"}, KeptLocal, "known to keep locks in the guest"},
		{FileSystem{Type: "virtiofs"}, KeptLocal, "NFS 4 or SMB instead; packlock doctor -peer"},
		{FileSystem{Type: "NTFS", Reach: Network}, NotKnown, "server"},
		{FileSystem{Type: "newfs"}, NotKnown, "not known"},
		{FileSystem{}, NotKnown, "does not tell"},
	} {
		if got, says := test.fs.AcrossMachines(); got != test.exclusion || !strings.Contains(says, test.says) {
			t.Errorf("%v: %v, %q, want %v with %q", test.fs, got, says, test.exclusion, test.says)
		}
	}
}

// What a waiter on 9p should know is said only where it is so.
func TestLockTimeoutOf9p(t *testing.T) {
	for _, options := range [][]string{{"trans=tcp", "locktimeout=1"}, {"trans=virtio"}} {
		if _, says := (FileSystem{Type: "9p", Options: options}).AcrossMachines(); strings.Contains(says, "mount with locktimeout") {
			t.Errorf("%q: %s", options, says)
		}
	}
}

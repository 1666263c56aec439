package fsinfo

import (
	"fmt"
	"slices"
	"strings"
)

// Exclusion is what is known about whether a lock keeps out other machines.
type Exclusion int

const (
	NotKnown  Exclusion = iota // it takes two machines to see
	NoOthers                   // there is no other machine to keep out
	KeptLocal                  // it keeps out nobody but this machine
)

// AcrossMachines returns what is known about locks of f between machines, and
// why, in words.
func (f FileSystem) AcrossMachines() (Exclusion, string) {
	name := f.Type
	if strings.HasPrefix(name, "fuse.") {
		name = "fuse"
	}
	k := kinds[name]
	for _, o := range f.Options {
		if slices.Contains(k.keeps, o) {
			return KeptLocal, fmt.Sprintf("%s, mounted with %s, keeps locks to this machine: another that mounts the same is not kept out; mount without %[2]s", f.Type, o)
		}
	}
	switch {
	case f.Reach == Local:
		return NoOthers, "the file system is this machine's own"
	case slices.Contains(keepers, f.Type):
		return KeptLocal, f.Type + " keeps locks to this machine: another that has the same files is not kept out"
	case f.Type == "virtiofs":
		return KeptLocal, "virtiofs is known to keep locks in the guest, because virtiofsd passes none on" + keptInGuest
	case f.Type == "9p" && slices.Contains(f.Options, "trans=virtio"):
		return KeptLocal, "9p from a virtual machine's host (trans=virtio) is known to keep locks in the guest, because qemu's server grants every lock" + keptInGuest
	case f.Type == "9p":
		return NotKnown, locksOf9p(f.Options)
	case k.says != "":
		return NotKnown, k.says
	case f.Type == "":
		return NotKnown, "the system does not tell what file system this is"
	case f.Reach == Network:
		return NotKnown, serverKeeps
	}
	return NotKnown, fmt.Sprintf("whether %s passes locks on to other machines is not known here", f.Type)
}

// keptInGuest ends what is known of a file system that a virtual machine has from its host.
const keptInGuest = ": the host and other guests are not excluded;" +
	" to share the lock with them, mount the directory by NFS 4 or SMB instead;" +
	" packlock doctor -peer on both finds out whether this server is an exception"

// locksOf9p returns what is known of locks on 9p between machines, with these mount options.
func locksOf9p(options []string) string {
	says := "some 9p servers grant every lock, and then the host and other machines are not excluded;" +
		" packlock doctor -peer on two machines finds out"
	if !slices.ContainsFunc(options, func(o string) bool { return strings.HasPrefix(o, "locktimeout=") }) {
		says += "; a waiter tries the lock only every 30 s: mount with locktimeout=1"
	}
	return says
}

// A kind is what is known about locks of file systems of one type that other
// machines may have, too.
type kind struct {
	keeps []string // the mount options that keep locks to this machine
	says  string   // without them
}

// keepers are the types that keep locks to this machine however mounted: they
// leave flock to the kernel's own bookkeeping.
var keepers = []string{"fuse.sshfs", "fuse.s3fs", "vboxsf"}

const serverKeeps = "the locks are the server's to keep; it takes two machines to see that it does"

var kinds = func() map[string]kind {
	const cluster = "the machines are to keep the locks together; it takes two to see that they do"
	nfs := kind{[]string{"nolock", "local_lock=flock", "local_lock=all"}, serverKeeps}
	smb := kind{[]string{"nobrl", "nolock"}, serverKeeps + "; do not share locks there: a shared one may stay with no process"}
	clustered := kind{[]string{"localflocks", "localflock"}, cluster}
	return map[string]kind{
		"nfs": nfs, "nfs4": nfs,
		"cifs": smb, "smb3": smb, "smbfs": smb, "smb2": smb,
		"gfs2": clustered, "ocfs2": clustered, "lustre": clustered, "ceph": clustered, "gpfs": clustered,
		"afs": {says: serverKeeps},
		"fuse": {says: "a FUSE server without flock leaves locks to this machine's kernel, and then others that have the same files" +
			" are not kept out; which it is cannot be seen from one machine"},
		// Copied up files have an inode, and with it a lock, for each mount.
		"overlay": {says: "overlay keeps locks to this mount: a program that uses the files by a different one, such as the upper directory, is not excluded"},
	}
}()

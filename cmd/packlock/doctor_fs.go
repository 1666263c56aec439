package main

import (
	"fmt"
	"slices"
	"strings"
)

// fileSystem is what the system tells about the file system of a directory.
type fileSystem struct {
	Type    string   `json:"type"` // "" if not to be had
	Source  string   `json:"source,omitempty"`
	Mount   string   `json:"mount,omitempty"`
	Options []string `json:"options,omitempty"`

	// local and remote are whether it is known to be on a device of this
	// machine, or on a server.
	local, remote bool
}

func (f fileSystem) String() string {
	if f.Type == "" {
		return "unknown"
	}
	s := f.Type
	if f.Source != "" {
		s += ", " + f.Source
	}
	if f.Mount != "" {
		s += " on " + f.Mount
	}
	if options := lockOptions(f.Options); len(options) > 0 {
		s += ", " + strings.Join(options, ",")
	}
	return s
}

// lockOptions returns those of the mount options that have to do with locks.
func lockOptions(options []string) (found []string) {
	for _, o := range options {
		name, _, _ := strings.Cut(o, "=")
		switch name {
		case "nolock", "local_lock", "nobrl", "flock", "localflock", "localflocks", "noflock":
			found = append(found, o)
		}
	}
	return found
}

// acrossMachines returns what is known about locks of f between machines: that
// there is no other, an error if it keeps them to this one, or else a skip,
// because it takes two machines to see.
func (f fileSystem) acrossMachines() (detail string, err error) {
	name := f.Type
	if strings.HasPrefix(name, "fuse.") {
		name = "fuse"
	}
	k := kinds[name]
	for _, o := range f.Options {
		if slices.Contains(k.keeps, o) {
			return "", fmt.Errorf("%s, mounted with %s, keeps locks to this machine: another that mounts the same is not kept out; mount without %[2]s", f.Type, o)
		}
	}
	switch {
	case f.local:
		return "the file system is this machine's own", nil
	case slices.Contains(keepers, f.Type):
		return "", fmt.Errorf("%s keeps locks to this machine: another that has the same files is not kept out", f.Type)
	case k.says != "":
		return "", skip(k.says)
	case f.remote:
		return "", skip(serverKeeps)
	case f.Type == "":
		return "", skip("the system does not tell what file system this is")
	}
	return "", skip(fmt.Sprintf("whether %s passes locks on to other machines is not known here", f.Type))
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
	smb := kind{[]string{"nobrl", "nolock"}, serverKeeps}
	clustered := kind{[]string{"localflocks", "localflock"}, cluster}
	return map[string]kind{
		"nfs": nfs, "nfs4": nfs,
		"cifs": smb, "smb3": smb, "smbfs": smb, "smb2": smb,
		"gfs2": clustered, "ocfs2": clustered, "lustre": clustered, "ceph": clustered, "gpfs": clustered,
		"afs": {says: serverKeeps},
		"fuse": {says: "a FUSE server without flock leaves locks to this machine's kernel, and then others that have the same files" +
			" are not kept out; which it is cannot be seen from one machine"},
		"9p": {says: "many 9p servers grant every lock, so that the host and other guests are not kept out;" +
			" it takes two machines to see"},
		"virtiofs": {says: "locks stay in this guest unless virtiofsd passes them on: the host and other guests may not be kept out;" +
			" it takes two machines to see"},
		// Copied up files have an inode, and with it a lock, for each mount.
		"overlay": {says: "overlay keeps locks to this mount: who has the files by another one, such as the upper directory, is not kept out"},
	}
}()

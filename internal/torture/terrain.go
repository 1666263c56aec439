package torture

import (
	"slices"
	"strings"

	"packlock/internal/fsinfo"
)

// A terrain says what the file system of the packs lets a disturber do that then
// has to be noticed.
type terrain struct {
	// settled is set where a file that is open can neither be deleted nor replaced, nor
	// its directory renamed, and has no second name, and where it can be renamed, but
	// that hangs who waits for its lock: SMB. And where the path leads to the old file as
	// long as a process of the machine has that open: 9p. There nothing is disturbed.
	settled bool
	// leftovers is set where a file that is deleted while open stays in its
	// directory, by another name, so that this cannot be deleted: NFS.
	leftovers bool
	// prompt is set on local file systems: a path leads to the new file at once, and writers
	// are announced.
	prompt bool
	// orphans is set where a wait that a signal interrupts may leave the lock at the
	// server, where no process has it and none can acquire it (NFS 3, SMB, the kernel's
	// CephFS), or the client hanging (GlusterFS). There no process is killed or stopped.
	orphans bool
	// unshared is set where shared locks may do that, too: SMB. There nothing is acquired
	// shared.
	unshared bool
}

func terrainOf(dir string) terrain {
	found := fsinfo.Find(dir)
	name := found.Type
	smb := name == "cifs" || strings.HasPrefix(name, "smb")
	return terrain{
		prompt:    found.Reach == fsinfo.Local,
		settled:   smb || name == "9p",
		unshared:  smb,
		leftovers: strings.HasPrefix(name, "nfs"),
		orphans:   smb || slices.Contains([]string{"nfs", "fuse.glusterfs", "ceph"}, name), // NFS 4 is "nfs4"
	}
}

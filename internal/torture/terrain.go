package torture

import (
	"strings"

	"packlock/internal/fsinfo"
)

// A terrain says what the file system of the packs lets a disturber do that then
// has to be noticed.
type terrain struct {
	// settled is set where a file that is open can neither be deleted nor replaced, nor
	// its directory renamed, and has no second name, and where it can be renamed, but
	// that hangs who waits for its lock: SMB. There nothing is disturbed.
	settled bool
	// leftovers is set where a file that is deleted while open stays in its
	// directory, by another name, so that this cannot be deleted: NFS.
	leftovers bool
	// orphans is set where a wait that a signal interrupts may leave the lock at the
	// server, where nobody has it then, and nobody gets it (NFS 3), or the client
	// hanging (GlusterFS). There nobody is killed or stopped.
	orphans bool
}

func terrainOf(dir string) terrain {
	name := fsinfo.Find(dir).Type
	return terrain{
		settled:   name == "cifs" || strings.HasPrefix(name, "smb"),
		leftovers: strings.HasPrefix(name, "nfs"),
		orphans:   name == "nfs" || name == "fuse.glusterfs", // NFS 4 is "nfs4"
	}
}

//go:build darwin || dragonfly || freebsd

package fsinfo

import "golang.org/x/sys/unix"

// find returns what statfs tells. The options of NFS that have to do with locks
// are not in it.
func find(path string) FileSystem {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return FileSystem{}
	}
	return describe(&st)
}

func describe(st *unix.Statfs_t) FileSystem {
	name := unix.ByteSliceToString(st.Fstypename[:])
	return FileSystem{
		Type:   name,
		Source: unix.ByteSliceToString(st.Mntfromname[:]),
		Mount:  unix.ByteSliceToString(st.Mntonname[:]),
		Reach:  reachByFlag(name, st.Flags&unix.MNT_LOCAL != 0),
	}
}

func reachAt(path string) Reach { return find(path).Reach }

func of(fd uintptr) FileSystem {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(fd), &st); err != nil {
		return FileSystem{}
	}
	return describe(&st)
}

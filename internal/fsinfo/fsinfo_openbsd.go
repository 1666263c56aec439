package fsinfo

import "golang.org/x/sys/unix"

// find returns what statfs tells.
func find(path string) FileSystem {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return FileSystem{}
	}
	return describe(&st)
}

func describe(st *unix.Statfs_t) FileSystem {
	name := unix.ByteSliceToString(st.F_fstypename[:])
	return FileSystem{
		Type:   name,
		Source: unix.ByteSliceToString(st.F_mntfromname[:]),
		Mount:  unix.ByteSliceToString(st.F_mntonname[:]),
		Reach:  reachByFlag(name, st.F_flags&unix.MNT_LOCAL != 0),
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

package fsinfo

import "golang.org/x/sys/unix"

// find returns what statvfs tells.
func find(path string) FileSystem {
	var st unix.Statvfs_t
	if err := unix.Statvfs(path, &st); err != nil {
		return FileSystem{}
	}
	return describe(&st)
}

func describe(st *unix.Statvfs_t) FileSystem {
	name := unix.ByteSliceToString(st.Fstypename[:])
	return FileSystem{
		Type:   name,
		Source: unix.ByteSliceToString(st.Mntfromname[:]),
		Mount:  unix.ByteSliceToString(st.Mntonname[:]),
		Reach:  reachByFlag(name, st.Flag&unix.MNT_LOCAL != 0),
	}
}

func reachAt(path string) Reach { return find(path).Reach }

func of(fd uintptr) FileSystem {
	var st unix.Statvfs_t
	if err := unix.Fstatvfs(int(fd), &st); err != nil {
		return FileSystem{}
	}
	return describe(&st)
}

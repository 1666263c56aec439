package fsinfo

import (
	"slices"

	"golang.org/x/sys/unix"
)

// find returns what statvfs tells.
func find(path string) FileSystem {
	var st unix.Statvfs_t
	if err := unix.Statvfs(path, &st); err != nil {
		return FileSystem{}
	}
	return describe(&st)
}

func describe(st *unix.Statvfs_t) FileSystem {
	var basetype []byte
	for _, c := range st.Basetype {
		basetype = append(basetype, byte(c))
	}
	name := unix.ByteSliceToString(basetype)
	f := FileSystem{Type: name}
	switch {
	case slices.Contains([]string{"nfs", "nfs3", "nfs4", "smbfs", "fuse"}, name):
		f.Reach = Network
	case slices.Contains([]string{"zfs", "ufs", "tmpfs", "pcfs"}, name):
		f.Reach = Local
	}
	return f
}

func reachAt(path string) Reach { return find(path).Reach }

func of(fd uintptr) FileSystem {
	var st unix.Statvfs_t
	if err := unix.Fstatvfs(int(fd), &st); err != nil {
		return FileSystem{}
	}
	return describe(&st)
}

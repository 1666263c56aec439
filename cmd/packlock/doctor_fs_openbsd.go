package main

import "golang.org/x/sys/unix"

// findFileSystem returns what statfs tells.
func findFileSystem(dir string) fileSystem {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return fileSystem{}
	}
	return fileSystem{
		Type:   unix.ByteSliceToString(st.F_fstypename[:]),
		Source: unix.ByteSliceToString(st.F_mntfromname[:]),
		Mount:  unix.ByteSliceToString(st.F_mntonname[:]),
		local:  st.F_flags&unix.MNT_LOCAL != 0,
	}
}

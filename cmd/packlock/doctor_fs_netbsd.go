package main

import "golang.org/x/sys/unix"

// findFileSystem returns what statvfs tells.
func findFileSystem(dir string) fileSystem {
	var st unix.Statvfs_t
	if err := unix.Statvfs(dir, &st); err != nil {
		return fileSystem{}
	}
	return fileSystem{
		Type:   unix.ByteSliceToString(st.Fstypename[:]),
		Source: unix.ByteSliceToString(st.Mntfromname[:]),
		Mount:  unix.ByteSliceToString(st.Mntonname[:]),
		local:  st.Flag&unix.MNT_LOCAL != 0,
	}
}

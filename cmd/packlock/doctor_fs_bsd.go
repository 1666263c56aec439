//go:build darwin || dragonfly || freebsd

package main

import "golang.org/x/sys/unix"

// findFileSystem returns what statfs tells. The options of NFS that have to do
// with locks are not in it.
func findFileSystem(dir string) fileSystem {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return fileSystem{}
	}
	return fileSystem{
		Type:   unix.ByteSliceToString(st.Fstypename[:]),
		Source: unix.ByteSliceToString(st.Mntfromname[:]),
		Mount:  unix.ByteSliceToString(st.Mntonname[:]),
		local:  st.Flags&unix.MNT_LOCAL != 0,
	}
}

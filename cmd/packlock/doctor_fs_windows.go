package main

import "golang.org/x/sys/windows"

// findFileSystem returns what there is to be had about the volume of dir. On
// the network, its type is that of the server's disk.
func findFileSystem(dir string) fileSystem {
	var f fileSystem
	name, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return f
	}
	var root, kind [windows.MAX_PATH + 1]uint16
	if err := windows.GetVolumePathName(name, &root[0], uint32(len(root))); err != nil {
		return f
	}
	f.Mount = windows.UTF16ToString(root[:])
	if err := windows.GetVolumeInformation(&root[0], nil, 0, nil, nil, nil, &kind[0], uint32(len(kind))); err == nil {
		f.Type = windows.UTF16ToString(kind[:])
	}
	switch windows.GetDriveType(&root[0]) {
	case windows.DRIVE_FIXED, windows.DRIVE_REMOVABLE, windows.DRIVE_RAMDISK:
		f.local = true
	case windows.DRIVE_REMOTE:
		f.remote = true
	}
	return f
}

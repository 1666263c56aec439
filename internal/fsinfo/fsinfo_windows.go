package fsinfo

import (
	"unsafe"

	"golang.org/x/sys/windows"
)

// find returns what there is to be had about the volume of path. On the network,
// its type is that of the server's disk.
func find(path string) FileSystem {
	var f FileSystem
	root := rootOf(path)
	if root == nil {
		return f
	}
	var name [windows.MAX_PATH + 1]uint16
	f.Mount = windows.UTF16PtrToString(root)
	if err := windows.GetVolumeInformation(root, nil, 0, nil, nil, nil, &name[0], uint32(len(name))); err == nil {
		f.Type = windows.UTF16ToString(name[:])
	}
	f.Reach = reachOfRoot(root)
	return f
}

// rootOf returns the root of the volume that path is on, nil if there is none.
func rootOf(path string) *uint16 {
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return nil
	}
	var root [windows.MAX_PATH + 1]uint16
	if err := windows.GetVolumePathName(name, &root[0], uint32(len(root))); err != nil {
		return nil
	}
	return &root[0]
}

func reachOfRoot(root *uint16) Reach {
	switch windows.GetDriveType(root) {
	case windows.DRIVE_FIXED, windows.DRIVE_REMOVABLE, windows.DRIVE_RAMDISK:
		return Local
	case windows.DRIVE_REMOTE:
		return Network
	}
	return Unknown
}

func reachAt(path string) Reach {
	if root := rootOf(path); root != nil {
		return reachOfRoot(root)
	}
	return Unknown
}

// of asks by which protocol the file is had, which there is for those of a
// server alone.
func of(handle uintptr) FileSystem {
	var info [256]byte // FILE_REMOTE_PROTOCOL_INFO, which grew from version to version
	err := windows.GetFileInformationByHandleEx(windows.Handle(handle), windows.FileRemoteProtocolInfo,
		(*byte)(unsafe.Pointer(&info)), uint32(len(info)))
	switch err {
	case nil:
		return FileSystem{Reach: Network}
	case windows.ERROR_INVALID_PARAMETER:
		return FileSystem{Reach: Local}
	}
	return FileSystem{}
}

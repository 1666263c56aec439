package packlock

import (
	"golang.org/x/sys/windows"
)

func init() {
	rawLock = func(path string, wait bool) (func(), error) {
		return lockBytes(path, 0, 1, wait)
	}
}

// lockBytes locks a range of the file at path, through a handle of its own, as
// rawLock does.
func lockBytes(path string, offset, length uint32, wait bool) (unlock func(), err error) {
	const share = windows.FILE_SHARE_READ | windows.FILE_SHARE_WRITE | windows.FILE_SHARE_DELETE
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return nil, err
	}
	h, err := windows.CreateFile(name, windows.GENERIC_READ, share, nil, windows.OPEN_EXISTING, windows.FILE_ATTRIBUTE_NORMAL, 0)
	if err != nil {
		return nil, err
	}
	var flags uint32 = windows.LOCKFILE_EXCLUSIVE_LOCK
	if !wait {
		flags |= windows.LOCKFILE_FAIL_IMMEDIATELY
	}
	if err := windows.LockFileEx(h, flags, 0, length, 0, &windows.Overlapped{Offset: offset}); err != nil {
		windows.CloseHandle(h)
		if err == windows.ERROR_LOCK_VIOLATION {
			err = nil
		}
		return nil, err
	}
	return func() {
		windows.UnlockFileEx(h, 0, length, 0, &windows.Overlapped{Offset: offset})
		windows.CloseHandle(h)
	}, nil
}

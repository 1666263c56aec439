package contend

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// rawLock is LockFileEx on the first byte, by a handle of its own.
type rawLock struct{ handle windows.Handle }

func openRaw(path string) (Locker, error) {
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return nil, err
	}
	h, err := windows.CreateFile(name, windows.GENERIC_READ|windows.GENERIC_WRITE,
		windows.FILE_SHARE_READ|windows.FILE_SHARE_WRITE, nil, windows.OPEN_EXISTING, windows.FILE_ATTRIBUTE_NORMAL, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return &rawLock{h}, nil
}

func (l *rawLock) Lock(context.Context) (Held, error) {
	return l, l.lock(windows.LOCKFILE_EXCLUSIVE_LOCK)
}

func (l *rawLock) LockShared(context.Context) (Held, error) { return l, l.lock(0) }

// try takes the lock if that needs no waiting.
func (l *rawLock) try() (bool, error) {
	err := l.lock(windows.LOCKFILE_EXCLUSIVE_LOCK | windows.LOCKFILE_FAIL_IMMEDIATELY)
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) || errors.Is(err, windows.ERROR_IO_PENDING) {
		return false, nil
	}
	return err == nil, err
}

func (l *rawLock) lock(flags uint32) error {
	return os.NewSyscallError("LockFileEx", windows.LockFileEx(l.handle, flags, 0, 1, 0, new(windows.Overlapped)))
}

func (l *rawLock) Close() error { return windows.CloseHandle(l.handle) }

func (l *rawLock) Release() error {
	return os.NewSyscallError("UnlockFileEx", windows.UnlockFileEx(l.handle, 0, 1, 0, new(windows.Overlapped)))
}

// stat asks about the open file what it takes to know whether it was deleted.
func (l *rawLock) stat() error {
	var info windows.ByHandleFileInformation
	return os.NewSyscallError("GetFileInformationByHandle", windows.GetFileInformationByHandle(l.handle, &info))
}

package packlock

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
)

// osKernel is the kernel by LockFileEx.
type osKernel struct{}

// osFile is a handle with a lock on its first byte, or not. The handle is an
// ordinary, synchronous one: LockFileEx waits in the call, and while it does
// every other call on the handle would wait too.
type osFile struct {
	handle   windows.Handle
	identity fileID
}

func (osKernel) open(path string, o options) (file, error) {
	h, err := openFile(path, o)
	if err != nil {
		return nil, explain(path, err)
	}
	if err := checkRegular(h, o); err != nil {
		windows.CloseHandle(h)
		return nil, err
	}
	id, err := identify(h)
	if err != nil {
		windows.CloseHandle(h)
		return nil, err
	}
	return &osFile{handle: h, identity: id}, nil
}

// openFile opens for reading and writing and falls back to reading, which is
// enough to lock. The handle does not share deletion, so that the file stays
// where it is as long as it is open.
func openFile(path string, o options) (windows.Handle, error) {
	const share = windows.FILE_SHARE_READ | windows.FILE_SHARE_WRITE
	disposition := uint32(windows.OPEN_ALWAYS)
	if o.mustExist {
		disposition = windows.OPEN_EXISTING
	}
	if o.anyFile {
		return createFile(path, windows.GENERIC_READ, share, disposition, 0)
	}
	h, err := createFile(path, windows.GENERIC_READ|windows.GENERIC_WRITE, share, disposition, reparsePoint)
	if err == windows.ERROR_ACCESS_DENIED || err == windows.ERROR_WRITE_PROTECT {
		denied := err
		h, err = createFile(path, windows.GENERIC_READ, share, windows.OPEN_EXISTING, reparsePoint)
		if err == windows.ERROR_FILE_NOT_FOUND {
			err = denied // it could not be created, and that is the reason to give
		}
	}
	return h, err
}

// reparsePoint has createFile open the thing at path itself, symlink or not.
const reparsePoint = windows.FILE_FLAG_OPEN_REPARSE_POINT

// sharingTime bounds the wait for another process to close a file that it does not share:
// virus scanners and indexers open new files like this for a moment.
const sharingTime = time.Second

// createFile is CreateFile, which waits for sharingTime if another process does not share
// the file.
func createFile(path string, access, share, disposition, flags uint32) (windows.Handle, error) {
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return windows.InvalidHandle, err
	}
	delay := time.Millisecond
	for waited := time.Duration(0); ; waited += delay {
		h, err := windows.CreateFile(name, access, share, nil, disposition, windows.FILE_ATTRIBUTE_NORMAL|flags, 0)
		if err != windows.ERROR_SHARING_VIOLATION || waited > sharingTime {
			return h, err
		}
		time.Sleep(delay)
		delay = min(2*delay, 50*time.Millisecond)
	}
}

// explain returns the error of a failed open with what is in the way: a directory
// gives ERROR_ACCESS_DENIED.
func explain(path string, err error) error {
	name, nameErr := windows.UTF16PtrFromString(path)
	if nameErr != nil {
		return err
	}
	attributes, attributesErr := windows.GetFileAttributes(name)
	if attributesErr == nil && attributes&windows.FILE_ATTRIBUTE_DIRECTORY != 0 {
		return syscall.EISDIR
	}
	return err
}

func explainDirectory(err error) error { return err }

// checkRegular returns an error that names the type of a file that is not
// regular.
func checkRegular(h windows.Handle, o options) error {
	if kind, err := windows.GetFileType(h); err != nil {
		return err
	} else if kind != windows.FILE_TYPE_DISK {
		return fmt.Errorf("is a device, not a regular file: %w", fs.ErrInvalid)
	}
	var tag struct{ attributes, reparse uint32 } // FILE_ATTRIBUTE_TAG_INFO
	err := windows.GetFileInformationByHandleEx(h, windows.FileAttributeTagInfo,
		(*byte)(unsafe.Pointer(&tag)), uint32(unsafe.Sizeof(tag)))
	switch {
	case err != nil:
		return nil // a file system that has no attribute tags has no links
	case o.anyFile, tag.attributes&windows.FILE_ATTRIBUTE_REPARSE_POINT == 0:
		return nil
	}
	switch tag.reparse {
	case windows.IO_REPARSE_TAG_SYMLINK, windows.IO_REPARSE_TAG_MOUNT_POINT:
		return describedError{"is a symbolic link, which is not followed", syscall.ELOOP}
	}
	return nil // deduplicated, in the cloud, ...: it is a regular file
}

// pause does nothing: unlocking a range grants it to the first request that
// waits for it, before any other process can try it.
func (osKernel) pause(time.Duration) {}

func (osKernel) threadLimit() int { return 0 }

// identify returns the identity of the file that h has open.
func identify(h windows.Handle) (fileID, error) {
	var info struct { // FILE_ID_INFO
		volume uint64
		file   [2]uint64
	}
	err := windows.GetFileInformationByHandleEx(h, windows.FileIdInfo,
		(*byte)(unsafe.Pointer(&info)), uint32(unsafe.Sizeof(info)))
	if err == nil {
		return fileID(info), nil
	}
	// File systems and servers without 128-bit ids.
	var old windows.ByHandleFileInformation
	if err := windows.GetFileInformationByHandle(h, &old); err != nil {
		return fileID{}, err
	}
	return fileID{
		volume: uint64(old.VolumeSerialNumber),
		file:   [2]uint64{uint64(old.FileIndexHigh)<<32 | uint64(old.FileIndexLow)},
	}, nil
}

func (f *osFile) id() fileID { return f.identity }

func (f *osFile) regular() bool { return true }

// remote is false: pause does nothing, so there is nothing to reoffer.
func (f *osFile) remote() bool { return false }

func (f *osFile) sameAt(path string, follow bool) (bool, error) {
	const share = windows.FILE_SHARE_READ | windows.FILE_SHARE_WRITE | windows.FILE_SHARE_DELETE
	flags := uint32(windows.FILE_FLAG_BACKUP_SEMANTICS | reparsePoint)
	if follow {
		flags &^= reparsePoint
	}
	h, err := createFile(path, windows.FILE_READ_ATTRIBUTES, share, windows.OPEN_EXISTING, flags)
	if err == windows.ERROR_FILE_NOT_FOUND || err == windows.ERROR_PATH_NOT_FOUND {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer windows.CloseHandle(h)
	there, err := identify(h)
	return err == nil && there == f.identity, err
}

func (f *osFile) serverStillGrants() (bool, error) { return true, nil }

func (f *osFile) try(shared bool) (bool, error) {
	err := f.lockFirstByte(lockMode(shared) | windows.LOCKFILE_FAIL_IMMEDIATELY)
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return false, nil
	}
	return err == nil, err
}

func lockMode(shared bool) uint32 {
	if shared {
		return 0
	}
	return windows.LOCKFILE_EXCLUSIVE_LOCK
}

func (f *osFile) block(shared bool) error {
	return f.lockFirstByte(lockMode(shared))
}

// toShared takes a shared lock in addition, which a handle that has the exclusive one may
// do. Of the two, the first unlock releases the exclusive lock.
func (f *osFile) toShared() (bool, error) {
	if ok, err := f.try(true); !ok {
		return false, err
	}
	return true, f.unlock()
}

// lockFirstByte locks offset 0, length 1, as fd-lock does, the library that
// grex uses. The byte need not exist.
func (f *osFile) lockFirstByte(flags uint32) error {
	return supported(windows.LockFileEx(f.handle, flags, 0, 1, 0, new(windows.Overlapped)))
}

func (f *osFile) unlock() error {
	return windows.UnlockFileEx(f.handle, 0, 1, 0, new(windows.Overlapped))
}

// supported makes ERROR_INVALID_FUNCTION, which file systems without locks return, an
// errors.ErrUnsupported as the other such errors are.
func supported(err error) error {
	if err == windows.ERROR_INVALID_FUNCTION {
		return fmt.Errorf("%w: %w", errors.ErrUnsupported, err)
	}
	return err
}

// stat always returns the same change time: an open file is not renamed here.
func (f *osFile) stat() (linked bool, ctime int64, err error) {
	var info windows.ByHandleFileInformation
	err = windows.GetFileInformationByHandle(f.handle, &info)
	return info.NumberOfLinks > 0, 1, err
}

func (f *osFile) dup(name string) (*os.File, error) {
	return nil, errors.ErrUnsupported
}

func (f *osFile) close() error {
	return windows.CloseHandle(f.handle)
}

// openBoard has no byte: a handle whose owner waits for a lock answers no other call.
func (f *osFile) openBoard(string) (board, error) { return nil, errors.ErrUnsupported }

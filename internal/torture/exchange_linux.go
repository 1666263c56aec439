package torture

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// exchange has two files take each other's name, in one step.
func exchange(a, b string) error {
	err := unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
	if err == unix.EINVAL || err == unix.ENOSYS { // so says a file system, or an emulator, that cannot
		return errors.ErrUnsupported
	}
	return os.NewSyscallError("renameat2", err)
}

package torture

import (
	"os"

	"golang.org/x/sys/unix"
)

// exchange has two files take each other's name, in one step.
func exchange(a, b string) error {
	err := unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
	return os.NewSyscallError("renameat2", err)
}

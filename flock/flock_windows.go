package flock

import "golang.org/x/sys/windows"

// ErrorLockViolation is what LockFileEx returns where it would have to wait. No function
// of this package does.
const ErrorLockViolation windows.Errno = windows.ERROR_LOCK_VIOLATION

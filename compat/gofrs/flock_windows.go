package flock

import "packlock/flock"

// ErrorLockViolation is what LockFileEx returns where it would have to wait.
const ErrorLockViolation = flock.ErrorLockViolation

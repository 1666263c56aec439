//go:build amd64 || arm64

package goid

// canRead reports whether word is available.
const canRead = true

// word returns the word at the given offset, in bytes, of the running g.
func word(offset uintptr) uint64

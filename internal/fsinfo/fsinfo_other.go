//go:build !(darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd || windows)

package fsinfo

// There is no portable way to ask.

func find(string) FileSystem { return FileSystem{} }

func reachAt(string) Reach { return Unknown }

func of(uintptr) FileSystem { return FileSystem{} }

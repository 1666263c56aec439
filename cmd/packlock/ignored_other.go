//go:build !linux

package main

// ignoreInherited does nothing: the system does not tell what the parent ignores.
func ignoreInherited() {}

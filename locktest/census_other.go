//go:build !linux

package locktest

func threads() *int { return nil }

//go:build !(darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd)

package locktest

var systemFlaws []flaw

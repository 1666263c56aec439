//go:build darwin || dragonfly || freebsd || illumos || netbsd || openbsd

package main

import "os"

// morePassedOn are none.
var morePassedOn []os.Signal

//go:build !(darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd)

package torture

import "os"

// There are no signals but the one that kills.
var (
	signalStop os.Signal
	signalGoOn os.Signal
	signalDump = os.Kill
)

// identity is not needed: what is open cannot be deleted.
func identity(*os.File) (uint64, error) { return 0, nil }

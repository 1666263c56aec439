//go:build !(darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd)

package torture

import "os"

// There are no signals but the one that kills.
var (
	signalStop os.Signal
	signalGoOn os.Signal
	signalDump = os.Kill
)

//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package fsinfo

import "strings"

// reachByFlag is what MNT_LOCAL says, but of FUSE, which sets it as it likes.
func reachByFlag(name string, local bool) Reach {
	if local && !strings.Contains(name, "fuse") {
		return Local
	}
	return Network
}

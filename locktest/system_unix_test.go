//go:build darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd

package locktest

import (
	"io/fs"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestMissingLockManagerIsSaidInWords(t *testing.T) {
	err := &fs.PathError{Op: "acquire", Path: "/mnt/lock", Err: unix.ENOLCK}
	if says := explain(err); !strings.Contains(says, "lock manager") || !strings.Contains(says, err.Error()) {
		t.Error(says)
	}
}

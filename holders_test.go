package packlock

import (
	"errors"
	"runtime"
	"testing"
)

func TestHoldersAreToldOnLinuxOnly(t *testing.T) {
	l := openReal(t, t.TempDir())
	holders, err := l.Holders()
	if runtime.GOOS == "linux" || runtime.GOOS == "android" {
		if err != nil || holders != nil {
			t.Errorf("%+v, %v of a free lock", holders, err)
		}
		return
	}
	checkPathError(t, err, "holders", l.Path(), errors.ErrUnsupported)
}

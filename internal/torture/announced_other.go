//go:build !linux

package torture

import (
	"errors"
	"os"
)

// Elsewhere writers do not announce themselves.
func announced(string) bool             { return false }
func announce(string) (*os.File, error) { return nil, errors.ErrUnsupported }

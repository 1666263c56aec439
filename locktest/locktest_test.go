package locktest

import (
	"testing"
)

func TestMain(m *testing.M) { Main(m) }

func TestPacklockIsWhatItClaims(t *testing.T) { Run(t, Packlock()) }

package locktest

import "testing"

func TestMain(m *testing.M) {
	var libs []Lib
	for _, f := range append(flaws, systemFlaws...) {
		libs = append(libs, f.Lib)
	}
	Child(libs...)
	Main(m)
}

func TestPacklockIsWhatItClaims(t *testing.T) {
	t.Parallel()
	Run(t, Packlock())
}

package dirents

import (
	"encoding/binary"
	"reflect"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// What getdents64(2) returns is read no further than it goes.
func TestListingsThatAreCutOff(t *testing.T) {
	entry := make([]byte, 32)
	binary.NativeEndian.PutUint64(entry, 7)
	binary.NativeEndian.PutUint16(entry[16:], 32)
	entry[18] = unix.DT_REG
	copy(entry[19:], "name")
	for n := range entry {
		found := map[string]Entry{}
		take(entry[:n], []string{"name"}, found)
		if len(found) > 0 {
			t.Errorf("%d bytes: %v", n, found)
		}
	}
	found := map[string]Entry{}
	take(append(slices.Clone(entry), make([]byte, 32)...), []string{"name", "other"}, found)
	if want := map[string]Entry{"name": {7, unix.DT_REG}}; !reflect.DeepEqual(found, want) {
		t.Errorf("%v, want %v", found, want)
	}
}

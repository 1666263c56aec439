// Package dirents reads what a directory lists of a name: its inode number and type, without
// asking about the file.
package dirents

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// An Entry is what a directory has about a name.
type Entry struct {
	Ino  uint64
	Kind byte // DT_REG, DT_LNK, ...
}

// Of returns what the directory dir lists of these names. It reads no further than the
// last of them.
func Of(dir string, names ...string) (map[string]Entry, error) {
	var fd int
	err := ignoringEINTR(func() (err error) {
		fd, err = unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	found := make(map[string]Entry, len(names))
	buf := make([]byte, 8192)
	for len(found) < len(names) {
		var n int
		err := ignoringEINTR(func() (err error) {
			n, err = unix.Getdents(fd, buf)
			return err
		})
		if n <= 0 || err != nil {
			return found, err
		}
		take(buf[:n], names, found)
	}
	return found, nil
}

// take adds to found what entries, as getdents64(2) returns them, say of these
// names:
//
//	struct linux_dirent64 { u64 d_ino; s64 d_off; u16 d_reclen; u8 d_type; char d_name[]; }
func take(entries []byte, names []string, found map[string]Entry) {
	const reclen, kind, nameAt = 16, 18, 19
	for len(entries) > nameAt {
		length := int(binary.NativeEndian.Uint16(entries[reclen:]))
		if length <= nameAt || length > len(entries) {
			return
		}
		name := unix.ByteSliceToString(entries[nameAt:length])
		for _, wanted := range names {
			if name == wanted {
				found[wanted] = Entry{binary.NativeEndian.Uint64(entries), entries[kind]}
			}
		}
		entries = entries[length:]
	}
}

// ignoringEINTR calls fn until it is not interrupted by a signal.
func ignoringEINTR(fn func() error) error {
	for {
		if err := fn(); err != unix.EINTR {
			return err
		}
	}
}

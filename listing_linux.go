package packlock

import (
	"encoding/binary"
	"strings"

	"golang.org/x/sys/unix"
)

// A 9p client answers from its memory what is at the path of a file that is open, by any
// process of the machine, however often it is called. But it reads directories from the
// server, and they list the inode number of each name.

// isListedAt reports whether the directory of path lists the inode number of f under the
// name of path, as far as that can be found out.
func (f *osFile) isListedAt(path string) (bool, error) {
	if !f.listsInodes {
		return true, nil
	}
	dir := directory(path)
	name := strings.Trim(strings.TrimPrefix(path, dir), "/")
	for range 2 { // a directory that changes while it is read may lack a name
		entries, err := listed(dir, name)
		switch {
		case missing(err):
			return false, nil
		case outOfDescriptors(err):
			return false, err // or the client's memory would be trusted
		case err != nil:
			return true, nil // lstat finds out what is there
		}
		if entry, ok := entries[name]; ok {
			return entry.ino == f.identity.file[0] || entry.kind == unix.DT_LNK, nil // lstat finds out about the symlink
		}
	}
	return false, nil
}

// listsOwnInode reports whether the inode number that a directory lists for itself is
// that of fstat(2). If not, the numbers that it lists cannot be compared.
func listsOwnInode(dir string) bool {
	var st unix.Stat_t
	entries, err := listed(dir, ".")
	if err != nil || unix.Stat(dir, &st) != nil {
		return false
	}
	return entries["."].ino == st.Ino
}

// A listing is what a directory has about a name.
type listing struct {
	ino  uint64
	kind byte // DT_REG, DT_LNK, ...
}

// listed returns what the directory lists of these names. It reads no further than the
// last of them.
func listed(dir string, names ...string) (map[string]listing, error) {
	var fd int
	err := ignoringEINTR(func() (err error) {
		fd, err = unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	found := make(map[string]listing, len(names))
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
		takeListings(buf[:n], names, found)
	}
	return found, nil
}

// takeListings adds to found what entries, as getdents64(2) returns them, say of these
// names:
//
//	struct linux_dirent64 { u64 d_ino; s64 d_off; u16 d_reclen; u8 d_type; char d_name[]; }
func takeListings(entries []byte, names []string, found map[string]listing) {
	const reclen, kind, nameAt = 16, 18, 19
	for len(entries) > nameAt {
		length := int(binary.NativeEndian.Uint16(entries[reclen:]))
		if length <= nameAt || length > len(entries) {
			return
		}
		name := unix.ByteSliceToString(entries[nameAt:length])
		for _, wanted := range names {
			if name == wanted {
				found[wanted] = listing{binary.NativeEndian.Uint64(entries), entries[kind]}
			}
		}
		entries = entries[length:]
	}
}

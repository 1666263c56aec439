package fsinfo

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// find looks path up in the list of mounts, which has the options. If there is no
// /proc, the magic number of the file system has to do.
func find(path string) FileSystem {
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	f := parseMount(string(mounts), mountID(path))
	if f.Type == "" {
		var st unix.Statfs_t
		if err := ignoringEINTR(func() error { return unix.Statfs(path, &st) }); err != nil {
			return f
		}
		f.Type = nameOf(uint32(st.Type))
	}
	f.Reach = reachOfType(f.Type)
	return f
}

func reachAt(path string) Reach {
	var st unix.Statfs_t
	if err := ignoringEINTR(func() error { return unix.Statfs(path, &st) }); err != nil {
		return Unknown
	}
	return reachOfType(magicNames[uint32(st.Type)])
}

func of(fd uintptr) FileSystem {
	var st unix.Statfs_t
	if err := ignoringEINTR(func() error { return unix.Fstatfs(int(fd), &st) }); err != nil {
		return FileSystem{}
	}
	name := magicNames[uint32(st.Type)]
	return FileSystem{Type: name, Reach: reachOfType(name)}
}

// MountedType returns the type that the list of mounts has for the file system of the file
// that is open by that descriptor: "fuse.sshfs", where Of returns "fuse". It is "" if there
// is no such list.
func MountedType(fd uintptr) string {
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	return parseMount(string(mounts), mountIDOf(fd)).Type
}

// ownTypes are those file systems that no other machine has at the same time.
var ownTypes = []string{
	"bcachefs", "btrfs", "exfat", "ext2", "ext3", "ext4", "f2fs", "fuseblk", "hfsplus", "jfs", "msdos", "nilfs2",
	"ntfs", "ntfs3", "ramfs", "reiserfs", "tmpfs", "ubifs", "vfat", "xfs", "zfs",
}

// netTypes are those that others have, too.
var netTypes = []string{
	"9p", "afs", "ceph", "cifs", "coda", "fuse", "gfs2", "gpfs", "lustre", "nfs", "nfs4", "ocfs2", "orangefs",
	"smb3", "smbfs", "vboxsf", "virtiofs",
}

func reachOfType(name string) Reach {
	switch {
	case slices.Contains(ownTypes, name):
		return Local
	case slices.Contains(netTypes, name), strings.HasPrefix(name, "fuse."):
		return Network
	}
	return Unknown
}

// mountID returns the id, in the list of mounts, of the one that path is in, ""
// if it is not to be had. statx(2) tells it only since Linux 5.8.
func mountID(path string) string {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	defer unix.Close(fd)
	return mountIDOf(uintptr(fd))
}

// mountIDOf is mountID of an open file.
func mountIDOf(fd uintptr) string {
	fdinfo, _ := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", fd))
	for line := range strings.Lines(string(fdinfo)) {
		if id, ok := strings.CutPrefix(line, "mnt_id:"); ok {
			return strings.TrimSpace(id)
		}
	}
	return ""
}

// parseMount returns what mountinfo says about the mount with that id:
//
//	36 35 98:0 /root /mount/point rw,noatime master:1 - nfs4 server:/export rw,vers=4.2,local_lock=none
//
// There are any number of fields in front of the dash.
func parseMount(mountinfo, id string) FileSystem {
	for line := range strings.Lines(mountinfo) {
		f := strings.Fields(line)
		dash := slices.Index(f, "-")
		if dash < 6 || len(f) < dash+3 || f[0] != id {
			continue
		}
		found := FileSystem{Type: f[dash+1], Source: unescape(f[dash+2]), Mount: unescape(f[4])}
		options := f[5]
		if len(f) > dash+3 {
			options += "," + f[dash+3]
		}
		for o := range strings.SplitSeq(options, ",") {
			if !slices.Contains(found.Options, o) {
				found.Options = append(found.Options, o)
			}
		}
		return found
	}
	return FileSystem{}
}

// unescape undoes what mountinfo does to white space.
var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\043`, "#", `\134`, `\`).Replace

// magicNames are the types that go with the magic numbers of statfs(2).
var magicNames = map[uint32]string{
	unix.AFS_SUPER_MAGIC:       "afs",
	unix.BTRFS_SUPER_MAGIC:     "btrfs",
	unix.CEPH_SUPER_MAGIC:      "ceph",
	unix.CIFS_SUPER_MAGIC:      "cifs",
	unix.CODA_SUPER_MAGIC:      "coda",
	unix.EXFAT_SUPER_MAGIC:     "exfat",
	unix.EXT4_SUPER_MAGIC:      "ext4",
	unix.F2FS_SUPER_MAGIC:      "f2fs",
	unix.FUSE_SUPER_MAGIC:      "fuse",
	unix.MSDOS_SUPER_MAGIC:     "vfat",
	unix.NFS_SUPER_MAGIC:       "nfs",
	unix.NILFS_SUPER_MAGIC:     "nilfs2",
	unix.OCFS2_SUPER_MAGIC:     "ocfs2",
	unix.OVERLAYFS_SUPER_MAGIC: "overlay",
	unix.RAMFS_MAGIC:           "ramfs",
	unix.REISERFS_SUPER_MAGIC:  "reiserfs",
	unix.SMB2_SUPER_MAGIC:      "smb3",
	unix.SMB_SUPER_MAGIC:       "smbfs",
	unix.TMPFS_MAGIC:           "tmpfs",
	unix.V9FS_MAGIC:            "9p",
	unix.XFS_SUPER_MAGIC:       "xfs",
	0x01161970:                 "gfs2",
	0x0bd00bd0:                 "lustre",
	0x20030528:                 "orangefs",
	0x24051905:                 "ubifs",
	0x2fc12fc1:                 "zfs",
	0x47504653:                 "gpfs",
	0x6b414653:                 "afs",
	0x7366746e:                 "ntfs3",
	0x786f4256:                 "vboxsf",
	0xca451a4e:                 "bcachefs",
}

// nameOf returns the type that goes with a magic number, whichever it is.
func nameOf(magic uint32) string {
	if name := magicNames[magic]; name != "" {
		return name
	}
	return fmt.Sprintf("magic %#x", magic)
}

// ignoringEINTR calls fn until it is not interrupted by a signal.
func ignoringEINTR(fn func() error) error {
	for {
		if err := fn(); err != unix.EINTR {
			return err
		}
	}
}

package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// ownTypes are those file systems that no other machine has at the same time.
var ownTypes = []string{
	"bcachefs", "btrfs", "exfat", "ext2", "ext3", "ext4", "f2fs", "fuseblk", "hfsplus", "jfs", "msdos", "nilfs2",
	"ntfs", "ntfs3", "ramfs", "reiserfs", "tmpfs", "ubifs", "vfat", "xfs", "zfs",
}

// findFileSystem looks dir up in the list of mounts, which has the options. If
// there is no /proc, the magic number of the file system has to do.
func findFileSystem(dir string) fileSystem {
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	f := parseMount(string(mounts), mountID(dir))
	if f.Type == "" {
		var st unix.Statfs_t
		if err := unix.Statfs(dir, &st); err == nil {
			f.Type = magicName(uint32(st.Type))
		}
	}
	f.local = slices.Contains(ownTypes, f.Type)
	return f
}

// mountID returns the id, in the list of mounts, of the one that dir is in, ""
// if it is not to be had. statx(2) tells it only since Linux 5.8.
func mountID(dir string) string {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	defer unix.Close(fd)
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
func parseMount(mountinfo, id string) fileSystem {
	for line := range strings.Lines(mountinfo) {
		f := strings.Fields(line)
		dash := slices.Index(f, "-")
		if dash < 6 || len(f) < dash+3 || f[0] != id {
			continue
		}
		found := fileSystem{Type: f[dash+1], Source: unescape(f[dash+2]), Mount: unescape(f[4])}
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
	return fileSystem{}
}

// unescape undoes what mountinfo does to white space.
var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\043`, "#", `\134`, `\`).Replace

// magicName returns the type that goes with the magic number of statfs(2).
func magicName(magic uint32) string {
	names := map[uint32]string{
		unix.BTRFS_SUPER_MAGIC:     "btrfs",
		unix.CEPH_SUPER_MAGIC:      "ceph",
		unix.CIFS_SUPER_MAGIC:      "cifs",
		unix.SMB2_SUPER_MAGIC:      "smb3",
		unix.EXT4_SUPER_MAGIC:      "ext4",
		unix.F2FS_SUPER_MAGIC:      "f2fs",
		unix.FUSE_SUPER_MAGIC:      "fuse",
		unix.NFS_SUPER_MAGIC:       "nfs",
		unix.OCFS2_SUPER_MAGIC:     "ocfs2",
		unix.OVERLAYFS_SUPER_MAGIC: "overlay",
		unix.RAMFS_MAGIC:           "ramfs",
		unix.TMPFS_MAGIC:           "tmpfs",
		unix.V9FS_MAGIC:            "9p",
		unix.XFS_SUPER_MAGIC:       "xfs",
		0x01161970:                 "gfs2",
		0x0bd00bd0:                 "lustre",
		0x2fc12fc1:                 "zfs",
	}
	if name := names[magic]; name != "" {
		return name
	}
	return fmt.Sprintf("magic %#x", magic)
}

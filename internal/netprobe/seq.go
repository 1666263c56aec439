//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// seq PATH GO op...
func seq(path, goFile string, ops []string) {
	dir := filepath.Dir(path)
	var st0 unix.Stat_t
	fd := -1
	fds := map[string]int{}
	cmp := func(st *unix.Stat_t) string {
		s := "another"
		if st.Ino == st0.Ino && st.Dev == st0.Dev {
			s = "SAME"
		}
		if st.Ctim != st0.Ctim {
			s += " ctime-changed"
		}
		return fmt.Sprintf("%s nlink %d", s, st.Nlink)
	}
	for _, op := range ops {
		t := time.Now()
		say := ""
		var err error
		var st unix.Stat_t
		var stx unix.Statx_t
		name, arg, _ := strings.Cut(op, "=")
		switch name {
		case "mkdir":
			err = os.MkdirAll(dir, 0o777)
		case "open":
			fd, err = unix.Open(path, unix.O_RDWR|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o666)
			if err == nil {
				unix.Fstat(fd, &st0)
			}
		case "open2", "openw": // again, and closed
			m := unix.O_RDONLY
			if name == "openw" {
				m = unix.O_RDWR
			}
			var f int
			f, err = unix.Open(path, m|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
			if err == nil {
				unix.Fstat(f, &st)
				say = cmp(&st)
				unix.Close(f)
			}
		case "openc", "keep":
			var f int
			f, err = unix.Open(path, unix.O_RDWR|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o666)
			if err == nil {
				unix.Fstat(f, &st)
				say = cmp(&st)
				if name == "keep" {
					fds[arg] = f
				} else {
					unix.Close(f)
				}
			}
		case "keepro":
			var f int
			f, err = unix.Open(path, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o666)
			if err == nil {
				unix.Fstat(f, &st)
				say = cmp(&st)
				fds[arg] = f
			}
		case "flockkept":
			err = unix.Flock(fds[arg], unix.LOCK_EX|unix.LOCK_NB)
		case "unlockkept":
			err = unix.Flock(fds[arg], unix.LOCK_UN)
		case "fstatkept":
			if err = unix.Fstat(fds[arg], &st); err == nil {
				say = cmp(&st)
			}
		case "closekept":
			err = unix.Close(fds[arg])
		case "flock":
			err = unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
		case "block":
			err = unix.Flock(fd, unix.LOCK_EX)
		case "unlock":
			err = unix.Flock(fd, unix.LOCK_UN)
		case "close":
			err = unix.Close(fd)
		case "lstat":
			if err = unix.Lstat(path, &st); err == nil {
				say = cmp(&st)
			}
		case "fstat":
			if err = unix.Fstat(fd, &st); err == nil {
				say = cmp(&st)
			}
		case "statxfd":
			if err = unix.Statx(fd, "", unix.AT_STATX_FORCE_SYNC|unix.AT_EMPTY_PATH, unix.STATX_BASIC_STATS, &stx); err == nil {
				say = fmt.Sprintf("nlink %d", stx.Nlink)
			}
		case "statxpath":
			if err = unix.Statx(unix.AT_FDCWD, path, unix.AT_STATX_FORCE_SYNC|unix.AT_SYMLINK_NOFOLLOW, unix.STATX_BASIC_STATS, &stx); err == nil {
				say = fmt.Sprintf("same=%v nlink %d", stx.Ino == st0.Ino, stx.Nlink)
			}
		case "statxdir", "statxup":
			d := dir
			if name == "statxup" {
				d = filepath.Dir(dir)
			}
			err = unix.Statx(unix.AT_FDCWD, d, unix.AT_STATX_FORCE_SYNC, unix.STATX_BASIC_STATS, &stx)
		case "opendir", "openup":
			d := dir
			if name == "openup" {
				d = filepath.Dir(dir)
			}
			var f int
			f, err = unix.Open(d, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
			if err == nil {
				unix.Close(f)
			}
		case "readdir":
			var es []os.DirEntry
			es, err = os.ReadDir(dir)
			say = fmt.Sprint(len(es))
		case "excl":
			var f int
			f, err = unix.Open(path, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o666)
			if err == nil {
				unix.Close(f)
			}
		case "read":
			_, err = unix.Pread(fd, make([]byte, 10), 0)
		case "direct":
			fl, _ := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
			if _, err = unix.FcntlInt(uintptr(fd), unix.F_SETFL, fl|unix.O_DIRECT); err == nil {
				_, err = unix.Pread(fd, make([]byte, 1), 0)
				unix.FcntlInt(uintptr(fd), unix.F_SETFL, fl)
			} else {
				say = "F_SETFL"
			}
		case "direct512":
			fl, _ := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
			if _, err = unix.FcntlInt(uintptr(fd), unix.F_SETFL, fl|unix.O_DIRECT); err == nil {
				b, _ := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
				_, err = unix.Pread(fd, b, 0)
				unix.FcntlInt(uintptr(fd), unix.F_SETFL, fl)
			} else {
				say = "F_SETFL"
			}
		case "fsync":
			err = unix.Fsync(fd)
		case "fdatasync":
			err = unix.Fdatasync(fd)
		case "openD":
			fd, err = unix.Open(path, unix.O_RDWR|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_DIRECT, 0o666)
			unix.Fstat(fd, &st0)
		case "getlk":
			lk := unix.Flock_t{Type: unix.F_WRLCK}
			err = unix.FcntlFlock(uintptr(fd), unix.F_OFD_GETLK, &lk)
			say = fmt.Sprint(lk.Type)
		case "sleep":
			d, _ := time.ParseDuration(arg)
			time.Sleep(d)
			continue
		case "WAIT":
			os.WriteFile(goFile+".ready"+arg, nil, 0o666)
			await(goFile + arg)
			continue
		default:
			say = "?"
		}
		fmt.Printf("  %s %-10s %v %s (%v)\n", time.Now().Format("05.000"), op, err, say, time.Since(t).Round(10*time.Microsecond))
	}
}

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

func main() {
	switch os.Args[1] {
	case "look":
		look(os.Args[2], os.Args[3])
	case "lease":
		lease(os.Args[2], os.Args[3])
	case "seq":
		seq(os.Args[2], os.Args[3], os.Args[4:])
	case "statfs":
		for _, p := range os.Args[2:] {
			var st unix.Statfs_t
			err := unix.Statfs(p, &st)
			fmt.Printf("%s 0x%X %v\n", p, uint32(st.Type), err)
		}
	}
}

func id(st *unix.Stat_t) string {
	return fmt.Sprintf("%d:%d nlink %d ctime %d.%09d", st.Dev, st.Ino, st.Nlink, st.Ctim.Sec, st.Ctim.Nsec)
}

func await(file string) {
	for {
		es, _ := os.ReadDir(filepath.Dir(file))
		for _, e := range es {
			if e.Name() == filepath.Base(file) {
				return
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
}

var methods = []string{"none", "opendir", "statxdir", "statxpath", "readdir", "openpath", "openpathw", "statxfd", "flock"}

func look(base, goFile string) {
	type one struct {
		method, op, dir, path string
		fd                    int
		st                    unix.Stat_t
	}
	var all []*one
	for _, op := range []string{"mv", "rm", "over"} {
		for _, m := range methods {
			o := &one{method: m, op: op}
			o.dir = filepath.Join(base, op, m)
			os.MkdirAll(o.dir, 0o777)
			o.path = filepath.Join(o.dir, "f")
			var err error
			o.fd, err = unix.Open(o.path, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o666)
			if err != nil {
				fmt.Println("open", o.path, err)
				continue
			}
			if err := unix.Flock(o.fd, unix.LOCK_EX); err != nil {
				fmt.Println("flock", err)
			}
			unix.Flock(o.fd, unix.LOCK_UN)
			unix.Fstat(o.fd, &o.st)
			all = append(all, o)
		}
	}
	for range 3 {
		for _, o := range all {
			var st unix.Stat_t
			unix.Lstat(o.path, &st)
		}
		time.Sleep(50 * time.Millisecond)
	}
	os.WriteFile(goFile+".ready", nil, 0o666)
	await(goFile)
	see := func(o *one, when string) {
		var st, fst unix.Stat_t
		err := unix.Lstat(o.path, &st)
		say := ""
		switch {
		case err != nil:
			say = err.Error()
		case st.Dev == o.st.Dev && st.Ino == o.st.Ino:
			say = "SAME (stale)"
		default:
			say = "another"
		}
		ferr := unix.Fstat(o.fd, &fst)
		ct := ""
		if fst.Ctim != o.st.Ctim {
			ct = " ctime CHANGED"
		}
		fmt.Printf("%-4s %-9s %s: lstat %s; fstat %v nlink %d%s\n", o.op, o.method, when, say, ferr, fst.Nlink, ct)
	}
	for _, o := range all {
		t := time.Now()
		var err error
		extra := ""
		var stx unix.Statx_t
		switch o.method {
		case "opendir":
			var fd int
			if fd, err = unix.Open(o.dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err == nil {
				unix.Close(fd)
			}
		case "statxdir":
			err = unix.Statx(unix.AT_FDCWD, o.dir, unix.AT_STATX_FORCE_SYNC, unix.STATX_BASIC_STATS, &stx)
		case "statxpath":
			err = unix.Statx(unix.AT_FDCWD, o.path, unix.AT_STATX_FORCE_SYNC|unix.AT_SYMLINK_NOFOLLOW, unix.STATX_BASIC_STATS, &stx)
			extra = fmt.Sprintf("same=%v nlink %d", stx.Ino == o.st.Ino, stx.Nlink)
		case "readdir":
			_, err = os.ReadDir(o.dir)
		case "openpath", "openpathw":
			mode := unix.O_RDONLY
			if o.method == "openpathw" {
				mode = unix.O_RDWR
			}
			var fd int
			if fd, err = unix.Open(o.path, mode|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0); err == nil {
				var st unix.Stat_t
				err = unix.Fstat(fd, &st)
				extra = fmt.Sprintf("same=%v", st.Ino == o.st.Ino)
				unix.Close(fd)
			}
		case "statxfd":
			err = unix.Statx(o.fd, "", unix.AT_STATX_FORCE_SYNC|unix.AT_EMPTY_PATH, unix.STATX_BASIC_STATS, &stx)
			extra = fmt.Sprintf("nlink %d", stx.Nlink)
		case "flock":
			err = unix.Flock(o.fd, unix.LOCK_EX|unix.LOCK_NB)
		}
		fmt.Printf("%-4s %-9s method: %v %s (%v)\n", o.op, o.method, err, extra, time.Since(t).Round(10*time.Microsecond))
		see(o, "next")
	}
	time.Sleep(2 * time.Second)
	for _, o := range all {
		see(o, "2 s later")
		err := unix.Flock(o.fd, unix.LOCK_EX|unix.LOCK_NB)
		fmt.Printf("%-4s %-9s flock NB now: %v\n", o.op, o.method, err)
	}
	time.Sleep(8 * time.Second)
	for _, o := range all {
		see(o, "10 s later")
	}
}

// lease: three descriptors on three files, locked; after GO reads by different means.
func lease(base, goFile string) {
	os.MkdirAll(base, 0o777)
	type one struct {
		name string
		fd   int
	}
	var all []one
	buf := make([]byte, 4096)
	for _, name := range []string{"plain", "plain2", "direct", "setfl", "procfd", "again", "statx", "test", "fsync", "write"} {
		p := filepath.Join(base, name)
		fd, err := unix.Open(p, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o666)
		if err == nil && name == "direct" {
			unix.Close(fd)
			fd, err = unix.Open(p, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC|unix.O_DIRECT, 0o666)
		}
		if err != nil {
			fmt.Println("open", name, err)
			continue
		}
		if err := unix.Flock(fd, unix.LOCK_EX); err != nil {
			fmt.Println("flock", name, err)
		}
		all = append(all, one{name, fd})
	}
	do := func(when string) {
		for _, o := range all {
			t := time.Now()
			var n int
			var err error
			switch o.name {
			case "plain", "plain2":
				n, err = unix.Pread(o.fd, buf, 0)
			case "direct":
				n, err = unix.Pread(o.fd, buf[:1], 0)
			case "setfl":
				fl, _ := unix.FcntlInt(uintptr(o.fd), unix.F_GETFL, 0)
				if _, err = unix.FcntlInt(uintptr(o.fd), unix.F_SETFL, fl|unix.O_DIRECT); err == nil {
					n, err = unix.Pread(o.fd, buf[:1], 0)
					unix.FcntlInt(uintptr(o.fd), unix.F_SETFL, fl)
				}
			case "procfd":
				var fd int
				fd, err = unix.Open(fmt.Sprintf("/proc/self/fd/%d", o.fd), unix.O_RDONLY|unix.O_DIRECT|unix.O_CLOEXEC, 0)
				if err == nil {
					n, err = unix.Pread(fd, buf[:1], 0)
					unix.Close(fd)
				}
			case "again":
				err = unix.Flock(o.fd, unix.LOCK_EX|unix.LOCK_NB)
			case "statx":
				var stx unix.Statx_t
				err = unix.Statx(o.fd, "", unix.AT_STATX_FORCE_SYNC|unix.AT_EMPTY_PATH, unix.STATX_BASIC_STATS, &stx)
			case "test":
				lk := unix.Flock_t{Type: unix.F_WRLCK}
				err = unix.FcntlFlock(uintptr(o.fd), unix.F_OFD_GETLK, &lk)
				n = int(lk.Type)
			case "fsync":
				err = unix.Fsync(o.fd)
			case "write":
				n, err = unix.Pwrite(o.fd, nil, 0)
			}
			fmt.Printf("%s %s %-7s n=%d %v (%v)\n", time.Now().Format("15:04:05.000"), when, o.name, n, err, time.Since(t).Round(10*time.Microsecond))
		}
	}
	do("before")
	os.WriteFile(goFile+".ready", nil, 0o666)
	await(goFile)
	do("after")
	time.Sleep(3 * time.Second)
	do("3s later")
	for _, o := range all {
		fmt.Printf("%s unlock %v\n", o.name, unix.Flock(o.fd, unix.LOCK_UN))
	}
	_ = strings.TrimSpace
}

package packlock

import (
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

func TestSidecarOfSomebodyElseInStickyDirectory(t *testing.T) {
	// Where Linux denies O_CREAT on a file that is there: see openFD.
	const env = "PACKLOCK_TEST_STICKY"
	if os.Getenv(env) == "" {
		if os.Geteuid() != 0 {
			t.Skip("only root can make a file somebody else's")
		}
		dir := filepath.Join(t.TempDir(), "sticky")
		mkdir(t, dir, 0o777|fs.ModeSticky)
		path := filepath.Join(dir, FileName)
		writeFile(t, path, 0o666)
		if err := os.Chown(path, 1, 1); err != nil {
			t.Fatal(err)
		}
		// The directory that t.TempDir makes its directories in is for one's own use.
		if err := os.Chmod(filepath.Dir(filepath.Dir(dir)), 0o755); err != nil {
			t.Fatal(err)
		}
		t.Setenv(env, dir)
	}
	unprivileged(t, func(t *testing.T) {
		dir := os.Getenv(env)
		path := filepath.Join(dir, FileName)
		// Where fs.protected_regular is 0, or the file system knows nothing of
		// it, the kernel has to be told to.
		if err := openToCreate(path); err == nil {
			denyCreation(t)
		}
		if err := openToCreate(path); err != unix.EACCES {
			t.Fatalf("O_CREAT gives %v, want it denied", err)
		}
		fd, readOnly, err := openFD(path, unix.Open, osKernel{}.pause)
		if err != nil || readOnly != nil {
			t.Fatalf("opened for writing: %v, at all: %v", readOnly, err)
		}
		unix.Close(fd)
		checkLockable(t, dir)
	})
}

func openToCreate(path string) error {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o666)
	if err == nil {
		unix.Close(fd)
	}
	return err
}

// denyCreation has the kernel answer EACCES to each open of this process with
// O_CREAT, for as long as it lives. One with O_TRUNC passes: so coverage is written.
func denyCreation(t *testing.T) {
	t.Helper()
	const call = 0 // where seccomp(2) has the number of the system call
	flags := uint32(32)
	if one := uint16(1); *(*byte)(unsafe.Pointer(&one)) == 0 {
		flags += 4 // the lower half of a big-endian word
	}
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: call},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_OPENAT, Jf: 4},
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: flags},
		{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, K: unix.O_TRUNC, Jt: 2},
		{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, K: unix.O_CREAT, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EACCES)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	if err == nil {
		_, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
			unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&program)))
		if errno != 0 {
			err = errno
		}
	}
	if err != nil {
		t.Skipf("the kernel lets O_CREAT pass (fs.protected_regular is 0?), and seccomp, to deny it by hand, fails: %v", err)
	}
}

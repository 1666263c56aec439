package packlock

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The queries for servers return the right answers on a local file system.
func TestServerQueriesOnALocalFileSystem(t *testing.T) {
	for n := noNetwork; n <= otherNetwork; n++ {
		dir := filepath.Join(t.TempDir(), "pack")
		if err := os.Mkdir(dir, 0o777); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, FileName)
		f, err := openFile(path, options{mode: 0o666})
		if err != nil {
			t.Fatal(err)
		}
		f.network = n
		f.prepare(path)
		same := func(what string, want bool) {
			t.Helper()
			if got, err := f.sameAt(path, false); got != want || err != nil {
				t.Errorf("network %d, %s: %v, %v, want %v", n, what, got, err, want)
			}
		}
		same("in place", true)
		if ok, err := f.try(false); !ok || err != nil {
			t.Fatal(ok, err)
		}
		if grants, err := f.serverStillGrants(); !grants || err != nil {
			t.Errorf("network %d: still grants %v, %v", n, grants, err)
		}
		if linked, _, err := f.stat(); !linked || err != nil {
			t.Errorf("network %d: linked %v, %v", n, linked, err)
		}
		if f.remote() != (n != noNetwork) {
			t.Errorf("network %d: remote %v", n, f.remote())
		}

		if err := os.Rename(dir, dir+".away"); err != nil {
			t.Fatal(err)
		}
		same("directory renamed", false)
		if err := os.Rename(dir+".away", dir); err != nil {
			t.Fatal(err)
		}
		same("and back", true)
		if err := os.Rename(path, path+".away"); err != nil {
			t.Fatal(err)
		}
		same("renamed", false)
		writeFile(t, path, 0o666)
		same("replaced", false)
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path+".away", path); err != nil {
			t.Fatal(err)
		}
		same("a symlink in its place", false)
		if err := os.Remove(path + ".away"); err != nil {
			t.Fatal(err)
		}
		var want error
		if f.network != noNetwork {
			want = errFileLost
		}
		if linked, _, err := f.stat(); linked || err != want {
			t.Errorf("network %d: linked %v, %v after the deletion", n, linked, err)
		}
		f.close()
	}
}

// Expensive checks are allowed once in expensiveCheckInterval.
func TestExpensiveChecksAreRare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(osFile)
		for _, row := range []struct {
			after time.Duration
			allow bool
		}{{0, true}, {0, false}, {expensiveCheckInterval - 1, false}, {1, true}, {expensiveCheckInterval - 1, false}} {
			time.Sleep(row.after)
			if allow := f.allowExpensiveCheck(); allow != row.allow {
				t.Errorf("%v later: %v, want %v", row.after, allow, row.allow)
			}
		}
	})
}

// The whole directory is read on GlusterFS alone, or where the type of a FUSE mount is not
// known, and there once in expensiveCheckInterval.
func TestExpensiveChecksAreOfGlusterFSOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), FileName)
	f, err := openFile(path, options{mode: 0o666})
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	for n := noNetwork; n <= otherNetwork; n++ {
		f.network = n
		f.expensiveCheckAt.Store(0)
		if same, err := f.sameAt(path, false); !same || err != nil {
			t.Errorf("network %d: %t, %v", n, same, err)
		}
		if made := f.expensiveCheckAt.Load() != 0; made != (n == gluster) {
			t.Errorf("network %d: an expensive check: %t", n, made)
		}
	}
	for mounted, want := range map[string]network{
		"fuse.glusterfs": gluster, "": gluster, "fuse.ceph-fuse": cephFUSE,
		"fuse": otherNetwork, "fuse.sshfs": otherNetwork, "fuse.bindfs": otherNetwork,
	} {
		if n := networkOfFUSE(mounted); n != want {
			t.Errorf("%q: network %d, want %d", mounted, n, want)
		}
	}
}

// On 9p, the directory shows that a different file has the name, and lstat does not.
func TestInodeNumberInTheDirectory(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, FileName)
	writeFile(t, filepath.Join(dir, "a"), 0o666)
	f, err := openFile(path, options{mode: 0o666})
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	f.network = plan9
	if f.prepare(path); !f.listsInodes {
		t.Skip("directories list other inode numbers here")
	}
	check := func(what string, want bool) {
		t.Helper()
		if listed, err := f.isListedAt(path); listed != want || err != nil {
			t.Errorf("%s: %t, %v, want %t", what, listed, err, want)
		}
	}
	check("in place", true)
	for i := range 300 { // more than a buffer of names
		writeFile(t, filepath.Join(dir, fmt.Sprint("other", i)), 0o666)
	}
	check("among others", true)
	if err := os.Rename(path, path+".away"); err != nil {
		t.Fatal(err)
	}
	check("renamed", false)
	writeFile(t, path, 0o666)
	check("replaced", false)
	f.listsInodes = false // numbers that cannot be compared show nothing
	check("not comparable", true)
	f.listsInodes = true
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	check("directory deleted", false)
}

// On 9p, fstat fails with ENOENT if the open file was deleted on the server.
func TestErrorsOfADeletedFile(t *testing.T) {
	for n := noNetwork; n <= otherNetwork; n++ {
		if !n.isGone(unix.ESTALE) || n.isGone(unix.EIO) || n.isGone(nil) || n.isGone(unix.ENOENT) != (n == plan9) {
			t.Errorf("network %d", n)
		}
	}
}

// A read of the lock file shows that an NFSv4 or a CephFS server has dropped the lock. Other
// errors show nothing and are returned.
func TestReadOfALockThatTheServerDropped(t *testing.T) {
	for _, n := range []network{nfs, ceph, cephFUSE} {
		for _, row := range []struct {
			errno  error
			grants bool
			err    error
		}{
			{nil, true, nil},
			{unix.EINVAL, true, nil},
			{unix.EISDIR, true, nil},
			{unix.EIO, false, nil},
			{unix.ESTALE, false, nil},
			{unix.EACCES, false, unix.EACCES},
			{unix.ETIMEDOUT, false, unix.ETIMEDOUT},
		} {
			if grants, err := n.grantsAfterRead(row.errno); grants != row.grants || err != row.err {
				t.Errorf("network %d, %v: %t, %v", n, row.errno, grants, err)
			}
		}
		for _, errno := range []error{unix.EBADF, unix.ENOENT, unix.ESHUTDOWN} {
			if grants, err := n.grantsAfterRead(errno); grants || (err == nil) != (n != nfs) {
				t.Errorf("network %d, %v: %t, %v", n, errno, grants, err)
			}
		}
	}
}

// On 9p, a wait that a signal interrupts fails with EAGAIN, and is repeated. On ceph-fuse, no
// call waits: the lock is tried until it is free.
func TestWaitOnANetwork(t *testing.T) {
	for n := noNetwork; n <= otherNetwork; n++ {
		for _, end := range []error{nil, unix.EIO} {
			synctest.Test(t, func(t *testing.T) {
				var calls []int
				start := time.Now()
				err := n.wait(unix.LOCK_SH, func(how int) error {
					if calls = append(calls, how); len(calls) <= 10 {
						return unix.EAGAIN
					}
					return end
				})
				how, waits, took := unix.LOCK_SH, 11, time.Duration(0)
				switch n {
				case cephFUSE:
					how |= unix.LOCK_NB
					took = 63*pollMin + 4*pollMax
				case plan9:
				default:
					end, waits = unix.EAGAIN, 1
				}
				if err != end || len(calls) != waits || slices.Max(calls) != how || slices.Min(calls) != how || time.Since(start) != took {
					t.Errorf("network %d: %v after %v, calls %v", n, err, time.Since(start), calls)
				}
			})
		}
	}
}

// ESHUTDOWN is the error of a CephFS client that the server keeps out, and of no other.
func TestClientThatIsCutOff(t *testing.T) {
	for n := noNetwork; n <= otherNetwork; n++ {
		if n.isCutOff(unix.EACCES) || n.isCutOff(nil) || n.isCutOff(unix.ESHUTDOWN) != (n == ceph || n == cephFUSE) {
			t.Errorf("network %d", n)
		}
	}
}

// On a file system that does not count links, a file without links counts as linked.
func TestLinksThatAreNotCounted(t *testing.T) {
	path := filepath.Join(t.TempDir(), FileName)
	f, err := openFile(path, options{mode: 0o666})
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	f.countsLinks = false
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if linked, _, err := f.stat(); !linked || err != nil {
		t.Errorf("linked %v, %v", linked, err)
	}
}

// directory returns the path up to its last element, without cleaning it.
func TestDirectoryOfAPath(t *testing.T) {
	for path, want := range map[string]string{
		"/a/b/.grex-lock":     "/a/b",
		"/a/link/../x":        "/a/link/..",
		"/a":                  "/",
		"/":                   "/",
		"/a/b/":               "/a",
		"/a//b":               "/a/",
		"//a":                 "/",
		"/a/b/../.grex-lock/": "/a/b/..",
	} {
		if got := directory(path); got != want {
			t.Errorf("%q: %q, want %q", path, got, want)
		}
	}
}

// The directories that must be refreshed for a path are its directory and that directory's
// parent, because the client caches a directory that another machine renamed in its parent.
func TestDirectoriesToRefreshForAPath(t *testing.T) {
	for path, want := range map[string][]string{
		"/srv/pack/.grex-lock": {"/srv", "/srv/pack"},
		"/pack/.grex-lock":     {"/", "/pack"},
		"/.grex-lock":          {"/", "/"},
		"/a/../b/c/":           {"/a/..", "/a/../b"},
	} {
		if got := directoriesOf(path); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", path, got, want)
		}
	}
}

// A call that returns EAGAIN, because the client is reconnecting, is repeated up to maxAgain
// times.
func TestCallIsRepeatedWhileAClientReconnects(t *testing.T) {
	for _, row := range []struct {
		again int // how often it returns EAGAIN
		then  error
		calls int
	}{{0, nil, 1}, {3, nil, 4}, {3, unix.EBADF, 4}, {maxAgain - 1, nil, maxAgain}, {maxAgain + 5, unix.EAGAIN, maxAgain}} {
		calls := 0
		err := whileEAGAIN(func() error {
			if calls++; calls <= row.again {
				return unix.EAGAIN
			}
			return row.then
		})
		if err != row.then || calls != row.calls {
			t.Errorf("%d times EAGAIN: %v after %d calls, want %v after %d", row.again, err, calls, row.then, row.calls)
		}
	}
}

// A check that cannot query the server, because this process can open no file, returns an
// error. What the client caches must not be taken for the server's answer.
func TestCheckWithoutDescriptorsIsAnError(t *testing.T) {
	path := filepath.Join(t.TempDir(), FileName)
	f, err := openFile(path, options{mode: 0o666})
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	none := limit
	none.Cur = 0
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	defer unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
	f.listsInodes = true
	for _, n := range []network{smb, gluster, plan9} {
		f.network = n
		f.expensiveCheckAt.Store(0)
		if same, err := f.sameAt(path, false); same || err != unix.EMFILE {
			t.Errorf("network %d: %t, %v; want EMFILE", n, same, err)
		}
	}
}

func init() {
	childRoles["lease"] = childLease
}

// childLease holds a lease on a file. When the kernel breaks the lease, it waits for a line of
// input and then gives up the lease.
func childLease(args []string) error {
	f, err := os.OpenFile(args[0], os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return err
	}
	breaks := make(chan os.Signal, 1)
	signal.Notify(breaks, unix.SIGIO)
	if _, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_WRLCK); err != nil {
		fmt.Println("no leases:", err)
		return nil
	}
	fmt.Println("leased")
	<-breaks
	fmt.Println("breaking")
	bufio.NewReader(os.Stdin).ReadString('\n')
	_, err = unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_UNLCK)
	return err
}

// Open waits while another process has a lease on the lock file. A lease is no error.
func TestOpenWaitsForALease(t *testing.T) {
	dir := t.TempDir()
	child := childStart(t, "lease", filepath.Join(dir, FileName))
	if line, err := child.stdout.ReadString('\n'); err != nil || line != "leased\n" {
		t.Skipf("no leases here: %s%v", line, err)
	}
	opened := make(chan error, 1)
	go func() {
		l, err := Open(dir)
		if err == nil {
			defer l.Close()
			var h *Hold
			if h, err = l.TryAcquire(); err == nil {
				err = h.Release()
			}
		}
		opened <- err
	}()
	child.expect("breaking")
	select {
	case err := <-opened:
		t.Fatalf("opened under the lease: %v", err)
	default:
	}
	fmt.Fprintln(child.stdin)
	if err := <-opened; err != nil {
		t.Error(err)
	}
	child.finish()
}

// A lock file of another user in a sticky directory, on which Linux denies O_CREAT, can be
// opened for writing and locked: see openFD.
func TestLockFileOfAnotherUserInStickyDirectory(t *testing.T) {
	const env = "PACKLOCK_TEST_STICKY"
	if os.Getenv(env) == "" {
		if os.Geteuid() != 0 {
			t.Skip("only root can give a file to another user")
		}
		dir := filepath.Join(t.TempDir(), "sticky")
		mkdir(t, dir, 0o777|fs.ModeSticky)
		path := filepath.Join(dir, FileName)
		writeFile(t, path, 0o666)
		if err := os.Chown(path, 1, 1); err != nil {
			t.Fatal(err)
		}
		// Only its owner can enter the directory in which t.TempDir makes its directories.
		if err := os.Chmod(filepath.Dir(filepath.Dir(dir)), 0o755); err != nil {
			t.Fatal(err)
		}
		t.Setenv(env, dir)
	}
	unprivileged(t, func(t *testing.T) {
		dir := os.Getenv(env)
		path := filepath.Join(dir, FileName)
		// If fs.protected_regular is 0, or does not apply to the file system, the kernel
		// must be made to deny it.
		if err := openToCreate(path); err == nil {
			denyCreation(t)
		}
		if err := openToCreate(path); err != unix.EACCES {
			t.Fatalf("O_CREAT gives %v, want it denied", err)
		}
		fd, readOnly, err := openFD(path, options{mode: 0o666}, unix.Open, osKernel{}.pause)
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

// denyCreation makes the kernel return EACCES from each open with O_CREAT, for the rest of this
// process's life. An open with O_TRUNC passes, because coverage is written with it.
func denyCreation(t *testing.T) {
	t.Helper()
	const call = 0 // the offset of the system call's number in seccomp(2)'s data
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
		t.Skipf("the kernel lets O_CREAT pass (fs.protected_regular is 0?), and seccomp, which would deny it, fails: %v", err)
	}
}

func init() { childRoles["terminal"] = childTerminal }

// Open refuses a terminal in the place of the lock file. The terminal must not become the
// controlling terminal of a process that has none, because the process would die with it.
func TestTerminalInPlaceOfLockFileDoesNotBecomeOurs(t *testing.T) {
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no terminals here: %v", err)
	}
	defer master.Close()
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Skipf("the terminal cannot be unlocked: %v", err)
	}
	n, err := unix.IoctlGetUint32(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Skipf("the terminal has no number: %v", err)
	}
	cmd, err := childCommand(bounded(t), "terminal", fmt.Sprintf("/dev/pts/%d", n))
	if err != nil {
		t.Fatal(err)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	childStartCommand(t, cmd).finish()
}

// childTerminal is the role of a child in a session of its own. args[0] is the terminal.
func childTerminal(args []string) error {
	if l, err := OpenFile(args[0]); !errors.Is(err, fs.ErrInvalid) {
		return fmt.Errorf("OpenFile of a terminal: %v, %v", l, err)
	}
	switch tty, err := os.Open("/dev/tty"); {
	case err == nil:
		tty.Close()
		return errors.New("the terminal became this process's controlling terminal")
	case !errors.Is(err, unix.ENXIO):
		return fmt.Errorf("/dev/tty: %v, want ENXIO", err)
	}
	return nil
}

func init() {
	childRoles["holders"] = childHolders
	childRoles["share"] = childShare
}

// holdersOf returns the holders of l.
func holdersOf(t testing.TB, l *Lock) []Process {
	t.Helper()
	holders, err := l.Holders()
	if err != nil {
		t.Fatal(err)
	}
	return holders
}

// checkHolders checks the pids of the holders of l, and returns the holders.
func checkHolders(t testing.TB, l *Lock, pids ...int) []Process {
	t.Helper()
	holders := holdersOf(t, l)
	var got []int
	for _, p := range holders {
		got = append(got, p.PID)
		if p.Self != (p.PID == os.Getpid()) || p.Shared {
			t.Errorf("pid %d: Self is %v, Shared is %v", p.PID, p.Self, p.Shared)
		}
	}
	if !slices.Equal(got, pids) {
		t.Fatalf("held by %v, want %v", got, pids)
	}
	return holders
}

// Holders returns the holder's pid, name, arguments and start time.
func TestHolderIsDescribed(t *testing.T) {
	dir := t.TempDir()
	l := openReal(t, dir)
	before := time.Now()
	// The role uses its first argument only.
	c := childStart(t, "hold", dir, "two words", "a\nline", "", strings.Repeat("long", 5000), "")
	c.expect("locked")
	p := checkHolders(t, l, c.cmd.Process.Pid)[0]

	comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", p.PID))
	if err != nil {
		t.Fatal(err)
	}
	if p.Name == "" || p.Name+"\n" != string(comm) {
		t.Errorf("name %q, want %q", p.Name, comm)
	}
	if !slices.Equal(p.Args, c.cmd.Args) {
		t.Errorf("arguments %.200q, want %.200q", p.Args, c.cmd.Args)
	}
	const slack = 100 * time.Millisecond // the kernel counts hundredths of a second
	if p.Started.Before(before.Add(-slack)) || p.Started.After(time.Now().Add(slack)) {
		t.Errorf("started at %v, want it between %v and now", p.Started, before)
	}
	c.finish()
	checkHolders(t, l)
}

// Holders returns this process while it holds the lock.
func TestHolderIsThisProcess(t *testing.T) {
	l := openReal(t, t.TempDir())
	h := acquireReal(t, l)
	checkHolders(t, l, os.Getpid())
	release(t, h)
	checkHolders(t, l)
}

// Holders does not return waiters, of this process or another one.
func TestWaitersHoldNothing(t *testing.T) {
	dir := t.TempDir()
	l := openReal(t, dir)
	holder := childHolder(t, dir)
	waiter := childWaiter(t, dir)
	ctx, cancel := context.WithCancel(bounded(t))
	defer cancel()
	gone := queueUpToFail(ctx, t, l, 1, ErrCancelled)
	until(t, "this process to wait", func() bool { return l.Stats().Parked })
	checkHolders(t, l, holder.cmd.Process.Pid)
	cancel() // or this process may be the next holder, and stay it
	gone.Wait()
	holder.kill()
	waiter.expect("locked")
	checkHolders(t, l, waiter.cmd.Process.Pid)
}

// Holders returns the process that acquired the lock, and then a child that inherited its
// descriptor. The child holds the lock after its parent's death.
func TestInheritedDescriptorHoldsTheLockToo(t *testing.T) {
	dir := t.TempDir()
	l := openReal(t, dir)
	c := childStart(t, "start", dir, "dup")
	c.expect("started")
	holders := holdersOf(t, l)
	if len(holders) != 2 || holders[0].PID != c.cmd.Process.Pid {
		t.Fatalf("held by %+v, want pid %d and its child", holders, c.cmd.Process.Pid)
	}
	c.kill()
	checkHolders(t, l, holders[1].PID)
	c.stdin.Close() // and the child exits
	release(t, acquireReal(t, l))
	checkHolders(t, l)
}

// childShare is the role of a child that locks the file args[0] shared.
func childShare(args []string) error {
	f, err := os.Open(args[0])
	if err != nil {
		return err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_SH); err != nil {
		return err
	}
	fmt.Println("shared")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// Holders returns all processes that hold a shared lock, and that they have it shared. It
// does not return an exclusive waiter.
func TestSharedLockHasSeveralHolders(t *testing.T) {
	l := openReal(t, t.TempDir())
	var pids []int
	holding := func(c *child) *child {
		t.Helper()
		c.expect("shared")
		pids = append(pids, c.cmd.Process.Pid)
		return c
	}
	check := func() {
		t.Helper()
		var got []int
		for _, p := range holdersOf(t, l) {
			if !p.Shared {
				t.Errorf("pid %d does not have it shared", p.PID)
			}
			got = append(got, p.PID)
		}
		slices.Sort(got)
		slices.Sort(pids)
		if !slices.Equal(got, pids) {
			t.Errorf("held by %v, want %v", got, pids)
		}
	}
	holding(childStart(t, "share", l.Path()))
	last := holding(childStart(t, "share", l.Path()))
	check()
	if flock, err := exec.LookPath("flock"); err == nil {
		holding(childStartCommand(t, exec.CommandContext(bounded(t), flock, "-s", "-o", l.Path(), "sh", "-c", "echo shared; cat")))
		check()
	}
	gone := queueUpToFail(bounded(t), t, l, 1, fs.ErrClosed)
	until(t, "this process to wait", func() bool { return l.Stats().Parked })
	check()
	l.Close()
	gone.Wait()
	l = openReal(t, filepath.Dir(l.Path()))
	last.kill()
	pids = slices.DeleteFunc(pids, func(pid int) bool { return pid == last.cmd.Process.Pid })
	check()
}

// Holders returns the holders of the file that is at the path now.
func TestHoldersAreOfTheFileAtThePath(t *testing.T) {
	dir := t.TempDir()
	l := openReal(t, dir)
	childHolder(t, dir)
	if err := os.Rename(l.Path(), l.Path()+".old"); err != nil {
		t.Fatal(err)
	}
	checkHolders(t, l)
	replaced := childHolder(t, dir)
	checkHolders(t, l, replaced.cmd.Process.Pid)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	checkHolders(t, l)
}

// publicDir returns a temporary directory that other users can read.
func publicDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, public := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(public, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// Holders returns a holder of another user, with its arguments.
func TestHolderOfAnotherUser(t *testing.T) {
	const env = "PACKLOCK_TEST_OTHERS"
	if os.Getenv(env) == "" {
		if os.Geteuid() != 0 {
			t.Skip("only root has a process of another user")
		}
		dir := publicDir(t)
		c := childHolder(t, dir)
		t.Setenv(env, strconv.Itoa(c.cmd.Process.Pid)+" "+dir)
	}
	unprivileged(t, func(t *testing.T) {
		pid, dir, _ := strings.Cut(os.Getenv(env), " ")
		l := openReal(t, dir)
		if holders := holdersOf(t, l); len(holders) != 1 || strconv.Itoa(holders[0].PID) != pid || holders[0].Args == nil {
			t.Errorf("held by %+v, want pid %s", holders, pid)
		}
	})
}

// A process of another user that inherited the lock, and is its only holder, is a Process
// without a PID.
func TestInheritorOfAnotherUserHasNoPID(t *testing.T) {
	const env = "PACKLOCK_TEST_INHERITED"
	if os.Getenv(env) == "" {
		if os.Geteuid() != 0 {
			t.Skip("only root has a process of another user")
		}
		dir := publicDir(t)
		c := childStart(t, "start", dir, "dup")
		c.expect("started")
		c.kill()
		t.Setenv(env, dir)
	}
	unprivileged(t, func(t *testing.T) {
		if holders := holdersOf(t, openReal(t, os.Getenv(env))); len(holders) != 1 || !reflect.DeepEqual(holders[0], Process{}) {
			t.Errorf("held by %+v, want a process without a PID", holders)
		}
	})
}

// childHolders is the role of a child that prints the number of holders of the lock of
// args[0], and whether it is one of them. It runs in a mount namespace of its own, where it
// mounts args[1] on /proc.
func childHolders(args []string) error {
	err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	if err == nil {
		err = unix.Mount(args[1], "/proc", args[1], 0, "")
	}
	if err != nil {
		fmt.Println("skip:", err)
		return nil
	}
	l, err := Open(args[0])
	if err != nil {
		return err
	}
	holders, err := l.Holders()
	if errors.Is(err, errors.ErrUnsupported) {
		fmt.Println("unsupported")
		return nil
	}
	self := false
	for _, p := range holders {
		self = self || p.Self
	}
	fmt.Println(len(holders), self)
	return err
}

// holdersInNamespace runs childHolders in new namespaces, and returns what it prints.
func holdersInNamespace(t *testing.T, dir, proc string, flags uintptr, inherit ...*os.File) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root makes namespaces with a /proc of their own everywhere")
	}
	if os.Getenv("TEST_EXEC") != "" {
		t.Skip("an emulator makes the namespace, but not its /proc")
	}
	cmd, err := childCommand(bounded(t), "holders", dir, proc)
	if err != nil {
		t.Fatal(err)
	}
	cmd.ExtraFiles = inherit
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags}
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if why, skip := strings.CutPrefix(string(out), "skip: "); skip {
		t.Skipf("nothing can be mounted on /proc here: %s", why)
	}
	return strings.TrimSpace(string(out))
}

// Holders returns ErrUnsupported where /proc is missing.
func TestHoldersWithoutProcAreUnsupported(t *testing.T) {
	if got := holdersInNamespace(t, t.TempDir(), "tmpfs", unix.CLONE_NEWNS); got != "unsupported" {
		t.Errorf("%s, want unsupported", got)
	}
}

// Holders does not return processes outside of this process's pid namespace.
func TestHolderOutsideThePIDNamespaceIsMissing(t *testing.T) {
	dir := t.TempDir()
	h := acquireReal(t, openReal(t, dir))
	if got := holdersInNamespace(t, dir, "proc", unix.CLONE_NEWNS|unix.CLONE_NEWPID); got != "0 false" {
		t.Errorf("%s, want 0 holders", got)
	}
	dup, err := h.Dup()
	if err != nil {
		t.Fatal(err)
	}
	defer dup.Close()
	if got := holdersInNamespace(t, dir, "proc", unix.CLONE_NEWNS|unix.CLONE_NEWPID, dup); got != "1 true" {
		t.Errorf("%s, want only the child that inherited the lock, which is inside", got)
	}
}

// Holders returns processes in a pid namespace inside of this process's own.
func TestHolderInsideANestedPIDNamespaceIsReturned(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root makes a pid namespace everywhere")
	}
	if os.Getenv("TEST_EXEC") != "" {
		t.Skip("an emulator does not support every flag of clone")
	}
	dir := t.TempDir()
	cmd, err := childCommand(bounded(t), "hold", dir)
	if err != nil {
		t.Fatal(err)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID}
	c := childStartCommand(t, cmd)
	c.expect("locked")
	checkHolders(t, openReal(t, dir), cmd.Process.Pid)
}

// If the directory has been replaced by a file, there is no lock file, and no holder.
func TestNoHoldersBelowAFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pack")
	l := openReal(t, dir)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	writeFile(t, dir, 0o666)
	if holders := holdersOf(t, l); holders != nil {
		t.Errorf("held by %v", holders)
	}
}

// Only an SMB mount denies a lock that another process holds with EACCES. Elsewhere the
// error is that of a security module or a sandbox, and not an ErrBusy that never ends.
func TestForbiddenLockIsNotBusy(t *testing.T) {
	f := new(osFile)
	for n := noNetwork; n <= otherNetwork; n++ {
		f.network = n
		ok, err := n.taken(f.describe(unix.EACCES))
		if busy := !ok && err == nil; busy != (n == smb) {
			t.Errorf("network %d: busy %t, %v", n, busy, err)
		}
		if n != smb && !errors.Is(err, unix.EACCES) {
			t.Errorf("network %d: %v", n, err)
		}
	}
	f.network = noNetwork
	if err := f.describe(unix.ENOLCK); strings.Contains(err.Error(), "lockd") {
		t.Errorf("%v, on a local file system", err)
	}
}

// A file that was opened for reading only is opened again for writing where the lock needs
// that: under the same descriptor, whatever is at the path by now.
func TestFileIsOpenedForWritingWhenItsLockNeedsThat(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	open := func() *osFile {
		t.Helper()
		f, err := openFile(path, options{mode: 0o666, anyFile: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.close() })
		f.network = nfs
		return f
	}
	writable := func(f *osFile) bool {
		mode, err := unix.FcntlInt(uintptr(f.fd), unix.F_GETFL, 0)
		return err == nil && mode&unix.O_ACCMODE == unix.O_RDWR
	}
	f, lost, gone := open(), open(), open()
	if err := f.openForWriting(unix.EBADF); err != nil || !writable(f) {
		t.Errorf("it is not opened for writing: %v", err)
	}
	if err := f.openForWriting(unix.EBADF); err != unix.EBADF {
		t.Errorf("it is opened again: %v", err)
	}
	if ok, err := f.try(false); !ok {
		t.Error(err)
	}
	remove(t, path)
	writeFile(t, path, 0o666)
	// On a network a file that was deleted may be gone.
	if err := lost.openForWriting(unix.EBADF); err != errFileLost && (err != nil || !writable(lost)) {
		t.Errorf("a lost file: %v", err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(lost.fd, &st); err != nil || identify(&st) != lost.identity {
		t.Errorf("a different file took the place of the open one, %v", err)
	}
	if err := (&osFile{fd: -1, identity: gone.identity, network: nfs, reopenPath: path}).openForWriting(unix.EBADF); err != errFileLost {
		t.Errorf("a file that is nowhere: %v", err)
	}
	remove(t, path)
	if err := os.Mkdir(path, 0o777); err != nil {
		t.Fatal(err)
	}
	f = open()
	if err := f.openForWriting(unix.EBADF); err != unix.EBADF || f.readOnly != unix.EISDIR {
		t.Errorf("a directory: %v, and from now on %v", err, f.readOnly)
	}
}

// Holders of a Lock with WithAnyFile are those of the file that its link leads to.
func TestHoldersByALink(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(dir, "link")
	if err := os.Symlink("target", link); err != nil {
		t.Fatal(err)
	}
	l := openAny(t, link)
	h := acquireReal(t, l)
	checkHolders(t, l, os.Getpid())
	release(t, h)
	checkHolders(t, l)
}

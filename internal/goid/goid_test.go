package goid

import (
	"fmt"
	"iter"
	"math"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
)

// want returns the identity of the calling goroutine without using any of
// the package's code.
func want(t testing.TB) uint64 {
	t.Helper()
	buf := make([]byte, 1<<10)
	buf = buf[:runtime.Stack(buf, false)]
	var id uint64
	if _, err := fmt.Sscanf(string(buf), "goroutine %d [", &id); err != nil {
		t.Errorf("unexpected stack trace: %v\n%s", err, buf)
	}
	return id
}

// check reports an error unless both ways to find the identity of the calling
// goroutine give the right one.
func check(t testing.TB) uint64 {
	t.Helper()
	id := want(t)
	if got := Get(); got != id || got == 0 {
		t.Errorf("Get() = %d, want %d", got, id)
	}
	if got := trace(); got != id {
		t.Errorf("trace() = %d, want %d", got, id)
	}
	return id
}

// TestFast fails if Get has fallen back to stack traces where it should not.
func TestFast(t *testing.T) {
	if !canRead {
		t.Skipf("no access to the g on %s", runtime.GOARCH)
	}
	if offset == 0 {
		t.Fatalf("the identity was not found in the g; matching words now: %#x", matches())
	}
	t.Logf("offset %d", offset)
	if got := discover(); got != offset {
		t.Errorf("discover() = %d, but at first %d", got, offset)
	}
	for range 100 {
		done := make(chan bool)
		go func() {
			defer close(done)
			if got, want := word(offset), want(t); got != want {
				t.Errorf("word(%d) = %d, want %d", offset, got, want)
			}
		}()
		<-done
	}
}

// TestFallback checks Get as it is where the offset is not found.
func TestFallback(t *testing.T) {
	defer func(old uintptr) { offset = old }(offset)
	offset = 0
	check(t)
}

func TestGoroutines(t *testing.T) {
	const n = 500
	ids := make([]uint64, n)
	start := make(chan bool)
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			<-start
			id := check(t)
			for range 50 {
				runtime.Gosched()
				if got := Get(); got != id {
					t.Errorf("Get() = %d after Gosched, %d before", got, id)
				}
			}
			check(t)
			ids[i] = id
		})
	}
	close(start)
	wg.Wait()

	seen := map[uint64]bool{check(t): true}
	for _, id := range ids {
		if seen[id] {
			t.Errorf("two goroutines got %d", id)
		}
		seen[id] = true
	}
}

// TestReuse checks that goroutines that run one after the other, and so may
// be given the same g, are told apart.
func TestReuse(t *testing.T) {
	seen := map[uint64]bool{Get(): true}
	for range 1000 {
		c := make(chan uint64)
		go func() { c <- Get() }()
		id := <-c
		if seen[id] {
			t.Fatalf("two goroutines got %d", id)
		}
		seen[id] = true
	}
}

//go:noinline
func grow(t testing.TB, id uint64, depth int) byte {
	var frame [512]byte
	frame[depth%len(frame)] = byte(depth)
	if depth%100 == 0 {
		if got := Get(); got != id {
			t.Errorf("Get() = %d at depth %d, want %d", got, depth, id)
		}
	}
	if depth > 0 {
		frame[0] += grow(t, id, depth-1)
	}
	return frame[0] + frame[depth%len(frame)]
}

func TestStackGrowth(t *testing.T) {
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			id := check(t)
			grow(t, id, 2000)
			// Collections shrink the stack.
			for range 3 {
				runtime.GC()
				if got := check(t); got != id {
					t.Errorf("identity %d after the stack shrank, %d before", got, id)
				}
			}
		})
	}
	wg.Wait()
}

func TestLockOSThread(t *testing.T) {
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			id := check(t)
			runtime.LockOSThread()
			for range 10 {
				runtime.Gosched()
				if got := check(t); got != id {
					t.Errorf("identity %d with the thread locked, %d before", got, id)
				}
			}
			runtime.UnlockOSThread()
			if got := check(t); got != id {
				t.Errorf("identity %d with the thread unlocked, %d before", got, id)
			}
		})
	}
	wg.Wait()
}

func TestPanic(t *testing.T) {
	id := check(t)
	defer func() {
		recover()
		if got := check(t); got != id {
			t.Errorf("identity %d in a deferred call, want %d", got, id)
		}
	}()
	panic("test")
}

func TestPull(t *testing.T) {
	outer := check(t)
	next, stop := iter.Pull(func(yield func(uint64) bool) {
		for yield(check(t)) {
		}
	})
	defer stop()
	first, _ := next()
	second, _ := next()
	if first != second {
		t.Errorf("identity %d in the coroutine, then %d", first, second)
	}
	if first == outer {
		t.Errorf("identity %d both in and outside of the coroutine", first)
	}
	if got := check(t); got != outer {
		t.Errorf("identity %d after the coroutine ran, %d before", got, outer)
	}
}

func TestSynctest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		outer := check(t)
		go func() {
			if check(t) == outer {
				t.Errorf("two goroutines got %d", outer)
			}
		}()
		synctest.Wait()
	})
}

func TestAllocs(t *testing.T) {
	var sink uint64
	if n := testing.AllocsPerRun(1000, func() { sink += Get() }); n != 0 {
		t.Errorf("Get: %v allocations per call", n)
	}
	if n := testing.AllocsPerRun(1000, func() { sink += trace() }); n != 0 {
		t.Errorf("trace: %v allocations per call", n)
	}
}

func TestParse(t *testing.T) {
	for _, test := range []struct {
		trace string
		id    uint64
	}{
		{"goroutine 1 [running]:\nmain.main()\n", 1},
		{"goroutine 1234567890 [running, locked to thread]:\n", 1234567890},
		{"goroutine 18446744073709551615 [running]:\n", math.MaxUint64},
		{"goroutine 7 gp=0xc000002380 m=0 mp=0x5a8d20 [running]:\n", 7},
		{"", 0},
		{"gorout", 0},
		{"goroutine ", 0},
		{"goroutine 12", 0},
		{"goroutine  [running]:", 0},
		{"goroutine -1 [running]:", 0},
		{"goroutine 1x [running]:", 0},
		{"thread 1 [running]:", 0},
	} {
		if got := parse([]byte(test.trace)); got != test.id {
			t.Errorf("parse(%q) = %d, want %d", test.trace, got, test.id)
		}
	}
}

func TestOnly(t *testing.T) {
	for _, test := range []struct {
		set    uint32
		offset uintptr
	}{
		{0, 0},
		{1 << 1, 8},
		{1 << 19, 152},
		{1 << 31, 248},
		{1<<19 | 1<<20, 0},
		{math.MaxUint32, 0},
	} {
		if got := only(test.set); got != test.offset {
			t.Errorf("only(%#x) = %d, want %d", test.set, got, test.offset)
		}
	}
}

func BenchmarkGet(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		Get()
	}
}

func BenchmarkTrace(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		trace()
	}
}

func BenchmarkTraceDeep(b *testing.B) {
	b.ReportAllocs()
	deep(100, func() {
		for b.Loop() {
			trace()
		}
	})
}

//go:noinline
func deep(n int, f func()) {
	if n == 0 {
		f()
		return
	}
	deep(n-1, f)
}

func BenchmarkDiscover(b *testing.B) {
	for b.Loop() {
		discover()
	}
}

//go:build darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd

package packlock

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Every benchmark compares the package with raw unix.Flock, in alternating rounds of some
// milliseconds, and reports
//
//	ns/op      the package's time per operation
//	raw-ns/op  raw flock's time per operation
//	x-raw      the first divided by the second, the median over the rounds
//	x-limit    the first divided by the time of the least possible work, where that is known
//
// because on a shared machine only a ratio of one run means anything. B/op and allocs/op are
// the package's. Raw flock allocates nothing.

// compare runs ours and raw alternately, in rounds of size operations, until each has run b.N.
func compare(b *testing.B, size int, ours, raw func(n int)) {
	compareWithLimit(b, size, ours, raw, nil)
}

// compareWithLimit is compare with the least possible work, which is nil if it is not known.
func compareWithLimit(b *testing.B, size int, ours, raw, limit func(n int)) {
	b.Helper()
	b.ReportAllocs()
	timed := func(fn func(int), n int) time.Duration {
		start := time.Now()
		fn(n)
		return time.Since(start)
	}
	var total, rawTotal time.Duration
	ratios := make([]float64, 0, b.N/size+1)
	toLimit := make([]float64, 0, b.N/size+1)
	b.ResetTimer()
	for done := 0; done < b.N; done += size {
		n := min(size, b.N-done)
		t, r := timed(ours, n), timed(raw, n)
		total += t
		rawTotal += r
		ratios = append(ratios, float64(t)/float64(r))
		if limit != nil {
			toLimit = append(toLimit, float64(t)/float64(timed(limit, n)))
		}
	}
	b.StopTimer()
	slices.Sort(ratios)
	b.ReportMetric(float64(total.Nanoseconds())/float64(b.N), "ns/op")
	b.ReportMetric(float64(rawTotal.Nanoseconds())/float64(b.N), "raw-ns/op")
	b.ReportMetric(ratios[len(ratios)/2], "x-raw")
	if limit != nil {
		slices.Sort(toLimit)
		b.ReportMetric(toLimit[len(toLimit)/2], "x-limit")
	}
}

func benchLock(b *testing.B, dir string) *Lock {
	b.Helper()
	l, err := Open(dir)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	return l
}

// rawOpen opens a file of its own next to the lock file, so that raw flock does not exclude
// the package.
func rawOpen(b *testing.B, dir string) int {
	b.Helper()
	fd, err := unix.Open(filepath.Join(dir, "raw"), unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o666)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { unix.Close(fd) })
	return fd
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// rawOnce acquires and releases once.
func rawOnce(fd int) {
	must(ignoringEINTR(func() error { return unix.Flock(fd, unix.LOCK_EX) }))
	must(unix.Flock(fd, unix.LOCK_UN))
}

func lockOnce(ctx context.Context, l *Lock) {
	h, err := l.Acquire(ctx)
	must(err)
	must(h.Release())
}

// statOnce is rawOnce with a check whether the locked file was deleted meanwhile. It locks
// as how says.
func statOnce(fd, how int) {
	must(ignoringEINTR(func() error { return unix.Flock(fd, how) }))
	var st unix.Stat_t
	must(unix.Fstat(fd, &st))
	must(unix.Flock(fd, unix.LOCK_UN))
}

// rawShareOnce is rawOnce for a shared lock.
func rawShareOnce(fd int) {
	must(ignoringEINTR(func() error { return unix.Flock(fd, unix.LOCK_SH) }))
	must(unix.Flock(fd, unix.LOCK_UN))
}

func shareOnce(ctx context.Context, l *Lock) {
	h, err := l.AcquireShared(ctx)
	must(err)
	must(h.Release())
}

// spread has goroutines do n operations together. It passes the number of the goroutine
// and of its operation, from 1.
func spread(goroutines, n int, once func(goroutine, operation int)) {
	var wg sync.WaitGroup
	for i := range goroutines {
		wg.Go(func() {
			for k := range n / goroutines {
				once(i, k+1)
			}
		})
	}
	wg.Wait()
}

// One goroutine acquires and releases. The limit is two flock and one fstat.
func BenchmarkAlone(b *testing.B) {
	const size = 1000
	run := func(name string, once func(l *Lock)) {
		b.Run(name, func(b *testing.B) {
			dir := b.TempDir()
			l, fd := benchLock(b, dir), rawOpen(b, dir)
			repeat := func(once func()) func(n int) {
				return func(n int) {
					for range n {
						once()
					}
				}
			}
			compareWithLimit(b, size,
				repeat(func() { once(l) }),
				repeat(func() { rawOnce(fd) }),
				repeat(func() { statOnce(fd, unix.LOCK_EX) }))
		})
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	run("Acquire", func(l *Lock) { lockOnce(ctx, l) })
	run("AcquireBackground", func(l *Lock) { lockOnce(context.Background(), l) })
	run("TryAcquire", func(l *Lock) {
		h, err := l.TryAcquire()
		must(err)
		must(h.Release())
	})
	b.Run("OpenAcquireReleaseClose", func(b *testing.B) {
		dir := b.TempDir()
		raw := filepath.Join(dir, "raw")
		compare(b, size,
			func(n int) {
				for range n {
					l, err := Open(dir)
					must(err)
					lockOnce(ctx, l)
					must(l.Close())
				}
			},
			func(n int) {
				for range n {
					fd, err := unix.Open(raw, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o666)
					must(err)
					rawOnce(fd)
					must(unix.Close(fd))
				}
			})
	})
}

// Goroutines of one process acquire and release in a tight loop. With raw flock, each has a
// descriptor of its own.
func BenchmarkGoroutines(b *testing.B) {
	for _, goroutines := range []int{8, 64} {
		b.Run(fmt.Sprint(goroutines), func(b *testing.B) {
			dir := b.TempDir()
			l := benchLock(b, dir)
			fds := make([]int, goroutines)
			for i := range fds {
				fds[i] = rawOpen(b, dir)
			}
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			compare(b, 500*goroutines,
				func(n int) { spread(goroutines, n, func(_, _ int) { lockOnce(ctx, l) }) },
				func(n int) { spread(goroutines, n, func(i, _ int) { rawOnce(fds[i]) }) })
		})
	}
}

// One goroutine acquires shared and releases, where no other holds the lock. The limit is
// two flock and one fstat.
func BenchmarkSharedAlone(b *testing.B) {
	dir := b.TempDir()
	l, fd := benchLock(b, dir), rawOpen(b, dir)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	compareWithLimit(b, 1000,
		func(n int) { spread(1, n, func(_, _ int) { shareOnce(ctx, l) }) },
		func(n int) { spread(1, n, func(_, _ int) { rawShareOnce(fd) }) },
		func(n int) { spread(1, n, func(_, _ int) { statOnce(fd, unix.LOCK_SH) }) })
}

// Goroutines acquire shared and release while another one holds the lock shared: one, and
// as many as there are processors. With raw flock, each has a descriptor of its own. The
// limit is a sync.RWMutex, which locks no file and whose waits cannot be cancelled.
func BenchmarkSharedJoin(b *testing.B) {
	for _, c := range []struct {
		name       string
		goroutines int
	}{{"Alone", 1}, {"Parallel", runtime.GOMAXPROCS(0)}} {
		b.Run(c.name, func(b *testing.B) {
			dir := b.TempDir()
			l := benchLock(b, dir)
			h, err := l.AcquireShared(context.Background())
			must(err)
			defer h.Release()
			h.Detach() // or each acquire would be a second one of its goroutine
			must(unix.Flock(rawOpen(b, dir), unix.LOCK_SH))
			fds := make([]int, c.goroutines)
			for i := range fds {
				fds[i] = rawOpen(b, dir)
			}
			var mutex sync.RWMutex
			mutex.RLock()
			defer mutex.RUnlock()
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			compareWithLimit(b, 5000*c.goroutines,
				func(n int) { spread(c.goroutines, n, func(_, _ int) { shareOnce(ctx, l) }) },
				func(n int) { spread(c.goroutines, n, func(i, _ int) { rawShareOnce(fds[i]) }) },
				func(n int) { spread(c.goroutines, n, func(_, _ int) { readOnce(&mutex) }) })
		})
	}
}

// readOnce and writeOnce have no section, because the mutex itself is measured.
func readOnce(m *sync.RWMutex) {
	m.RLock()
	//lint:ignore SA2001 as above
	m.RUnlock()
}

func writeOnce(m *sync.RWMutex) {
	m.Lock()
	//lint:ignore SA2001 as above
	m.Unlock()
}

// 64 goroutines of one process acquire and release in a tight loop, one in so many times
// exclusively and otherwise shared. The limit is a sync.RWMutex.
func BenchmarkSharedMix(b *testing.B) {
	const goroutines = 64
	for _, in := range []int{2, 10, 100} {
		b.Run(fmt.Sprintf("OneIn%d", in), func(b *testing.B) {
			dir := b.TempDir()
			l := benchLock(b, dir)
			fds := make([]int, goroutines)
			for i := range fds {
				fds[i] = rawOpen(b, dir)
			}
			var mutex sync.RWMutex
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			mix := func(exclusive, shared func(i int)) func(n int) {
				return func(n int) {
					spread(goroutines, n, func(i, k int) {
						if k%in == 0 {
							exclusive(i)
						} else {
							shared(i)
						}
					})
				}
			}
			compareWithLimit(b, 200*goroutines,
				mix(func(int) { lockOnce(ctx, l) }, func(int) { shareOnce(ctx, l) }),
				mix(func(i int) { rawOnce(fds[i]) }, func(i int) { rawShareOnce(fds[i]) }),
				mix(func(int) { writeOnce(&mutex) }, func(int) { readOnce(&mutex) }))
		})
	}
}

// The time from the end of the context to the return of the acquire, while another process
// (to the kernel, a different open file) holds the lock. A wait in raw flock cannot be
// cancelled, so the comparison is with a try that fails.
func BenchmarkCancel(b *testing.B) {
	dir := b.TempDir()
	l := benchLock(b, dir)
	lockFile := func() int {
		fd, err := unix.Open(l.Path(), unix.O_RDWR|unix.O_CLOEXEC, 0)
		must(err)
		b.Cleanup(func() { unix.Close(fd) })
		return fd
	}
	holder, other := lockFile(), lockFile()
	must(unix.Flock(holder, unix.LOCK_EX))
	defer unix.Flock(holder, unix.LOCK_UN)

	var waited time.Duration
	compare(b, 100,
		func(n int) {
			ended := make(chan time.Time)
			for range n {
				ctx, cancel := context.WithCancel(context.Background())
				go func() {
					_, err := l.Acquire(ctx)
					ended <- time.Now()
					if err == nil {
						panic("acquired what is held")
					}
				}()
				for l.Stats().Waiting == 0 {
					runtime.Gosched()
				}
				start := time.Now()
				cancel()
				waited += (<-ended).Sub(start)
			}
		},
		func(n int) {
			for range n {
				if unix.Flock(other, unix.LOCK_EX|unix.LOCK_NB) == nil {
					panic("acquired what is held")
				}
			}
		})
	b.ReportMetric(float64(waited.Nanoseconds())/float64(b.N), "cancel-ns")
}

// The memory of 1,000 goroutines that wait for the lock of another process, exclusively and
// shared, or that hold the lock shared, and the number of threads that the process has then.
// The threads of raw flock stay for the rest of its life, so its waiters come last. The
// metric counts stack and heap in the round that needs most, because later rounds reuse the
// memory of earlier ones.
func BenchmarkWaiters(b *testing.B) {
	const goroutines = 1000
	// measure has the goroutines begin, waits until they are ready and reports what they
	// use. Then release ends them.
	measure := func(b *testing.B, begin func(), ready func() bool, release func()) (bytes int64) {
		var before, after runtime.MemStats
		// There is no collection before, because it would set the initial size of new
		// stacks by the few stacks that exist.
		runtime.ReadMemStats(&before)
		var wg sync.WaitGroup
		for range goroutines {
			wg.Go(begin)
		}
		for !ready() {
			runtime.Gosched()
		}
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(countThreads()), "threads")
		release()
		wg.Wait()
		inUse := func(m *runtime.MemStats) int64 { return int64(m.HeapInuse + m.StackInuse) }
		return inUse(&after) - inUse(&before)
	}
	run := func(name, metric string, once func(b *testing.B, dir string) (bytes int64)) {
		b.Run(name, func(b *testing.B) {
			var most int64
			for range b.N {
				most = max(most, once(b, b.TempDir()))
			}
			b.ReportMetric(float64(most)/goroutines, metric)
		})
	}
	// holding acquires, waits until end is closed and releases.
	holding := func(b *testing.B, acquire func() (release func())) (bytes int64) {
		var held atomic.Int32
		end := make(chan struct{})
		return measure(b,
			func() { release := acquire(); held.Add(1); <-end; release() },
			func() bool { return held.Load() == goroutines },
			func() { close(end) })
	}
	rawDescriptors := func(b *testing.B, dir string) <-chan int {
		fds := make(chan int, goroutines)
		for range goroutines {
			fds <- rawOpen(b, dir)
		}
		return fds
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()

	for _, kind := range []struct {
		name string
		once func(context.Context, *Lock)
	}{{"packlock", lockOnce}, {"packlockShared", shareOnce}} {
		run(kind.name, "B/waiter", func(b *testing.B, dir string) int64 {
			l := benchLock(b, dir)
			holder, err := unix.Open(l.Path(), unix.O_RDWR|unix.O_CLOEXEC, 0)
			must(err)
			must(unix.Flock(holder, unix.LOCK_EX))
			return measure(b,
				func() { kind.once(ctx, l) },
				func() bool { return l.Stats().Waiting == goroutines },
				func() { unix.Close(holder) })
		})
	}
	run("packlockHolds", "B/hold", func(b *testing.B, dir string) int64 {
		l := benchLock(b, dir)
		return holding(b, func() func() {
			h, err := l.AcquireShared(ctx)
			must(err)
			return func() { must(h.Release()) }
		})
	})
	run("rawHolds", "B/hold", func(b *testing.B, dir string) int64 {
		fds := rawDescriptors(b, dir)
		return holding(b, func() func() {
			fd := <-fds
			must(unix.Flock(fd, unix.LOCK_SH))
			return func() { must(unix.Flock(fd, unix.LOCK_UN)) }
		})
	})
	for _, kind := range []struct {
		name string
		once func(fd int)
	}{{"raw", rawOnce}, {"rawShared", rawShareOnce}} {
		run(kind.name, "B/waiter", func(b *testing.B, dir string) int64 {
			holder := rawOpen(b, dir)
			must(unix.Flock(holder, unix.LOCK_EX))
			fds := rawDescriptors(b, dir)
			var waiting atomic.Int32
			return measure(b,
				func() { fd := <-fds; waiting.Add(1); kind.once(fd) },
				func() bool {
					return waiting.Load() == goroutines && (countThreads() < 0 || countThreads() >= goroutines)
				},
				func() { must(unix.Flock(holder, unix.LOCK_UN)) })
		})
	}
}

// countThreads returns how many threads this process has, or -1 if it cannot find out.
func countThreads() int {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return -1
	}
	return len(tasks)
}

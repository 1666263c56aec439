package contend

import (
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/windows"
)

var (
	kernel32 = windows.NewLazySystemDLL("kernel32.dll")
	counter  = kernel32.NewProc("QueryPerformanceCounter").Addr()

	// nanoseconds is how many one count takes.
	nanoseconds = func() float64 {
		var perSecond int64
		syscall.SyscallN(kernel32.NewProc("QueryPerformanceFrequency").Addr(), uintptr(unsafe.Pointer(&perSecond)))
		return 1e9 / float64(perSecond)
	}()
)

// now is a monotonic clock in nanoseconds. The one of package time ticks every
// half millisecond here, which is too coarse for waits and sections.
func now() int64 {
	var count int64
	syscall.SyscallN(counter, uintptr(unsafe.Pointer(&count)))
	return int64(float64(count) * nanoseconds)
}

// sharedNow is a clock that can be compared between processes.
func sharedNow() int64 { return now() }

// mapFile maps the beginning of f into memory, shared with every process that
// does so too. It stays mapped.
func mapFile(f *os.File, size int) (unsafe.Pointer, error) {
	mapping, err := windows.CreateFileMapping(windows.Handle(f.Fd()), nil, windows.PAGE_READWRITE, 0, uint32(size), nil)
	if err != nil {
		return nil, os.NewSyscallError("CreateFileMapping", err)
	}
	defer windows.CloseHandle(mapping) // the view keeps it
	address, err := windows.MapViewOfFile(mapping, windows.FILE_MAP_READ|windows.FILE_MAP_WRITE, 0, 0, uintptr(size))
	if err != nil {
		return nil, os.NewSyscallError("MapViewOfFile", err)
	}
	// Not memory of Go's, which is what vet has in mind when it warns of a
	// pointer made from an integer.
	return *(*unsafe.Pointer)(unsafe.Pointer(&address)), nil
}

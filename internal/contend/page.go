package contend

import (
	"os"
	"sync/atomic"
	"time"
	"unsafe"
)

// page is memory that the processes of a run share. Each part has a cache line
// of its own.
type page struct {
	// owner is who is in a section now, 0 if nobody is.
	owner atomic.Uint64
	_     [7]uint64

	// arrived counts who is ready to start. The last one sets began, by sharedNow.
	arrived, began atomic.Int64
	_              [6]uint64

	// shared counts, for each process, its goroutines that are in a shared section.
	shared [maxSharing]struct {
		atomic.Int64
		_ [7]uint64
	}

	// What two processes tell each other in WakeUp: the number of the round
	// that is held, asked for and done; and when it was released, by
	// sharedNow.
	held, asked, done, released atomic.Int64
}

// maxSharing is the most processes of a run in which some share the lock.
const maxSharing = 512

// newPage makes a file to be mapped as a page, and returns its name. In
// /dev/shm, where there is one, it is memory: a mapping of a file on a disk
// stalls whenever the kernel writes it back.
func newPage() (string, error) {
	const pattern = "packlock-contend-"
	f, err := os.CreateTemp("/dev/shm", pattern)
	if err != nil {
		f, err = os.CreateTemp("", pattern)
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	return f.Name(), f.Truncate(int64(unsafe.Sizeof(page{})))
}

// mapPage maps the page in the file of that name.
func mapPage(name string) (*page, error) {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	memory, err := mapFile(f, int(unsafe.Sizeof(page{})))
	return (*page)(memory), err
}

// start waits until n have called it, and returns when the last one did, on the clock of
// now. So all end at the same time, and none gets in after the others have ended.
func (p *page) start(n int) int64 {
	if p.arrived.Add(1) == int64(n) {
		p.began.Store(sharedNow())
	}
	until(func() bool { return p.began.Load() != 0 })
	return now() - (sharedNow() - p.began.Load())
}

// until waits for another process. It asks now and then, because there is no
// event to wait for that is not itself a burden on what is measured.
func until(condition func() bool) {
	for !condition() {
		time.Sleep(50 * time.Microsecond)
	}
}

// enter and exit surround a section. If somebody else is in one, enter or exit
// reports it. Of processes, which are the first so many, some share the lock.
func (p *page) enter(id uint64, processes int) bool {
	return p.owner.CompareAndSwap(0, id) && p.unshared(processes)
}

func (p *page) exit(id uint64, processes int) bool {
	unshared := p.unshared(processes)
	return p.owner.CompareAndSwap(id, 0) && unshared
}

// unshared reports whether none of the first processes is in a shared section.
func (p *page) unshared(processes int) bool {
	for i := range processes {
		if p.shared[i].Load() != 0 {
			return false
		}
	}
	return true
}

// enterShared and exitShared surround a shared section of a process. If another holder is in
// an exclusive one, they report it.
func (p *page) enterShared(process int) bool {
	p.shared[process].Add(1)
	return p.owner.Load() == 0
}

func (p *page) exitShared(process int) bool {
	alone := p.owner.Load() == 0
	p.shared[process].Add(-1)
	return alone
}

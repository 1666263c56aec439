// Package goid tells which goroutine is running.
//
// The runtime gives every goroutine a number and does not give the same number
// again in the life of the process, so that an identity can be kept and
// compared after its goroutine is gone. Only a goroutine on which C code calls Go,
// on a thread that Go did not start, is not gone after the call: the next such
// call, of whatever thread, may run on it. No public function returns it. The
// header of a stack trace has it, but making a trace costs microseconds, and
// more the deeper the stack. On amd64 and arm64 Get therefore reads it from
// the runtime's own descriptor of the goroutine, the g. The layout of the g
// may change with any release: where the identity is in it is worked out when
// the program starts, and if that does not give one clear answer, Get uses
// stack traces, as it does on all other architectures.
package goid

import (
	"math/bits"
	"runtime"
	"sync"
	"sync/atomic"
)

// Get returns the identity of the calling goroutine. It is never 0.
//
// A function running inside [iter.Pull], like any other coroutine, has an
// identity of its own.
func Get() uint64 {
	if canRead && offset != 0 {
		return word(offset)
	}
	return mustTrace()
}

// offset is where the identity is in the g, or 0 if that is not known.
// Offset 0 itself is taken: the assembler and the linker count on the g
// starting with the bounds of its stack.
var offset = discover()

const (
	wordSize = 8

	// scanWords bounds the search. On 64-bit systems the g is more than
	// 400 bytes long and has the identity in its first half, so that
	// the search neither misses it nor reads past the end.
	scanWords = 32

	// scanGoroutines is how many goroutines besides the one that
	// initializes the package have to agree on the offset.
	scanGoroutines = 3
)

// discover returns the one offset at which several goroutines have their
// identity. It returns 0 if there is no such offset or more than one.
//
// It runs in the initialization of the package rather than at the first Get,
// so that the goroutines it starts are long gone when a program counts its
// goroutines, and do not end up in a synctest bubble.
func discover() uintptr {
	if !canRead {
		return 0
	}
	var agreed atomic.Uint32
	agreed.Store(matches())
	var wg sync.WaitGroup
	for range scanGoroutines {
		wg.Go(func() { agreed.And(matches()) })
	}
	wg.Wait()
	return only(agreed.Load())
}

// matches returns the set of words of the g that equal the identity of the
// calling goroutine: bit i stands for word i.
func matches() uint32 {
	id := trace()
	if id == 0 {
		return 0
	}
	var set uint32
	for i := uintptr(1); i < scanWords; i++ {
		if word(i*wordSize) == id {
			set |= 1 << i
		}
	}
	return set
}

// only returns the offset of the only word in set,
// or 0 if set does not have exactly one.
func only(set uint32) uintptr {
	if bits.OnesCount32(set) != 1 {
		return 0
	}
	return uintptr(bits.TrailingZeros32(set)) * wordSize
}

// mustTrace is trace for callers that cannot do without an answer. A made-up
// one would let goroutines pass for each other.
func mustTrace() uint64 {
	id := trace()
	if id == 0 {
		panic("goid: cannot find the goroutine in its stack trace")
	}
	return id
}

// headers holds buffers for trace. They are pooled because what is passed to
// runtime.Stack escapes. The part of the header that matters is at most 31
// bytes long.
var headers = sync.Pool{New: func() any { return new([64]byte) }}

// trace returns the identity of the calling goroutine according to its stack
// trace, or 0 if the trace does not start in the known way.
func trace() uint64 {
	buf := headers.Get().(*[64]byte)
	id := parse(buf[:runtime.Stack(buf[:], false)])
	headers.Put(buf)
	return id
}

// parse returns N given a trace that starts with "goroutine N ",
// and 0 given anything else.
func parse(trace []byte) uint64 {
	const prefix = "goroutine "
	if len(trace) < len(prefix) || string(trace[:len(prefix)]) != prefix {
		return 0
	}
	var id uint64
	for _, c := range trace[len(prefix):] {
		switch {
		case '0' <= c && c <= '9':
			id = id*10 + uint64(c-'0')
		case c == ' ':
			return id
		default:
			return 0
		}
	}
	return 0
}

package packlock_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"time"

	"packlock"
)

// holderOf describes the lock's holder in a few words.
func holderOf(lock *packlock.Lock) string {
	holders, err := lock.Holders()
	if err != nil || len(holders) == 0 || holders[0].PID == 0 {
		return "a process that is not visible from here"
	}
	p := holders[0]
	if p.Self {
		return "another part of this program"
	}
	s := fmt.Sprintf("pid %d (%s)", p.PID, p.Name)
	if !p.Started.IsZero() {
		s += fmt.Sprintf(", which started %v ago", time.Since(p.Started).Round(time.Second))
	}
	return s
}

// acquireWithNotice acquires the lock. If that takes longer than delay, it shows the
// holder: "waiting for pid 4711 (make), which started 3m0s ago". For people, one second is a
// good delay.
func acquireWithNotice(ctx context.Context, lock *packlock.Lock, delay time.Duration, show func(string)) (*packlock.Hold, error) {
	notice := time.AfterFunc(delay, func() { show("waiting for " + holderOf(lock)) })
	defer notice.Stop()
	return lock.Acquire(ctx)
}

// A command line program prints the process that it waits for.
func ExampleLock_Holders() {
	dir, err := os.MkdirTemp("", "pack")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	lock, err := packlock.Open(dir)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer lock.Close()

	first, err := lock.Acquire(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	first.Detach()
	hold, err := acquireWithNotice(context.Background(), lock, time.Millisecond, func(line string) {
		fmt.Println(line)
		first.Release()
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	hold.Release()
	// Output: waiting for another part of this program
}

// lockedOrRefused serves each request under the lock, or replies with 423 and the lock's
// holder.
func lockedOrRefused(lock *packlock.Lock, serve http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		hold, err := lock.TryAcquire()
		switch {
		case errors.Is(err, packlock.ErrBusy):
			http.Error(w, "the pack is held by "+holderOf(lock), http.StatusLocked)
			return
		case err != nil:
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		defer hold.Release()
		serve(w, r.WithContext(hold.Context(r.Context())))
	}
}

// A web handler replies with 423 and the holder's name.
func ExampleLock_Holders_http() {
	dir, err := os.MkdirTemp("", "pack")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	lock, err := packlock.Open(dir)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer lock.Close()

	get := func(handler http.HandlerFunc) {
		response := httptest.NewRecorder()
		handler(response, httptest.NewRequest("GET", "/", nil))
		fmt.Println(response.Code, strings.TrimSpace(response.Body.String()))
	}
	second := lockedOrRefused(lock, func(w http.ResponseWriter, r *http.Request) {})
	get(lockedOrRefused(lock, func(w http.ResponseWriter, r *http.Request) {
		// Meanwhile a second request arrives, on a goroutine of its own.
		done := make(chan struct{})
		go func() {
			defer close(done)
			get(second)
		}()
		<-done
		fmt.Fprint(w, "served")
	}))
	// Output:
	// 423 the pack is held by another part of this program
	// 200 served
}

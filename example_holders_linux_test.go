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

// whoHas says in a few words who has the lock.
func whoHas(lock *packlock.Lock) string {
	holders, err := lock.Holders()
	if err != nil || len(holders) == 0 || holders[0].PID == 0 {
		return "somebody who cannot be seen from here"
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

// acquireOrSay waits for the lock. If that takes longer than patience, a second for
// people, it says for whom it waits: "waiting for pid 4711 (make), which started
// 3m0s ago".
func acquireOrSay(ctx context.Context, lock *packlock.Lock, patience time.Duration, say func(string)) (*packlock.Hold, error) {
	notice := time.AfterFunc(patience, func() { say("waiting for " + whoHas(lock)) })
	defer notice.Stop()
	return lock.Acquire(ctx)
}

// A command line program that says for whom it waits.
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
	hold, err := acquireOrSay(context.Background(), lock, time.Millisecond, func(line string) {
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

// lockedOrRefused has each request served under the lock, or answered with 423 and
// who has it.
func lockedOrRefused(lock *packlock.Lock, serve http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		hold, err := lock.TryAcquire()
		switch {
		case errors.Is(err, packlock.ErrBusy):
			http.Error(w, "the pack is held by "+whoHas(lock), http.StatusLocked)
			return
		case err != nil:
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		defer hold.Release()
		serve(w, r.WithContext(hold.Context(r.Context())))
	}
}

// A web handler that answers 423 with the holder's name.
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
		answer := httptest.NewRecorder()
		handler(answer, httptest.NewRequest("GET", "/", nil))
		fmt.Println(answer.Code, strings.TrimSpace(answer.Body.String()))
	}
	second := lockedOrRefused(lock, func(w http.ResponseWriter, r *http.Request) {})
	get(lockedOrRefused(lock, func(w http.ResponseWriter, r *http.Request) {
		// Meanwhile another request comes, on a goroutine of its own.
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

package main

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestCheckThatHangsDoesNotHoldUpTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int32
		answer := make(chan error)
		w := watchForLoss([]target{{name: "pack"}}, []func() error{func() error { calls.Add(1); return <-answer }})
		time.Sleep(time.Hour)
		started := time.Now()
		w.stop()
		if took := time.Since(started); took != 5*time.Second {
			t.Errorf("the end took %v", took)
		}
		if n := calls.Load(); n != 1 {
			t.Errorf("%d checks at the same time", n)
		}
		close(answer)
	})
}

func TestLocksAreCheckedOnceASecondAndAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		w := watchForLoss([]target{{name: "pack"}}, []func() error{func() error { calls++; return nil }})
		time.Sleep(10*time.Second + time.Millisecond)
		w.stop()
		if calls != 11 {
			t.Errorf("checked %d times, want 11", calls)
		}
	})
}

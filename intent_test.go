package packlock

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// announcements returns how many boards have one on the file at fakePath.
func (e *engine) announcements() int {
	e.k.mu.Lock()
	defer e.k.mu.Unlock()
	return len(e.k.files[fakePath].announced)
}

// announced checks whether this process, or another one, has an announcement.
func (e *engine) announced(want int) {
	e.Helper()
	synctest.Wait()
	if n := e.announcements(); n != want {
		e.Fatalf("%d announcements, want %d", n, want)
	}
}

// writerElsewhere returns the board of another process, whose writer has announced itself.
func (e *engine) writerElsewhere() *fakeBoard {
	e.Helper()
	f := e.k.foreigner(e, fakePath)
	b := &fakeBoard{fakeFile: f.fakeFile}
	if err := b.announce(false); err != nil {
		e.Fatal(err)
	}
	return b
}

// An exclusive waiter that waits in the kernel has an announcement on the lock file, which
// is gone when it got the lock or gave up.
func TestWriterThatWaitsAnnouncesItself(t *testing.T) {
	for name, end := range map[string]func(e *engine, a *acquiring, f foreigner){
		"granted": func(e *engine, a *acquiring, f foreigner) {
			f.release()
			time.Sleep(pollMax)
			e.release(a.got())
		},
		"cancelled": func(e *engine, a *acquiring, f foreigner) {
			a.givesUp()
			e.announced(0)
			f.release()
		},
		"closed": func(e *engine, a *acquiring, f foreigner) {
			e.close(e.l)
			a.failed(fs.ErrClosed)
			e.announced(0)
			f.release()
		},
		"moved": func(e *engine, a *acquiring, f foreigner) {
			e.k.replace(fakePath)
			time.Sleep(2 * watchInterval)
			e.release(a.got())
			if n := len(f.inode.announced); n != 0 {
				e.Errorf("%d announcements on the lost file", n)
			}
			f.release()
		},
	} {
		for _, threads := range []bool{true, false} {
			t.Run(name, func(t *testing.T) {
				onFake(t, func(t *testing.T, e *engine) {
					f := e.lockedElsewhere()
					if !threads {
						e.reg.threads.max = 0
					}
					e.announced(0)
					a := e.acquire(e.l)
					e.announced(1)
					end(e, a, f)
					e.announced(0)
				})
			})
		}
	}
}

// An AcquireBlocking announces itself, too.
func TestAcquireBlockingAnnouncesItself(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.lockedElsewhere()
		a := e.blocking(e.l)
		e.announced(1)
		behind := e.acquire(e.l)
		e.announced(1)
		f.release()
		e.release(a.got())
		e.announced(0)
		e.release(behind.got())
	})
}

// A shared waiter has no announcement.
func TestReaderThatWaitsDoesNotAnnounceItself(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.lockedElsewhere()
		a := e.shared(e.l)
		e.announced(0)
		w := e.acquire(e.l) // behind it
		e.announced(0)
		a.givesUp()
		e.announced(0) // its thread waits for the shared lock
		f.release()
		e.release(w.got())
	})
}

// An orphaned wait has no announcement. The waiter that adopts it has.
func TestOrphanDoesNotAnnounceItself(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.orphanedBehindReaders()
		e.announced(0)
		a := e.acquire(e.l)
		e.announced(1)
		a.givesUp()
		e.announced(0)
		e.release(e.shared(e.l).got()) // past it, which leaves it behind
		e.announced(0)
		a = e.acquire(e.l)
		e.announced(1)
		r := e.shared(e.l)
		a.givesUp()
		e.release(r.got())
		e.announced(0)
		f.release()
	})
}

// A waiter renews its announcement once a second, and for a moment it has none.
func TestAnnouncementIsRenewed(t *testing.T) {
	for _, way := range waysToWait {
		onFake(t, func(t *testing.T, e *engine) { checkRenewed(t, e, way) })
	}
}

func checkRenewed(t *testing.T, e *engine, way wayToWait) {
	f := e.lockedElsewhere()
	start := time.Now()
	a := way.acquire(e)
	for i := range 3 {
		e.announced(1)
		if e.k.announcements != int64(i+1) {
			t.Fatalf("%d announcements, want %d", e.k.announcements, i+1)
		}
		time.Sleep(time.Until(start.Add(time.Duration(i+1)*watchInterval)) - 1)
		e.announced(1)
		time.Sleep(time.Nanosecond)
		e.announced(0)
		time.Sleep(intentGap - 1)
		e.announced(0)
		time.Sleep(time.Nanosecond)
	}
	f.release()
	e.release(a.got())
	time.Sleep(2 * watchInterval)
	e.announced(0)
}

// A writer that got the lock while its announcement was away leaves nothing to the next one.
func TestGrantWhileTheAnnouncementIsAway(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.lockedElsewhere()
		a := e.acquire(e.l)
		time.Sleep(watchInterval)
		e.announced(0)
		f.release()
		e.release(a.got())
		time.Sleep(intentGap)
		f = e.lockedElsewhere()
		a = e.acquire(e.l)
		e.announced(1)
		for _, place := range f.inode.announced {
			if place%1000 != 0 {
				t.Errorf("announced at %d, as a renewal", place)
			}
		}
		f.release()
		e.release(a.got())
	})
}

// A writer that comes to the head of the queue because the group opens again announces itself.
func TestWriterIsAnnouncedWhenTheGroupOpensAgain(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		e.heldAfterRival(0)
		h := e.shared(e.l).got()
		time.Sleep(askInterval + 1)
		b := e.writerElsewhere()
		r := e.shared(e.l)
		r.waits()
		w := e.acquire(e.l)
		e.announced(1) // the writer elsewhere
		b.withdraw()
		time.Sleep(yieldMax)
		e.release(r.got())
		e.announced(1)
		e.release(h)
		<-w.done
		e.release(w.hold)
	})
}

// No Lock with WithAnyFile announces itself or asks, and none does on a file system without
// announcements.
func TestNoAnnouncementOnOtherFiles(t *testing.T) {
	for _, row := range []struct{ remote, beside bool }{{true, false}, {false, false}, {false, true}} {
		onKernel(t, row.remote, func(t *testing.T, e *engine) {
			l := e.l
			if !row.remote {
				l = e.open(fakePath, WithAnyFile())
				if !row.beside {
					e.close(e.l)
				}
			}
			f := e.lockedElsewhere()
			a := e.acquire(l)
			e.announced(0)
			time.Sleep(5 * watchInterval)
			e.announced(0)
			f.release()
			e.release(a.got())
			b := e.writerElsewhere()
			e.release(e.tryShared(l))
			b.withdraw()
		})
	}
}

// Readers stay out while a writer of another process waits, until it has had the lock.
func TestReadersYieldToAWriterElsewhere(t *testing.T) {
	for _, withdraws := range []bool{false, true} {
		onFake(t, func(t *testing.T, e *engine) {
			e.heldAfterRival(0)
			h := e.shared(e.l).got()
			time.Sleep(askInterval + 1)
			b := e.writerElsewhere()
			readers := []*acquiring{e.shared(e.l), e.shared(e.l)}
			own := e.start(func(ctx context.Context) (*Hold, error) { return e.l.AcquireShared(h.Context(ctx)) }).got()
			if _, err := e.l.TryAcquireShared(); !errors.Is(err, ErrBusy) {
				t.Errorf("%v, want ErrBusy", err)
			}
			for _, r := range readers {
				r.waits()
			}
			e.announced(1) // only the writer
			e.release(own)
			e.release(h)
			time.Sleep(500 * time.Millisecond)
			for _, r := range readers {
				r.waits()
			}
			if _, err := e.l.TryAcquireShared(); !errors.Is(err, ErrBusy) {
				t.Errorf("%v, want ErrBusy", err)
			}
			if !withdraws {
				f := e.k.foreigner(t, fakePath)
				for !f.tryLock(false) { // a reader may just be trying
					time.Sleep(time.Microsecond)
				}
				time.Sleep(yieldMax)
				if s := e.l.Stats(); !s.Parked {
					t.Errorf("the readers do not wait in the kernel: %+v", s)
				}
				b.withdraw()
				f.release()
			} else {
				b.withdraw()
				time.Sleep(2 * yieldMax)
			}
			for _, r := range readers {
				e.release(r.got())
			}
		})
	}
}

// A writer that was stopped while it waits keeps readers out for a second, once.
func TestReadersYieldToAStoppedWriterOnce(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		b := e.writerElsewhere()
		start := time.Now()
		h := e.start(e.l.AcquireShared)
		<-h.done
		if d := time.Since(start); d < announcementAge || d > announcementAge+2*yieldMax {
			t.Errorf("it waited for %v, want a second", d)
		}
		e.release(h.hold)
		for range 10 {
			time.Sleep(100 * time.Millisecond)
			e.release(e.tryShared(e.l))
		}
		if err := b.announce(false); err != nil { // it was continued
			t.Fatal(err)
		}
		time.Sleep(askInterval + 1)
		if _, err := e.l.TryAcquireShared(); !errors.Is(err, ErrBusy) {
			t.Errorf("%v, want ErrBusy: the writer is alive again", err)
		}
		b.withdraw()
	})
}

// Readers yield for maxYield at most, even to a writer that is alive: a holder elsewhere may
// wait for them.
func TestReadersYieldForABoundedTime(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.k.foreigner(t, fakePath)
		f.lockShared(t)
		b := e.writerElsewhere()
		r := e.start(e.l.AcquireShared)
		start := time.Now()
		for {
			select {
			case <-r.done:
			case <-time.After(900 * time.Millisecond):
				b.announce(true)
				continue
			}
			break
		}
		if d := time.Since(start); d < maxYield || d > maxYield+time.Second {
			t.Errorf("it waited for %v, want %v", d, maxYield)
		}
		e.release(r.hold)
		b.withdraw()
		f.release()
	})
}

// A group that has closed for a writer elsewhere opens again when that turns out to be stopped,
// or has given up: a member may wait for an acquire that waits for the group.
func TestGroupThatDoesNotDrainOpensAgain(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		h := e.shared(e.l).got()
		time.Sleep(askInterval + 1)
		b := e.writerElsewhere()
		r := e.start(e.l.AcquireShared)
		r.waits()
		start := time.Now()
		<-r.done
		if d := time.Since(start); d < announcementAge || d > announcementAge+2*yieldMax {
			t.Errorf("it waited for %v, want %v", d, announcementAge)
		}
		e.release(r.hold)
		b.withdraw()

		time.Sleep(askInterval + 1)
		b.announce(false)
		r = e.shared(e.l)
		r.waits()
		b.withdraw()
		time.Sleep(yieldMax)
		e.release(r.got())
		e.release(h)
	})
}

// A shared acquire that follows a refused try closely yields, too.
func TestReaderAfterARefusedTryYields(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		b := e.writerElsewhere()
		if _, err := e.l.TryAcquireShared(); !errors.Is(err, ErrBusy) {
			t.Errorf("%v, want ErrBusy", err)
		}
		r := e.shared(e.l)
		r.waits()
		b.withdraw()
		time.Sleep(yieldMax)
		e.release(r.got())
	})
}

// After a writer elsewhere was served, it is the readers' turn, also if the next one waits.
func TestReadersYieldToOneWriterAtATime(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		first := e.writerElsewhere()
		r := e.shared(e.l)
		r.waits()
		second := e.writerElsewhere()
		time.Sleep(100 * time.Millisecond)
		r.waits()
		first.withdraw()
		time.Sleep(yieldMax)
		e.release(r.got())
		time.Sleep(askInterval)
		r = e.shared(e.l)
		r.waits()
		second.withdraw()
		time.Sleep(yieldMax)
		e.release(r.got())
	})
}

// A member of a group whose lost file keeps its name would wait for itself.
func TestReentryOnALostFileThatKeepsItsName(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		h := e.tryShared(e.l)
		e.k.replace(fakePath)
		e.fail("open", errDeletePending)
		time.Sleep(pathCheckAge + 1)
		if _, err := e.l.AcquireShared(t.Context()); !errors.Is(err, ErrReentrant) {
			t.Errorf("%v, want ErrReentrant", err)
		}
		e.k.setHook(nil)
		e.release(h)
		e.works()
	})
}

// A shared waiter that yields can be cancelled, and an exclusive one behind it goes on.
func TestReaderThatYieldsGivesUp(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		b := e.writerElsewhere()
		r := e.shared(e.l)
		r.waits()
		w := e.acquire(e.l)
		r.givesUp()
		time.Sleep(yieldMax)
		e.release(w.got())
		time.Sleep(askInterval + 1)
		r = e.shared(e.l)
		r.waits()
		r.givesUp()
		b.withdraw()
	})
}

// However many readers come, they ask once in askInterval.
func TestReadersAskOnceInAskInterval(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		h := e.shared(e.l).got()
		for i := range 10 {
			e.called("find", i+1)
			for range 100 {
				e.release(e.shared(e.l).got())
			}
			e.called("find", i+1)
			time.Sleep(askInterval)
			e.release(e.shared(e.l).got())
		}
		e.release(h)
	})
}

// A process that has no readers makes two calls more for each wait in the kernel, and else
// none.
func TestAnnouncingCostsTwoCalls(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		e.release(e.try(e.l))
		e.called("openBoard", 0)
		f := e.k.foreigner(t, fakePath)
		for i := range 5 {
			f.lock(t)
			a := e.acquire(e.l)
			f.release()
			e.release(a.got())
			e.called("openBoard", 1)
			e.called("announce", i+1)
			e.called("withdraw", i+1)
		}
		e.called("find", 0)
	})
}

// A group for which no writer waits closes for a moment each groupSlice. A writer that does not
// announce itself, parked in the kernel, gets the lock then.
func TestGroupClosesOnceInASlice(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.k.foreigner(t, fakePath)
		holds := make(chan *Hold, 3)
		holds <- e.shared(e.l).got()
		holds <- e.shared(e.l).got()
		go f.waitForLock(false)
		start := time.Now()
		var waiting *acquiring
		for waiting == nil { // readers that overlap
			time.Sleep(time.Millisecond)
			a := e.shared(e.l)
			select {
			case <-a.done:
				holds <- a.hold
				e.release(<-holds)
			default:
				waiting = a
				e.release(e.start(func(context.Context) (*Hold, error) { return e.l.TryAcquireShared() }).got())
			}
			if time.Since(start) > time.Minute {
				t.Fatal("the group stays open")
			}
		}
		if d := time.Since(start); d < groupSlice || d > groupSlice+5*time.Millisecond {
			t.Errorf("it closed after %v, want %v", d, groupSlice)
		}
		e.release(<-holds)
		e.release(<-holds)
		synctest.Wait()
		f.release() // it has it
		e.release(waiting.got())
	})
}

// A group that has closed because its slice is over opens again if it does not drain soon.
// Readers beside one that stays lose a fiftieth of the time at most.
func TestGroupWhoseSliceIsOverOpensAgain(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		h := e.shared(e.l).got()
		var waited time.Duration
		const minutes = 3
		for begin := time.Now(); time.Since(begin) < minutes*time.Minute; time.Sleep(10 * time.Millisecond) {
			start := time.Now()
			a := e.shared(e.l)
			<-a.done
			waited += time.Since(start)
			e.release(a.hold)
		}
		if waited == 0 || waited > minutes*time.Minute/drainShare+watchInterval {
			t.Errorf("readers waited for %v in %d minutes", waited, minutes)
		}
		e.release(h)
	})
}

// writerBehindReader returns a process that holds the lock shared, and the Lock of another, whose
// exclusive acquire waits for that.
func (e *engine) writerBehindReader() (f foreigner, writer *Lock, w *acquiring) {
	e.Helper()
	f = e.k.foreigner(e, fakePath)
	f.lockShared(e)
	writer, err := newRegistry(e.k).openFile(fakePath)
	if err != nil {
		e.Fatal(err)
	}
	return f, writer, e.acquire(writer)
}

// A reader yields to a writer that renews its announcement, whenever it begins to.
func TestReadersYieldToARenewedAnnouncement(t *testing.T) {
	for _, phase := range []time.Duration{2, 100, 300, 900} {
		onFake(t, func(t *testing.T, e *engine) {
			f, writer, w := e.writerBehindReader()
			time.Sleep(phase * time.Millisecond)
			start := time.Now()
			r := e.start(e.l.AcquireShared)
			<-r.done
			if d := time.Since(start); d < maxYield {
				t.Errorf("phase %d ms: yielded for %v", phase, d)
			}
			e.release(r.hold)
			f.release()
			time.Sleep(time.Second)
			e.release(w.got())
			e.close(writer)
		})
	}
}

// A try yields to a writer for a second, and then the kernel decides.
func TestTryYieldsForASecond(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f, writer, w := e.writerBehindReader()
		for start := time.Now(); ; time.Sleep(5 * time.Millisecond) {
			h, err := e.l.TryAcquireShared()
			if d := time.Since(start); err == nil {
				e.release(h)
				if d < maxTryYield || d > maxTryYield+10*time.Millisecond {
					t.Errorf("it yielded for %v", d)
				}
				break
			}
		}
		f.release()
		e.release(w.got())
		e.close(writer)
	})
}

// Of two acquires that join a group by a path that is lost, the second does not close the
// group, which is in order by another path.
func TestJoinersOfALostPathLeaveTheGroupOpen(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		e.k.link(fakePath, otherPath)
		other := e.open(otherPath)
		h := e.tryShared(other)
		e.k.replace(fakePath)
		time.Sleep(2 * handOverCheckAge)
		resume := make(chan struct{})
		e.beforeNext("sameAt", func() error { <-resume; return nil })
		slow, fast := e.shared(e.l), e.shared(e.l)
		close(resume)
		e.release(fast.got())
		e.release(slow.got())
		e.release(e.tryShared(other))
		e.release(e.shared(other).got())
		e.release(h)
	})
}

// The announcement of a writer behind readers of its own process is withdrawn when it gives
// up, also if the next waiter is a reader that yields.
func TestReaderThatYieldsHasNoAnnouncement(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		e.heldAfterRival(0)
		h := e.shared(e.l).got()
		w := e.acquire(e.l)
		r := e.shared(e.l)
		e.announced(1)
		b := e.writerElsewhere()
		time.Sleep(askInterval + 1)
		goOn := e.holdUp("try")
		e.release(h)
		w.cancel()
		e.k.setHook(nil)
		goOn()
		w.failed(ErrCancelled)
		r.waits()
		e.announced(1) // that of the writer elsewhere
		b.withdraw()
		time.Sleep(2 * yieldMax)
		e.release(r.got())
	})
}

// A deadlock that is ended by admitting a reader ends at once, also if a writer of another
// process waits.
func TestDeadlockBesideAWriterElsewhere(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		locks, reader, holder, writer := e.readerBehindWriter()
		b := &fakeBoard{fakeFile: e.k.foreigner(t, locks[0].Path()).fakeFile}
		b.announce(false)
		reader.goOn()
		holder.goOn()
		time.Sleep(2 * deadlockAge)
		e.release(reader.got())
		e.release(holder.got())
		b.withdraw()
		e.release(writer.got())
	})
}

// If the board cannot be used for now, or never, readers and writers go on without it.
func TestBoardFails(t *testing.T) {
	for _, row := range []struct {
		err    error
		passes bool
	}{{errBusyBoard, true}, {errFileLost, true}, {errBroken, false}} {
		for _, call := range []string{"openBoard", "announce", "find"} {
			onFake(t, func(t *testing.T, e *engine) {
				f := e.lockedElsewhere()
				e.fail(call, row.err)
				w := e.acquire(e.l)
				if call != "find" {
					e.announced(0)
				}
				f.release()
				e.release(w.got())
				if call == "announce" {
					e.k.setHook(nil) // or the other process could not, either
				}
				b := e.writerElsewhere()
				if call != "announce" {
					e.release(e.tryShared(e.l))
				}
				e.k.setHook(nil)
				time.Sleep(askInterval + 1)
				h, err := e.l.TryAcquireShared()
				if yields := errors.Is(err, ErrBusy); yields != row.passes && call != "announce" {
					t.Errorf("%s, %v: yields %v", call, row.err, yields)
				}
				if h != nil {
					e.release(h)
				}
				b.withdraw()
			})
		}
	}
}

// With a rival, an exclusive waiter announces itself already while readers of its own
// process have the lock.
func TestWriterBehindItsOwnReadersAnnouncesItself(t *testing.T) {
	for name, end := range map[string]func(e *engine, w *acquiring, h *Hold){
		"granted":   func(e *engine, w *acquiring, h *Hold) { e.release(h); e.announced(0); e.release(w.got()) },
		"cancelled": func(e *engine, w *acquiring, h *Hold) { w.givesUp(); e.announced(0); e.release(h) },
		"parked": func(e *engine, w *acquiring, h *Hold) {
			f := e.k.foreigner(e, fakePath)
			f.lockShared(e)
			e.release(h)
			w.waits()
			e.announced(1)
			f.release()
			e.announced(0)
			e.release(w.got())
		},
		"cancelled with the turn": func(e *engine, w *acquiring, h *Hold) {
			goOn := e.holdUp("try")
			e.release(h)
			w.waits()
			e.announced(1)
			w.cancel()
			goOn()
			w.failed(ErrCancelled)
			e.announced(0)
		},
		"refused, with readers behind it": func(e *engine, w *acquiring, h *Hold) {
			r := e.shared(e.l)
			goOn := e.holdUp("try")
			e.release(h)
			w.cancel()
			goOn()
			w.failed(ErrCancelled)
			h = r.got()
			e.announced(0)
			e.release(h)
		},
	} {
		t.Run(name, func(t *testing.T) {
			onFake(t, func(t *testing.T, e *engine) {
				h := e.shared(e.l).got()
				w := e.acquire(e.l)
				e.announced(0) // without a rival
				w.givesUp()
				e.release(h)
				e.heldAfterRival(0)
				h = e.shared(e.l).got()
				w = e.acquire(e.l)
				e.announced(1)
				end(e, w, h)
				e.announced(0)
			})
		})
	}
}

// fakeBoard is a board of the fake kernel.
type fakeBoard struct {
	*fakeFile
	last int64 // the place of the last announcement
}

func (f *fakeFile) openBoard(path string) (board, error) {
	if err := f.k.enter("openBoard", path); err != nil {
		return nil, err
	}
	if f.remote() {
		return nil, errors.ErrUnsupported
	}
	opened, err := f.k.openFile(path)
	if err != nil {
		return nil, err
	}
	f.k.mu.Lock()
	f.k.nopen--
	f.k.nboards++
	f.k.mu.Unlock()
	b := &fakeBoard{fakeFile: opened}
	if b.inode != f.inode {
		b.close()
		return nil, errFileLost
	}
	return b, nil
}

func (b *fakeBoard) announce(renews bool) error {
	defer b.finish()
	if err := b.begin("announce"); err != nil {
		return err
	}
	b.k.mu.Lock()
	defer b.k.mu.Unlock()
	b.k.announcements++
	if b.last++; !renews {
		b.last = 1000 * b.k.announcements
	}
	b.inode.announced[b] = b.last
	return nil
}

func (b *fakeBoard) withdraw() error {
	defer b.finish()
	if err := b.begin("withdraw"); err != nil {
		return err
	}
	b.k.mu.Lock()
	defer b.k.mu.Unlock()
	delete(b.inode.announced, b)
	return nil
}

func (b *fakeBoard) find(last int64, stale []int64) (at int64, staleOnes bool, err error) {
	defer b.finish()
	if err := b.begin("find"); err != nil {
		return 0, false, err
	}
	b.k.mu.Lock()
	defer b.k.mu.Unlock()
	for other, place := range b.inode.announced {
		switch {
		case other == b:
		case slices.Contains(stale, place):
			staleOnes = true
		case at == 0 || at != last && (place == last || place < at): // whatever the order of the map
			at = place
		}
	}
	return at, staleOnes, nil
}

func (b *fakeBoard) close() error {
	b.k.mu.Lock()
	delete(b.inode.announced, b)
	b.k.nopen++ // which is about to be counted
	b.k.nboards--
	b.k.mu.Unlock()
	b.closeDescriptor()
	return b.k.enter("closeBoard", b.path)
}

// A reader makes no pause for a rival, nor reoffers the lock, as an exclusive acquire would:
// the rival announces itself if it waits.
func TestReadersDoNotPauseForARival(t *testing.T) {
	for _, remote := range []bool{false, true} {
		onKernel(t, remote, func(t *testing.T, e *engine) {
			e.release(e.shared(e.l).got()) // which finds out whether there are announcements
			e.heldAfterRival(0)
			h := e.shared(e.l).got()
			time.Sleep(sliceTime)
			e.release(h)
			pauses := e.k.called("pause")
			e.release(e.start(e.l.AcquireShared).got())
			if paused := e.k.called("pause") > pauses; paused != remote {
				t.Errorf("remote %v: paused %v", remote, paused)
			}
			if !remote {
				h := e.shared(e.l).got()
				time.Sleep(probeTime)
				e.release(h)
				for range 3 { // one pause is enough for another probeTime
					e.release(e.start(e.l.AcquireShared).got())
				}
				e.called("pause", pauses+1)
			}
		})
	}
}

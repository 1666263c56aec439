package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"packlock"
	"packlock/locktest"
)

// The two halves of doctor -peer talk by files in the directory, of which each
// writes its own and reads those of the other: peerPrefix, the half's id, a dot
// and a number that goes up. What a half has to say is in its file with the
// highest number. None is ever changed: it is renamed to where it is, and
// removed when there is the next.
//
// A half writes a new one each time before it looks for one of the other. That
// shows that it is alive. And a network file system that remembers what was in a
// directory, or that something was not there, forgets that when something
// changes in it.
//
// Not every one does: an SMB client may show an old list for long. So the same is
// also in a file that has one name for good, which ends in nowSuffix and is
// written in place. To open it the server is asked, whatever the client knows of
// the directory.
const (
	peerPrefix = ".packlock-peer-"
	nowSuffix  = ".now"
)

// A note is what is in such a file.
type note struct {
	Beat int // the number of the file
	peerName
	Partner string        // the id of the half that this one wants to work with
	Offer   int           // the number of the offer to work together, whoever made it
	Met     bool          // the offer that this one made was accepted
	Step    int           // the number of Word
	Word    string        // what it says to the other
	Within  time.Duration // of wordWoken
	Trouble string        // why it gives up
	Seal    int           // Beat again: what is in between was written with it
}

// peerName is what a half is known by to people.
type peerName struct {
	Host string `json:"host"`
	PID  int    `json:"pid"`
}

func (p peerName) String() string { return fmt.Sprintf("%s (pid %d)", p.Host, p.PID) }

// What the one that holds the lock and the one that tries it say, in turns.
//
// That the lock was taken refutes nothing yet: the holder may have been killed,
// and its lock been let go by that. It does when the holder then says that it
// holds the lock, as it did before and has done since.
const (
	wordHeld     = "held"     // the lock is
	wordBusy     = "busy"     // it was tried
	wordTaken    = "taken"    // it was tried, and taken
	wordHolding  = "holding"  // the lock that was taken: the end
	wordWait     = "wait"     // for it
	wordWaiting  = "waiting"  // still
	wordStill    = "still?"   // are you waiting
	wordReleased = "released" // the lock was
	wordWoken    = "woken"    // and has the lock
	wordAsleep   = "asleep"   // and has not got the lock: the end
)

// toDo is what a half does before it says the word.
var toDo = map[string]string{
	wordHeld:     "acquire the lock",
	wordBusy:     "try the lock",
	wordHolding:  "report whether it holds the lock",
	wordWait:     "go on",
	wordWaiting:  "wait for the lock",
	wordStill:    "go on",
	wordReleased: "release the lock",
	wordWoken:    "acquire the lock that was released",
}

// A half is one of the two processes of doctor -peer.
type half struct {
	ctx  context.Context
	dir  string
	id   string
	wait time.Duration // for a sign of the other

	mine    note
	beat    int      // the number of its latest file
	written []string // its files that are not yet removed

	other     note
	otherBeat int
	otherAt   time.Time // when that was seen
	missing   int       // how many looks in a row found no file of the other
	step      int       // of the conversation

	acquiring context.Context // ends with the conversation

	awaited   string // what this step waits for, "" if that was said
	awaitedAt time.Time
}

// examineWithPeer is one half of the examination across machines.
func (d *doctor) examineWithPeer(ctx context.Context) error {
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	h := &half{ctx: ctx, dir: d.report.Directory, id: rand.Text(), wait: time.Duration(d.wait)}
	h.mine.peerName = peerName{host, os.Getpid()}
	defer h.cleanUp()
	if err := h.meet(); err != nil {
		return err
	}
	d.report.Peer = &h.other.peerName
	d.say("other half", h.other.String())

	result, err := h.examine()
	if err != nil {
		if ctx.Err() == nil && !errors.As(err, new(silence)) {
			h.giveUp(err)
		}
		return err
	}
	h.part()
	d.judge(h, result)
	return nil
}

// judge makes the report of what came out.
func (d *doctor) judge(h *half, r peerResult) {
	record := func(name string, outcome locktest.Outcome, detail string, latencies ...time.Duration) {
		result := locktest.Result{Name: name, Outcome: outcome, Detail: detail, Latencies: latencies}
		d.report.Checks = append(d.report.Checks, result)
		d.show(result)
	}
	const notReached = "it did not come to that"
	excluded := func(name string, tries int, refuted bool) {
		switch {
		case refuted:
			record(name, locktest.Failed, errTaken.Error())
		case tries == 0:
			record(name, locktest.Skipped, notReached)
		default:
			record(name, locktest.OK, fmt.Sprintf("busy each time of %d", tries))
		}
	}
	woke := func(name string, within []time.Duration, asleep bool) {
		switch {
		case asleep:
			record(name, locktest.Failed, fmt.Sprintf("the wait went on for %v after the release", wakeBound))
		case len(within) == 0:
			record(name, locktest.Skipped, notReached)
		default:
			record(name, locktest.OK, fmt.Sprintf("within %v", slices.Max(within).Round(time.Millisecond)), within...)
		}
	}
	excluded("held here, tried there", r.triesThere, r.takenThere)
	excluded("held there, tried here", r.triesHere, r.takenHere)
	woke("wakes there", r.wokenThere, r.asleepThere)
	woke("wakes here", r.wokenHere, r.asleepHere)

	d.report.Trusted = len(d.report.Failed()) == 0
	refuted := r.takenHere || r.takenThere
	dir := legible(h.dir)
	switch {
	case refuted:
		d.report.Verdict = fmt.Sprintf("Refuted: one half took the lock while the other had it.\n"+
			"A lock in %s does not exclude between %s here and %s.", dir, h.mine.peerName, h.other.peerName)
	case !d.report.Trusted:
		d.report.Verdict = fmt.Sprintf("A lock in %s excludes between %s here and %s,\n"+
			"but a waiter is not woken when it is released.", dir, h.mine.peerName, h.other.peerName)
	default:
		d.report.Verdict = fmt.Sprintf("Proved: a lock in %s excludes\nbetween %s here and %s.", dir, h.mine.peerName, h.other.peerName)
	}
	if there := h.other.Host; there == h.mine.Host {
		d.report.Verdict += fmt.Sprintf("\nBoth are on a machine named %s: if it is the same one, this says nothing about others.", there)
	}
}

// renameNote is where a note becomes one for others to read. Tests kill a half
// there.
var renameNote = os.Rename

// publish writes a new file.
func (h *half) publish() error {
	h.beat++
	h.mine.Beat, h.mine.Seal = h.beat, h.beat
	data, err := json.Marshal(h.mine)
	if err != nil {
		return err
	}
	base := filepath.Join(h.dir, peerPrefix+h.id+".")
	draft, path := base+"draft", base+strconv.Itoa(h.beat)
	h.written = append(h.written, draft, path)
	if err := os.WriteFile(draft, data, 0o666); err != nil {
		return err
	}
	if err := renameNote(draft, path); err != nil {
		return err
	}
	h.remove(path)
	return h.publishInPlace(data)
}

// publishInPlace writes the file with nowSuffix, as a rule always as long.
func (h *half) publishInPlace(data []byte) error {
	f, err := os.OpenFile(h.nowPath(h.id), os.O_WRONLY|os.O_CREATE, 0o666)
	if err != nil {
		return err
	}
	data = append(data, bytes.Repeat([]byte(" "), max(0, 1024-len(data)))...)
	_, err = f.WriteAt(data, 0)
	return errors.Join(err, f.Truncate(int64(len(data))), f.Close())
}

func (h *half) nowPath(id string) string { return filepath.Join(h.dir, peerPrefix+id+nowSuffix) }

// readInPlace reads that file of another. It may be in the middle of being
// written: then it is there, and not ok.
func (h *half) readInPlace(id string) (n note, there, ok bool) {
	data, err := os.ReadFile(h.nowPath(id))
	return n, err == nil, err == nil && json.Unmarshal(data, &n) == nil && n.Beat == n.Seal
}

// remove removes the files written, except the one at the path latest. What
// somebody has open cannot be removed on Windows, and has its turn the next
// time.
func (h *half) remove(latest string) {
	var left []string
	for _, path := range h.written {
		if path == latest {
			left = append(left, path)
		} else if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			left = append(left, path)
		}
	}
	h.written = left
}

// cleanUp removes what the half has written.
func (h *half) cleanUp() {
	h.written = append(h.written, h.nowPath(h.id))
	for range 20 {
		if h.remove(""); len(h.written) == 0 {
			return
		}
		time.Sleep(peerPause)
	}
}

// beats returns the number of the latest file of each of the others.
func (h *half) beats() (map[string]int, error) {
	entries, err := os.ReadDir(h.dir)
	if err != nil {
		return nil, err
	}
	found := make(map[string]int)
	for _, entry := range entries {
		name, ours := strings.CutPrefix(entry.Name(), peerPrefix)
		id, number, _ := strings.Cut(name, ".")
		beat, err := strconv.Atoi(number)
		if ours && err == nil && id != h.id {
			found[id] = max(found[id], beat)
		}
	}
	return found, nil
}

// read reads a file. One that has been removed meanwhile, or that this machine
// only remembers, is not there: the next will be.
func (h *half) read(id string, beat int) (n note, ok bool) {
	data, err := os.ReadFile(filepath.Join(h.dir, peerPrefix+id+"."+strconv.Itoa(beat)))
	return n, err == nil && json.Unmarshal(data, &n) == nil
}

// peerPause is how long a half waits before it looks again.
const peerPause = 50 * time.Millisecond

func (h *half) pause() error {
	select {
	case <-time.After(peerPause):
	case <-h.ctx.Done():
	}
	return h.ctx.Err()
}

// meet finds another half. Whoever is free offers to work together to one with
// a greater id that is free, or accepts what one with a smaller id offers, so
// that no circle of offers can arise. An offer is withdrawn if the other is not
// free after all, or silent; what was accepted is given up if the offer is gone.
// That cannot cross: who made an offer is bound only by the acceptance of that
// very one, and keeps to it then.
func (h *half) meet() error {
	hint := time.AfterFunc(firstNotice, func() {
		fmt.Fprintf(os.Stderr, "packlock: doctor: on the other machine, within %v, type: packlock doctor -peer DIR\n", h.wait)
	})
	defer hint.Stop()
	signs := make(map[string]*sign)
	offers := 0
	// Whoever may be another's partner does not leave before that is settled.
	for started := time.Now(); h.mine.Partner != "" || time.Since(started) < h.wait; {
		if err := h.publish(); err != nil {
			return err
		}
		if err := h.readSigns(signs); err != nil {
			return err
		}
		if id := h.mine.Partner; id != "" {
			s := signs[id]
			agreed := s.note.Partner == h.id && s.note.Offer == h.mine.Offer
			mine := h.id < id
			if agreed && (mine || s.note.Met) {
				h.mine.Met = mine
				h.other, h.otherBeat, h.otherAt = s.note, s.beat, time.Now()
				return nil
			}
			engaged := s.note.Partner != "" && s.note.Partner != h.id
			if !s.alive() || mine && engaged || !mine && !agreed {
				h.mine.Partner = ""
			}
		}
		for id, s := range signs {
			switch {
			case h.mine.Partner != "" || !s.alive():
			case id < h.id && s.note.Partner == h.id:
				h.mine.Partner, h.mine.Offer = id, s.note.Offer
			case id > h.id && s.note.Partner == "":
				offers++
				h.mine.Partner, h.mine.Offer = id, offers
			}
		}
		if err := h.pause(); err != nil {
			return err
		}
	}
	for id, s := range signs {
		if s.note.Partner == h.id { // which it has from here: it is not one that was killed long ago
			h.written = append(h.written, h.scratch(id)) // it may have made that
			return silence(fmt.Sprintf("nothing came from the other half, %v, after the two had met; run both again", s.note.peerName))
		}
	}
	return fmt.Errorf("no other half within %v; on another machine, at the same time, type: packlock doctor -peer DIR", h.wait)
}

// A sign is what was seen of another half.
type sign struct {
	note  note
	beat  int
	beats int       // how many different ones there were
	at    time.Time // when there was the latest
}

// alive reports whether the half seems to run. Of one that was killed there may
// be a file, which stays as it is.
func (s *sign) alive() bool {
	const patience = 5 * time.Second
	return s.beats > 1 && time.Since(s.at) < patience
}

// readSigns brings signs up to date.
func (h *half) readSigns(signs map[string]*sign) error {
	beats, err := h.beats()
	if err != nil {
		return err
	}
	for id := range beats {
		if signs[id] == nil {
			signs[id] = &sign{}
		}
	}
	for id, s := range signs {
		if n, ok := h.latest(id, beats[id], s.beat); ok {
			*s = sign{n, n.Beat, s.beats + 1, time.Now()}
		}
	}
	return nil
}

// latest returns the latest note of another, if that is later than the one with
// the number seen. listed is the number in the list of the directory, 0 if there
// is none.
func (h *half) latest(id string, listed, seen int) (n note, ok bool) {
	if listed > seen {
		if n, ok := h.read(id, listed); ok {
			return n, true
		}
	}
	n, _, ok = h.readInPlace(id)
	return n, ok && n.Beat > seen
}

// look says what there is to say, once more, and looks for what the other half
// says.
func (h *half) look() error {
	if err := h.pause(); err != nil {
		return err
	}
	if err := h.publish(); err != nil {
		return err
	}
	beats, err := h.beats()
	if err != nil {
		return err
	}
	beat, there := beats[h.mine.Partner]
	if !there {
		_, there, _ = h.readInPlace(h.mine.Partner)
	}
	h.missing++
	if there {
		h.missing = 0
	}
	if n, ok := h.latest(h.mine.Partner, beat, h.otherBeat); ok {
		h.other, h.otherBeat, h.otherAt = n, n.Beat, time.Now()
	}
	return nil
}

// A silence is the error of a half without another, which it has nobody to tell.
type silence string

func (s silence) Error() string { return string(s) }

// stepNotice is how long a step waits before it says for what. Tests change it.
var stepNotice = 5 * time.Second

// await notes what the step that begins waits for.
func (h *half) await(what string) { h.awaited, h.awaitedAt = what, time.Now() }

// notice says what the step waits for, once, if it takes long.
func (h *half) notice() {
	if h.awaited != "" && time.Since(h.awaitedAt) > stepNotice {
		fmt.Fprintf(os.Stderr, "packlock: doctor: waiting for %s\n", h.awaited)
		h.awaited = ""
	}
}

// tick looks, and makes sure that the other half is there.
func (h *half) tick() error {
	if err := h.look(); err != nil {
		return err
	}
	h.notice()
	switch {
	case h.other.Trouble != "":
		return fmt.Errorf("the other half, %v, gave up: %s", h.other.peerName, h.other.Trouble)
	case h.other.Partner != h.id:
		return fmt.Errorf("the other half, %v, turned to a different process; run both again", h.other.peerName)
	case h.left():
		return fmt.Errorf("the other half, %v, left before the end", h.other.peerName)
	case time.Since(h.otherAt) > h.wait:
		return silence(fmt.Sprintf("nothing came from the other half, %v, for %v", h.other.peerName, h.wait))
	}
	return nil
}

// say is one half's turn to speak.
func (h *half) say(word string) error {
	h.step++
	h.mine.Step, h.mine.Word = h.step, word
	return h.publish()
}

// hear is the other half's. It returns the word, which is one of those given.
func (h *half) hear(words ...string) (string, error) {
	h.step++
	h.await(fmt.Sprintf("the other half, %v, to %s", h.other.peerName, toDo[words[0]]))
	for h.other.Step < h.step {
		if err := h.tick(); err != nil {
			return "", err
		}
	}
	if slices.Contains(words, h.other.Word) {
		return h.other.Word, nil
	}
	return "", fmt.Errorf("the other half, %v, says %q; is it the same version?", h.other.peerName, h.other.Word)
}

// giveUp tells the other half that there is trouble, unless it has told.
func (h *half) giveUp(err error) {
	if h.other.Trouble == "" {
		h.mine.Trouble = err.Error()
		h.linger(min(h.wait, 5*time.Second))
	}
}

// part ends the conversation: the half that heard the last word leaves, and the
// one that said it stays until the other has left.
func (h *half) part() {
	if h.mine.Step == h.step {
		h.linger(h.wait)
	}
}

// linger keeps what was said there to be read until the other half has left.
func (h *half) linger(bound time.Duration) {
	for started := time.Now(); time.Since(started) < bound && !h.left(); {
		if h.look() != nil {
			return
		}
	}
}

// left reports whether the other half has removed its files. A list of a
// directory that changes may lack what was renamed meanwhile, but not each time.
func (h *half) left() bool { return h.missing > 5 }

// peerResult is what came out.
type peerResult struct {
	triesHere, triesThere   int // of a lock that the other held
	takenHere, takenThere   bool
	wokenHere, wokenThere   []time.Duration // bounds
	asleepHere, asleepThere bool
}

// final reports whether there is no point in going on.
func (r *peerResult) final() bool {
	return r.takenHere || r.takenThere || r.asleepHere || r.asleepThere
}

var errTaken = errors.New("a process took the lock while another had it")

// wakeBound is how long the wait for a free lock may take. NFS version 4 on
// Linux asks the server anew only every 30 seconds when it has waited for long.
const wakeBound = 45 * time.Second

// openScratch opens the lock that two halves try. Tests have each lock a file of
// its own: that is a file system whose locks exclude nobody.
var openScratch = packlock.OpenFile

const (
	peerRounds = 3
	peerTries  = 5
)

// scratch returns the path of the file that this half and the one with the id
// other lock.
func (h *half) scratch(other string) string {
	return filepath.Join(h.dir, peerPrefix+min(h.id, other)+"-"+max(h.id, other))
}

// examine is the conversation. Each is the holder in turn, the one with the
// smaller id first.
func (h *half) examine() (r peerResult, err error) {
	lock, err := openScratch(h.scratch(h.mine.Partner))
	if err != nil {
		return r, err
	}
	defer func() {
		lock.Close()
		h.written = append(h.written, lock.Path())
	}()
	ctx, cancel := context.WithCancel(h.ctx)
	defer cancel()
	h.acquiring = ctx
	holder := h.id < h.mine.Partner
	for range 2 * peerRounds {
		if holder {
			err = h.holds(lock, &r)
		} else {
			err = h.tries(lock, &r)
		}
		if err != nil || r.final() {
			break
		}
		holder = !holder
	}
	return r, err
}

// A grant is the end of an acquire.
type grant struct {
	hold *packlock.Hold
	err  error
	at   time.Time
}

// acquire begins to wait for the lock. A grant that nobody takes until the end
// of the conversation is given back: what is locked cannot be removed on
// Windows.
func (h *half) acquire(lock *packlock.Lock) <-chan grant {
	ctx, grants := h.acquiring, make(chan grant)
	go func() {
		hold, err := lock.Acquire(ctx)
		at := time.Now()
		if err == nil {
			hold.Detach()
		}
		select {
		case grants <- grant{hold, err, at}:
		case <-ctx.Done():
			if err == nil {
				hold.Release()
			}
		}
	}()
	return grants
}

// granted waits for bound at most, and reports whether the lock was granted.
func (h *half) granted(grants <-chan grant, bound time.Duration) (g grant, ok bool, err error) {
	for started := time.Now(); time.Since(started) < bound; {
		select {
		case g := <-grants:
			return g, true, g.err
		default:
		}
		if err := h.tick(); err != nil {
			return g, false, err
		}
	}
	return g, false, nil
}

// holds is the part of the half that has the lock.
func (h *half) holds(lock *packlock.Lock, r *peerResult) error {
	h.await("the lock, which is free")
	g, granted, err := h.granted(h.acquire(lock), wakeBound)
	switch {
	case err != nil:
		return err
	case !granted:
		return fmt.Errorf("the lock could not be acquired in %v, though it is free", wakeBound)
	}
	hold := g.hold
	defer hold.Release()
	if err := h.say(wordHeld); err != nil {
		return err
	}
	r.triesThere += peerTries
	if err := h.hearHolding(hold, wordBusy, r); err != nil || r.takenThere {
		return err
	}
	for _, word := range []string{wordWait, wordStill} {
		if err := h.say(word); err != nil {
			return err
		}
		if err := h.hearHolding(hold, wordWaiting, r); err != nil || r.takenThere {
			return err
		}
	}
	if err := hold.Release(); err != nil {
		return err
	}
	if err := h.say(wordReleased); err != nil {
		return err
	}
	heard, err := h.hear(wordWoken, wordAsleep)
	if err != nil {
		return err
	}
	if r.asleepThere = heard == wordAsleep; r.asleepThere {
		return nil
	}
	r.wokenThere = append(r.wokenThere, h.other.Within)
	return h.try(lock, r)
}

// hearHolding hears what the other half has to say about the lock that this one
// has: word, or that it took it.
func (h *half) hearHolding(hold *packlock.Hold, word string, r *peerResult) error {
	heard, err := h.hear(word, wordTaken)
	if err != nil || heard == word {
		return err
	}
	if err := hold.Check(); err != nil { // then there are two files
		return err
	}
	r.takenThere = true
	return h.say(wordHolding)
}

// took says that this half has the lock, which the other has, unless that was
// killed. Only if it was not is there an answer.
func (h *half) took(hold *packlock.Hold, r *peerResult) error {
	defer hold.Release()
	if err := h.say(wordTaken); err != nil {
		return err
	}
	if _, err := h.hear(wordHolding); err != nil {
		return err
	}
	r.takenHere = true
	return nil
}

// try tries the lock, which the other half has, and says what happened.
func (h *half) try(lock *packlock.Lock, r *peerResult) error {
	for range peerTries {
		r.triesHere++
		hold, err := lock.TryAcquire()
		if err == nil {
			return h.took(hold, r)
		}
		if !errors.Is(err, packlock.ErrBusy) {
			return err
		}
	}
	return h.say(wordBusy)
}

// tries is the part of the half that does not have the lock.
func (h *half) tries(lock *packlock.Lock, r *peerResult) error {
	if _, err := h.hear(wordHeld); err != nil {
		return err
	}
	if err := h.try(lock, r); err != nil || r.takenHere {
		return err
	}
	if _, err := h.hear(wordWait); err != nil {
		return err
	}
	grants := h.acquire(lock)
	// The first time, the kernel has yet to be called, or the server asked.
	var asked time.Time
	for _, question := range []string{"", wordStill} {
		if question != "" {
			if _, err := h.hear(question); err != nil {
				return err
			}
		}
		g, granted, err := h.granted(grants, 4*peerPause)
		if err != nil {
			return err
		}
		if granted {
			return h.took(g.hold, r)
		}
		asked = time.Now()
		if err := h.say(wordWaiting); err != nil {
			return err
		}
	}
	if _, err := h.hear(wordReleased); err != nil {
		return err
	}
	h.await("the lock, which was released")
	g, granted, err := h.granted(grants, wakeBound)
	switch {
	case err != nil:
		return err
	case !granted:
		r.asleepHere = true
		return h.say(wordAsleep)
	}
	defer g.hold.Release()
	h.mine.Within = g.at.Sub(asked)
	r.wokenHere = append(r.wokenHere, h.mine.Within)
	if err := h.say(wordWoken); err != nil {
		return err
	}
	r.triesThere += peerTries
	return h.hearHolding(g.hold, wordBusy, r)
}

package recorder

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"
	"time"

	"filippo.io/age"

	"github.com/pcapsule/pcapsule/recorder/keys"
	"github.com/pcapsule/pcapsule/recorder/ring"
)

const maxKeyProcesses = 65536 // reported at the end

// keyring reads TLS keys and plaintext during a recording. A nil one does nothing.
type keyring struct {
	out       places
	to        []age.Recipient
	onError   func(error)
	talks     *keys.Conversations
	current   keys.Current
	tracker   *keys.Tracker   // nil if no keys are read
	plain     *plainRecording // nil if none is read
	id        ring.ID         // segment whose key file is open
	before    ring.ID         // the last segment before that
	file      *keyFile
	processes map[uint32][]keys.Process // by process ID, which the kernel reuses
	noted     int
	states    map[stateKey]*reportedState
	statesAt  time.Time
	round     uint64
	ended     bool
}

// places is the part of an output that a keyring needs: the segment being written, and the
// path of its key file.
type places interface {
	segment() ring.ID
	sidePath(id ring.ID, kind string) string
	reopen(ring.ID) error
}

// startKeys starts to read keys if any process is selected.
func startKeys(o *Options, out *sink, now func() *ring.Clock) (*keyring, error) {
	if o.Keys == nil {
		return nil, nil
	}
	k := &keyring{out: out, to: o.Keys.Recipients, onError: o.OnError, talks: keys.NewConversations(), processes: map[uint32][]keys.Process{}, states: map[stateKey]*reportedState{}}
	utc := func(mono uint64) int64 {
		c := now()
		return int64(c.Real) - c.Monotonic + int64(mono)
	}
	rules, err := newKeyPolicy(o)
	if err != nil {
		return nil, err
	}
	if o.Keys.wantKeys() {
		if err := k.follow(); err != nil {
			return nil, err
		}
		k.tracker, err = keys.Start(keys.Options{Select: selectorFor(o.Keys.Select, o.Keys.Workloads, o.Source, rules), Sink: &k.current, Captured: k.talks, Layouts: o.Keys.Layouts, UTC: utc})
		if err != nil {
			return nil, errors.Join(fmt.Errorf("reading keys: %w", err), k.place(nil))
		}
	}
	if o.Keys.wantPlain() {
		if k.plain, err = startPlaintext(o, out, rules, now, utc); err != nil {
			k.end()
			return nil, fmt.Errorf("reading plaintext: %w", err)
		}
	}
	return k, nil
}

// packet reads an IP packet of the recording: its connections confirm keys. writer is the process
// that sent it, 0 if it is not known.
func (k *keyring) packet(ip []byte, at int64, writer uint32) {
	if k != nil {
		k.talks.Packet(ip, at, writer)
	}
}

// frame reads a frame with an Ethernet header, before its VLAN tag is restored.
func (k *keyring) frame(b []byte, at int64) {
	const header = 14
	if k == nil || len(b) <= header {
		return
	}
	if b[12] == 0x81 && b[13] == 0 && len(b) > header+4 { // a tag that the kernel did not remove
		b = b[4:]
	}
	k.talks.Packet(b[header:], at, 0)
}

// follow writes keys next to the segment that is being written now. Without a segment they
// wait.
func (k *keyring) follow() error {
	if k == nil {
		return nil
	}
	id := k.out.segment()
	if id == k.id && k.file != nil {
		return nil
	}
	k.id = id
	if id == (ring.ID{}) {
		return k.place(nil)
	}
	k.before = id
	return k.place(&keyFile{path: k.out.sidePath(id, ring.KeysKind), to: k.to, onError: k.onError})
}

// place changes the key file and closes the previous one.
func (k *keyring) place(f *keyFile) error {
	old := k.file
	if k.file = f; f == nil && old == nil {
		return nil
	}
	var to keys.Sink // a nil *keyFile in it would be a non-nil sink
	if f != nil {
		to = f
	}
	_, err := k.current.Set(to)
	if old != nil {
		err = errors.Join(err, old.close())
	}
	return err
}

// tick calls follow from the loop of a recording, which continues if keys cannot be written.
func (k *keyring) tick() {
	if k == nil {
		return
	}
	if k.plain != nil {
		k.plain.writer.Tick()
	}
	if k.tracker == nil && k.plain != nil {
		return
	}
	if err := k.follow(); err != nil {
		k.onError(err)
	}
}

// end stops reading while the last segment is still open, if there is one.
func (k *keyring) end() {
	if k == nil || k.ended {
		return
	}
	k.tick()
	k.note()
	var err error
	if k.tracker != nil {
		err = k.tracker.Close()
	}
	if k.plain != nil {
		err = errors.Join(err, k.plain.end())
	}
	k.note()
	k.settle()
	k.ended = true
	if err != nil {
		k.onError(err)
	}
}

// settle writes the waiting keys and closes the last file. Keys that arrive after the
// last segment was closed are written next to it.
//
// LIMIT: a closed encrypted file cannot be extended; such keys are lost and counted.
func (k *keyring) settle() {
	var late error
	if k.file == nil && k.before != (ring.ID{}) && k.current.Waiting() > 0 {
		late = errors.Join(k.out.reopen(k.before), k.place(&keyFile{path: k.out.sidePath(k.before, ring.KeysKind), to: k.to, onError: func(error) {}}))
	}
	if err := errors.Join(late, k.place(nil)); err != nil {
		k.onError(err)
	}
}

// followed returns the processes read for keys or plaintext, each once, with its best state.
func (k *keyring) followed() []keys.Process {
	var list []keys.Process
	if k.tracker != nil {
		list = k.tracker.Processes()
	}
	if k.plain == nil {
		return list
	}
	at := make(map[uint32]int, len(list))
	for i, p := range list {
		at[p.PID] = i
	}
	for _, p := range k.plain.tracker.Load().Processes() {
		i, ok := at[p.PID]
		switch {
		case !ok:
			list = append(list, p)
		case list[i].State == keys.None && p.State == keys.Plaintext:
			list[i] = p
		}
	}
	return list
}

// note remembers processes, which the tracker forgets some minutes after their end.
func (k *keyring) note() {
	for _, p := range k.followed() {
		list := k.processes[p.PID]
		// A process without keys that runs another program now was not meant: replace it.
		if n := len(list); n > 0 && (list[n-1].Executable == p.Executable || list[n-1].State == keys.None) {
			list[n-1] = p
		} else if k.noted < maxKeyProcesses {
			k.processes[p.PID] = append(list, p)
			k.noted++
		}
	}
}

// stats returns the current state.
func (k *keyring) stats() *KeyStats {
	if k == nil {
		return nil
	}
	if !k.ended {
		k.note()
	}
	s := &KeyStats{Unplaced: k.current.Lost()}
	var err error
	if k.tracker != nil {
		s.Counters, err = k.tracker.Counters()
		s.Keyless = k.tracker.Keyless()
		s.Keyed, s.Uncounted = k.talks.Handshakes()
	}
	if k.plain != nil {
		var plainErr error
		s.Plaintext, plainErr = k.plain.stats()
		err = errors.Join(err, plainErr)
	}
	if err != nil {
		k.onError(err)
	}
	if k.ended {
		s.Unplaced += k.current.Waiting()
	}
	for _, list := range k.processes {
		s.Processes = append(s.Processes, list...)
	}
	slices.SortStableFunc(s.Processes, func(a, b keys.Process) int { return cmp.Compare(a.PID, b.PID) })
	return s
}

// keyFile is the key file of a segment. It is created for its first key: a segment without
// keys has no key file.
type keyFile struct {
	path    string
	to      []age.Recipient
	onError func(error)

	mu       sync.Mutex
	f        *keys.File
	reported bool
}

// Key implements keys.Sink.
func (f *keyFile) Key(k keys.Key) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	err := error(nil)
	if f.f == nil {
		f.f, err = keys.Open(f.path, f.to...)
	}
	if err == nil {
		err = f.f.Key(k)
	}
	if err != nil && !f.reported {
		f.reported = true
		f.onError(err)
	}
	return err
}

// Flush implements keys.Sink.
func (f *keyFile) Flush() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.f == nil {
		return nil
	}
	return f.f.Flush()
}

func (f *keyFile) close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.f == nil {
		return nil
	}
	return f.f.Close()
}

// noKeyFile returns an error if there is a key file that a new capture would be mixed with.
func noKeyFile(path string) error {
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("key file %s: %w", path, fs.ErrExist)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("looking for key file: %w", err)
	}
	return nil
}

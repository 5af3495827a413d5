package ring

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/pcapsule/pcapsule/internal/whole"
	"github.com/pcapsule/pcapsule/recorder/ring/internal/durable"
)

// chain appends to seals.jsonl.
type chain struct {
	ring string
	base uint64 // of packet ids
	key  ed25519.PrivateKey

	mu     sync.Mutex
	f      *os.File
	size   int64
	room   int64 // end of the space that is allocated on disk
	next   uint64
	prev   string
	torn   bool // a failed write left bytes after size that could not be removed
	closed bool
}

// history has the data from a ring's records that a new recorder needs.
type history struct {
	live    map[ID]*Record    // segments without a deletion
	sides   map[ID]*sideSeals // of those
	deleted map[string][]Range
	next    map[string]uint64 // by series: follows every known number
	lastID  uint64            // packet id
	last    Time              // of the last packet of the last segment
	crashed bool              // started, but not stopped
	cut     int64
	damaged int64
	records int

	lastIDs map[string]uint64   // by series
	counted map[string]Counters // by series: those of the last seal since the last start
	started uint64              // number of the last start

	underway Underway
}

func newHistory() *history {
	return &history{live: map[ID]*Record{}, sides: map[ID]*sideSeals{}, deleted: map[string][]Range{}, next: map[string]uint64{},
		lastIDs: map[string]uint64{}, counted: map[string]Counters{}}
}

func (h *history) apply(r *Record) {
	h.records++
	h.underway.Apply(r)
	switch {
	case r.Start != nil:
		h.crashed = true
		clear(h.counted)
		h.started = r.N
		for s, n := range r.Start.Next {
			h.next[s] = max(h.next[s], n)
		}
	case r.Stop != nil:
		h.crashed = false
		h.last = max(h.last, r.At)
	case r.Segment != nil:
		s := r.Segment
		h.live[s.ID()] = r
		h.next[s.Series] = max(h.next[s.Series], s.Sequence+1)
		h.last = max(h.last, s.Last)
		var id [8]byte
		if n, err := hex.Decode(id[:], []byte(fmt.Sprintf("%016s", s.LastPacketID))); err == nil && n == 8 {
			h.lastID = max(h.lastID, be64(id[:])&packetIDMask)
			h.lastIDs[s.Series] = max(h.lastIDs[s.Series], be64(id[:])&packetIDMask)
		}
		if s.Counters != nil {
			h.counted[s.Series] = *s.Counters
		}
	case r.Sides != nil:
		id := r.Sides.ID()
		if h.sides[id] == nil {
			h.sides[id] = &sideSeals{}
		}
		h.sides[id].apply(r)
	case r.Deletion != nil:
		h.deleted[r.Deletion.Series] = append(h.deleted[r.Deletion.Series], r.Deletion.Sequences...)
		for id := range h.live {
			if id.Series == r.Deletion.Series && within(r.Deletion.Sequences, id.Sequence) {
				delete(h.live, id)
				delete(h.sides, id)
			}
		}
	}
}

func be64(b []byte) (v uint64) {
	for _, c := range b {
		v = v<<8 | uint64(c)
	}
	return v
}

func within(list []Range, n uint64) bool {
	for _, r := range list {
		if r.From <= n && n <= r.To {
			return true
		}
	}
	return false
}

// openChain opens seals.jsonl, or creates it. A torn last line is cut off: its record was
// never finished.
func openChain(dir, node string, key ed25519.PrivateKey) (*chain, *history, error) {
	path := filepath.Join(dir, sealsName)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	made := errors.Is(err, fs.ErrNotExist)
	if made {
		f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	}
	if err != nil {
		return nil, nil, err
	}
	c := &chain{f: f, key: key}
	h := newHistory()
	if err := c.open(node, h); err != nil {
		f.Close()
		return nil, nil, err
	}
	if err := whole.SyncFolder(dir); err != nil {
		f.Close()
		return nil, nil, err
	}
	c.base = packetBase(c.ring)
	return c, h, nil
}

func (c *chain) open(node string, h *history) error {
	var last *Record
	whole, err := readSeals(c.f, func(r *Record, _ int64, err error) error {
		switch {
		case err != nil:
			h.damaged++
			return nil
		case r.Origin != nil && r.Origin.Version > Version:
			return fmt.Errorf("version %d, this program knows %d: %w", r.Origin.Version, Version, ErrNewer)
		}
		if c.ring == "" {
			c.ring = r.Ring
		}
		last = r
		h.apply(r)
		return nil
	})
	if err != nil {
		return err
	}
	info, err := c.f.Stat()
	if err != nil {
		return err
	}
	if h.cut = info.Size() - whole; h.cut > 0 {
		if err := c.f.Truncate(whole); err != nil {
			return fmt.Errorf("cutting off a torn line of %s: %w", sealsName, err)
		}
	}
	c.size = whole
	if last != nil {
		c.next, c.prev = last.N+1, last.Hash
		return nil
	}
	var id [16]byte
	if _, err := rand.Read(id[:]); err != nil {
		return err
	}
	c.ring = hex.EncodeToString(id[:])
	_, err = c.append(&Record{Kind: KindRing, Origin: &Origin{Version: Version, Node: node, PublicKey: publicText(c.key)}})
	return err
}

// readSeals calls take for each whole line with its offset, and returns the offset of the
// end of the last whole line. An error of take ends the reading.
func readSeals(src io.Reader, each func(r *Record, at int64, err error) error) (int64, error) {
	in := bufio.NewReaderSize(src, 64<<10)
	var at int64
	for {
		line, size, err := readLine(in)
		if err == io.EOF {
			return at, nil
		}
		if err != nil {
			return at, fmt.Errorf("reading %s at %d: %w", sealsName, at, err)
		}
		r, err := parseRecord(line)
		if line == nil {
			err = fmt.Errorf("line of %d bytes: the limit is %d", size, maxLine)
		}
		if err != nil {
			r, err = nil, &CorruptError{sealsName, at, err}
		}
		if err := each(r, at, err); err != nil {
			return at, err
		}
		at += size
	}
}

// readLine reads up to a line end. For a line that is too long it returns nil and the
// length. Without a line end it returns io.EOF.
func readLine(in *bufio.Reader) (line []byte, size int64, err error) {
	for {
		part, err := in.ReadSlice('\n')
		size += int64(len(part))
		if size <= maxLine {
			line = append(line, part...)
		} else {
			line = nil
		}
		if err == bufio.ErrBufferFull {
			continue
		}
		if err != nil {
			return nil, size, err
		}
		if line == nil {
			return nil, size, nil
		}
		return bytes.TrimSuffix(line, []byte("\n")), size, nil
	}
}

const chainRoom = 64 << 10 // space allocated in advance, so that seals can be written when the disk is full

// append makes a record durable. If it fails, the file is unchanged, or the record is cut
// off before the next attempt.
func (c *chain) append(r *Record) (*Record, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, ErrClosed
	}
	r.N, r.Ring, r.Prev, r.At = c.next, c.ring, c.prev, now()
	line, err := r.encode(c.key)
	if err != nil {
		return nil, err
	}
	if c.torn {
		if err := c.f.Truncate(c.size); err != nil {
			return nil, fmt.Errorf("writing record %d: %w", r.N, err)
		}
		c.torn = false
	}
	_, err = c.f.WriteAt(line, c.size)
	if err == nil {
		err = durable.SyncData(c.f)
	}
	if err != nil {
		c.torn = c.f.Truncate(c.size) != nil
		c.room = c.size
		return nil, fmt.Errorf("writing record %d: %w", r.N, err)
	}
	c.size += int64(len(line))
	c.next, c.prev = c.next+1, r.Hash
	if c.room-c.size < chainRoom/2 && durable.Reserve(c.f, c.size, chainRoom) == nil {
		c.room = c.size + chainRoom
	}
	return r, nil
}

func (c *chain) head() (uint64, string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.next - 1, c.prev
}

// bytes returns the size of the file.
func (c *chain) bytes() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.size
}

func (c *chain) close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil
	}
	c.closed = true
	// Return the space that was allocated in advance.
	return errors.Join(c.f.Truncate(c.size), c.f.Close())
}

package recorder

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/ring"
)

// fileSink writes one capture file or a live stream. It gathers whole blocks and writes
// them at once, in stretches that stay in the processor's cache.
type fileSink struct {
	to    io.Writer
	f     *os.File // nil for a stream
	name  string
	first uint64
	snap  int
	link  uint16
	buf   []byte
	plain *pcapng.Writer // makes all blocks but packets; writes into buf
	taken ring.Taken
	kept  []uint64 // packets of each interface
	sides map[string]*os.File
	err   error

	flushed time.Time
}

const (
	writeAtOnce = 256 << 10
	maxBlock    = 262_144
)

// blocks is where the writer of other blocks puts them.
type blocks struct{ s *fileSink }

func (b blocks) Write(p []byte) (int, error) {
	b.s.buf = append(b.s.buf, p...)
	return len(p), nil
}

func newFileSink(o *Options, header ring.Header, link uint16, snap uint32) (*fileSink, error) {
	var random [7]byte
	if _, err := rand.Read(random[:]); err != nil {
		return nil, fmt.Errorf("naming the recording: %w", err)
	}
	s := &fileSink{to: o.Stream, link: link, snap: int(snap), name: fmt.Sprintf("%x", random[:4]), sides: map[string]*os.File{},
		buf: make([]byte, 0, writeAtOnce+maxBlock)}
	s.first = uint64(binary.BigEndian.Uint32(random[3:])&0xFFFFFF)<<40 | 1
	header.Ring, header.Version, header.Series = s.name, ring.Version, "sockets"
	if link == linkEthernet {
		header.Series = "interfaces"
	}
	comment, err := json.Marshal(header)
	if err != nil {
		return nil, fmt.Errorf("describing the recording: %w", err)
	}
	s.plain, err = pcapng.NewWriter(blocks{s}, pcapng.Section{Hardware: header.Hardware, OS: header.OS, Application: header.Recorder, Comments: []string{string(comment)}}, pcapng.WriterOptions{MaxBlock: maxBlock})
	if err != nil {
		return nil, err
	}
	if o.File != "" {
		if o.Keys != nil {
			if err := noKeyFile(strings.TrimSuffix(o.File, filepath.Ext(o.File)) + "." + ring.KeysKind); err != nil {
				return nil, err
			}
		}
		if s.f, err = os.OpenFile(o.File, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o640); err != nil {
			return nil, fmt.Errorf("creating %s: %w", o.File, err)
		}
		s.to = s.f
	}
	if err := errors.Join(s.plain.Flush(), s.flush()); err != nil {
		return nil, errors.Join(err, s.abort())
	}
	return s, nil
}

// abort removes a file that has no packets yet.
func (s *fileSink) abort() error {
	if s.f == nil {
		return nil
	}
	return errors.Join(s.f.Close(), os.Remove(s.f.Name()))
}

func (s *fileSink) declare(i pcapng.Interface) (ring.InterfaceID, error) {
	i.LinkType, i.SnapLen, i.TsResol, i.FCSLen = s.link, uint32(s.snap), 9, -1
	n, err := s.plain.AddInterface(i)
	s.kept = append(s.kept, 0)
	return ring.InterfaceID(n), errors.Join(err, s.plain.Flush())
}

// redeclare makes another interface: what is written stays.
func (s *fileSink) redeclare(_ ring.InterfaceID, i pcapng.Interface) (ring.InterfaceID, error) {
	return s.declare(i)
}

func (s *fileSink) append(p *ring.Packet) error {
	err := s.write(p)
	if err == nil {
		s.taken.Kept++
		s.kept[p.Interface]++
	} else {
		s.taken.Dropped++
	}
	return err
}

func (s *fileSink) took() ring.Taken { return s.taken }

func (s *fileSink) write(p *ring.Packet) error {
	b, ok := p.AppendBlock(s.buf, s.snap)
	if !ok {
		return fmt.Errorf("writing packet: %d bytes do not fit into a block", len(p.Prefix)+len(p.Data))
	}
	s.buf = b
	if len(b) >= writeAtOnce {
		return s.flush()
	}
	return nil
}

// flush writes what was gathered. After an error nothing more is written.
func (s *fileSink) flush() error {
	if s.err != nil || len(s.buf) == 0 {
		return s.err
	}
	n, err := s.to.Write(s.buf)
	if err == nil && n < len(s.buf) {
		err = io.ErrShortWrite
	}
	s.buf = s.buf[:0]
	s.err = s.whole(err)
	return s.err
}

// whole cuts a file that could not be written behind its last whole block.
func (s *fileSink) whole(err error) error {
	if err == nil || s.f == nil {
		return err
	}
	size, seekErr := s.f.Seek(0, io.SeekCurrent)
	if seekErr != nil {
		return err
	}
	end, scanErr := lastBlock(s.f, size)
	if scanErr == nil && end < size {
		scanErr = s.f.Truncate(end)
	}
	return errors.Join(err, scanErr)
}

// lastBlock is where the last whole block of a file ends.
func lastBlock(r io.ReaderAt, size int64) (int64, error) {
	var head [8]byte
	at := int64(0)
	for at+12 <= size {
		if _, err := r.ReadAt(head[:], at); err != nil {
			return at, fmt.Errorf("looking for the last whole block: %w", err)
		}
		n := int64(binary.LittleEndian.Uint32(head[4:]))
		if n < 12 || at+n > size {
			break
		}
		at += n
	}
	return at, nil
}

// idle lets viewers of a stream see packets at once, and those of a file soon.
func (s *fileSink) idle() error {
	if s.f != nil {
		if now := time.Now(); now.Sub(s.flushed) < flushEvery {
			return nil
		} else {
			s.flushed = now
		}
	}
	return s.flush()
}

const flushEvery = 200 * time.Millisecond

func (s *fileSink) ids() (string, uint64) { return s.name, s.first }

// segment is the one file there is.
func (s *fileSink) segment() ring.ID { return ring.ID{Series: "file", Sequence: 1} }

func (s *fileSink) sidePath(_ ring.ID, kind string) string {
	if s.f == nil {
		return ""
	}
	return strings.TrimSuffix(s.f.Name(), filepath.Ext(s.f.Name())) + "." + kind
}

// side writes beside a file; a stream has no place for it.
func (s *fileSink) side(id ring.ID, kind string, lines []byte) (int, error) {
	if s.f == nil {
		return len(lines), nil
	}
	f := s.sides[kind]
	if f == nil {
		var err error
		if f, err = os.OpenFile(s.sidePath(id, kind), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o640); err != nil {
			return 0, fmt.Errorf("writing side file: %w", err)
		}
		s.sides[kind] = f
	}
	return writeLines(f, lines)
}

// A file has no seals.
func (s *fileSink) ended() uint64        { return 0 }
func (s *fileSink) finish(uint64)        {}
func (s *fileSink) reopen(ring.ID) error { return nil }

// statistics of all interfaces; those that another description replaced have lost nothing
// that is known.
func (s *fileSink) statistics(accounts []ring.InterfaceAccount) []pcapng.Statistics {
	if len(accounts) == 0 {
		return nil
	}
	list := make([]pcapng.Statistics, len(s.kept))
	for i := range list {
		it := ring.InterfaceAccount{ID: ring.InterfaceID(i), At: accounts[0].At}
		list[i] = it.Statistics(uint32(i), s.kept[i])
	}
	for _, it := range accounts {
		list[it.ID] = it.Statistics(uint32(it.ID), s.kept[it.ID])
	}
	return list
}

func (s *fileSink) close(account func(ring.Taken) ring.Account) error {
	var errs []error
	for _, f := range s.sides {
		errs = append(errs, f.Close())
	}
	a := account(s.taken)
	text, err := json.Marshal(struct {
		Counters *ring.Counters `json:"counters"`
		Clock    *ring.Clock    `json:"clock"`
	}{a.Counters, a.Clock})
	errs = append(errs, err)
	if s.err != nil {
		a.Interfaces = nil // it is told already, and nothing can be written
	}
	for i, st := range s.statistics(a.Interfaces) {
		if i == 0 {
			st.Comments = []string{string(text)} // counters of the whole recording
		}
		errs = append(errs, s.plain.WriteStatistics(st))
	}
	if s.err == nil {
		errs = append(errs, s.plain.Flush(), s.flush())
	}
	if s.f != nil {
		errs = append(errs, s.f.Sync(), s.f.Close())
	}
	return errors.Join(errs...)
}

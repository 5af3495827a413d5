package read

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/recorder/ring"
)

// Limits of reading a ring's records.
const (
	maxLiveHoles = 1000     // gaps that a live run remembers, because a record repeats what no segment has stated
	maxOldSeals  = 16 << 20 // bytes of records before the run that are read: about 20,000 segments
)

// sealTail reads the records of a ring as they are written, for the gaps that they state.
type sealTail struct {
	at   int64
	seen map[ringHole]bool
}

// read adds the gaps of the records since the last call that end after a time.
func (s *sealTail) read(dir string, from int64, r *Reader) error {
	f, err := os.Open(filepath.Join(dir, sealsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("following ring: %w", err)
	}
	defer f.Close()
	if s.at == 0 {
		info, err := f.Stat()
		if err != nil {
			return fmt.Errorf("following ring: %w", err)
		}
		s.at = max(0, info.Size()-maxOldSeals) // in the middle of a line, which is no record then
	}
	buf := make([]byte, 256<<10)
	for {
		n, err := f.ReadAt(buf, s.at)
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("following ring: %w", err)
		}
		end := bytes.LastIndexByte(buf[:n], '\n') + 1
		switch {
		case end == 0 && n < len(buf):
			return nil // the last line is not complete yet
		case end == 0 && n < maxSealLine:
			buf = make([]byte, 4*n)
			continue
		case end == 0:
			end = n // no recorder writes such a line
		}
		for line := range bytes.Lines(buf[:end]) {
			s.line(line, from, r)
		}
		s.at += int64(end)
	}
}

// line adds the gaps of a record.
func (s *sealTail) line(line []byte, from int64, r *Reader) {
	var l struct {
		Record ring.Record `json:"record"`
	}
	if json.Unmarshal(line, &l) != nil {
		return // ring verify reports it
	}
	holes, source := []ring.Hole(nil), "ring"
	switch rec := &l.Record; {
	case rec.Start != nil:
		holes = rec.Start.Holes
	case rec.Stop != nil:
		holes = rec.Stop.Holes
	case rec.Segment != nil:
		holes, source = rec.Segment.Holes, word(rec.Segment.ID().Segment())
	}
	for i := range holes {
		h := (&ringFolder{}).hole(&holes[i], nil)
		begin, end := h.times(cmp.Or(int64(h.to), r.now), r.now)
		if end < from || s.seen[h] {
			continue
		}
		if s.seen == nil || len(s.seen) >= maxLiveHoles {
			s.seen = map[ringHole]bool{}
		}
		s.seen[h] = true
		r.addCoverage(table.Coverage{FileID: -1, Source: source, FromNs: begin, ToNs: end, Kind: "hole", Reason: h.reason, Packets: h.packets, Detail: h.detail})
	}
}

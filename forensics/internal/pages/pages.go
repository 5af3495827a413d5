// Package pages continues an answer whose order is determined only by its own text, such as a
// user's SQL, so that its pages have each row exactly once.
//
// A Trail is a digest of the rows before a page. A later run continues an earlier one only if its
// rows have the same trail there; then the earlier pages and the rest of that run are one complete
// answer. A Store keeps the rows that were read ahead, so that most pages need no second run.
package pages

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash"
	"slices"
	"sync"

	"github.com/pcapsule/pcapsule/forensics/internal/wire"
)

const (
	// Ahead is how many bytes of rows are read beyond a page; a worker has computed them anyway.
	Ahead = 1 << 20
	// maxKept is the size of a Store in bytes.
	maxKept = 16 << 20
	// sumSize is the length of a digest in bytes; forging one gains nothing.
	sumSize = 12
)

// Trail is a digest of rows in order. It must not be copied; see Clone.
type Trail struct {
	h   hash.Cloner
	buf []byte
}

// NewTrail returns the trail of no rows.
func NewTrail() *Trail {
	h, _ := sha256.New().(hash.Cloner)
	return &Trail{h: h}
}

// Add adds a row.
func (t *Trail) Add(row []any) {
	t.buf = append(t.buf[:0], byte(len(row)))
	for _, v := range row {
		t.buf = appendValue(t.buf, v)
	}
	t.h.Write(t.buf)
}

// Sum is the digest of the rows so far, as text.
func (t *Trail) Sum() string { return base64.RawURLEncoding.EncodeToString(t.h.Sum(nil)[:sumSize]) }

// Clone returns a trail that grows on its own.
func (t *Trail) Clone() *Trail {
	h, err := t.h.Clone()
	if err != nil {
		panic("pages: SHA-256 cannot be cloned: " + err.Error())
	}
	return &Trail{h: h}
}

// appendValue writes a value so that different values differ.
func appendValue(b []byte, v any) []byte {
	switch v := v.(type) {
	case []any:
		b = wire.AppendList(b, len(v))
		for _, x := range v {
			b = appendValue(b, x)
		}
		return b
	case wire.Struct:
		b = wire.AppendStruct(b, len(v))
		for _, f := range v {
			b = appendValue(appendValue(b, f.Name), f.Value)
		}
		return b
	case wire.Map:
		b = wire.AppendMap(b, len(v))
		for _, e := range v {
			b = appendValue(appendValue(b, e.Key), e.Value)
		}
		return b
	}
	if out, err := wire.AppendValue(b, v); err == nil {
		return out
	}
	s := fmt.Sprintf("%T %v", v, v)
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// Run is rows of one run of a query, from one row on. Its rows must not be changed.
type Run struct {
	Columns []wire.Column
	Rows    [][]any
	First   int64 // number of the first of Rows in the answer
	Whole   bool  // Rows has the last row
	Size    int64 // bytes

	question string
	trails   map[int64]*Trail // by the row that they end before
}

// Store keeps the latest runs. The zero value is ready. It is safe for concurrent use.
type Store struct {
	mu   sync.Mutex
	runs []*Run // the one used last is last
	size int64
}

// Put keeps a run that can be continued at its first row, before which the rows have the trail.
func (s *Store) Put(question string, r *Run, trail *Trail) {
	if r.Size > maxKept {
		return
	}
	r.question, r.trails = question, map[int64]*Trail{r.First: trail.Clone()}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.runs, s.size = append(s.runs, r), s.size+r.Size
	for s.size > maxKept {
		s.size -= s.runs[0].Size
		s.runs = slices.Delete(s.runs, 0, 1)
	}
}

// Find returns a run that continues a question at a row before which the rows have the digest sum,
// and their trail. It is nil if none is kept.
func (s *Store) Find(question string, row int64, sum string) (*Run, *Trail) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := len(s.runs) - 1; i >= 0; i-- {
		r := s.runs[i]
		t := r.trails[row]
		if r.question != question || t == nil || t.Sum() != sum {
			continue
		}
		s.runs = append(slices.Delete(s.runs, i, i+1), r)
		return r, t.Clone()
	}
	return nil, nil
}

// Mark records that a run can also be continued at a row.
func (s *Store) Mark(r *Run, row int64, trail *Trail) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.trails[row] = trail.Clone()
}

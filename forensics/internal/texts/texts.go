// Package texts searches the texts of a bundle's tables at the speed of decompression.
//
// A Scan reads columns directly from the Parquet parts, several row groups in parallel. It judges
// each distinct text of a row group once, and reads rows only if a text has a verdict. It supports
// only the format of docs/format/parts.md: another format or damage is a *DamagedError that names the
// file, never a panic. Memory is bounded by the pages of a few row groups, for any size of bundle.
package texts

import (
	"context"
	"strings"
	"sync"
)

// Verdict is the result of a Judge for a text; 0 means no match.
type Verdict uint64

// Judge judges texts. Each goroutine of a scan has its own. It must not keep or change its arguments.
type Judge interface {
	// Begin receives a block with the texts of a place, and other bytes between them, before
	// any of these texts is judged.
	Begin(place int, block []byte)
	// Next returns the first place in the block, from at on, that may be part of a match, or
	// -1. A text without such a place is not judged.
	Next(at int) int
	// Text judges a text, or the value of a header.
	Text(place int, text []byte) Verdict
	// Header judges a header whose value has a verdict.
	Header(place int, name, value, kind []byte, v Verdict) Verdict
}

// Every is embedded in a Judge that judges every text.
type Every struct{}

// Begin does nothing.
func (Every) Begin(int, []byte) {}

// Next returns at.
func (Every) Next(at int) int { return at }

// Header keeps the verdict on the value.
func (Every) Header(_ int, _, _, _ []byte, v Verdict) Verdict { return v }

// Place is the location of texts: a column of texts or bytes; several columns, or a list of texts,
// which are joined to one text per row with Join as separator; or a list of headers. A missing column
// is null.
type Place struct {
	Columns []string
	Join    string // separator for lists and several columns
	Headers bool   // the only column is a list of headers
}

// Scan is a walk through the texts of a table.
type Scan struct {
	Places  []Place
	From    int64    // of ts_ns, both inclusive: row groups without rows in this time are
	To      int64    // skipped, others are searched completely
	Numbers []string // columns of INT64, and
	Fixed   []string // of fixed-length texts, without nulls; reported for each row
	Threads int
	Judge   func() Judge
	// Group is called for each row group with a hit, in the order of the table, one at a time.
	// Its argument is reused.
	Group func(*Group) error
	// Done receives the number of decompressed bytes that were searched since its last call. It
	// must be safe for concurrent use.
	Done func(bytes int64)
}

// Group is a row group in which some texts have verdicts.
type Group struct {
	Rows    int
	Hits    []Hit     // sorted by place, then by row
	Numbers [][]int64 // numbers of each row, for Scan.Numbers
	Fixed   [][]byte  // concatenated values of all rows, for Scan.Fixed
}

// Hit is one text with a verdict.
type Hit struct {
	Verdict Verdict
	Row     int32 // in the group
	Place   int32
}

// Table is a table of one bundle. It is safe for concurrent use.
type Table struct{ parts []*part }

// Open reads the metadata of the parts of a table, which are files below dir.
func Open(dir string, files []string) (*Table, error) {
	t := &Table{parts: make([]*part, len(files))}
	errs := make([]error, len(files))
	var wait sync.WaitGroup
	for i, f := range files {
		wait.Go(func() { t.parts[i], errs[i] = readPart(dir, f) })
	}
	wait.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return t, nil
}

// Bytes is the decompressed size of the texts that a scan searches.
func (t *Table) Bytes(s *Scan) (n int64) {
	for _, p := range t.parts {
		read := p.columns(s)
		for i := range p.groups {
			n += p.groups[i].bytes(s, read)
		}
	}
	return n
}

// columns returns the leaves that a scan reads from a part, for each place; -1 for a missing column.
func (p *part) columns(s *Scan) [][]int {
	out := make([][]int, len(s.Places))
	leaf := func(path ...string) int {
		if at, ok := p.names[strings.Join(path, ".")]; ok {
			return at
		}
		return -1
	}
	for i, place := range s.Places {
		for _, c := range place.Columns {
			switch one := leaf(c); {
			case place.Headers:
				out[i] = append(out[i], leaf(c, "list", "element", "value"), leaf(c, "list", "element", "name"), leaf(c, "list", "element", "kind"))
			case one >= 0:
				out[i] = append(out[i], one)
			default:
				out[i] = append(out[i], leaf(c, "list", "element"))
			}
		}
	}
	return out
}

// bytes is the number of bytes that a scan searches in a group.
func (g *group) bytes(s *Scan, read [][]int) (n int64) {
	if !g.within(s.From, s.To) {
		return 0
	}
	for i, leaves := range read {
		if s.Places[i].Headers {
			leaves = leaves[:1]
		}
		for _, l := range leaves {
			if c := g.find(l); c != nil {
				n += c.raw
			}
		}
	}
	return n
}

// Scan searches a table. The first error, or the end of ctx, ends it.
func (t *Table) Scan(ctx context.Context, s *Scan) error {
	w, err := t.walk(s)
	if err != nil {
		return err
	}
	defer w.close()
	return w.run(ctx)
}

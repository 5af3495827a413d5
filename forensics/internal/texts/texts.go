// Package texts looks through the texts of a bundle's tables at the speed at which they
// are unpacked.
//
// A Scan reads the columns that it is asked for straight from the Parquet parts, row
// group by row group and several at once. A text that a row group holds many times is
// judged once; rows are only looked at where some text was worth it. It reads what
// docs/format/parts.md says and no more: a part that is written otherwise, or is damaged,
// is a *DamagedError that names the file, never a panic. Memory is bounded by the
// pages of a few row groups, however large the bundle.
package texts

import (
	"context"
	"strings"
	"sync"
)

// Verdict is what a Judge thinks of a text; 0 is nothing.
type Verdict uint64

// Judge looks at texts. Each goroutine of a scan has its own. It must not keep or change
// what it is given.
type Judge interface {
	// Begin is told the bytes in which texts of a place stand, with other bytes between
	// them, before any of these is judged.
	Begin(place int, block []byte)
	// Next answers the first place in the block, from at on, at which a text may begin to be
	// worth a verdict, or -1. A text without such a place is not judged.
	Next(at int) int
	// Text judges a text, of headers the value.
	Text(place int, text []byte) Verdict
	// Header judges a header whose value has a verdict.
	Header(place int, name, value, kind []byte, v Verdict) Verdict
}

// Every is embedded in a Judge that wants to be asked about every text.
type Every struct{}

// Begin does nothing.
func (Every) Begin(int, []byte) {}

// Next answers at.
func (Every) Next(at int) int { return at }

// Header keeps the verdict on the value.
func (Every) Header(_ int, _, _, _ []byte, v Verdict) Verdict { return v }

// Place is where texts are: a column of texts or bytes; or several, or a list of texts, of
// which all that a row has make one text with Join between them; or a list of headers.
// A column that a part lacks is null there.
type Place struct {
	Columns []string
	Join    string // of lists and where there are several columns
	Headers bool   // the only column is one of headers
}

// Scan is a walk through the texts of a table.
type Scan struct {
	Places  []Place
	From    int64    // of ts_ns, both included: a row group that has no row of the time is
	To      int64    // passed over, another is looked through whole
	Numbers []string // columns of INT64, and
	Fixed   []string // of texts of one length, without nulls, told of each row
	Threads int
	Judge   func() Judge
	// Group is told every row group with a hit, in the order of the table, one at a time.
	// What it is given is used again.
	Group func(*Group) error
	// Done is told how many bytes of texts, as they are unpacked, were looked through since
	// it was called last; it may be called from several goroutines.
	Done func(bytes int64)
}

// Group is a row group in which some texts have verdicts.
type Group struct {
	Rows    int
	Hits    []Hit     // of one place after another, in each by rows
	Numbers [][]int64 // of each row, as Scan.Numbers names them
	Fixed   [][]byte  // of all rows one after another, as Scan.Fixed names them
}

// Hit is one text with a verdict.
type Hit struct {
	Verdict Verdict
	Row     int32 // in the group
	Place   int32
}

// Table is a table of one bundle. It may be scanned by several goroutines.
type Table struct{ parts []*part }

// Open reads what files below dir, the parts of a table, say of themselves.
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

// Bytes is how much text a scan looks through, unpacked.
func (t *Table) Bytes(s *Scan) (n int64) {
	for _, p := range t.parts {
		read := p.columns(s)
		for i := range p.groups {
			n += p.groups[i].bytes(s, read)
		}
	}
	return n
}

// columns are the leaves that a scan reads of a part, for each place; -1 stands for one
// that is not there.
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

// bytes is how much a scan looks through of a group.
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

// Scan walks through a table. The first error, or the end of ctx, ends it.
func (t *Table) Scan(ctx context.Context, s *Scan) error {
	w, err := t.walk(s)
	if err != nil {
		return err
	}
	defer w.close()
	return w.run(ctx)
}

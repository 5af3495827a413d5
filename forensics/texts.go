package forensics

import (
	"cmp"
	"context"
	"errors"
	"math"
	"path/filepath"
	"runtime"
	"slices"
	"sync/atomic"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/forensics/internal/texts"
)

// Types of Texts.
type (
	TextPlace   = texts.Place
	TextGroup   = texts.Group
	TextHit     = texts.Hit
	TextVerdict = texts.Verdict
	TextJudge   = texts.Judge
	EveryText   = texts.Every
	TextMemo    = texts.Memo
)

// Texts is a search through the texts of a table. Each distinct text of a row group is judged once,
// so the search costs little more than reading. Texts are unmasked, even in a masked case: the
// caller must mask its results.
type Texts struct {
	Table   string // calls or bodies
	Places  []TextPlace
	From    int64    // nanoseconds since 1970 UTC, both inclusive, 0 open: row groups outside
	To      int64    // are skipped, but results may include rows outside
	Numbers []string // columns of BIGINT, and
	Fixed   []string // columns of hashes and ids without nulls; reported for each row

	// Judge makes a judge for each goroutine.
	Judge func() TextJudge
	// Group is called for each row group with hits, in the order of the bundles and their rows, one
	// at a time. Its argument is reused.
	Group func(bundle int, g *TextGroup) error
}

// scanMemory is the approximate memory of one goroutine of a search, in bytes, for bundles that
// pcapsule made.
const scanMemory = 32 << 20

// Texts searches texts, in memory that does not grow with the bundle. It returns a
// *bundle.DamagedError for damaged parts. An error of Group ends the search and is returned unchanged.
func (c *Case) Texts(ctx context.Context, t Texts) error {
	threads := cmp.Or(c.options.Threads, runtime.GOMAXPROCS(0))
	s := texts.Scan{Places: t.Places, From: t.From, To: cmp.Or(t.To, math.MaxInt64), Numbers: t.Numbers, Fixed: t.Fixed, Judge: t.Judge,
		Threads: max(1, min(threads, int(cmp.Or(max(c.options.MemoryLimit, 0), DefaultMemory)/scanMemory)))}
	if t.From == 0 {
		s.From = math.MinInt64
	}
	p, _ := ctx.Value(progressKey{}).(*Progress)
	var tables []*texts.Table
	for i := range c.bundles {
		table, err := c.textsOf(i, t.Table)
		if err != nil {
			return err
		}
		if tables = append(tables, table); p != nil {
			p.total.Add(table.Bytes(&s))
		}
	}
	if p != nil {
		s.Done = func(n int64) { p.done.Add(n) }
	}
	for i, table := range tables {
		s.Group = func(g *texts.Group) error { return t.Group(i, g) }
		if err := table.Scan(ctx, &s); err != nil {
			return damage(err)
		}
	}
	return nil
}

// damage converts an error about a part to one about its bundle.
func damage(err error) error {
	var d *texts.DamagedError
	if errors.As(err, &d) {
		return &bundle.DamagedError{File: filepath.ToSlash(d.File), What: d.What, Err: err}
	}
	return err
}

// textsOf returns the metadata of a table's parts in a bundle, which is read once.
func (c *Case) textsOf(no int, table string) (*texts.Table, error) {
	type key struct {
		bundle int
		table  string
	}
	read, ok := c.tables.Load(key{no, table})
	if !ok {
		b := c.bundles[no]
		read, _ = c.tables.LoadOrStore(key{no, table}, onceRead(func() (*texts.Table, error) {
			var files []string
			for _, f := range b.TableParts(table) {
				rel, err := filepath.Rel(b.Dir, f)
				if err != nil {
					return nil, err
				}
				files = append(files, rel)
			}
			t, err := texts.Open(b.Dir, files)
			return t, damage(err)
		}))
	}
	return read.(func() (*texts.Table, error))()
}

// Progress is the progress of a question that reads whole tables.
type Progress struct{ done, total atomic.Int64 }

// Bytes returns the bytes that were read, and the known total; both only grow. Both are 0 if the
// question reads no whole table, or has not begun to.
func (p *Progress) Bytes() (done, total int64) { return p.done.Load(), p.total.Load() }

type progressKey struct{}

// WithProgress makes questions with this context report their progress.
func WithProgress(ctx context.Context, p *Progress) context.Context {
	return context.WithValue(ctx, progressKey{}, p)
}

// NewTextMemo makes a cache of verdicts with at most that many bytes.
func NewTextMemo(bytes int) *TextMemo { return texts.NewMemo(bytes) }

// Types of Rows.
type (
	RowGroup  = texts.RowGroup
	RowColumn = texts.Column
)

// keptRows is the approximate size of the column cache of a Rows, in bytes.
const keptRows = 64 << 20

// Rows reads rows of a table for a question that reads a few of them many times; SQL would scan all
// row groups each time. Values are unmasked, even in a masked case. It must be used by one goroutine
// only, and needs no closing.
type Rows struct {
	read   []*texts.Rows    // of each bundle
	copies []map[int64]bool // of calls: by bundle, the numbers of the rows that are copies
	ends   []knownEnds      // of calls: by bundle, the rows whose ends another bundle knows better
}

// knownEnds are the ids of such ends, client and server, by call_no, in order; -1 if the row's own is as good.
type knownEnds struct {
	nos []int64
	ids [][2]int64
}

// Rows returns a reader for a table. Of calls it also reads the copies and the ends that other bundles know better;
// see Copy and End.
func (c *Case) Rows(ctx context.Context, table string) (*Rows, error) {
	r := &Rows{}
	if better := c.betterIDs(); table == "calls" && better != "" {
		r.ends = make([]knownEnds, len(c.bundles))
		err := c.eachRow(ctx, better, func(row []any) error {
			e := &r.ends[row[0].(int64)]
			e.nos, e.ids = append(e.nos, row[1].(int64)), append(e.ids, [2]int64{row[2].(int64), row[3].(int64)})
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	if table == "calls" && c.copied > 0 {
		r.copies = make([]map[int64]bool, len(c.bundles))
		for i := range r.copies {
			r.copies[i] = map[int64]bool{}
		}
		err := c.eachRow(ctx, "SELECT bundle::BIGINT, call_no FROM "+copiesTable, func(row []any) error {
			r.copies[row[0].(int64)][row[1].(int64)] = true
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	for i := range c.bundles {
		t, err := c.textsOf(i, table)
		if err != nil {
			return nil, err
		}
		rows, err := t.Rows(keptRows / len(c.bundles))
		if err != nil {
			return nil, err
		}
		r.read = append(r.read, rows)
	}
	return r, nil
}

// Copy reports whether the call with this number is a copy of one in another bundle.
func (r *Rows) Copy(bundle int, no int64) bool { return r.copies != nil && r.copies[bundle][no] }

// Sides of a call, for End.
const (
	Client = iota
	Server
)

// End returns the endpoint_id of one side of the call with this number: of the row that describes it best, given the
// one that its own row names.
func (r *Rows) End(bundle int, no int64, side int, own int64) int64 {
	if r.ends == nil {
		return own
	}
	e := &r.ends[bundle]
	if at, ok := slices.BinarySearch(e.nos, no); ok && e.ids[at][side] >= 0 {
		return e.ids[at][side]
	}
	return own
}

// OtherEnds reports whether another bundle knows the ends of some rows better.
func (r *Rows) OtherEnds() bool { return r.ends != nil }

// Each calls do for every row group of every bundle; do decides by the bounds whether to read it.
// Columns can be read until do returns. An error of do ends the walk.
func (r *Rows) Each(ctx context.Context, do func(bundle int, g *RowGroup) error) error {
	for i, rows := range r.read {
		if err := rows.Each(ctx, func(g *texts.RowGroup) error { return do(i, g) }); err != nil {
			return damage(err)
		}
	}
	return nil
}

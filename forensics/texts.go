package forensics

import (
	"cmp"
	"context"
	"errors"
	"math"
	"path/filepath"
	"runtime"
	"sync/atomic"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/forensics/internal/texts"
)

// What Texts reads and gives.
type (
	TextPlace   = texts.Place
	TextGroup   = texts.Group
	TextHit     = texts.Hit
	TextVerdict = texts.Verdict
	TextJudge   = texts.Judge
	EveryText   = texts.Every
	TextMemo    = texts.Memo
)

// Texts asks for the texts of a table to be looked through: each is judged once for all
// rows of a row group that hold it, so that it costs little more than reading them. Texts
// are as they were sent, also in a case that masks credentials: mask what is answered.
type Texts struct {
	Table   string // calls or bodies
	Places  []TextPlace
	From    int64    // nanoseconds since 1970 UTC, both included, 0 open: row groups outside
	To      int64    // are passed over, but rows outside may be among those told
	Numbers []string // columns of BIGINT, and
	Fixed   []string // of hashes and ids, of which none is null, told of each row

	// Judge makes what looks at the texts, once for each goroutine.
	Judge func() TextJudge
	// Group is told the row groups with hits, in the order of the bundles and their rows,
	// one at a time. What it is given is used again.
	Group func(bundle int, g *TextGroup) error
}

// scanMemory is about what one goroutine of a walk through texts holds at most, where
// bundles are as we make them.
const scanMemory = 32 << 20

// Texts looks through texts, in memory that does not grow with the bundle. Damage that it
// meets is a *bundle.DamagedError. An error of Group ends it and is returned as it is.
func (c *Case) Texts(ctx context.Context, t Texts) error {
	threads := cmp.Or(c.options.Threads, runtime.GOMAXPROCS(0))
	s := texts.Scan{Places: t.Places, From: t.From, To: cmp.Or(t.To, math.MaxInt64), Numbers: t.Numbers, Fixed: t.Fixed, Judge: t.Judge,
		Threads: max(1, min(threads, int(cmp.Or(max(c.options.MemoryLimit, 0), defaultMemory)/scanMemory)))}
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

// damage makes damage of a part damage of its bundle.
func damage(err error) error {
	var d *texts.DamagedError
	if errors.As(err, &d) {
		return &bundle.DamagedError{File: filepath.ToSlash(d.File), What: d.What, Err: err}
	}
	return err
}

// textsOf is what the parts of a bundle's table say of themselves, which is read once.
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

// Progress is how far a question has come with what it has to read whole.
type Progress struct{ done, total atomic.Int64 }

// Bytes are how many were looked through, and how many there are as far as is known; both
// only grow. Zero: the question reads nothing whole, or has not begun to.
func (p *Progress) Bytes() (done, total int64) { return p.done.Load(), p.total.Load() }

type progressKey struct{}

// WithProgress makes questions that are asked with the context say how far they are.
func WithProgress(ctx context.Context, p *Progress) context.Context {
	return context.WithValue(ctx, progressKey{}, p)
}

// NewTextMemo makes a memory for verdicts that takes so many bytes.
func NewTextMemo(bytes int) *TextMemo { return texts.NewMemo(bytes) }

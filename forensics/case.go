// Package forensics opens bundles and answers questions about them.
//
// A Case is one or more bundles, read by a locked DuckDB: it reads only the bundles' tables, writes
// nothing to them, and states with every answer the packets behind it and how much of the requested
// time was recorded. It rejects every SQL text that is not exactly one query.
package forensics

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/forensics/geoip"
	"github.com/pcapsule/pcapsule/forensics/indicator"
	"github.com/pcapsule/pcapsule/forensics/internal/duck"
	"github.com/pcapsule/pcapsule/forensics/internal/pages"
	"github.com/pcapsule/pcapsule/forensics/redact"
)

// DefaultMemory is the memory for the queries of a case in bytes, unless Options.MemoryLimit is set.
const DefaultMemory = 1 << 30

const (
	maxBundles = 256       // in one case
	leastAbove = 512 << 20 // memory of the database processes above a small limit
)

// Opener opens one bundle, or a view of a live run as one.
type Opener func(path string, o bundle.OpenOptions) (*bundle.Bundle, error)

// Options define how to open a case. The zero value is valid.
type Options struct {
	MemoryLimit int64  // memory for queries in bytes, see counted; 0 means DefaultMemory
	Threads     int    // 0 means one per processor, but no more than MemoryLimit has room for; a small case has one
	TempDir     string // private folder for queries above the memory limit; empty: they fail
	MaxTemp     int64  // bytes in TempDir; 0 means 8 GiB
	CacheDir    string // where transport ZIPs are unpacked; see bundle.OpenOptions
	Open        Opener // opens each bundle; nil means bundle.OpenWith
	Ceiling     int64  // bytes of all database processes above which a query ends with ErrMemory; 0: twice MemoryLimit
	Guard       *Guard // of the database processes of several cases together; nil: only of this case, with Ceiling
	MaskSecrets bool   // mask all texts of all tables by the policy, for every kind of query

	Policy *redact.Policy // with MaskSecrets: what is masked; nil means redact.Default

	GeoIP      *geoip.Set     // files that say where outside addresses are; nil: none
	Indicators *indicator.Set // lists that the analyzer indicator compares with; nil: none

	Macros map[string]string // names for KFL filters in every query

	Watch func(sql string) // called with the SQL of every query that is run; safe for concurrent use
}

// Case is one or more opened bundles. It is safe for concurrent use.
type Case struct {
	bundles []*bundle.Bundle
	paths   []string
	db      *duck.DB
	options Options
	id      string // hash of what is in the case, for cursors

	overlap
	relations
	masking
	answers
}

// overlap is what several bundles of a case have in common.
type overlap struct {
	copies   []bool      // by bundle: some of its calls are copies; nil if bundles do not overlap in time
	copied   int64       // number of rows that are copies
	renamed  []bool      // by bundle: DNS answers in other bundles name some of its addresses; nil if there are none
	borrowed int         // addresses whose name is from a DNS answer in another bundle
	ends     *betterEnds // of calls that another bundle knows better; nil if there are none
}

// relations are the names that a statement can use, and what is in the parts of the tables.
type relations struct {
	views  map[string]*view
	order  []string // names of the views, in the order of the documentation
	docs   func() (map[string]map[string]doc, error)
	tables *sync.Map                // metadata of parts, see textsOf
	stated map[string][]duck.Column // columns of each table, as the bundles state them
	kept   map[string]bool          // tables of a case aside; see Keep
}

// masking is whether and how credentials are hidden.
type masking struct {
	mask     bool
	unmasked []duck.View // views that hide those of the masked case; see Unmasked
	whole    *Case       // the unmasked case of a masked one
	part     bool        // part of another case, which closes the database
}

// answers are what was found once and is asked for again.
type answers struct {
	coverage func() ([]Stretch, error)
	unread   func() ([][2]int64, error)
	findings *atomic.Pointer[Findings]
	calls    *callParts
	full     *full
	xml      *xmlCache
	known    *knownOnce
	gated    *gated
	pages    *pages.Store
	runs     *frameRuns // frames of packets, for citations
}

// BundleInfo describes one bundle of a case.
type BundleInfo struct {
	Index    int    // value of the column bundle if the case has several
	Path     string // path as given to Open
	Dir      string // directory that is read
	Unpacked bool   // Dir was unpacked from a transport ZIP
	State    bundle.State
	Manifest *bundle.Manifest
	Bundle   *bundle.Bundle // to verify it
}

// Open opens bundles, which are directories or transport ZIPs, as one case. It only reads, and hashes
// nothing. Its errors are those of bundle.Open.
//
// If there are several, every table has a column bundle, the index in paths; numbers such as call_no,
// flow_id and packet_no are unique only within a bundle.
func Open(ctx context.Context, paths []string, o Options) (*Case, error) {
	if len(paths) == 0 || len(paths) > maxBundles {
		return nil, fmt.Errorf("opening case: the number of bundles is %d, must be 1 to %d", len(paths), maxBundles)
	}
	if o.MemoryLimit <= 0 {
		o.MemoryLimit = DefaultMemory
	}
	if o.Ceiling <= 0 {
		o.Ceiling = o.MemoryLimit + max(o.MemoryLimit, leastAbove)
	}
	worker, err := duck.Launch(duck.Options{MemoryLimit: counted(o.MemoryLimit), Threads: o.Threads, TempDir: o.TempDir, MaxTemp: o.MaxTemp, Ceiling: o.Ceiling, Guard: o.Guard})
	if err != nil {
		return nil, err
	}
	c, err := openBundles(paths, o)
	if err != nil {
		worker.Close()
		return nil, err
	}
	db, err := worker.Open(ctx, c.folders(), c.isSmall())
	if err != nil {
		return nil, err
	}
	c.db = db
	db.Check(c.asStated(db))
	if err := c.setUp(ctx); err != nil {
		c.db.Close()
		return nil, fmt.Errorf("opening case: %w", err)
	}
	c.id = c.identity()
	c.docs = onceRead(c.readDocs)
	c.coverage = onceRead(c.readCoverage)
	c.unread = onceRead(c.readUnread)
	if c.mask {
		whole := *c
		whole.mask, whole.part, whole.xml, whole.pages = false, true, &xmlCache{}, &pages.Store{}
		whole.db = c.db.With(c.unmasked)
		c.whole = &whole
		c.db = c.db.Before(func(ctx context.Context) error {
			_, err := c.Known(ctx)
			return err
		})
	}
	return c, nil
}

// openBundles opens the bundles of a case.
func openBundles(paths []string, o Options) (*Case, error) {
	c := &Case{paths: paths, options: o, masking: masking{mask: o.MaskSecrets}, relations: relations{tables: &sync.Map{}},
		answers: answers{findings: &atomic.Pointer[Findings]{}, full: &full{}, xml: &xmlCache{}, known: &knownOnce{}, gated: &gated{}, pages: &pages.Store{}, runs: &frameRuns{}}}
	seen, open := map[string]string{}, o.Open
	if open == nil {
		open = bundle.OpenWith
	}
	for _, p := range paths {
		b, err := open(p, bundle.OpenOptions{CacheDir: o.CacheDir})
		if err != nil {
			return nil, err
		}
		if first, twice := seen[b.Dir]; twice {
			return nil, fmt.Errorf("opening case: %s and %s are the same bundle", first, p)
		}
		seen[b.Dir] = p
		c.bundles = append(c.bundles, b)
	}
	return c, nil
}

// counted is the part of a memory limit that DuckDB gets. DuckDB counts hash tables, sorted rows and
// columns. The rest is for memory that it does not count: plans, Parquet footers, the rows of an
// answer, and the states of quantiles, which store every value.
func counted(limit int64) int64 { return limit - limit/4 }

// onceRead caches the result of read, but not an error, because the cause may be temporary.
func onceRead[T any](read func() (T, error)) func() (T, error) {
	var mu sync.Mutex
	var kept *T
	return func() (T, error) {
		mu.Lock()
		defer mu.Unlock()
		if kept != nil {
			return *kept, nil
		}
		v, err := read()
		if err == nil {
			kept = &v
		}
		return v, err
	}
}

// setUp makes the views and locks the database.
func (c *Case) setUp(ctx context.Context) error {
	if err := c.makeViews(ctx); err != nil {
		return err
	}
	return c.db.Lock(ctx)
}

// folders returns the folders with the tables, in the form that DuckDB accepts.
func (c *Case) folders() (dirs []string) {
	for _, b := range c.bundles {
		dir := filepath.Join(b.Dir, "data")
		dirs = append(dirs, dir)
		// DuckDB checks a pattern before it is expanded, then what it expands to.
		if escaped := escapeGlob(dir); escaped != dir {
			dirs = append(dirs, escaped)
		}
	}
	return dirs
}

// isSmall reports whether one thread answers questions about a case sooner than several: below some 100,000 rows
// planning a query takes longest, and threads only wait for each other.
func (c *Case) isSmall() bool {
	var rows int64
	for _, b := range c.bundles {
		for _, t := range b.Manifest.Tables {
			rows += t.Rows
		}
	}
	return rows < 100_000
}

// identity is a hash of the bundles' inputs and tables as in their manifests.
func (c *Case) identity() string {
	h := sha256.New()
	for _, b := range c.bundles {
		contentOf(h, b)
	}
	if set := c.options.Indicators; set != nil {
		for _, f := range set.Sources {
			fmt.Fprintf(h, "|indicators %s %s", f.File, f.SHA256)
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// contentOf writes what identifies a bundle's content.
func contentOf(h io.Writer, b *bundle.Bundle) {
	for i := range b.Manifest.Inputs {
		h.Write(b.Manifest.Inputs[i].SHA256[:])
	}
	for _, t := range b.Manifest.Tables {
		fmt.Fprintf(h, "|%s|%s|%d", t.Name, t.Protocol, t.Rows)
		for _, col := range t.Columns {
			h.Write(col.SHA256[:])
		}
	}
	h.Write([]byte{'\n'})
}

// ranks orders the bundles, so that the order of arguments does not matter: first the one with most rows,
// which knows most about what surrounds a call, then by content.
func (c *Case) ranks() []int {
	sums := make([][sha256.Size]byte, len(c.bundles))
	rows := make([]int64, len(c.bundles))
	order := make([]int, len(c.bundles))
	for i, b := range c.bundles {
		for _, t := range b.Manifest.Tables {
			rows[i] += t.Rows
		}
		h := sha256.New()
		contentOf(h, b)
		h.Sum(sums[i][:0])
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(rows[b], rows[a]), bytes.Compare(sums[a][:], sums[b][:]))
	})
	ranks := make([]int, len(order))
	for rank, i := range order {
		ranks[i] = rank
	}
	return ranks
}

// Close closes the case. It leaves the bundles unchanged.
func (c *Case) Close() error {
	if c.part {
		return nil
	}
	return c.db.Close()
}

// Unmasked returns the same case with all texts as they were sent, for questions that must compare them
// and mask their results themselves. It is closed with c.
//
// It uses separate connections to the same database with other views; on the connections of c no name
// leads to unmasked values.
func (c *Case) Unmasked() *Case {
	if !c.mask {
		return c
	}
	return c.whole
}

// GeoIP returns the files with which the case was opened that say where addresses are.
func (c *Case) GeoIP() *geoip.Set { return c.options.GeoIP }

// Indicators returns the lists with which the case was opened.
func (c *Case) Indicators() *indicator.Set { return c.options.Indicators }

// Alerts is the number of alerts of other programs in the bundles.
func (c *Case) Alerts() (n int64) {
	for _, b := range c.bundles {
		for _, t := range b.Manifest.Tables {
			if t.Name == "alerts" {
				n += t.Rows
			}
		}
	}
	return n
}

// Bundles lists the open bundles.
func (c *Case) Bundles() []BundleInfo {
	var out []BundleInfo
	for i, b := range c.bundles {
		out = append(out, BundleInfo{Index: i, Path: c.paths[i], Dir: b.Dir, Unpacked: b.Unpacked != "", State: b.Verified(), Manifest: b.Manifest, Bundle: b})
	}
	return out
}

// Verified reports whether all bundles passed verification.
func (c *Case) Verified() bool {
	return !slices.ContainsFunc(c.bundles, func(b *bundle.Bundle) bool { return b.Verified() != bundle.Verified })
}

// Window returns the times of the first and the last packet of the case, in nanoseconds since 1970 UTC;
// ok is false if there are no packets.
func (c *Case) Window() (first, last int64, ok bool) {
	first, last = math.MaxInt64, math.MinInt64
	for _, w := range c.windows() {
		if w != nil {
			first, last, ok = min(first, w[0]), max(last, w[1]), true
		}
	}
	if !ok {
		return 0, 0, false
	}
	return first, last, true
}

// windows are the times of the first and the last packet of each bundle, nil for one without packets.
func (c *Case) windows() []*[2]int64 {
	out := make([]*[2]int64, len(c.bundles))
	for i, b := range c.bundles {
		if w := b.Manifest.Window; w.FirstNs != nil && w.LastNs != nil {
			out[i] = &[2]int64{int64(*w.FirstNs), int64(*w.LastNs)}
		}
	}
	return out
}

// Masked reports whether the texts of the case are masked.
func (c *Case) Masked() bool { return c.mask }

// Policy returns the policy for masking results, whether or not the tables are masked.
func (c *Case) Policy() *redact.Policy {
	if c == nil || c.options.Policy == nil {
		return redact.Default()
	}
	return c.options.Policy
}

// several reports whether the case has a column bundle.
func (c *Case) several() bool { return len(c.bundles) > 1 }

// Errors that a caller can distinguish; also *SyntaxError and *kfl.Error for text that does not parse.
var (
	ErrRefused  = duck.ErrRefused  // SQL that is not a query, or that reaches outside the case
	ErrDeadline = duck.ErrDeadline // the query exceeded its deadline
	ErrMemory   = duck.ErrMemory   // the query needs more memory than the case may use
	ErrCrashed  = duck.ErrCrashed  // the query crashed its process; the next one works
	ErrDamaged  = duck.ErrDamaged  // a table cannot be read completely
	ErrNotFound = errors.New("not found")
	ErrCursor   = errors.New("the cursor belongs to another question")
	ErrUsage    = errors.New("the inputs contradict each other")
)

// Guard bounds the memory of the database processes of several cases together.
type Guard = duck.Guard

// NewGuard makes a guard for cases whose database processes together may use ceiling bytes.
func NewGuard(ceiling int64) *Guard { return duck.NewGuard(ceiling) }

// SyntaxError is SQL that does not parse, with the place.
type SyntaxError = duck.SyntaxError

// RefusedError is SQL that was not run, with the reason.
type RefusedError = duck.RefusedError

// usageError is an ErrUsage that says what is wrong.
type usageError string

func (e usageError) Error() string { return string(e) }
func (e usageError) Unwrap() error { return ErrUsage }

func usagef(format string, args ...any) error { return usageError(fmt.Sprintf(format, args...)) }

// readRanges converts a value of a column cites to ranges.
func readRanges(v any) table.Cites {
	list, _ := v.([]any)
	var out table.Cites
	for _, x := range list {
		s, _ := x.(duck.Struct)
		first, ok1 := s.Get("first").(int64)
		last, ok2 := s.Get("last").(int64)
		if ok1 && ok2 && first >= 0 && last >= first {
			out.Add(first, last)
		}
	}
	return out
}

// plainName reports whether s is a valid table name without quotes.
func plainName(s string) bool {
	return s != "" && len(s) <= 64 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789_") == "" && (s[0] < '0' || s[0] > '9')
}

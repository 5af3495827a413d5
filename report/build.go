package report

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// maxRanges is how many ranges of packets a citation lists.
const maxRanges = 4

// Build asks a case what a person wants to know first, and makes the report of it. All
// questions are aggregates, so the time it takes hardly grows with what is answered.
func Build(ctx context.Context, c *forensics.Case, o Options) (*Report, error) {
	b := &builder{ctx: ctx, c: c, o: o, r: &Report{Release: clean(o.Release, maxText)}}
	if !o.Made.IsZero() {
		b.r.Made = o.Made.UTC().Format(time.RFC3339)
	}
	b.bundles()
	b.first, b.last, b.any = c.Window()
	if b.any {
		b.r.From, b.r.To = rfc3339(b.first), rfc3339(b.last)
	}
	b.namespaces()
	b.totals()
	for _, part := range []struct {
		name string
		make func() (Section, string)
	}{
		{"traffic over time", b.traffic}, {"protocols", b.protocols}, {"who calls whom", b.services}, {"slowest endpoints", b.slow},
		{"failing endpoints", b.failing}, {"TLS", b.tls}, {"DNS", b.dns}, {"TCP health", b.tcp}, {"Kubernetes", b.kubernetes},
		{"talkers", b.talkers}, {"losses", b.losses}, {"accounts", b.accounts}, {"sources", b.sources}, {"how it was made", b.made},
	} {
		if b.err != nil {
			break
		}
		s, absent := part.make()
		if errors.Is(b.err, forensics.ErrMemory) {
			// One question too large must not cost the rest of the page.
			b.r.Unmade, b.err = append(b.r.Unmade, part.name), nil
			continue
		}
		if absent != "" {
			b.r.Absent = append(b.r.Absent, absent)
			continue
		}
		if s.ID != "" { // else another section has said that there is nothing
			b.r.Sections = append(b.r.Sections, s)
		}
	}
	b.resolve()
	b.summary()
	if b.err != nil {
		return nil, fmt.Errorf("building report: %w", b.err)
	}
	return b.r, nil
}

// builder is a report in the making. After an error it asks no more.
type builder struct {
	ctx   context.Context
	c     *forensics.Case
	o     Options
	r     *Report
	err   error
	words []string // the bundles as words of a command
	paths string   // all of them

	several     bool // bundles, so numbers are unique only with their bundle
	first, last int64
	any         bool   // there are packets
	namespace   string // of most endpoints, which goes without saying

	packets, bytes, calls, failed int64
	accts                         bundle.Accounts
	cites                         []*Citation // to be completed
	notes                         notes
}

// notes are what sections leave for the summary.
type notes struct {
	protocols, failures []string
	holes               int64
	lostPackets         int64
	reasons             []string
	anomalies           int64
	slowest             string
}

// bundles names what is open.
func (b *builder) bundles() {
	list := b.c.Bundles()
	b.several = len(list) > 1
	var names, words []string
	for i, info := range list {
		name := filepath.Base(filepath.Clean(info.Path))
		if name == "." || name == string(filepath.Separator) {
			name = filepath.Base(info.Dir)
		}
		words = append(words, shellQuote(clean(name, maxText)))
		names = append(names, clean(strings.TrimSuffix(strings.TrimSuffix(name, ".zip"), ".pcapsule"), maxText))
		out := Bundle{Name: clean(name, maxText)}
		out.Verified, out.Detail = b.verified(i, info)
		b.r.Bundles = append(b.r.Bundles, out)
	}
	b.words, b.paths = words, strings.Join(words, " ")
	b.r.Title = clean(b.o.Title, maxText)
	if b.r.Title == "" {
		if len(names) > 4 {
			names = append(names[:3], plural.Count(int64(len(names)-3), "more bundle", "more bundles"))
		}
		b.r.Title = and(names)
	}
}

func (b *builder) verified(i int, info forensics.BundleInfo) (state, detail string) {
	if i < len(b.o.Checks) && b.o.Checks[i] != nil {
		check := b.o.Checks[i]
		if check.OK() {
			return "verified", fmt.Sprintf("all %s (%s) were hashed for this report and are as the manifest says; tagmanifest SHA-256 %s",
				plural.Count(check.Files, "file", "files"), bytesText(check.Bytes), check.TagManifest)
		}
		return "broken", fmt.Sprintf("its files are not what its manifest says: %s", clean(check.Err().Error(), maxText))
	}
	switch info.State {
	case bundle.Verified:
		return "verified", "its files are as the manifest says"
	case bundle.Broken:
		return "broken", "its files are not what its manifest says"
	}
	return "not verified", "its files were not hashed for this report; pcapsule verify does that"
}

// ask runs a query.
func (b *builder) ask(sql string) [][]any {
	if b.err != nil {
		return nil
	}
	res, err := b.c.Query(b.ctx, forensics.Query{SQL: sql})
	if err != nil {
		b.err = err
		if !errors.Is(err, context.Canceled) {
			b.err = fmt.Errorf("asking %q: %w", sql, err)
		}
		return nil
	}
	return res.Rows
}

// query shows how a reader asks the same.
func (b *builder) query(sql string) Query {
	return Query{SQL: sql, Command: "pcapsule sql " + b.paths + " " + shellQuote(sql)}
}

// on joins two tables by an id that is unique within a bundle.
func (b *builder) on(left, right, condition string) string {
	if b.several {
		return fmt.Sprintf("%s AND %s.bundle = %s.bundle", condition, left, right)
	}
	return condition
}

// ref is SQL for a number that names a call in the whole case.
func (b *builder) ref(alias string) string {
	if b.several {
		return fmt.Sprintf("%[1]s.bundle * %[2]d + %[1]s.call_no", alias, int64(1)<<refBits)
	}
	return alias + ".call_no"
}

// refBits is where the bundle stands in a reference to a call.
const refBits = 44

// cite makes a citation of a reference, completed at the end by one query for all.
func (b *builder) cite(v any) *Citation {
	n, ok := whole(v)
	if !ok {
		return nil
	}
	c := &Citation{callNo: n}
	if b.several {
		c.Bundle, c.callNo = int(n>>refBits), n&(1<<refBits-1)
	}
	b.cites = append(b.cites, c)
	return c
}

// resolve completes the citations.
func (b *builder) resolve() {
	if len(b.cites) == 0 || b.err != nil {
		return
	}
	var list []string
	for _, c := range b.cites {
		list = append(list, strconv.FormatInt(c.callNo, 10))
	}
	slices.Sort(list)
	list = slices.Compact(list)
	index := "0"
	if b.several {
		index = "bundle"
	}
	type key struct {
		bundle int
		call   int64
	}
	found := map[key][]any{}
	for from := 0; from < len(list); from += 1000 {
		part := list[from:min(from+1000, len(list))]
		for _, row := range b.ask("SELECT " + index + ", call_no, call_id, cites FROM calls_raw WHERE call_no IN (" + strings.Join(part, ", ") + ") ORDER BY 1, 2") {
			found[key{int(num(row[0])), num(row[1])}] = row
		}
	}
	for _, c := range b.cites {
		row, ok := found[key{c.Bundle, c.callNo}]
		if !ok {
			continue
		}
		if id, ok := row[2].([]byte); ok {
			c.Call = hex.EncodeToString(id)
		}
		c.Packets = packetRanges(row[3])
	}
}

// packetRanges writes a value of a cites column.
func packetRanges(v any) string {
	list, _ := v.([]any)
	var out []string
	for i, x := range list {
		s, _ := x.(forensics.Struct)
		first, ok1 := whole(s.Get("first"))
		last, ok2 := whole(s.Get("last"))
		if !ok1 || !ok2 {
			continue
		}
		if i == maxRanges {
			out = append(out, "…")
			break
		}
		out = append(out, packetRange(first, last))
	}
	return strings.Join(out, ",")
}

func packetRange(first, last int64) string {
	if first == last {
		return strconv.FormatInt(first, 10)
	}
	return fmt.Sprintf("%d-%d", first, last)
}

// namespaces finds the namespace of most, which need not be told.
func (b *builder) namespaces() {
	rows := b.ask("SELECT namespace FROM endpoints WHERE namespace IS NOT NULL GROUP BY namespace ORDER BY count(*) DESC, namespace LIMIT 1")
	if len(rows) == 1 {
		b.namespace, _ = rows[0][0].(string)
	}
}

// node is SQL for who stands behind an endpoint: a workload, a service, or the best
// name there is, with its namespace.
func node(alias string) string { return alias + ".who" }

// nodeName is a node for a person.
func (b *builder) nodeName(v any) string {
	s, _ := v.(string)
	if b.namespace != "" {
		s = strings.TrimPrefix(s, b.namespace+"/")
	}
	return clean(s, 60)
}

// totals counts what the whole report measures against.
func (b *builder) totals() {
	for _, info := range b.c.Bundles() {
		a := info.Manifest.Accounts
		t := &b.accts
		t.Packets += a.Packets
		t.Bytes += a.Bytes
		t.PayloadBytes += a.PayloadBytes
		t.CutBytes += a.CutBytes
		t.RowBytes += a.RowBytes
		t.GapBytes += a.GapBytes
		t.AnomalyBytes += a.AnomalyBytes
		t.DuplicateBytes += a.DuplicateBytes
	}
	b.packets, b.bytes = b.accts.Packets, b.accts.Bytes
	for _, row := range b.ask("SELECT count(*), count(*) FILTER (WHERE failed) FROM calls_raw") {
		b.calls, b.failed = num(row[0]), num(row[1])
	}
}

// has says that the case has rows of a table, as its bundles tell.
func (b *builder) has(name string) bool {
	for _, info := range b.c.Bundles() {
		for _, t := range info.Manifest.Tables {
			if t.Name == name && t.Rows > 0 {
				return true
			}
		}
	}
	return false
}

// flowCite is the citation of a flow: its packets lie between the two.
func flowCite(bundleNo, first, last any) *Citation {
	return &Citation{Bundle: int(num(bundleNo)), Packets: packetRange(num(first), num(last))}
}

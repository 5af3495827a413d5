package report

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask/failures"
	"github.com/pcapsule/pcapsule/forensics/ask/tally"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// maxRanges is the highest number of packet ranges in a citation.
const maxRanges = 4

// Build runs the questions that a reader asks first, and makes a report from the answers. All of them
// are aggregates, so the time hardly depends on the size of the answers.
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
			// A question that needs too much memory must not prevent the rest of the page.
			b.r.Unmade, b.err = append(b.r.Unmade, part.name), nil
			continue
		}
		if absent != "" {
			b.r.Absent = append(b.r.Absent, absent)
			continue
		}
		if s.ID != "" { // otherwise another section reports the absence
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

// builder makes a report. After an error it runs no more questions.
type builder struct {
	ctx   context.Context
	c     *forensics.Case
	o     Options
	r     *Report
	err   error
	words []string // the bundles as arguments of a command
	paths string   // all of them, as one text

	several     bool // the case has several bundles
	first, last int64
	any         bool   // the case has packets
	namespace   string // namespace of most endpoints, which names omit

	packets, bytes, calls, failed int64
	accts                         bundle.Accounts
	cites                         []*Citation      // citations that resolve completes
	failures                      *failures.Answer // cached answer
	notes                         notes
}

// notes collect facts from the sections for the summary.
type notes struct {
	protocols, failures []string
	holes               int64
	lostPackets         int64
	reasons             []string
	anomalies           int64
	slowest             string
}

// bundles lists the open bundles.
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
			return "verified", fmt.Sprintf("all %s (%s) were hashed for this report and match the manifest; tagmanifest SHA-256 %s",
				plural.Count(check.Files, "file", "files"), bytesText(check.Bytes), check.TagManifest)
		}
		return "broken", fmt.Sprintf("its files do not match its manifest: %s", clean(check.Err().Error(), maxText))
	}
	switch info.State {
	case bundle.Verified:
		return "verified", "its files match the manifest"
	case bundle.Broken:
		return "broken", "its files do not match its manifest"
	}
	return "not verified", "its files were not hashed for this report; run pcapsule verify"
}

// tallied reads one of the tables of package tally.
func tallied[T any](b *builder, of func(context.Context, *forensics.Case) (tally.Table[T], error)) (t tally.Table[T]) {
	if b.err == nil {
		t, b.err = of(b.ctx, b.c)
	}
	return t
}

// query shows how a reader runs the same SQL.
func (b *builder) query(sql string) Query {
	return Query{SQL: sql, Command: "pcapsule sql " + b.paths + " " + shellQuote(sql)}
}

// question shows how a reader runs a question with its flags.
func (b *builder) question(name, flags string) Query {
	return Query{Command: "pcapsule ask " + name + " " + b.paths + flags}
}

// cite makes a citation of a call by its id; resolve completes all citations with one query.
func (b *builder) cite(id string) *Citation {
	if id == "" {
		return nil
	}
	c := &Citation{Call: id}
	b.cites = append(b.cites, c)
	return c
}

// resolve completes the citations.
func (b *builder) resolve() {
	var ids []string
	for _, c := range b.cites {
		ids = append(ids, c.Call)
	}
	slices.Sort(ids)
	for part := range slices.Chunk(slices.Compact(ids), 1000) {
		if b.err != nil {
			return
		}
		var calls map[string]tally.Cited
		calls, b.err = tally.Packets(b.ctx, b.c, part)
		for _, c := range b.cites {
			if call, ok := calls[c.Call]; ok {
				c.Bundle, c.Packets = int(call.Bundle), firstRanges(call.Packets)
			}
		}
	}
}

// firstRanges returns the first ranges of a list of packets.
func firstRanges(packets string) string {
	list := strings.Split(packets, ",")
	if len(list) > maxRanges {
		list = append(list[:maxRanges:maxRanges], "…")
	}
	return strings.Join(list, ",")
}

func packetRange(first, last int64) string {
	if first == last {
		return strconv.FormatInt(first, 10)
	}
	return fmt.Sprintf("%d-%d", first, last)
}

// namespaces finds the namespace of most endpoints, which names omit.
func (b *builder) namespaces() {
	if t := tallied(b, tally.Namespaces); len(t.Rows) == 1 {
		b.namespace = t.Rows[0].Name
	}
}

// nodeName is the display name of a node.
func (b *builder) nodeName(s string) string {
	if b.namespace != "" {
		s = strings.TrimPrefix(s, b.namespace+"/")
	}
	return clean(s, 60)
}

// totals counts the totals for shares in the report.
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
	for _, n := range tallied(b, tally.Calls).Rows {
		b.calls, b.failed = n.Calls, n.Failed
	}
}

// has reports whether the manifests list rows of a table.
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

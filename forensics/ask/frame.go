package ask

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/internal/when"
)

// maxHoles is the highest number of coverage gaps that an answer lists.
const maxHoles = 10

// Frame is embedded in every answer: coverage, verification and notes.
type Frame struct {
	Answer    string   `json:"answer,omitempty" jsonschema:"the answer in one sentence; the evidence follows"`
	Coverage  Coverage `json:"coverage"`
	Matched   string   `json:"matched" jsonschema:"some, nothing_matched (the time was recorded, but nothing matches), or not_recorded (the time was not recorded)"`
	Truncated bool     `json:"truncated,omitempty" jsonschema:"a list was cut at its limit: narrow the question or raise limit"`
	Now       string   `json:"now,omitempty" jsonschema:"what now() meant: the time of the last packet"`
	Verified  bool     `json:"verified" jsonschema:"every file of the bundles was checked against its hash in this run"`
	Notes     []string `json:"notes,omitempty" jsonschema:"assumptions, limits, and what cannot be observed"`
	Places    []Place  `json:"places,omitempty" jsonschema:"where outside addresses of this answer are, as GeoIP files say"`

	recorded bool
}

// Match sets Matched for an answer with n results.
func (f *Frame) Match(n int) {
	switch {
	case n > 0:
		f.Matched = "some"
	case f.recorded:
		f.Matched = "nothing_matched"
	default:
		f.Matched = "not_recorded"
	}
}

// Texts of Frame.Answer for an answer without results.
const (
	NotRecorded   = "No packets were recorded in that time range."
	NothingInPart = "No matches. The time range was only partly captured."
	NothingInRead = "No matches. Not everything could be read."
	NothingHeard  = "No matches. For a part of the time range there is no packet: nothing was sent, or nothing was recorded."
	Nothing       = "No matches. The whole time range was captured."
)

// conclude sets the sentence with which an answer begins: that it has no results, or what its Sentence says.
func conclude(out any) {
	a, ok := out.(framed)
	if !ok {
		return
	}
	f := a.frame()
	says, ok := out.(interface{ Sentence() string })
	if ok && f.Matched != "not_recorded" && f.Matched != "nothing_matched" {
		f.Answer = Clip(says.Sentence(), maxSentence)
		return
	}
	f.Answer = Without(f.Matched, f.Coverage)
}

// Without is the sentence of an answer without results.
func Without(matched string, c Coverage) string {
	switch {
	case matched == "not_recorded":
		return NotRecorded
	case c.State != string(forensics.Complete):
		return NothingInPart
	case c.Unread:
		return NothingInRead
	case len(c.Quiet) > 0:
		return NothingHeard
	}
	return Nothing
}

// maxSentence is the longest Frame.Answer, in characters.
const maxSentence = 800

// Note adds a note, formatted by plural.Sprintf.
func (f *Frame) Note(format string, args ...any) {
	f.Notes = append(f.Notes, plural.Sprintf(format, args...))
}

// Coverage is how much of the requested time was recorded.
type Coverage struct {
	State  string `json:"state" jsonschema:"complete: all of it was recorded; partial: see holes, the coverage gaps; none: nothing was recorded, so an empty answer proves nothing"`
	Unread bool   `json:"unread,omitempty" jsonschema:"something that was recorded could not be read (cut, not decoded or decrypted, or bytes are missing): an empty answer does not prove that there was nothing"`
	From   string `json:"from,omitempty" jsonschema:"start of the requested time, RFC 3339"`
	To     string `json:"to,omitempty" jsonschema:"end of the requested time, RFC 3339"`
	Holes  []Hole `json:"holes,omitempty"`
	More   int64  `json:"more_holes,omitempty" jsonschema:"coverage gaps that are not listed"`
	Quiet  []Span `json:"quiet,omitempty" jsonschema:"longest times without a packet, in recordings that do not say whether they paused: nothing was sent, or nothing was recorded"`
}

// Span is a time range.
type Span struct {
	From string `json:"from"`
	To   string `json:"to"`
}

// Recorded is the state as a person reads it.
func (c Coverage) Recorded() string {
	switch {
	case c.State == string(forensics.Complete) && c.Unread:
		return NotAllRead
	case c.State == string(forensics.Complete) && len(c.Quiet) > 0:
		return "complete, or paused in a long silence"
	}
	return c.State
}

// NotAllRead is the text for a time that was recorded, but of which something could not be read.
const NotAllRead = "partly read"

// Hole is a coverage gap: a time range that was not recorded, or only in part.
type Hole struct {
	Source  string `json:"source"`
	Sources int64  `json:"sources,omitempty" jsonschema:"how many sources leave out the same, if several; source is the first, from and to are of all"`
	Reason  string `json:"reason" jsonschema:"filter, policy, drop, restart, retention, redaction, damaged, not_scheduled, not_read or not_recorded"`
	From    string `json:"from" jsonschema:"empty if no time is known, because no packet could be read"`
	To      string `json:"to"`
	Packets int64  `json:"packets,omitempty" jsonschema:"packets known to be lost"`
	Detail  string `json:"detail,omitempty"`
}

// CoverageOf converts a coverage for an answer. It lists at most maxHoles gaps, first those that nobody chose; what
// several sources leave out by the same choice is one gap.
func CoverageOf(c forensics.Coverage) Coverage {
	out := Coverage{State: string(c.State), Unread: c.Unread, More: c.More}
	if c.From != 0 {
		out.From = when.Stamp(c.From)
	}
	if c.To != 0 {
		out.To = when.Stamp(c.To)
	}
	type choice struct {
		bundle         int
		reason, detail string
	}
	type gap struct {
		forensics.Hole
		sources int64
	}
	var lost, chosen []gap
	at := map[choice]int{}
	for _, h := range c.Holes {
		if h.Reason != "filter" && h.Reason != "policy" {
			lost = append(lost, gap{h, 1})
			continue
		}
		key := choice{h.Bundle, h.Reason, h.Detail}
		i, ok := at[key]
		if !ok {
			at[key] = len(chosen)
			chosen = append(chosen, gap{h, 1})
			continue
		}
		g := &chosen[i]
		g.From, g.To, g.Packets, g.sources = min(g.From, h.From), max(g.To, h.To), g.Packets+h.Packets, g.sources+1
	}
	list := append(lost, chosen...)
	for _, g := range list[:min(len(list), maxHoles)] {
		row := Hole{Source: g.Source, Reason: g.Reason, Packets: g.Packets, Detail: Clip(g.Detail, 200)}
		if g.To != 0 {
			row.From, row.To = when.Stamp(g.From), when.Stamp(g.To)
		}
		if g.sources > 1 {
			row.Sources = g.sources
		}
		out.Holes = append(out.Holes, row)
	}
	out.More += int64(len(list) - len(out.Holes))
	for _, q := range c.Quiet[:min(len(c.Quiet), maxHoles)] {
		out.Quiet = append(out.Quiet, Span{when.Stamp(q.From), when.Stamp(q.To)})
	}
	return out
}

// Clip shortens a text from the traffic to n bytes and appends its full length.
func Clip(s string, n int) string { return forensics.Clip(s, n) }

// NewFrame returns the Frame of an answer about the whole case.
func NewFrame(ctx context.Context, c *forensics.Case) (Frame, error) {
	w, err := Scope{}.Read(ctx, c)
	if err != nil {
		return Frame{}, err
	}
	return w.Frame(ctx, c)
}

// After returns the error for a window that ends before it begins.
func After(from string, a int64, to string, b int64) error {
	return WrongOf(fmt.Sprintf("%s %s is after %s %s", from, when.Stamp(a), to, when.Stamp(b)), from, to)
}

// ReadTime reads a time of a case as ParseTime does, 0 if it is missing.
func ReadTime(c *forensics.Case, field, text string) (int64, error) {
	first, last, _ := c.Window()
	return ParseTime(field, text, 0, first, last)
}

// Round rounds to three decimal places; NaN and infinity become 0.
func Round(x float64) float64 {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return 0
	}
	return math.Round(x*1000) / 1000
}

// Share is part divided by whole, rounded to three decimal places; 0 if whole is 0.
func Share(part, whole int64) float64 {
	if whole == 0 {
		return 0
	}
	return Round(float64(part) / float64(whole))
}

// Median is the lower median, rounded to three decimal places.
func Median(list []float64) float64 {
	if len(list) == 0 {
		return 0
	}
	list = slices.Clone(list)
	slices.Sort(list)
	return math.Round(list[(len(list)-1)/2]*1000) / 1000
}

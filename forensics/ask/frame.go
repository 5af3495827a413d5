package ask

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// maxHoles is how many holes an answer lists.
const maxHoles = 10

// Frame is what every answer says beside its facts. It is embedded in each.
type Frame struct {
	Coverage  Coverage `json:"coverage"`
	Matched   string   `json:"matched" jsonschema:"some, nothing_matched (the time was recorded and nothing fits), or not_recorded (the time was not recorded)"`
	Truncated bool     `json:"truncated,omitempty" jsonschema:"a list was cut at its limit: narrow the question or raise limit"`
	Now       string   `json:"now,omitempty" jsonschema:"what now() meant: the time of the last packet"`
	Verified  bool     `json:"verified" jsonschema:"every file of the bundles was checked against its hash in this run"`
	Notes     []string `json:"notes,omitempty" jsonschema:"remarks for whoever asked: assumptions, limits, what is not observable"`

	recorded bool
}

// Match states whether there was anything.
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

// Note adds a remark.
func (f *Frame) Note(format string, args ...any) {
	f.Notes = append(f.Notes, plural.Sprintf(format, args...))
}

// Coverage is how much of the asked time was recorded.
type Coverage struct {
	State string `json:"state" jsonschema:"complete: all of it was recorded; partial: see holes, the coverage gaps; none: nothing was recorded, so an empty answer says nothing"`
	From  string `json:"from,omitempty" jsonschema:"start of the asked time, RFC 3339"`
	To    string `json:"to,omitempty" jsonschema:"end of the asked time, RFC 3339"`
	Holes []Hole `json:"holes,omitempty"`
	More  int64  `json:"more_holes,omitempty" jsonschema:"coverage gaps that are not listed"`
}

// Hole is a stretch of time that was not recorded, or not wholly.
type Hole struct {
	Source  string `json:"source"`
	Reason  string `json:"reason" jsonschema:"filter, policy, drop, restart, retention, redaction, damaged, not_scheduled or not_recorded"`
	From    string `json:"from"`
	To      string `json:"to"`
	Packets int64  `json:"packets,omitempty" jsonschema:"packets known to be lost"`
	Detail  string `json:"detail,omitempty"`
}

// CoverageOf writes a coverage for an answer.
func CoverageOf(c forensics.Coverage) Coverage {
	out := Coverage{State: string(c.State), More: c.More}
	if c.From != 0 {
		out.From = Stamp(c.From)
	}
	if c.To != 0 {
		out.To = Stamp(c.To)
	}
	for i, h := range c.Holes {
		if i == maxHoles {
			out.More += int64(len(c.Holes) - i)
			break
		}
		out.Holes = append(out.Holes, Hole{h.Source, h.Reason, Stamp(h.From), Stamp(h.To), h.Packets, Clip(h.Detail, 200)})
	}
	return out
}

// Clip shortens a text from the traffic, and says so.
func Clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	cut := n
	for cut > 0 && s[cut]&0xC0 == 0x80 {
		cut--
	}
	return fmt.Sprintf("%s… (%d bytes in all)", strings.ToValidUTF8(s[:cut], "\uFFFD"), len(s))
}

// NewFrame begins an answer about the whole case.
func NewFrame(ctx context.Context, c *forensics.Case) (Frame, error) {
	w, err := Scope{}.Read(ctx, c)
	if err != nil {
		return Frame{}, err
	}
	return w.Frame(ctx, c)
}

// After is the error of a window whose end lies before its beginning.
func After(from string, a int64, to string, b int64) error {
	return Wrong(from, "%s is after %s, %s", Stamp(a), to, Stamp(b))
}

// ReadTime reads a time of a case as ParseTime does.
func ReadTime(c *forensics.Case, field, text string, missing int64) (int64, error) {
	first, last, _ := c.Window()
	return ParseTime(field, text, missing, first, last)
}

// Round cuts floating noise from a number.
func Round(x float64) float64 {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return 0
	}
	return math.Round(x*1000) / 1000
}

// Share is a part of a whole, three digits.
func Share(part, whole int64) float64 {
	if whole == 0 {
		return 0
	}
	return Round(float64(part) / float64(whole))
}

// Median is the median.
func Median(list []float64) float64 {
	if len(list) == 0 {
		return 0
	}
	list = slices.Clone(list)
	slices.Sort(list)
	return math.Round(list[(len(list)-1)/2]*1000) / 1000
}

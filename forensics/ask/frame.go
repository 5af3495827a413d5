package ask

import (
	"context"
	"fmt"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/forensics"
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

// matched states whether there was anything.
func (f *Frame) matched(n int) {
	switch {
	case n > 0:
		f.Matched = "some"
	case f.recorded:
		f.Matched = "nothing_matched"
	default:
		f.Matched = "not_recorded"
	}
}

// note adds a remark.
func (f *Frame) note(format string, args ...any) {
	f.Notes = append(f.Notes, fmt.Sprintf(format, args...))
}

// Coverage is how much of the asked time was recorded.
type Coverage struct {
	State string `json:"state" jsonschema:"complete: all of it was recorded; partial: see holes; none: nothing was recorded, so an empty answer says nothing"`
	From  string `json:"from,omitempty" jsonschema:"start of the asked time, RFC 3339"`
	To    string `json:"to,omitempty" jsonschema:"end of the asked time, RFC 3339"`
	Holes []Hole `json:"holes,omitempty"`
	More  int64  `json:"more_holes,omitempty" jsonschema:"holes that are not listed"`
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
		out.From = stamp(c.From)
	}
	if c.To != 0 {
		out.To = stamp(c.To)
	}
	for i, h := range c.Holes {
		if i == maxHoles {
			out.More += int64(len(c.Holes) - i)
			break
		}
		out.Holes = append(out.Holes, Hole{h.Source, h.Reason, stamp(h.From), stamp(h.To), h.Packets, clip(h.Detail, 200)})
	}
	return out
}

// Call is one call as answers cite it.
type Call struct {
	CallID    string  `json:"call_id" jsonschema:"get_api_call shows it whole"`
	Time      string  `json:"time" jsonschema:"of the first byte of the request, RFC 3339"`
	Src       string  `json:"src" jsonschema:"who asked, namespace/name where there is a namespace"`
	Dst       string  `json:"dst" jsonschema:"who was asked"`
	Protocol  string  `json:"protocol"`
	Summary   string  `json:"summary" jsonschema:"the call in one line; text from the traffic"`
	Status    string  `json:"status,omitempty" jsonschema:"status code, or the protocol's word, or why there is no answer"`
	ElapsedMs float64 `json:"elapsed_ms,omitempty" jsonschema:"first byte of the request to last byte of the response"`
	Packets   string  `json:"packets" jsonschema:"numbers of the packets that carry it, as in table packets"`
}

// Packets writes a citation: ranges of packet numbers, "12-15,20".
func Packets(c table.Cites) string {
	const most = 40 // ranges
	var b strings.Builder
	for i, r := range c {
		if i > 0 {
			b.WriteByte(',')
		}
		if i == most {
			fmt.Fprintf(&b, "… %d packets in all", c.Count())
			break
		}
		if r.First == r.Last {
			fmt.Fprintf(&b, "%d", r.First)
		} else {
			fmt.Fprintf(&b, "%d-%d", r.First, r.Last)
		}
	}
	return b.String()
}

// clip shortens a text from the traffic, and says so.
func clip(s string, n int) string {
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
	w, err := Scope{}.read(ctx, c)
	if err != nil {
		return Frame{}, err
	}
	return w.frame(ctx, c)
}

// After is the error of a window whose end lies before its beginning.
func After(from string, a int64, to string, b int64) error {
	return wrong(from, "%s is after %s, %s", stamp(a), to, stamp(b))
}

// ReadTime reads a time as a Scope has it: RFC 3339, or a length before the end of the
// case. It gives missing for an empty text.
func ReadTime(c *forensics.Case, field, text string, missing int64) (int64, error) {
	_, last, _ := c.Window()
	return readTime(field, text, missing, last)
}

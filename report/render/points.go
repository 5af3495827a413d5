package render

import (
	"fmt"
	"time"

	"github.com/pcapsule/pcapsule/report/value"
)

// amountAt is one amount of a chart, in forms without pictures.
type amountAt struct {
	series, at string
	n          int64
}

// points lists the amounts of a chart, without those that are zero in charts over time.
func points(f *value.Figure) (out []amountAt) {
	switch {
	case f.Time != nil:
		for _, s := range f.Time.Series {
			at := 0
			for _, st := range f.Time.Stretches {
				for i := range int64(st.Count) {
					if n := valueAt(s.Values, at); n != 0 {
						out = append(out, amountAt{s.Name, time.Unix(0, (st.First+i)*f.Time.BucketNs).UTC().Format(time.RFC3339Nano), n})
					}
					at++
				}
			}
		}
		for _, h := range f.Time.Holes {
			out = append(out, amountAt{"not recorded: " + h.Reason, time.Unix(0, h.FromNs).UTC().Format(time.RFC3339Nano), h.ToNs - h.FromNs})
		}
	case f.Bars != nil:
		for _, b := range f.Bars.Bars {
			out = append(out, amountAt{f.Bars.Unit, b.Name, b.Value})
			if b.Part > 0 {
				out = append(out, amountAt{"of these, failed", b.Name, b.Part})
			}
		}
	case f.Map != nil:
		for _, e := range f.Map.Edges {
			name := f.Map.Nodes[e.From].Name + " to " + f.Map.Nodes[e.To].Name
			out = append(out, amountAt{"calls", name, e.Calls})
			if e.Failed > 0 {
				out = append(out, amountAt{"of these, failed", name, e.Failed})
			}
		}
	case f.Heat != nil:
		for _, d := range f.Heat.Days {
			for h, n := range d.Hours {
				if n > 0 {
					out = append(out, amountAt{f.Heat.Unit, fmt.Sprintf("%s %02d:00", d.Day, h), n})
				}
			}
		}
	case f.Sequence != nil:
		for _, m := range f.Sequence.Messages {
			out = append(out, amountAt{f.Sequence.Actors[m.From] + " to " + f.Sequence.Actors[m.To], m.Text + ": " + m.Answer, m.AtUs})
		}
	}
	return out
}

package ringcmd

import (
	"fmt"
	"io"
	"math"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/cli/console"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/recorder/ring"
)

func (p program) ls() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "ls RING",
		Short: "List the segments of a ring, and its coverage gaps",
		Example: p.example(`  PROGRAM ring ls /var/lib/pcapsule/ring
  PROGRAM ring ls /var/lib/pcapsule/ring --json | jq '.segments[-1]'`),
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return p.list(c.OutOrStdout(), args[0], asJSON) },
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// list is the output of ring ls --json.
type list struct {
	Ring     string      `json:"ring"`
	Node     string      `json:"node"`
	Writing  bool        `json:"writing"`
	Records  int         `json:"records"`
	Damaged  int         `json:"damaged_records"`
	Segments []segment   `json:"segments"`
	Holes    []ring.Hole `json:"holes"`
}

type segment struct {
	Name  string     `json:"name"`
	State string     `json:"state"` // sealed, recovered, cut, open, missing, unsealed
	Size  int64      `json:"size"`
	Side  []string   `json:"side"`
	Seal  *ring.Seal `json:"seal"`
}

func (p program) list(out io.Writer, dir string, asJSON bool) error {
	r, err := ring.Open(dir)
	if err != nil {
		return err
	}
	l := list{Ring: r.ID, Node: r.Node, Writing: r.Writing, Records: r.Records, Damaged: r.Damaged, Segments: []segment{}, Holes: []ring.Hole{}}
	for _, s := range r.Segments {
		l.Segments = append(l.Segments, segment{s.ID.Segment(), state(s), s.Size, append([]string{}, s.Side...), s.Seal})
	}
	l.Holes = append(l.Holes, r.Holes...)
	if asJSON {
		return console.JSON(out, l)
	}
	return l.print(out, p)
}

func state(s ring.Segment) string {
	switch {
	case s.Missing:
		return "missing"
	case s.Open:
		return "open"
	case s.Seal == nil:
		return "unsealed"
	case s.Seal.Recovered:
		return "recovered"
	case s.Seal.Cut:
		return "cut"
	}
	return "sealed"
}

func (l *list) print(out io.Writer, p program) error {
	writing := "no recorder is running"
	if l.Writing {
		writing = "being recorded"
	}
	fmt.Fprintf(out, "ring %s of node %s: %s, %s\n", console.Printable(l.Ring, 64), console.Printable(l.Node, 128), plural.Count(int64(len(l.Segments)), "segment", "segments"), writing)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	if len(l.Segments) > 0 {
		fmt.Fprintln(w, "SEGMENT\tSTATE\tPACKETS\tSIZE\tFIRST\tLAST")
	}
	for _, s := range l.Segments {
		packets, first, last := "", "", ""
		if s.Seal != nil {
			packets, first, last = plural.Thousands(int64(min(s.Seal.Packets, math.MaxInt64))), s.Seal.First.String(), s.Seal.Last.String()
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", console.Printable(s.Name, 200), s.State, packets, console.ByteSize(s.Size), first, last)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, h := range l.Holes {
		fmt.Fprintf(out, "coverage gap: %s\n", GapText(h))
	}
	if l.Damaged > 0 {
		fmt.Fprintf(out, "%s cannot be read; %s ring verify lists them\n", plural.Count(int64(l.Damaged), "record", "records"), p.name)
	}
	return nil
}

// GapText describes a coverage gap in one line.
func GapText(h ring.Hole) string {
	packets := "packets not counted"
	if h.Packets >= 0 {
		packets = plural.Count(h.Packets, "packet", "packets")
	}
	text := fmt.Sprintf("%s, %s to %s, %s", console.Printable(h.Reason, 40), Time(h.From), Time(h.To), packets)
	if h.Series != "" {
		text += " of " + console.Printable(h.Series, 40)
	}
	if h.Detail != "" {
		text += ": " + console.Printable(h.Detail, 200)
	}
	return text
}

// Time writes a time, or a question mark if it is unknown.
func Time(t ring.Time) string {
	if t == 0 {
		return "?"
	}
	return t.String()
}

package cli

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/ring"
)

func (e *env) cmdRing() *cobra.Command {
	c := &cobra.Command{
		Use:   "ring",
		Short: "Look at the ring of a recorder: list, verify, read packets",
		Long: `A ring is the folder a recorder writes into: segments, which are PCAPNG files, and seals.jsonl,
a signed chain of records that says what each segment must be. It can be looked at while it
is written.`,
		Example: `  pcapsule ring ls /var/lib/pcapsule/ring
  pcapsule ring verify /var/lib/pcapsule/ring --key node.pub
  pcapsule ring cat /var/lib/pcapsule/ring --last 10m | tcpdump -nn -r -`,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("no command %q of ring: want ls, verify or cat", args[0])
			}
			return c.Help()
		},
		Args: cobra.ArbitraryArgs,
	}
	for _, sub := range []*cobra.Command{e.cmdRingLs(), e.cmdRingVerify(), e.cmdRingCat()} {
		sub.Args = wanted(sub.Args)
		run := sub.RunE
		sub.RunE = func(c *cobra.Command, args []string) error {
			e.running = true
			return ringError(run(c, args))
		}
		c.AddCommand(sub)
	}
	return c
}

// ringError gives errors of rings their exit codes.
func ringError(err error) error {
	switch {
	case errors.Is(err, ring.ErrNewer):
		return codedError{err, exitNewer, ""}
	case errors.Is(err, ring.ErrNotRing):
		return codedError{err, exitNotCapture, "a ring is the folder that a recorder writes into; it has a file seals.jsonl"}
	}
	return err
}

func (e *env) cmdRingLs() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "ls RING",
		Short: "List the segments of a ring, and what is missing",
		Example: `  pcapsule ring ls /var/lib/pcapsule/ring
  pcapsule ring ls /var/lib/pcapsule/ring --json | jq '.segments[-1]'`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return e.runRingLs(args[0], asJSON) },
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// ringList is what ring ls --json prints.
type ringList struct {
	Ring     string        `json:"ring"`
	Node     string        `json:"node"`
	Writing  bool          `json:"writing"`
	Records  int           `json:"records"`
	Damaged  int           `json:"damaged_records"`
	Segments []ringSegment `json:"segments"`
	Holes    []ring.Hole   `json:"holes"`
}

type ringSegment struct {
	Name  string     `json:"name"`
	State string     `json:"state"` // sealed, recovered, cut, open, missing, unsealed
	Size  int64      `json:"size"`
	Side  []string   `json:"side"`
	Seal  *ring.Seal `json:"seal"`
}

func (e *env) runRingLs(dir string, asJSON bool) error {
	r, err := ring.Open(dir)
	if err != nil {
		return err
	}
	l := ringList{Ring: r.ID, Node: r.Node, Writing: r.Writing, Records: r.Records, Damaged: r.Damaged, Segments: []ringSegment{}, Holes: []ring.Hole{}}
	for _, s := range r.Segments {
		l.Segments = append(l.Segments, ringSegment{s.ID.Segment(), ringState(s), s.Size, append([]string{}, s.Side...), s.Seal})
	}
	l.Holes = append(l.Holes, r.Holes...)
	if asJSON {
		enc := json.NewEncoder(e.out)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(l)
	}
	return l.print(e.out)
}

func ringState(s ring.Segment) string {
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

func (l *ringList) print(out io.Writer) error {
	state := "nobody writes into it"
	if l.Writing {
		state = "being written"
	}
	fmt.Fprintf(out, "ring %s of %s: %s, %s\n", printable(l.Ring, 64), printable(l.Node, 128), counted(int64(len(l.Segments)), "segment", "segments"), state)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	if len(l.Segments) > 0 {
		fmt.Fprintln(w, "SEGMENT\tSTATE\tPACKETS\tSIZE\tFIRST\tLAST")
	}
	for _, s := range l.Segments {
		packets, first, last := "", "", ""
		if s.Seal != nil {
			packets, first, last = thousands(int64(min(s.Seal.Packets, math.MaxInt64))), s.Seal.First.String(), s.Seal.Last.String()
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", printable(s.Name, 200), s.State, packets, byteSize(s.Size), first, last)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, h := range l.Holes {
		fmt.Fprintf(out, "hole: %s\n", ringHole(h))
	}
	if l.Damaged > 0 {
		fmt.Fprintf(out, "%s cannot be read; pcapsule ring verify says where\n", counted(int64(l.Damaged), "record", "records"))
	}
	return nil
}

// ringHole says in a line what is missing.
func ringHole(h ring.Hole) string {
	packets := "packets not counted"
	if h.Packets >= 0 {
		packets = counted(h.Packets, "packet", "packets")
	}
	text := fmt.Sprintf("%s, %s to %s, %s", printable(h.Reason, 40), ringTime(h.From), ringTime(h.To), packets)
	if h.Series != "" {
		text += " of " + printable(h.Series, 40)
	}
	if h.Detail != "" {
		text += ": " + printable(h.Detail, 200)
	}
	return text
}

func ringTime(t ring.Time) string {
	if t == 0 {
		return "?"
	}
	return t.String()
}

func (e *env) cmdRingVerify() *cobra.Command {
	var asJSON, quick bool
	var keys, witnesses, anchors []string
	c := &cobra.Command{
		Use:   "verify RING",
		Short: "Check a ring's chain of records, signatures, hashes and numbers",
		Long: `Check that no record was changed, taken out or put in, that signatures hold, that every sealed
segment is there with its hash, and that what is not there was deleted by a record or is said to
be missing. Without --key the ring's own word is taken for whose key signs. Records behind the
last anchor are known to this ring only: somebody with the node's key could have made them anew.`,
		Example: `  pcapsule ring verify /var/lib/pcapsule/ring --key node.pub --witness hub.pub
  pcapsule ring verify /var/lib/pcapsule/ring --quick --json`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			opt := ring.VerifyOptions{SkipHashes: quick}
			var err error
			if opt.Keys, err = publicKeys(keys); err != nil {
				return err
			}
			if opt.Witnesses, err = publicKeys(witnesses); err != nil {
				return err
			}
			if opt.Anchors, err = readAnchors(anchors); err != nil {
				return err
			}
			return e.runRingVerify(args[0], opt, asJSON)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.Flags().BoolVar(&quick, "quick", false, "do not read the segments: records and names only")
	c.Flags().StringArrayVar(&keys, "key", nil, "file with the node's public key; may be given several times")
	c.Flags().StringArrayVar(&witnesses, "witness", nil, "file with the public key of a witness; may be given several times")
	c.Flags().StringArrayVar(&anchors, "anchor", nil, "file with an anchor that a witness kept (JSON); the chain must reach it")
	return c
}

func readAnchors(files []string) (list []ring.Anchor, err error) {
	for _, path := range files {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		var a ring.Anchor
		err = json.NewDecoder(io.LimitReader(f, 1<<20)).Decode(&a)
		f.Close()
		if err != nil {
			return nil, codedError{fmt.Errorf("reading anchor %s: %w", path, err), exitNotCapture, "an anchor is the object in a record of kind anchor"}
		}
		list = append(list, a)
	}
	return list, nil
}

func publicKeys(files []string) (list []ed25519.PublicKey, err error) {
	for _, f := range files {
		key, err := ring.ReadPublicKey(f)
		if err != nil {
			return nil, codedError{err, exitNotCapture, "a key is a PEM file, or the text after public_key in seals.jsonl"}
		}
		list = append(list, key)
	}
	return list, nil
}

// ringVerified is what ring verify --json prints.
type ringVerified struct {
	OK bool `json:"ok"`
	*ring.Report
}

func (e *env) runRingVerify(dir string, opt ring.VerifyOptions, asJSON bool) error {
	r, err := ring.Verify(dir, opt)
	if err != nil {
		return err
	}
	if asJSON {
		enc := json.NewEncoder(e.out)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		if err := enc.Encode(ringVerified{r.OK(), r}); err != nil {
			return err
		}
	} else {
		printRingReport(e.out, r)
	}
	if !r.OK() {
		return codedError{fmt.Errorf("%s: %s", dir, counted(int64(len(r.Problems)+r.More), "problem", "problems")), exitVerify,
			"the ring was changed, or its disk is damaged; an anchor or a snapshot shows how it was"}
	}
	return nil
}

func printRingReport(out io.Writer, r *ring.Report) {
	for _, p := range r.Problems {
		fmt.Fprintf(out, "WRONG %s\n", printable(p.String(), 600))
	}
	hashed := "with their hashes"
	if !r.Hashed {
		hashed = "not read"
	}
	fmt.Fprintf(out, "ring %s: %s, %s of them signed\n", printable(r.Ring, 64), counted(r.Records, "record", "records"), thousands(r.Signed))
	fmt.Fprintf(out, "%s there, %s, %s; %s deleted by retention\n", counted(int64(r.Segments), "segment", "segments"), byteSize(r.Bytes), hashed, thousands(r.Deleted))
	switch {
	case r.Anchored < 0:
		fmt.Fprintln(out, "not anchored: no witness has seen the chain")
	default:
		trust := ""
		if !r.AnchorsTrusted {
			trust = " (by its own word; give --witness)"
		}
		fmt.Fprintf(out, "anchored up to record %d by %s at %s%s; %s after it\n", r.Anchored, printable(r.AnchoredBy, 100), r.AnchoredAt, trust,
			counted(r.Records-1-r.Anchored, "record", "records"))
	}
	if r.Signed > 0 && !r.KeysTrusted {
		fmt.Fprintln(out, "signed by the key that the ring names; give --key to check whose it is")
	}
	if p := r.Pin; p != nil {
		fmt.Fprintf(out, "part of a ring: %s to %s\n", p.From, p.To)
	}
	list := func(what string, names []string) {
		for _, n := range names {
			fmt.Fprintf(out, "%s: %s\n", what, printable(n, 200))
		}
	}
	list("still open", r.Open)
	list("recovered after a crash", r.Recovered)
	list("counters do not add up", r.Unbalanced)
	list("note", r.Notes)
	for _, h := range r.Holes {
		fmt.Fprintf(out, "hole: %s\n", ringHole(h))
	}
}

type ringCatFlags struct {
	from, to, output, series string
	last                     time.Duration
}

func (e *env) cmdRingCat() *cobra.Command {
	var f ringCatFlags
	c := &cobra.Command{
		Use:   "cat RING",
		Short: "Write the packets of a time to one capture",
		Long: `Write the packets of a ring, or of a time of it, to one PCAPNG file that Wireshark and tcpdump
read. The segment being written is read up to its last whole block. Series differ in their link
type, so one file has one of them, with its parts that are kept for an age of their own.`,
		Example: `  pcapsule ring cat /var/lib/pcapsule/ring --last 10m | wireshark -k -i -
  pcapsule ring cat /var/lib/pcapsule/ring --from 2026-01-31T14:15:00Z --to 2026-01-31T14:20:00Z -o five-minutes.pcapng`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return e.runRingCat(c.Context(), args[0], &f) },
	}
	c.Flags().StringVar(&f.from, "from", "", "only from this time on, RFC 3339")
	c.Flags().StringVar(&f.to, "to", "", "only up to this time, RFC 3339")
	c.Flags().DurationVar(&f.last, "last", 0, "only this long before now, or before the last packet where nobody writes")
	c.Flags().StringVarP(&f.output, "output", "o", "-", "capture to make; - is standard output")
	c.Flags().StringVar(&f.series, "series", "", "series to take, where there are several")
	return c
}

// window is the time asked for.
func (f *ringCatFlags) window(r *ring.Ring, of func(series string) bool) (from, to int64, err error) {
	if from, err = parseTime("from", f.from); err == nil {
		to, err = parseTime("to", f.to)
	}
	switch {
	case err != nil:
		return 0, 0, err
	case f.last < 0:
		return 0, 0, usagef("--last %s: want more than 0", f.last)
	case f.last > 0 && (f.from != "" || f.to != ""):
		return 0, 0, usagef("--last excludes --from and --to: give one")
	case f.last > 0:
		end := time.Now().UnixNano()
		if !r.Writing {
			end = 0
			for _, s := range r.Segments {
				if s.Seal != nil && of(s.ID.Series) {
					end = max(end, int64(s.Seal.Last))
				}
			}
		}
		return end - int64(f.last), math.MaxInt64, nil
	}
	if f.from == "" {
		from = math.MinInt64
	}
	if f.to == "" {
		to = math.MaxInt64
	}
	if from > to {
		return 0, 0, usagef("--from %s is after --to %s", f.from, f.to)
	}
	return from, to, nil
}

func (e *env) runRingCat(ctx context.Context, dir string, f *ringCatFlags) error {
	if f.output == "-" && terminal(e.out) {
		return usagef("a capture is not for a terminal: give -o FILE.pcapng or redirect it")
	}
	if f.output != "-" {
		if err := newOutput(f.output); err != nil {
			return err
		}
	}
	r, err := ring.Open(dir)
	if err != nil {
		return err
	}
	of := func(series string) bool { return series == f.series }
	if f.series == "" {
		of = func(series string) bool { return ring.BaseSeries(series) == f.series }
		if f.series, err = ring.OnlyBase(r.Segments); err != nil {
			return codedError{fmt.Errorf("%s: %w", dir, err), exitUsage, "pcapsule ring ls lists the segments; give --series"}
		}
	}
	from, to, err := f.window(r, of)
	if err != nil {
		return err
	}
	var list []ring.Segment
	for _, s := range r.Segments {
		if of(s.ID.Series) {
			list = append(list, s)
		}
	}
	if len(list) == 0 {
		return usagef("--series %q: %s has no segment of it", f.series, dir)
	}
	got, err := e.ringCat(ctx, f.output, r, list, from, to)
	if err != nil {
		return outputError(err, f.output)
	}
	for _, name := range got.Missing {
		e.warn("%s is not there any more", name)
	}
	if got.Damage > 0 {
		e.warn("%s in sealed segments cannot be read; pcapsule ring verify says more", counted(got.Damage, "place", "places"))
	}
	for _, h := range r.Holes {
		if int64(h.To) >= from && int64(h.From) <= to && (h.Series == "" || of(h.Series)) {
			e.warn("not in it: %s", ringHole(h))
		}
	}
	said := e.out
	if f.output == "-" {
		said = e.err
	}
	fmt.Fprintf(said, "%s: %s, %s, of %s\n", f.output, counted(got.Packets, "packet", "packets"), byteSize(got.Bytes), counted(int64(got.Segments), "segment", "segments"))
	return nil
}

func (e *env) ringCat(ctx context.Context, output string, r *ring.Ring, list []ring.Segment, from, to int64) (ring.Copied, error) {
	var out io.Writer = e.out
	var file *pcapng.File
	if output != "-" {
		var err error
		if file, err = pcapng.CreateFile(output); err != nil {
			return ring.Copied{}, err
		}
		defer file.Abort()
		out = file
	}
	buffered := bufio.NewWriter(out)
	w, err := pcapng.NewWriter(buffered, pcapng.Section{Application: "pcapsule " + Release, Comments: []string{fmt.Sprintf("packets of ring %s", r.ID)}}, pcapng.WriterOptions{})
	if err != nil {
		return ring.Copied{}, err
	}
	got, err := ring.Copy(ctx, w, list, from, to)
	if err == nil {
		err = w.Flush()
	}
	if err == nil {
		err = buffered.Flush()
	}
	if err == nil && file != nil {
		err = file.Commit()
	}
	return got, err
}

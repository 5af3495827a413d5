package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/forensics"
)

type packetsFlags struct {
	window
	output           string
	withContext      bool
	wholeConnections bool
	vantage          string
	comments         string
	calls            []string
	sql              string
	deadline         time.Duration
}

func (e *env) cmdPackets() *cobra.Command {
	var f packetsFlags
	c := &cobra.Command{
		Use:   "packets BUNDLE... [KFL] -o SLICE.pcapng",
		Short: "Write the packets that calls cite to a capture for Wireshark",
		Long: `Write the packets that calls cite to a pcapng file: original bytes and times, each packet with
a comment that says where it lies in the bundle. The last argument is a KFL condition, unless
--call, --sql or a window of time chooses.`,
		Example: `  pcapsule packets incident.pcapsule 'dst.service == "payment"' -o slice.pcapng
  pcapsule packets incident.pcapsule --call 4f2a91c07be3 --with-context -o call.pcapng
  pcapsule packets incident.pcapsule 'http && status_code == 503' -o - | tshark -r -`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: completeBundles,
		RunE:              func(c *cobra.Command, args []string) error { return e.runPackets(c, args, &f) },
	}
	fl := c.Flags()
	fl.StringVarP(&f.output, "output", "o", "", "capture to make; - is standard output")
	fl.BoolVar(&f.withContext, "with-context", false, "also the connections of the calls up to there, with their handshakes")
	fl.BoolVar(&f.wholeConnections, "whole-connections", false, "all packets of the calls' connections")
	fl.StringVar(&f.vantage, "vantage", "one", "one: a connection from one place; both: from every place that saw it")
	fl.StringVar(&f.comments, "comments", "place", "place: where a packet lies; packet: also who sent it; none")
	fl.StringArrayVar(&f.calls, "call", nil, "call_id or # and call_no of a call; may be given several times")
	fl.StringVar(&f.sql, "sql", "", "a query with a column cites, packet_no, call_no or flow_id")
	fl.DurationVar(&f.deadline, "deadline", 10*time.Minute, "give up after this time")
	f.window.flags(c)
	return c
}

func (e *env) runPackets(c *cobra.Command, args []string, f *packetsFlags) error {
	if f.output == "" {
		return usagef("no output named: give -o SLICE.pcapng, or -o - for standard output")
	}
	if f.output == "-" && terminal(e.out) {
		return usagef("a capture is not for a terminal: give -o SLICE.pcapng or redirect it")
	}
	if f.withContext && f.wholeConnections {
		return usagef("--with-context and --whole-connections exclude each other: give one")
	}
	if f.deadline < 0 {
		return usagef("--deadline %s: want 0 or more", f.deadline)
	}
	sel := forensics.Selection{CallIDs: f.calls, SQL: f.sql, Deadline: f.deadline}
	chosen := 0
	if len(args) > 1 && !isBundlePath(args[len(args)-1]) {
		sel.KFL, args = args[len(args)-1], args[:len(args)-1]
		chosen++
	}
	if len(f.calls) > 0 {
		chosen++
	}
	if f.sql != "" {
		chosen++
	}
	if chosen > 1 {
		return usagef("a KFL condition, --call and --sql exclude each other: give one")
	}
	switch {
	case f.withContext:
		sel.Context = forensics.WithContext
	case f.wholeConnections:
		sel.Context = forensics.WholeConnections
	}
	switch f.vantage {
	case "one":
	case "both":
		sel.Vantage = forensics.BothVantage
	default:
		return usagef("--vantage %q: want one or both", f.vantage)
	}
	switch f.comments {
	case "place":
	case "packet":
		sel.Comments = forensics.OwnerComments
	case "none":
		sel.Comments = forensics.NoComments
	default:
		return usagef("--comments %q: want place, packet or none", f.comments)
	}
	if f.output != "-" {
		if err := newOutput(f.output); err != nil {
			return err
		}
	}
	cs, err := e.openCase(c.Context(), args)
	if err != nil {
		return err
	}
	defer cs.Close()
	if sel.From, sel.To, err = f.times(cs); err != nil {
		return err
	}
	var r forensics.CarveReport
	if f.output == "-" {
		r, err = cs.Packets(c.Context(), sel, e.out)
	} else {
		r, err = cs.PacketsFile(c.Context(), sel, f.output)
	}
	if errors.Is(err, fs.ErrExist) {
		return codedError{err, exitExists, ""}
	}
	if err != nil {
		return e.asked(outputError(err, f.output))
	}
	to := e.out
	if f.output == "-" {
		to = e.err
	}
	fmt.Fprintf(to, "%s: %s packets, %s, of %s calls\n", f.output, thousands(r.Packets), byteSize(r.Bytes), thousands(r.Calls))
	for _, n := range r.Notes {
		fmt.Fprintln(e.err, n)
	}
	if r.Coverage.State == forensics.None {
		fmt.Fprintln(e.err, "nothing was recorded in the time asked about")
	}
	return nil
}

// Package recheck compares the calls that a report cites with a second tool, tshark.
//
// It writes the packets of the calls and the earlier packets of their connections to the tool's
// standard input, and compares the tool's output for the packets of each call with the call. The
// tool reads hostile input, so it runs without a shell, with an empty home folder, a time limit,
// and on Linux limits of memory and files; its output is read up to a limit. Packets and keys are
// never written to a file.
package recheck

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask/tally"
	"github.com/pcapsule/pcapsule/report/value"
)

// Limits of a recheck.
const (
	maxCalls   = 2000            // calls that are checked
	batch      = 100             // calls of one run of the tool
	maxSlice   = 64 << 20        // bytes of packets of one run
	maxOutput  = 256 << 20       // bytes of its output
	maxEnd     = 64              // packets of a call that are read, from its begin and from its end
	maxValues  = 50              // values of one field of a call
	runTime    = time.Minute     // of one run
	allTime    = 5 * time.Minute // of all runs
	leaveTime  = 2 * time.Second // until a killed run has ended
	mostStated = 3               // values in a difference
)

// ErrNoTool means that the second tool is not installed.
var ErrNoTool = errors.New("tshark is not installed")

// Tool is the only tool that can repeat facts.
const Tool = "tshark"

// Observe asks tshark about calls by their ids. If masked is true, the tool gets no keys, and a
// difference does not show the tool's value. The error is ErrNoTool, that of a query, or that of
// ctx; a call that cannot be checked is not an error.
func Observe(ctx context.Context, c *forensics.Case, ids []string, masked bool) (*value.Recheck, error) {
	return observe(ctx, c, ids, masked, runTime)
}

// observe is Observe with a time limit for each run.
func observe(ctx context.Context, c *forensics.Case, ids []string, masked bool, time time.Duration) (*value.Recheck, error) {
	t, err := newTool(ctx)
	if err != nil {
		return nil, err
	}
	defer t.close()
	t.time = time
	parent := ctx
	ctx, cancel := context.WithTimeout(parent, allTime)
	defer cancel()
	ids = ids[:min(len(ids), maxCalls)]
	o := &observer{parent: parent, ctx: ctx, c: c.Unmasked(), tool: t, masked: masked, places: map[string][]string{}, done: map[string]*value.Rechecked{}}
	if o.stated, err = tally.StatedBy(ctx, o.c, ids); err != nil {
		return nil, err
	}
	var list []string
	for _, id := range ids {
		s, ok := o.stated[id]
		switch {
		case !ok:
			o.fail(id, "the call is not in the bundle")
		case compared[s.Protocol] == nil:
			o.fail(id, "facts of "+s.Protocol+" are not compared")
		default:
			list = append(list, id)
		}
	}
	if err := o.locate(list); err != nil {
		return nil, err
	}
	for part := range slices.Chunk(list, batch) {
		if err := o.run(part); err != nil {
			return nil, err
		}
	}
	out := &value.Recheck{Tool: Tool, Version: t.version, Calls: []value.Rechecked{}}
	for _, id := range ids {
		out.Calls = append(out.Calls, *o.done[id])
	}
	return out, nil
}

// observer checks the calls of one report.
type observer struct {
	parent context.Context // of the report
	ctx    context.Context // with the limit of all runs
	c      *forensics.Case
	tool   *tool
	masked bool
	stated map[string]tally.Stated
	places map[string][]string // places of the packets of each call, as in the comments of a slice
	done   map[string]*value.Rechecked
}

// fail records why a call was not checked.
func (o *observer) fail(id, why string) {
	o.done[id] = &value.Rechecked{Call: id, Why: value.Text(why)}
}

// locate finds the packets of calls.
func (o *observer) locate(ids []string) error {
	type packet struct{ bundle, no int64 }
	of := map[packet][]string{}
	byBundle := map[int64][]int64{}
	for _, id := range ids {
		s := o.stated[id]
		for _, no := range ends(s.Packets) {
			of[packet{s.Bundle, no}] = append(of[packet{s.Bundle, no}], id)
			byBundle[s.Bundle] = append(byBundle[s.Bundle], no)
		}
	}
	bundles := o.c.Bundles()
	for _, b := range slices.Sorted(maps.Keys(byBundle)) {
		list := byBundle[b]
		slices.Sort(list)
		for part := range slices.Chunk(slices.Compact(list), 50_000) {
			places, err := tally.Places(o.ctx, o.c, b, part)
			if err != nil {
				return err
			}
			for _, p := range places {
				if inputs := bundles[p.Bundle].Manifest.Inputs; p.File >= 0 && p.File < int64(len(inputs)) {
					at := place(inputs[p.File].SHA256.String(), p.Index)
					for _, id := range of[packet{p.Bundle, p.Packet}] {
						o.places[id] = append(o.places[id], at)
					}
				}
			}
		}
	}
	return nil
}

// place is the comment of a packet in a slice (docs/format/slice.md).
func place(sha256 string, index int64) string {
	return "pcapsule:" + sha256[:8] + "#" + strconv.FormatInt(index, 10)
}

// ends returns the first and the last packets of a list such as "12-15,20".
func ends(packets string) (list []int64) {
	var ranges [][2]int64
	total := int64(0)
	for part := range strings.SplitSeq(packets, ",") {
		a, b, ok := strings.Cut(part, "-")
		first, err := strconv.ParseInt(a, 10, 64)
		last := first
		if ok && err == nil {
			last, err = strconv.ParseInt(b, 10, 64)
		}
		if err != nil || last < first {
			continue // no packets, or not a range
		}
		ranges = append(ranges, [2]int64{first, last})
		total += last - first + 1
	}
	at := int64(0)
	for _, r := range ranges {
		for n := r[0]; n <= r[1]; n++ {
			if at < maxEnd || at >= total-maxEnd {
				list = append(list, n)
			} else if skip := min(r[1]-n, total-maxEnd-at-1); skip > 0 {
				n, at = n+skip, at+skip
			}
			at++
		}
	}
	return list
}

// run checks some calls with one run of the tool. If the run fails, it checks each half alone, so
// that one connection cannot prevent the check of others.
func (o *observer) run(ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	wanted := map[string]bool{}
	for _, id := range ids {
		for _, at := range o.places[id] {
			wanted[at] = true
		}
	}
	frames, err := o.tool.read(o.ctx, o.decodeAs(ids), wanted, o.write(ids))
	switch {
	case o.parent.Err() != nil:
		return o.parent.Err()
	case err != nil && len(ids) > 1 && o.ctx.Err() == nil:
		return errors.Join(o.run(ids[:len(ids)/2]), o.run(ids[len(ids)/2:]))
	case err != nil:
		why := err.Error()
		if o.masked {
			why = "tshark failed or did not finish" // its words may contain text from packets
		}
		for _, id := range ids {
			o.fail(id, why)
		}
		return nil
	}
	for _, id := range ids {
		o.compare(id, frames)
	}
	return nil
}

// write returns a function that writes the packets of calls and of their connections before them.
func (o *observer) write(ids []string) func(context.Context, *limited) error {
	sel := forensics.Selection{CallIDs: ids, Context: forensics.WithContext}
	if !o.masked {
		sel.Keys = forensics.WithKeys
	}
	return func(ctx context.Context, w *limited) error {
		_, err := o.c.Packets(ctx, sel, w)
		return err
	}
}

// decodeAs returns the flags that name the protocols of server ports. A port with several protocols
// is left to the tool.
func (o *observer) decodeAs(ids []string) (flags []string) {
	ports := map[string]string{}
	for _, id := range ids {
		s := o.stated[id]
		as := table.TraitsOf(s.Protocol).Wireshark
		if s.Decrypted == "tls" {
			as = "tls"
			if s.Protocol == "postgresql" { // it begins without TLS
				as = "pgsql"
			}
		}
		if as == "" || s.Port == 0 || s.Transport != "tcp" {
			continue
		}
		port := "tcp.port==" + strconv.FormatInt(s.Port, 10)
		if was, ok := ports[port]; ok && was != as {
			as = ""
		}
		ports[port] = as
	}
	for _, port := range slices.Sorted(maps.Keys(ports)) {
		if ports[port] != "" {
			flags = append(flags, "-d", port+","+ports[port])
		}
	}
	return flags
}

// compare compares the facts of a call with the tool's facts about its packets.
func (o *observer) compare(id string, frames map[string]frame) {
	s := o.stated[id]
	out := &value.Rechecked{Call: id}
	known := false
	for _, f := range compared[s.Protocol] {
		ours := s.Fact(f.name)
		if ours == "" {
			continue
		}
		others := o.values(id, f, frames)
		fact := value.Fact{Name: f.name, State: value.Differs}
		switch {
		case len(others) == 0:
			fact.State = value.Unstated
		case slices.ContainsFunc(others, func(other string) bool { return f.same(ours, other) }):
			fact.State = value.Confirmed
		case !o.masked:
			fact.Other = value.Text(strings.Join(others[:min(len(others), mostStated)], " or "))
		}
		known = known || fact.State != value.Unstated
		out.Facts = append(out.Facts, fact)
	}
	o.done[id] = out
	if !known {
		o.fail(id, o.unknown(&s, len(out.Facts)))
	}
}

// unknown says why the tool states nothing about a call.
func (o *observer) unknown(s *tally.Stated, facts int) string {
	switch {
	case facts == 0:
		return "the call states no fact that can be compared"
	case s.Decrypted != "" && o.masked:
		return "the call was encrypted, and for a masked report tshark gets no keys"
	case s.Decrypted != "":
		return "the call was encrypted, and the bundle has no keys with which tshark can decrypt it"
	}
	return fmt.Sprintf("tshark states nothing about %s in its packets", s.Protocol)
}

// values returns the tool's values of a fact in the packets of a call.
func (o *observer) values(id string, f fact, frames map[string]frame) (list []string) {
	for _, at := range o.places[id] {
		for _, field := range f.fields {
			for _, v := range frames[at][field] {
				if len(list) < maxValues && v != "" && !slices.Contains(list, v) {
					list = append(list, v)
				}
			}
		}
	}
	return list
}

// newTool finds the tool and makes an empty home folder for it.
func newTool(ctx context.Context) (*tool, error) {
	path, err := find()
	if err != nil {
		return nil, err
	}
	home, err := os.MkdirTemp("", "pcapsule-recheck-")
	if err != nil {
		return nil, fmt.Errorf("making a home folder for tshark: %w", err)
	}
	t := &tool{path: path, home: home}
	if t.version, err = t.askVersion(ctx); err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

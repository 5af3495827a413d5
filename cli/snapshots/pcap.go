package snapshots

import (
	"context"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/mcp/store"
	"github.com/pcapsule/pcapsule/recorder/filter"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/ring"
)

// SnapshotPCAP implements store.Store. A file has one link type: it contains the packets of
// sockets, or else those of interfaces.
func (s *Store) SnapshotPCAP(ctx context.Context, name string, r store.PCAPRequest, w io.Writer) (rep store.PCAPReport, err error) {
	x, err := s.read(name)
	if err != nil {
		return rep, err
	}
	if x.Status != completed {
		return rep, fmt.Errorf("snapshot %s is %s: %w", name, x.Status, store.ErrNotReady)
	}
	list, err := s.selected(name, r.Nodes)
	if err != nil {
		return rep, err
	}
	from, to := window(x)
	from = max(from, r.From)
	if to == 0 {
		to = math.MaxInt64
	}
	if r.To != 0 {
		to = min(to, r.To)
	}
	keep, err := matching(r.Filter)
	if err != nil {
		return rep, err
	}
	about := "snapshot " + name + ", exported by pcapsule"
	if r.Filter != "" {
		about += "; only packets that match " + r.Filter
	}
	out, err := pcapng.NewWriter(w, pcapng.Section{Comments: []string{about}}, pcapng.WriterOptions{})
	if err != nil {
		return rep, err
	}
	for _, series := range list {
		c, err := ring.Copy(ctx, out, series, from, to, keep)
		rep.Packets, rep.Bytes, rep.Missing = rep.Packets+c.Packets, rep.Bytes+c.Bytes, append(rep.Missing, c.Missing...)
		if err != nil {
			return rep, err
		}
	}
	return rep, out.Flush()
}

// selected returns the pinned segments of the given nodes (of all if empty) by series: those of
// sockets, or else of interfaces. Packets with a separate maximum age have a separate series.
func (s *Store) selected(name string, nodes []string) ([][]ring.Segment, error) {
	all, err := ring.Segments(filepath.Join(s.dir, name, heldName))
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(x ring.Segment) bool { return x.Missing || x.Open })
	for _, n := range nodes {
		if !slices.ContainsFunc(all, func(x ring.Segment) bool { return x.ID.Node == n }) {
			return nil, badRequest("node %.100q is not in the snapshot", n)
		}
	}
	if len(nodes) > 0 {
		all = slices.DeleteFunc(all, func(x ring.Segment) bool { return !slices.Contains(nodes, x.ID.Node) })
	}
	sockets := slices.ContainsFunc(all, ofSockets)
	var out [][]ring.Segment
	for _, x := range all {
		if ofSockets(x) != sockets {
			continue
		}
		if n := len(out); n > 0 && out[n-1][0].ID.Series == x.ID.Series {
			out[n-1] = append(out[n-1], x)
		} else {
			out = append(out, []ring.Segment{x})
		}
	}
	return out, nil
}

func ofSockets(x ring.Segment) bool { return strings.HasPrefix(x.ID.Series, "sockets") }

// matching returns a function that applies a filter, compiled for each link type in the
// packets.
func matching(expr string) (func(*pcapng.Packet, *pcapng.Interface) bool, error) {
	if strings.TrimSpace(expr) == "" {
		return nil, nil
	}
	if _, err := filter.Compile(expr, 276, 0); err != nil {
		if _, other := filter.Compile(expr, 1, 0); other != nil {
			return nil, badRequest("%v", other)
		}
	}
	programs := map[uint16]*filter.Program{}
	return func(p *pcapng.Packet, i *pcapng.Interface) bool {
		link := i.LinkType
		prog, known := programs[link]
		if !known {
			prog, _ = filter.Compile(expr, link, 0) // nil if the filter does not support the link type: nothing matches
			programs[link] = prog
		}
		return prog != nil && prog.Match(p.Data, p.OrigLen)
	}, nil
}

package mcp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/mcp/store"
)

// mainDissection is the name of a dissection if none is given, and that of a bundle's calls.
const mainDissection = "main"

// bundles is the store of a server without a ring: each open bundle is a snapshot that is
// dissected, so that what works with a ring works with bundles too. It freezes nothing.
type bundles struct{ s *Server }

// store is where snapshots are kept.
func (s *Server) store() store.Store {
	if s.o.Store != nil {
		return s.o.Store
	}
	return bundles{s}
}

// errNoRing says that there is nothing to freeze, to record or to delete.
var errNoRing = errors.New("this server has no ring, which pcapsule serve --ring RING/ and pcapsule mcp --ring RING/ have; it answers about the bundles that list_cases names")

// each goes through the open bundles and their names as snapshots.
func (b bundles) each(do func(name string, x forensics.BundleInfo)) error {
	c, give, err := b.s.cases.take()
	if err != nil {
		return err
	}
	defer give()
	names := snapshotNames(c)
	for _, x := range c.Bundles() {
		do(names[x.Index], x)
	}
	return nil
}

// snapshotNames are the names of a case's bundles as snapshots.
func snapshotNames(c *forensics.Case) (out []string) {
	for _, x := range c.Bundles() {
		name := strings.TrimSuffix(strings.TrimSuffix(filepath.Base(x.Path), ".zip"), ".pcapsule")
		if slices.Contains(out, name) {
			name = fmt.Sprintf("%s-%d", name, x.Index)
		}
		out = append(out, name)
	}
	return out
}

// Boundaries has a node for each bundle.
func (b bundles) Boundaries(context.Context) ([]store.Boundary, error) {
	var out []store.Boundary
	err := b.each(func(name string, x forensics.BundleInfo) {
		m := x.Manifest
		n := store.Boundary{Node: name, Segments: len(m.Inputs), Bytes: m.Accounts.Bytes, Packets: m.Accounts.Packets}
		if w := m.Window; w.FirstNs != nil && w.LastNs != nil {
			n.Oldest, n.Newest = stamp(int64(*w.FirstNs)), stamp(int64(*w.LastNs))
			n.OldestMs, n.NewestMs = int64(*w.FirstNs)/int64(time.Millisecond), int64(*w.LastNs)/int64(time.Millisecond)
		}
		out = append(out, n)
	})
	return out, err
}

// Snapshots has one for each bundle.
func (b bundles) Snapshots(context.Context) ([]store.Snapshot, error) {
	var out []store.Snapshot
	err := b.each(func(name string, x forensics.BundleInfo) {
		m := x.Manifest
		v := store.Snapshot{Name: name, Status: "completed", Nodes: 1, Segments: len(m.Inputs), Packets: m.Accounts.Packets, Bytes: m.Accounts.Bytes, Dissections: []string{name + "/" + mainDissection}}
		if w := m.Window; w.FirstNs != nil && w.LastNs != nil {
			v.From, v.To = stamp(int64(*w.FirstNs)), stamp(int64(*w.LastNs))
			v.StartMs, v.EndMs = int64(*w.FirstNs)/int64(time.Millisecond), int64(*w.LastNs)/int64(time.Millisecond)
			v.DurationMs = v.EndMs - v.StartMs
		}
		out = append(out, v)
	})
	return out, err
}

// Dissections has the calls of each bundle.
func (b bundles) Dissections(_ context.Context, snapshot string) ([]store.Dissection, error) {
	var out []store.Dissection
	err := b.each(func(name string, x forensics.BundleInfo) {
		if snapshot != "" && snapshot != name {
			return
		}
		m := x.Manifest
		d := store.Dissection{DB: name + "/" + mainDissection, Snapshot: name, Name: mainDissection, Status: "completed", Progress: 100, Protocols: m.Calls, Path: x.Path,
			Stats: store.DissectionStats{Files: int64(len(m.Inputs)), Bytes: m.Accounts.Bytes, Packets: m.Accounts.Packets}}
		if d.Protocols == nil {
			d.Protocols = map[string]int64{}
		}
		for _, n := range m.Calls {
			d.Stats.Calls += n
		}
		out = append(out, d)
	})
	if err == nil && snapshot != "" && len(out) == 0 {
		err = fmt.Errorf("%s: %w", clip(snapshot, 100), store.ErrNoSnapshot)
	}
	return out, err
}

// StartDissection finds that a bundle is dissected.
func (b bundles) StartDissection(ctx context.Context, snapshot, name string) (store.Dissection, error) {
	list, err := b.Dissections(ctx, snapshot)
	if err != nil {
		return store.Dissection{}, err
	}
	if name != mainDissection {
		return store.Dissection{}, fmt.Errorf("%s/%s: %w", clip(snapshot, 100), clip(name, 100), errNoRing)
	}
	return list[0], nil
}

// SnapshotPCAP writes the packets of a bundle.
func (b bundles) SnapshotPCAP(ctx context.Context, name string, r store.PCAPRequest, w io.Writer) (store.PCAPReport, error) {
	list, err := b.Dissections(ctx, name)
	switch {
	case err != nil:
		return store.PCAPReport{}, err
	case r.Filter != "":
		return store.PCAPReport{}, wrong("bpf_filter narrows snapshots of a ring only; export_pcap chooses packets of a bundle by calls")
	case len(r.Nodes) > 0 && (len(r.Nodes) > 1 || r.Nodes[0] != name):
		return store.PCAPReport{}, wrong("nodes: a bundle has one, %s", clip(name, 100))
	}
	c, give, err := b.s.caseOf(ctx, list[0].DB)
	if err != nil {
		return store.PCAPReport{}, err
	}
	defer give()
	report, err := c.Packets(ctx, forensics.Selection{From: r.From, To: r.To}, w)
	return store.PCAPReport{Packets: report.Packets, Bytes: report.Bytes}, err
}

// CreateSnapshot implements store.Store.
func (bundles) CreateSnapshot(context.Context, store.SnapshotRequest) (store.Snapshot, error) {
	return store.Snapshot{}, errNoRing
}

// DeleteSnapshot implements store.Store.
func (b bundles) DeleteSnapshot(ctx context.Context, name string) error {
	if _, err := b.Dissections(ctx, name); err != nil {
		return err
	}
	return errNoRing
}

// Capture implements store.Store.
func (bundles) Capture(context.Context, store.CaptureRequest) (store.Snapshot, error) {
	return store.Snapshot{}, errNoRing
}

// Live implements store.Store.
func (bundles) Live(context.Context, time.Duration) (string, error) { return "", errNoRing }

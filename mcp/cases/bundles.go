package cases

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

// MainDissection is the default name of a dissection, and the one of an open bundle.
const MainDissection = "main"

// bundles is the store of a server without a ring. It presents each open bundle as a snapshot
// with a completed dissection, so that the same requests work with and without a ring. It
// cannot create snapshots.
type bundles struct{ k *Cases }

// Store returns the store of snapshots.
func (k *Cases) Store() store.Store {
	if k.ring != nil {
		return k.ring
	}
	return bundles{k}
}

// ErrNoRing reports that the server has no ring to snapshot or record.
var ErrNoRing = errors.New("this server has no ring (start it with pcapsule serve --ring RING/ or pcapsule mcp --ring RING/); it answers about the bundles in list_cases")

// each calls do for every open bundle with its snapshot name.
func (b bundles) each(do func(name string, x forensics.BundleInfo)) error {
	c, release, err := b.k.bundles.acquire()
	switch {
	case err != nil && b.k.live != nil:
		return nil // nothing is open, and what is recorded now is no bundle
	case err != nil:
		return err
	}
	defer release()
	names := SnapshotNames(c)
	for _, x := range c.Bundles() {
		do(names[x.Index], x)
	}
	return nil
}

// SnapshotNames returns the snapshot names of a case's bundles.
func SnapshotNames(c *forensics.Case) (out []string) {
	for _, x := range c.Bundles() {
		name := strings.TrimSuffix(strings.TrimSuffix(filepath.Base(x.Path), ".zip"), ".pcapsule")
		if slices.Contains(out, name) {
			name = fmt.Sprintf("%s-%d", name, x.Index)
		}
		out = append(out, name)
	}
	return out
}

// Boundaries returns one node for each bundle.
func (b bundles) Boundaries(context.Context) ([]store.Boundary, error) {
	var out []store.Boundary
	err := b.each(func(name string, x forensics.BundleInfo) {
		m := x.Manifest
		n := store.Boundary{Node: name, Segments: len(m.Inputs), Bytes: m.Accounts.Bytes, Packets: m.Accounts.Packets}
		if w := m.Window; w.FirstNs != nil && w.LastNs != nil {
			n.Oldest, n.Newest = w.FirstNs.String(), w.LastNs.String()
			n.OldestMs, n.NewestMs = int64(*w.FirstNs)/int64(time.Millisecond), int64(*w.LastNs)/int64(time.Millisecond)
		}
		out = append(out, n)
	})
	return out, err
}

// Snapshots returns one snapshot for each bundle.
func (b bundles) Snapshots(context.Context) ([]store.Snapshot, error) {
	var out []store.Snapshot
	err := b.each(func(name string, x forensics.BundleInfo) {
		m := x.Manifest
		v := store.Snapshot{Name: name, Status: "completed", Nodes: 1, Segments: len(m.Inputs), Packets: m.Accounts.Packets, Bytes: m.Accounts.Bytes, Dissections: []string{name + "/" + MainDissection}}
		if w := m.Window; w.FirstNs != nil && w.LastNs != nil {
			v.From, v.To = w.FirstNs.String(), w.LastNs.String()
			v.StartMs, v.EndMs = int64(*w.FirstNs)/int64(time.Millisecond), int64(*w.LastNs)/int64(time.Millisecond)
			v.DurationMs = v.EndMs - v.StartMs
		}
		out = append(out, v)
	})
	return out, err
}

// Dissections returns one completed dissection for each bundle.
func (b bundles) Dissections(_ context.Context, snapshot string) ([]store.Dissection, error) {
	var out []store.Dissection
	err := b.each(func(name string, x forensics.BundleInfo) {
		if snapshot != "" && snapshot != name {
			return
		}
		m := x.Manifest
		d := store.Dissection{DB: name + "/" + MainDissection, Snapshot: name, Name: MainDissection, Status: "completed", Progress: 100, Protocols: m.Calls, Paths: []string{x.Path},
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
		err = fmt.Errorf("%.100s: %w", snapshot, store.ErrNoSnapshot)
	}
	return out, err
}

// StartDissection returns the completed dissection of a bundle.
func (b bundles) StartDissection(ctx context.Context, snapshot, name string) (store.Dissection, error) {
	list, err := b.Dissections(ctx, snapshot)
	if err != nil {
		return store.Dissection{}, err
	}
	if name != MainDissection {
		return store.Dissection{}, fmt.Errorf("%.100s/%.100s: %w", snapshot, name, ErrNoRing)
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
		return store.PCAPReport{}, store.BadRequest("bpf_filter works only for snapshots of a ring; export_pcap selects packets of a bundle by calls")
	case len(r.Nodes) > 0 && (len(r.Nodes) > 1 || r.Nodes[0] != name):
		return store.PCAPReport{}, store.BadRequest("nodes: this bundle has only node %.100s", name)
	}
	c, release, err := b.k.OfDB(ctx, list[0].DB)
	if err != nil {
		return store.PCAPReport{}, err
	}
	defer release()
	report, err := c.Packets(ctx, forensics.Selection{From: r.From, To: r.To}, w)
	return store.PCAPReport{Packets: report.Packets, Bytes: report.Bytes}, err
}

// CreateSnapshot implements store.Store.
func (bundles) CreateSnapshot(context.Context, store.SnapshotRequest) (store.Snapshot, error) {
	return store.Snapshot{}, ErrNoRing
}

// DeleteSnapshot implements store.Store.
func (b bundles) DeleteSnapshot(ctx context.Context, name string) error {
	if _, err := b.Dissections(ctx, name); err != nil {
		return err
	}
	return ErrNoRing
}

// Capture implements store.Store.
func (bundles) Capture(context.Context, store.CaptureRequest) (store.Snapshot, error) {
	return store.Snapshot{}, ErrNoRing
}

// Live implements store.Live.
func (b bundles) Live(ctx context.Context, last time.Duration) ([]string, error) {
	if b.k.live == nil {
		return nil, ErrNoRing
	}
	return b.k.live.Live(ctx, last)
}

// LiveAfter implements store.Live.
func (b bundles) LiveAfter(ctx context.Context, after int64) ([]string, int64, error) {
	if b.k.live == nil {
		return nil, 0, ErrNoRing
	}
	return b.k.live.LiveAfter(ctx, after)
}

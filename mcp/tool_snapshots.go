package mcp

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/mcp/store"
)

var (
	toolDataBoundaries = tool{name: "get_data_boundaries", set: "ring", title: "Time that is recorded", core: true, free: true,
		doc: "What the ring on this machine has: oldest and newest packet of each node, segments, packets, coverage gaps. Begin here before a snapshot of a past time."}
	toolListSnapshots = tool{name: "list_snapshots", set: "ring", title: "Snapshots", core: true, free: true,
		doc: "Frozen times of the recording, the newest first, with their dissections, whose names other tools take as db."}
	toolGetSnapshot = tool{name: "get_snapshot", set: "ring", title: "One snapshot", free: true,
		doc: "One snapshot by name: status, time, packets, seals, dissections. Poll it while a recording of its own runs."}
	toolCreateSnapshot = tool{name: "create_snapshot", set: "ring", title: "Freeze a time", core: true, free: true, writes: true,
		doc: "Freeze a time of the recording so that retention leaves it: the last duration, or from start to end. Recording goes on. Then start_snapshot_dissection."}
	toolDeleteSnapshot = tool{name: "delete_snapshot", set: "ring", title: "Let a snapshot go", free: true, writes: true, destroys: true,
		doc: "Delete a snapshot with its packets and dissections. What retention has removed from the ring meanwhile cannot be had back."}
	toolExportSnapshotPCAP = tool{name: "export_snapshot_pcap", set: "ring", title: "A snapshot's packets as a file", free: true, writes: true,
		doc: "Write a snapshot's packets as one pcapng file for Wireshark, narrowed by nodes, BPF filter and time. For packets of certain calls use export_pcap with kfl."}
	toolStartDissection = tool{name: "start_snapshot_dissection", set: "ring", title: "Make calls of a snapshot", core: true, free: true, writes: true, again: true,
		doc: "Begin to dissect a snapshot into calls that KFL and SQL can ask about. It does not wait: poll get_snapshot_dissection_status, then give its db to other tools."}
	toolDissectionStatus = tool{name: "get_snapshot_dissection_status", set: "ring", title: "How a dissection stands", core: true, free: true,
		doc: "Status, progress and counts of the dissections of a snapshot, or of all."}
	toolCaptureTraffic = tool{name: "capture_traffic", set: "ring", title: "Record now", free: true, writes: true,
		doc: "Begin a recording of its own for a while, narrowed by a BPF filter and by owners. It becomes a snapshot of that name: poll get_snapshot, then dissect it."}
)

type noIn struct{}

type boundariesOut struct {
	Cluster struct {
		Oldest   string `json:"oldest"`
		Newest   string `json:"newest"`
		OldestMs int64  `json:"oldest_ts"`
		NewestMs int64  `json:"newest_ts"`
	} `json:"cluster" jsonschema:"over all nodes"`
	Nodes []store.Boundary `json:"nodes"`
}

func (s *answerer) dataBoundaries(ctx context.Context, _ noIn) (out boundariesOut, err error) {
	out.Nodes, err = s.store().Boundaries(ctx)
	if out.Nodes == nil {
		out.Nodes = []store.Boundary{}
	}
	for _, b := range out.Nodes {
		if c := &out.Cluster; b.OldestMs != 0 && (c.OldestMs == 0 || b.OldestMs < c.OldestMs) {
			c.Oldest, c.OldestMs = b.Oldest, b.OldestMs
		}
		if c := &out.Cluster; b.NewestMs > c.NewestMs {
			c.Newest, c.NewestMs = b.Newest, b.NewestMs
		}
	}
	return out, err
}

type snapshotsOut struct {
	Snapshots []store.Snapshot `json:"snapshots"`
	Total     int              `json:"total"`
}

func (s *answerer) listSnapshots(ctx context.Context, _ noIn) (out snapshotsOut, err error) {
	out.Snapshots, err = s.store().Snapshots(ctx)
	if out.Snapshots == nil {
		out.Snapshots = []store.Snapshot{}
	}
	out.Total = len(out.Snapshots)
	return out, err
}

type snapshotIn struct {
	Name string `json:"name" jsonschema:"the snapshot's name"`
}

func (s *answerer) getSnapshot(ctx context.Context, in snapshotIn) (store.Snapshot, error) {
	list, err := s.store().Snapshots(ctx)
	for _, x := range list {
		if x.Name == in.Name {
			return x, nil
		}
	}
	if err == nil {
		err = fmt.Errorf("%s: %w; list_snapshots has their names", clip(in.Name, 100), store.ErrNoSnapshot)
	}
	return store.Snapshot{}, err
}

type createSnapshotIn struct {
	Name     string `json:"name,omitempty" jsonschema:"letters, digits, dots, dashes, underscores; made from the time where not given"`
	Duration string `json:"duration,omitempty" jsonschema:"such as 30m: the last so long; 1h where neither this nor start is given"`
	Start    string `json:"start,omitempty" jsonschema:"start instead of a duration, RFC 3339"`
	End      string `json:"end,omitempty" jsonschema:"end, included; now where not given"`
}

func (s *answerer) createSnapshot(ctx context.Context, in createSnapshotIn) (store.Snapshot, error) {
	r := store.SnapshotRequest{Name: in.Name}
	var err error
	switch {
	case in.Duration != "" && in.Start != "":
		return store.Snapshot{}, wrong("duration and start contradict each other: give one")
	case in.Start == "" && in.Duration == "":
		r.Last = time.Hour
	case in.Duration != "":
		if r.Last, err = time.ParseDuration(in.Duration); err != nil || r.Last <= 0 {
			return store.Snapshot{}, wrong("duration %q: want a length such as 30m", clip(in.Duration, 100))
		}
	}
	for _, t := range []struct {
		name, text string
		to         *int64
	}{{"start", in.Start, &r.From}, {"end", in.End, &r.To}} {
		if t.text == "" {
			continue
		}
		at, err := time.Parse(time.RFC3339Nano, t.text)
		if err != nil {
			return store.Snapshot{}, wrong("%s %q: want RFC 3339 such as 2026-01-31T14:15:00Z", t.name, clip(t.text, 100))
		}
		*t.to = at.UnixNano()
	}
	if r.Name == "" {
		r.Name = "snapshot-" + time.Now().UTC().Format("20060102T150405.000")
	}
	return s.store().CreateSnapshot(ctx, r)
}

type deletedOut struct {
	Deleted string `json:"deleted"`
}

func (s *answerer) deleteSnapshot(ctx context.Context, in snapshotIn) (deletedOut, error) {
	s.dbs.forget(string(filepath.Separator) + in.Name + string(filepath.Separator))
	return deletedOut{in.Name}, s.store().DeleteSnapshot(ctx, in.Name)
}

type exportSnapshotIn struct {
	ID     string   `json:"id" jsonschema:"the snapshot's name"`
	Nodes  []string `json:"nodes,omitempty" jsonschema:"only packets of these nodes"`
	Filter string   `json:"bpf_filter,omitempty" jsonschema:"only packets that match, in tcpdump's words"`
	Start  int64    `json:"start_time,omitempty" jsonschema:"milliseconds since 1970 UTC"`
	End    int64    `json:"end_time,omitempty" jsonschema:"milliseconds since 1970 UTC"`
	File   string   `json:"file,omitempty" jsonschema:"file name ending in .pcapng; the snapshot's name where not given"`
}

type exportSnapshotOut struct {
	Path string `json:"path" jsonschema:"the file that was written"`
	store.PCAPReport
}

func (s *answerer) exportSnapshotPCAP(ctx context.Context, in exportSnapshotIn) (out exportSnapshotOut, err error) {
	name := in.File
	if name == "" {
		name = in.ID + ".pcapng"
	}
	if out.Path, err = s.exportPath(name); err != nil {
		return out, err
	}
	f, err := os.CreateTemp(filepath.Dir(out.Path), "."+name+".*")
	if err != nil {
		return out, err
	}
	defer os.Remove(f.Name()) // gone where it got its name
	out.PCAPReport, err = s.store().SnapshotPCAP(ctx, in.ID, store.PCAPRequest{Nodes: in.Nodes, Filter: in.Filter, From: in.Start * 1e6, To: in.End * 1e6}, f)
	if end := f.Close(); err == nil {
		err = end
	}
	if err == nil {
		err = os.Link(f.Name(), out.Path) // never over a file that is there
	}
	return out, err
}

// exportPath is where a file may be written.
func (s *answerer) exportPath(name string) (string, error) {
	if s.o.ExportDir == "" {
		return "", errNoExport
	}
	if filepath.Base(name) != name || !strings.HasSuffix(name, ".pcapng") || strings.HasPrefix(name, ".") {
		return "", wrong("name %q: want a plain file name ending in .pcapng", clip(name, 200))
	}
	return filepath.Join(s.o.ExportDir, name), nil
}

type dissectIn struct {
	Snapshot string `json:"snapshot" jsonschema:"the snapshot's name"`
	Name     string `json:"name,omitempty" jsonschema:"the dissection's name; main where not given"`
}

func (s *answerer) startDissection(ctx context.Context, in dissectIn) (store.Dissection, error) {
	if in.Name == "" {
		in.Name = mainDissection
	}
	return s.store().StartDissection(ctx, in.Snapshot, in.Name)
}

type dissectionsIn struct {
	Snapshot string `json:"snapshot,omitempty" jsonschema:"only dissections of this snapshot"`
	Name     string `json:"name,omitempty" jsonschema:"only the one of this name"`
}

type dissectionsOut struct {
	Dissections []store.Dissection `json:"dissections"`
}

func (s *answerer) dissectionStatus(ctx context.Context, in dissectionsIn) (dissectionsOut, error) {
	out := dissectionsOut{Dissections: []store.Dissection{}}
	list, err := s.store().Dissections(ctx, in.Snapshot)
	for _, d := range list {
		if in.Name == "" || d.Name == in.Name {
			out.Dissections = append(out.Dissections, d)
		}
	}
	if err == nil && in.Name != "" && len(out.Dissections) == 0 {
		err = fmt.Errorf("no dissection %s of snapshot %s; start_snapshot_dissection begins one", clip(in.Name, 100), clip(in.Snapshot, 100))
	}
	return out, err
}

type captureIn struct {
	Name     string   `json:"name,omitempty" jsonschema:"name of the snapshot that it becomes; made from the time where not given"`
	Duration string   `json:"duration,omitempty" jsonschema:"such as 30s, at most 1h; 1m where not given"`
	Filter   string   `json:"bpf_filter,omitempty" jsonschema:"only packets that match, in tcpdump's words"`
	Owners   []string `json:"owners,omitempty" jsonschema:"only packets of these: namespace=NAME, pod=NAME, label=NAME=VALUE, container=NAME, process=NAME"`
}

func (s *answerer) captureTraffic(ctx context.Context, in captureIn) (store.Snapshot, error) {
	r := store.CaptureRequest{Name: in.Name, Duration: time.Minute, Filter: in.Filter, Owners: in.Owners}
	if in.Duration != "" {
		var err error
		if r.Duration, err = time.ParseDuration(in.Duration); err != nil {
			return store.Snapshot{}, wrong("duration %q: want a length such as 30s", clip(in.Duration, 100))
		}
	}
	if r.Name == "" {
		r.Name = "capture-" + time.Now().UTC().Format("20060102T150405.000")
	}
	return s.store().Capture(ctx, r)
}

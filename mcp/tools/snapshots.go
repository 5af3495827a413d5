package tools

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/internal/when"
	"github.com/pcapsule/pcapsule/internal/whole"
	"github.com/pcapsule/pcapsule/mcp/cases"
	"github.com/pcapsule/pcapsule/mcp/store"
)

var (
	toolDataBoundaries = Tool{Name: "get_data_boundaries", set: "ring", title: "Recorded time ranges", core: true, Free: true,
		doc: "Show what the ring on this machine contains: oldest and newest packet of each node, segments, packets, coverage gaps. Call it before you create a snapshot of a past time range."}
	toolListSnapshots = Tool{Name: "list_snapshots", set: "ring", title: "Snapshots", core: true, Free: true,
		doc: "List the snapshots, the newest first, with their dissections. Other tools accept a dissection's name as db."}
	toolGetSnapshot = Tool{Name: "get_snapshot", set: "ring", title: "One snapshot", Free: true,
		doc: "Show one snapshot by name: status, time range, packets, seals, dissections. Poll it while capture_traffic is recording."}
	toolCreateSnapshot = Tool{Name: "create_snapshot", set: "ring", title: "Create a snapshot", core: true, Free: true, writes: true,
		doc: "Protect a time range of the recording from retention: the last duration, or start to end. Recording continues. Then call start_snapshot_dissection."}
	toolDeleteSnapshot = Tool{Name: "delete_snapshot", set: "ring", title: "Delete a snapshot", Free: true, writes: true, destroys: true,
		doc: "Delete a snapshot with its packets and dissections. Packets that retention has since removed from the ring are lost."}
	toolExportSnapshotPCAP = Tool{Name: "export_snapshot_pcap", set: "ring", title: "Export a snapshot's packets", Free: true, writes: true,
		doc: "Write a snapshot's packets to a PCAPNG file for Wireshark, filtered by node, BPF filter and time. For the packets of certain calls, use export_pcap with kfl."}
	toolStartDissection = Tool{Name: "start_snapshot_dissection", set: "ring", title: "Dissect a snapshot", core: true, Free: true, writes: true, again: true,
		doc: "Start dissecting a snapshot into calls for KFL and SQL, without waiting for the end. Poll get_snapshot_dissection_status, then pass its db to other tools."}
	toolDissectionStatus = Tool{Name: "get_snapshot_dissection_status", set: "ring", title: "Status of a dissection", core: true, Free: true,
		doc: "Show status, progress and counts of the dissections of one or all snapshots."}
	toolCaptureTraffic = Tool{Name: "capture_traffic", set: "ring", title: "Record now", Free: true, writes: true,
		doc: "Start a separate recording for a limited time, filtered by a BPF filter and by owners. It becomes a snapshot with the given name: poll get_snapshot, then dissect it."}
)

// NoIn are the arguments of a tool that has none.
type NoIn struct{}

type boundariesOut struct {
	Cluster struct {
		Oldest   string `json:"oldest"`
		Newest   string `json:"newest"`
		OldestMs int64  `json:"oldest_ts"`
		NewestMs int64  `json:"newest_ts"`
	} `json:"cluster" jsonschema:"over all nodes"`
	Nodes []store.Boundary `json:"nodes"`
	Live  bool             `json:"live" jsonschema:"db live answers about current traffic"`
	Ring  bool             `json:"ring" jsonschema:"there is a ring: snapshots can be made"`
}

// DataBoundaries answers get_data_boundaries.
func (s *Invocation) DataBoundaries(ctx context.Context, _ NoIn) (out boundariesOut, err error) {
	out.Live, out.Ring = s.Cases.Follows()
	out.Nodes, err = s.Cases.Store().Boundaries(ctx)
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

func (s *Invocation) listSnapshots(ctx context.Context, _ NoIn) (out snapshotsOut, err error) {
	out.Snapshots, err = s.Cases.Store().Snapshots(ctx)
	if out.Snapshots == nil {
		out.Snapshots = []store.Snapshot{}
	}
	out.Total = len(out.Snapshots)
	return out, err
}

type snapshotIn struct {
	Name string `json:"name" jsonschema:"the snapshot's name"`
}

func (s *Invocation) getSnapshot(ctx context.Context, in snapshotIn) (store.Snapshot, error) {
	list, err := s.Cases.Store().Snapshots(ctx)
	for _, x := range list {
		if x.Name == in.Name {
			return x, nil
		}
	}
	if err == nil {
		err = fmt.Errorf("%s: %w; list_snapshots lists their names", ask.Clip(in.Name, 100), store.ErrNoSnapshot)
	}
	return store.Snapshot{}, err
}

type createSnapshotIn struct {
	Name     string `json:"name,omitempty" jsonschema:"letters, digits, dots, dashes, underscores; default: from the current time"`
	Duration string `json:"duration,omitempty" jsonschema:"such as 30m: the last 30 minutes; default 1h, unless start is given"`
	Start    string `json:"start,omitempty" jsonschema:"start, instead of a duration: a time such as 2026-01-31T14:15:00Z or 14:15:00, or a length such as 15m before now"`
	End      string `json:"end,omitempty" jsonschema:"end, inclusive; same forms as start; default now"`
}

func (s *Invocation) createSnapshot(ctx context.Context, in createSnapshotIn) (store.Snapshot, error) {
	r := store.SnapshotRequest{Name: in.Name}
	var err error
	switch {
	case in.Duration != "" && in.Start != "":
		return store.Snapshot{}, store.BadRequest("pass either duration or start, not both")
	case in.Start == "" && in.Duration == "":
		r.Last = time.Hour
	case in.Duration != "":
		if r.Last, err = time.ParseDuration(in.Duration); err != nil || r.Last <= 0 {
			return store.Snapshot{}, store.BadRequest("duration %q: must be a duration such as 30m", ask.Clip(in.Duration, 100))
		}
	}
	for _, t := range []struct {
		name, text string
		to         *int64
	}{{"start", in.Start, &r.From}, {"end", in.End, &r.To}} {
		if t.text == "" {
			continue
		}
		at, err := when.Parse(t.text)
		if errors.Is(err, when.ErrForm) {
			return store.Snapshot{}, store.BadRequest("%s %q: must be %s, or a length such as 15m before now", t.name, ask.Clip(t.text, 100), when.DayForms)
		}
		if err != nil {
			return store.Snapshot{}, store.BadRequest("%s: %v", t.name, err)
		}
		now := time.Now()
		*t.to = at.In(now.Add(-24*time.Hour).UnixNano(), now.UnixNano())
	}
	if r.Name == "" {
		r.Name = "snapshot-" + time.Now().UTC().Format("20060102T150405.000")
	}
	return s.Cases.Store().CreateSnapshot(ctx, r)
}

type deletedOut struct {
	Deleted string `json:"deleted"`
}

func (s *Invocation) deleteSnapshot(ctx context.Context, in snapshotIn) (deletedOut, error) {
	s.Cases.Forget(in.Name)
	return deletedOut{in.Name}, s.Cases.Store().DeleteSnapshot(ctx, in.Name)
}

type exportSnapshotIn struct {
	ID     string   `json:"id" jsonschema:"the snapshot's name"`
	Nodes  []string `json:"nodes,omitempty" jsonschema:"only packets from these nodes"`
	Filter string   `json:"bpf_filter,omitempty" jsonschema:"only packets that match, in tcpdump syntax"`
	Start  int64    `json:"start_time,omitempty" jsonschema:"milliseconds since 1970 UTC"`
	End    int64    `json:"end_time,omitempty" jsonschema:"milliseconds since 1970 UTC"`
	File   string   `json:"file,omitempty" jsonschema:"file name ending in .pcapng; default: the snapshot's name"`
}

type exportSnapshotOut struct {
	Path string `json:"path" jsonschema:"the file that was written"`
	store.PCAPReport
}

func (s *Invocation) exportSnapshotPCAP(ctx context.Context, in exportSnapshotIn) (out exportSnapshotOut, err error) {
	name := in.File
	if name == "" {
		name = in.ID + ".pcapng"
	}
	if out.Path, err = s.exportPath(name); err != nil {
		return out, err
	}
	err = whole.Create(out.Path, 0o600, func(w io.Writer) (err error) {
		out.PCAPReport, err = s.Cases.Store().SnapshotPCAP(ctx, in.ID, store.PCAPRequest{Nodes: in.Nodes, Filter: in.Filter, From: in.Start * 1e6, To: in.End * 1e6}, w)
		return err
	})
	return out, err
}

// exportPath returns the path of a file to write.
func (s *Invocation) exportPath(name string) (string, error) {
	if s.ExportDir == "" {
		return "", errNoExport
	}
	if filepath.Base(name) != name || !strings.HasSuffix(name, ".pcapng") || strings.HasPrefix(name, ".") {
		return "", store.BadRequest("name %q: must be a plain file name ending in .pcapng", ask.Clip(name, 60))
	}
	return filepath.Join(s.ExportDir, name), nil
}

type dissectIn struct {
	Snapshot string `json:"snapshot,omitempty" jsonschema:"the snapshot's name"`
	Name     string `json:"name,omitempty" jsonschema:"the dissection's name; default main; without snapshot, the snapshot's"`
}

func (s *Invocation) startDissection(ctx context.Context, in dissectIn) (store.Dissection, error) {
	switch {
	case in.Snapshot == "" && in.Name == "":
		return store.Dissection{}, store.BadRequest("snapshot: give the name of the snapshot, as list_snapshots shows it")
	case in.Snapshot == "":
		in.Snapshot, in.Name = in.Name, cases.MainDissection
	case in.Name == "":
		in.Name = cases.MainDissection
	}
	return s.Cases.Store().StartDissection(ctx, in.Snapshot, in.Name)
}

type dissectionsIn struct {
	Snapshot string `json:"snapshot,omitempty" jsonschema:"only dissections of this snapshot"`
	Name     string `json:"name,omitempty" jsonschema:"only the dissection with this name"`
}

type dissectionsOut struct {
	Dissections []store.Dissection `json:"dissections"`
}

func (s *Invocation) dissectionStatus(ctx context.Context, in dissectionsIn) (dissectionsOut, error) {
	out := dissectionsOut{Dissections: []store.Dissection{}}
	list, err := s.Cases.Store().Dissections(ctx, in.Snapshot)
	for _, d := range list {
		if in.Name == "" || d.Name == in.Name {
			out.Dissections = append(out.Dissections, d)
		}
	}
	if err == nil && in.Name != "" && len(out.Dissections) == 0 {
		err = fmt.Errorf("dissection %s of snapshot %s does not exist; start_snapshot_dissection creates one", ask.Clip(in.Name, 100), ask.Clip(in.Snapshot, 100))
	}
	return out, err
}

type captureIn struct {
	Name     string   `json:"name,omitempty" jsonschema:"name of the resulting snapshot; default: from the current time"`
	Duration string   `json:"duration,omitempty" jsonschema:"such as 30s, at most 1h; default 1m"`
	Filter   string   `json:"bpf_filter,omitempty" jsonschema:"only packets that match, in tcpdump syntax"`
	Owners   []string `json:"owners,omitempty" jsonschema:"only packets of these owners: namespace=NAME, pod=NAME, label=NAME=VALUE, container=NAME, process=NAME"`
}

func (s *Invocation) captureTraffic(ctx context.Context, in captureIn) (store.Snapshot, error) {
	r := store.CaptureRequest{Name: in.Name, Duration: time.Minute, Filter: in.Filter, Owners: in.Owners}
	if in.Duration != "" {
		var err error
		if r.Duration, err = time.ParseDuration(in.Duration); err != nil {
			return store.Snapshot{}, store.BadRequest("duration %q: must be a duration such as 30s", ask.Clip(in.Duration, 100))
		}
	}
	if r.Name == "" {
		r.Name = "capture-" + time.Now().UTC().Format("20060102T150405.000")
	}
	return s.Cases.Store().Capture(ctx, r)
}

package snapshots

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/mcp/store"
	"github.com/pcapsule/pcapsule/recorder/ring/ringtest"
)

// ringOf writes a sample into a new ring, 100 packets per segment.
func ringOf(t testing.TB, sample string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "ring")
	data, err := os.ReadFile(filepath.Join("..", "..", "samples", sample))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ringtest.Fill(dir, data, 1, 100); err != nil {
		t.Fatal(err)
	}
	return dir
}

func opened(t testing.TB, ringDir, dir string) *Store {
	t.Helper()
	s, err := Open(Options{Ring: ringDir, Dir: dir, Export: export, OnError: func(err error) { t.Log(err) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

var ctx = context.Background()

func export(ctx context.Context, from, to string, fromNs, toNs int64, done func(Progress)) (*bundle.Manifest, error) {
	o := exporter.Options{Release: "test", FromNs: fromNs, ToNs: toNs}
	if done != nil {
		o.Progress = func(p exporter.Progress) { done(Progress{p.ReadBytes, p.TotalBytes, p.Packets, p.Calls}) }
	}
	return exporter.Run(ctx, []string{from}, to, o)
}

// dissected waits for a dissection.
func dissected(t testing.TB, s *Store, snapshot, name string) store.Dissection {
	t.Helper()
	for range 3000 {
		list, err := s.Dissections(ctx, snapshot)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range list {
			if d.Name == name && (d.Status == completed || d.Status == failed || d.Status == cancelled) {
				return d
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatal("the dissection does not end")
	return store.Dissection{}
}

func TestSnapshotIsFrozenDissectedExportedAndDeleted(t *testing.T) {
	ringDir, dir := ringOf(t, "http1.pcapng"), filepath.Join(t.TempDir(), "store")
	s := opened(t, ringDir, dir)
	b, err := s.Boundaries(ctx)
	if err != nil || len(b) != 1 || b[0].Node != "n" || b[0].Packets == 0 || b[0].Oldest == "" || b[0].Recording {
		t.Fatalf("%+v, %v", b, err)
	}
	x, err := s.CreateSnapshot(ctx, store.SnapshotRequest{Name: "last-hour", Last: time.Hour})
	if err != nil || x.Status != completed || x.Packets != b[0].Packets || x.Segments != b[0].Segments || x.Nodes != 1 {
		t.Fatalf("%+v, %v", x, err)
	}
	if _, err := s.CreateSnapshot(ctx, store.SnapshotRequest{Name: "last-hour", Last: time.Hour}); !errors.Is(err, store.ErrNameTaken) {
		t.Errorf("a name is used twice: %v", err)
	}
	if d, err := s.StartDissection(ctx, "last-hour", "main"); err != nil || d.DB != "last-hour/main" || d.Status == failed {
		t.Fatalf("%+v, %v", d, err)
	}
	d := dissected(t, s, "last-hour", "main")
	if d.Status != completed || d.Protocols["http1"] == 0 || d.Stats.Packets != x.Packets || d.Progress != 100 {
		t.Errorf("%+v", d)
	}
	var pcap bytes.Buffer
	rep, err := s.SnapshotPCAP(ctx, "last-hour", store.PCAPRequest{}, &pcap)
	if err != nil || rep.Packets != x.Packets {
		t.Errorf("%+v, %v", rep, err)
	}
	some, err := s.SnapshotPCAP(ctx, "last-hour", store.PCAPRequest{Filter: "tcp[tcpflags] & tcp-syn != 0"}, io.Discard)
	if err != nil || some.Packets == 0 || some.Packets >= rep.Packets {
		t.Errorf("%+v of %+v, %v", some, rep, err)
	}
	for _, bad := range []store.PCAPRequest{{Filter: "tcp and and"}, {Nodes: []string{"elsewhere"}}} {
		if _, err := s.SnapshotPCAP(ctx, "last-hour", bad, io.Discard); err == nil {
			t.Errorf("%+v is exported", bad)
		}
	}
	// Another server on the same folder finds the snapshot.
	again := opened(t, ringDir, dir)
	if list, err := again.Snapshots(ctx); err != nil || len(list) != 1 || len(list[0].Dissections) != 1 {
		t.Errorf("%+v, %v", list, err)
	}
	if err := s.DeleteSnapshot(ctx, "last-hour"); err != nil {
		t.Fatal(err)
	}
	if list, err := s.Snapshots(ctx); err != nil || len(list) != 0 {
		t.Errorf("%+v, %v", list, err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("%v is left, %v", left, err)
	}
}

func TestInvalidSnapshots(t *testing.T) {
	s := opened(t, ringOf(t, "http1.pcapng"), filepath.Join(t.TempDir(), "store"))
	for _, v := range []struct {
		name string
		r    store.SnapshotRequest
	}{
		{"a name that is a path", store.SnapshotRequest{Name: "../x", Last: time.Hour}},
		{"no name", store.SnapshotRequest{Last: time.Hour}},
		{"a name of a bundle", store.SnapshotRequest{Name: "x.pcapsule", Last: time.Hour}},
		{"a time before the ring", store.SnapshotRequest{Name: "x", From: 1, To: 2}},
		{"a time that ends before it begins", store.SnapshotRequest{Name: "x", From: 2, To: 1}},
	} {
		t.Run(v.name, func(t *testing.T) {
			if x, err := s.CreateSnapshot(ctx, v.r); err == nil {
				t.Errorf("%+v", x)
			}
		})
	}
	for name, err := range map[string]error{
		"delete":  s.DeleteSnapshot(ctx, "gone"),
		"dissect": func() error { _, err := s.StartDissection(ctx, "gone", "main"); return err }(),
		"pcap":    func() error { _, err := s.SnapshotPCAP(ctx, "gone", store.PCAPRequest{}, io.Discard); return err }(),
	} {
		if !errors.Is(err, store.ErrNoSnapshot) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if left, err := os.ReadDir(s.dir); err != nil || len(left) != 0 {
		t.Errorf("%v is left, %v", left, err)
	}
}

func TestLiveNeedsRecentPackets(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	s, err := Open(Options{Ring: ringOf(t, "http1.pcapng"), Dir: filepath.Join(t.TempDir(), "store"), Keep: time.Minute, Follow: followed})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Live(ctx, time.Minute); err == nil {
		t.Error("Live accepts a ring without recent packets")
	}
	if _, err := s.Live(ctx, time.Hour); err == nil {
		t.Error("Live accepts an hour")
	}
	s.Close()
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("%v is left behind, %v", left, err)
	}
	off := opened(t, ringOf(t, "http1.pcapng"), filepath.Join(t.TempDir(), "store"))
	if _, err := off.Live(ctx, time.Minute); err == nil || !strings.Contains(err.Error(), "--live-keep 0") {
		t.Errorf("without a live run: %v", err)
	}
}

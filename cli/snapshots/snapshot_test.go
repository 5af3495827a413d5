package snapshots_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/cli/clitest"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/ring"
	"github.com/pcapsule/pcapsule/recorder/ring/ringtest"
)

// headerOf returns the parsed section header of the only capture in a bundle.
func headerOf(t *testing.T, path string) ring.Header {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(path, "data/packets/import/*.pcapng"))
	if err != nil || len(files) != 1 {
		t.Fatalf("captures %q, %v; want one", files, err)
	}
	f, err := os.Open(files[0])
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var h ring.Header
	r, err := pcapng.NewReader(f, pcapng.Options{OnBlock: func(b pcapng.Block) {
		if b.Type == pcapng.BlockSection {
			if s, err := pcapng.ParseSection(b); err == nil && len(s.Comments) > 0 {
				h, _ = ring.ParseHeader(s.Comments[0])
			}
		}
	}})
	var b pcapng.Batch
	if err == nil {
		err = r.Next(&b)
	}
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestDerivedSnapshotNamesItsParents(t *testing.T) {
	sample, err := os.ReadFile("../../samples/http1.pcapng")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	in := filepath.Join(dir, "ring")
	ids, err := ringtest.Fill(in, sample, 1, 50)
	if err != nil || len(ids) < 2 {
		t.Fatalf("%d segments, %v; want several", len(ids), err)
	}
	out := filepath.Join(dir, "a.pcapsule")
	c, stderr := clitest.Program(t, "snapshot", in, "--last", "9999h", "http && status_code == 200", "-o", out)
	if err := c.Run(); err != nil {
		t.Fatalf("%v: %s", err, stderr)
	}
	h := headerOf(t, out)
	if h.Derived == nil || h.Series != ring.DerivedSeries || h.Derived.KFL != "http && status_code == 200" || len(h.Derived.Parents) != len(ids) {
		t.Fatalf("header %+v, want %d parents", h, len(ids))
	}
	list, err := ring.Segments(in)
	if err != nil {
		t.Fatal(err)
	}
	for i, x := range list {
		if p := h.Derived.Parents[i]; p.Segment != x.ID.Segment() || p.SHA256 != x.Seal.SHA256 {
			t.Errorf("parent %+v, want %s with %s", p, x.ID.Segment(), x.Seal.SHA256)
		}
	}
	if left := clitest.Names(t, dir); len(left) != 2 {
		t.Errorf("left behind: %q", left)
	}
}

// TestSnapshotOfARunningRecorder makes a snapshot while a recorder writes: the recorder seals
// and continues, and every earlier packet is in the snapshot.
func TestSnapshotOfARunningRecorder(t *testing.T) {
	dir := t.TempDir()
	in, out := filepath.Join(dir, "ring"), filepath.Join(dir, "a.pcapsule")
	w, err := ring.Create(ring.Options{Dir: in, Node: "n", Recorder: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close(t.Context())
	s, err := w.Series(ring.SeriesOptions{Name: "sockets", LinkType: 1})
	if err != nil {
		t.Fatal(err)
	}
	iface, err := s.Interface(pcapng.Interface{Name: "n/shop/web"})
	if err != nil {
		t.Fatal(err)
	}
	add := func(n int) {
		for range n {
			if err := s.Append(&ring.Packet{Interface: iface, Time: time.Now().UnixNano(), Data: make([]byte, 60), OrigLen: 60}); err != nil {
				t.Fatal(err)
			}
		}
	}
	add(100)
	c, stderr := clitest.Program(t, "snapshot", in, "--last", "10m", "-o", out)
	if err := c.Run(); err != nil {
		t.Fatalf("%v: %s", err, stderr)
	}
	var m struct {
		Accounts struct {
			Packets int `json:"packets"`
		} `json:"accounts"`
		Inputs []struct {
			Segment struct {
				Seal string `json:"seal"`
			} `json:"segment"`
		} `json:"inputs"`
	}
	text, err := os.ReadFile(filepath.Join(out, "data/bundle.json"))
	if err == nil {
		err = json.Unmarshal(text, &m)
	}
	if err != nil || m.Accounts.Packets != 100 || len(m.Inputs) != 1 || m.Inputs[0].Segment.Seal != "sealed" {
		t.Errorf("%+v, %v; want 100 packets of one sealed segment", m, err)
	}
	add(10)
	if err := w.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	rep, err := ring.Verify(in, ring.VerifyOptions{})
	if err != nil || !rep.OK() || rep.Segments != 2 {
		t.Errorf("%+v, %v; want a valid ring of 2 segments", rep, err)
	}
	if left := clitest.Names(t, dir); len(left) != 2 {
		t.Errorf("left behind: %q", left)
	}
}

// TestInterruptedSnapshotReleasesSegments interrupts a snapshot while segments are pinned.
func TestInterruptedSnapshotReleasesSegments(t *testing.T) {
	sample, err := os.ReadFile("../../samples/http1.pcapng")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	in := filepath.Join(dir, "ring")
	if _, err := ringtest.Fill(in, sample, 1+(32<<20)/len(sample), 0); err != nil {
		t.Fatal(err)
	}
	c, stderr := clitest.Program(t, "snapshot", in, "--last", "99999h", "http", "-o", filepath.Join(dir, "a.pcapsule"))
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	held := func() bool {
		for _, n := range clitest.Names(t, dir) {
			if strings.HasPrefix(n, ".a.pcapsule") {
				return true
			}
		}
		return false
	}
	for end := time.Now().Add(30 * time.Second); !held(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("no hidden folder was seen")
		}
	}
	if err := c.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if code := clitest.ExitCode(t, c.Wait()); code != exit.Interrupted {
		t.Errorf("exit code %d, want %d: %s", code, exit.Interrupted, stderr)
	}
	if left := clitest.Names(t, dir); len(left) != 1 {
		t.Errorf("left behind: %q", left)
	}
}

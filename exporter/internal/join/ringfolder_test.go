package join_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/exportertest"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/ring"
	"github.com/pcapsule/pcapsule/recorder/workload"
	"github.com/pcapsule/pcapsule/samples/frames"
)

const someEvents = `{"time":"2026-03-02T09:00:00.100000001Z","kind":"exec","process":"7@1","pid":7,"parent_pid":1,"name":"curl","exe":"/usr/bin/curl","args":["curl","http://web"],"uid":0,"user":"root","cgroup":"/kubepods/pod1","container":"abc","pod_uid":"u1"}
{"time":"2026-03-02T09:00:00.300000000Z","kind":"exit","process":"7@1","pid":7,"name":"curl","exit_code":22}
{"time":"2026-03-02T09:00:00.400000000Z","kind":"exit","pid":8,"name":"sleep","signal":9,"limited":4}
{"time":"2026-03-02T09:00:00.150000000Z","kind":"tcp_state","protocol":"tcp","local":"10.0.0.1:80","remote":"10.0.0.2:4000","socket":"81","before":"syn_recv","after":"established"}
{"time":"2026-03-02T09:00:00.160000000Z","kind":"packet_drop","protocol":"tcp","local":"10.0.0.1:80","reason":"NO_SOCKET","length":40}
{"time":"2026-03-02T09:00:00.500000000Z","kind":"k8s","type":"Warning","reason":"BackOff","message":"Back-off","object":{"kind":"Pod","namespace":"shop","name":"web-1","uid":"u1"},"count":3,"source":"kubelet","node":"node-a"}
{"time":"2026-03-02T09:00:00.500000000Z","kind":"k8s","type":"Warning","reason":"BackOff","message":"Back-off","object":{"kind":"Pod","namespace":"shop","name":"web-1","uid":"u1"},"count":3,"source":"kubelet","node":"node-a"}
nonsense
{"kind":"exec","pid":7}`

func TestEventsOfASegment(t *testing.T) {
	s := frames.NewSegment(t, ring.Header{}, workload.InterfaceComment{Cgroup: "/web", Identity: workload.Identity{Node: "node-a"}})
	s.Exchange(0, 0, clientEnd, serverEnd, "/x")
	path := s.Write(t.TempDir(), "sockets-node-a-000000001", map[string]string{"events": someEvents})
	m, got := exportertest.Proven(t, exporter.Options{}, []string{path},
		"select string_agg(concat_ws(' ', node, event, pid, process, exit_code, signal, left_out), '; ') from (select * from os_events order by ts_ns)",
		"select concat_ws(' ', parent_pid, exe, user_name, cgroup, container_id, pod_uid, detail) from os_events where event = 'exec'",
		"select concat_ws(' ', transport, local_ip, local_port, remote_ip, remote_port, state_before, state_after, detail) from os_events where event = 'tcp_state'",
		"select concat_ws(' ', reason, local_port, remote_ip, detail) from os_events where event = 'packet_drop'",
		"select string_agg(concat_ws(' ', type, reason, kind, namespace, name, count, source, node), '; ') from k8s_events")
	want := []string{
		"node-a exec 7 curl; node-a tcp_state; node-a packet_drop; node-a exit 7 curl 22; node-a exit 8 sleep 9 4",
		`1 /usr/bin/curl root /kubepods/pod1 abc u1 {"process":"7@1","args":["curl","http://web"],"uid":0}`,
		`tcp 10.0.0.1 80 10.0.0.2 4000 syn_recv established {"socket":"81"}`,
		`NO_SOCKET 80 {"length":40}`,
		"Warning BackOff Pod shop web-1 3 kubelet node-a",
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("question %d: %q, want %q", i, got[i], want[i])
		}
	}
	if c := m.Accounts.Counters["events"]; c["lines"] != 7 || c["malformed"] != 2 {
		t.Errorf("counters %v", c)
	}
}

// TestOnlySegmentsHaveSideFiles: a foreign capture is not joined with the files next to it, and
// a link is not followed.
func TestOnlySegmentsHaveSideFiles(t *testing.T) {
	dir := t.TempDir()
	s := frames.NewSegment(t, ring.Header{}, workload.InterfaceComment{Cgroup: "/web"})
	s.Exchange(0, 0, clientEnd, serverEnd, "/x")
	path := s.Write(dir, "mine", nil)
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte(someEvents), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(secret, filepath.Join(dir, "mine.events")); err != nil {
		t.Fatal(err)
	}
	m, got := exportertest.Proven(t, exporter.Options{}, []string{path}, "select count(*)::varchar from os_events")
	if got[0] != "0" || len(m.SideInputs) != 0 || !strings.Contains(strings.Join(m.Warnings, "\n"), "mine.events: not a regular file") {
		t.Errorf("%s events, %v, %q", got[0], m.SideInputs, m.Warnings)
	}
	other := filepath.Join(dir, "other.pcap")
	plain := frames.NewViews()
	plain.Exchange("10.0.0.2:4000", "10.0.0.1:80", "10.0.0.2:4000", "10.0.0.1:80", 1, 1)
	if err := os.WriteFile(other, plain.Buf.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "other.events"), []byte(someEvents), 0o644); err != nil {
		t.Fatal(err)
	}
	if m, _ := exportertest.Proven(t, exporter.Options{}, []string{other}); len(m.SideInputs) != 0 {
		t.Errorf("side inputs %v", m.SideInputs)
	}
}

// ringWith makes a ring of the given number of segments, each with an exchange and owners.
func ringWith(t *testing.T, dir string, segments int, o ring.Options) {
	t.Helper()
	o.Dir, o.Node, o.SyncEvery = dir, "node-a", -1
	w, err := ring.Create(o)
	if err != nil {
		t.Fatal(err)
	}
	dropped := uint64(0)
	series, err := w.Series(ring.SeriesOptions{Name: "sockets", LinkType: 276, Sides: []string{"owners.jsonl"},
		Header: func(h *ring.Header) {
			h.Own, h.Clocks = "own traffic is left out", []ring.Clock{{Real: ring.Time(frames.SegmentBegin), Synchronized: true, MaxError: 5000}}
		},
		Account: func(ring.Totals) ring.Account {
			dropped += 3
			return ring.Account{Counters: &ring.Counters{Seen: 10 + dropped, Filtered: 2, Delivered: 8, Dropped: dropped,
				Drops: []ring.Drop{{Reason: "ring buffer full", Packets: dropped}}}}
		}})
	if err != nil {
		t.Fatal(err)
	}
	face, err := series.Interface(pcapng.Interface{Name: "node-a/-/web",
		Comments: []string{workload.FormatInterfaceComment(workload.InterfaceComment{Ring: w.Ring(), Cgroup: "/web", Identity: workload.Identity{Node: "node-a"}})}})
	if err != nil {
		t.Fatal(err)
	}
	for i := range segments {
		s := frames.NewSegment(t, ring.Header{}, workload.InterfaceComment{Cgroup: "/web"})
		s.Exchange(0, int64(i)*1000, clientEnd, serverEnd, "/x")
		r, err := pcapng.NewReader(bytes.NewReader(s.Bytes()), pcapng.Options{})
		if err != nil {
			t.Fatal(err)
		}
		var b pcapng.Batch
		for r.Next(&b) == nil {
			for k := range b.Packets {
				p := &b.Packets[k]
				flags, _ := p.Flags()
				packet := ring.Packet{Interface: face, Time: p.Time, Data: p.Data, OrigLen: p.OrigLen, Flags: uint32(flags), Socket: pcapng.Socket{Cookie: uint64(1 + i)}}
				if flags.Direction() == pcapng.DirectionOutbound {
					packet.PID, packet.TID, packet.Socket.Kind = 11, 11, frames.ByWriter
				}
				if err := series.Append(&packet); err != nil {
					t.Fatal(err)
				}
			}
		}
		id := series.Current()
		sides := frames.Process(11, "worker", "")
		if err := os.WriteFile(filepath.Join(dir, id.Side("owners.jsonl")), []byte(sides), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := w.Seal(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	for began := time.Now(); o.MaxBytes > 0 && time.Since(began) < 20*time.Second; time.Sleep(20 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(dir, ring.ID{Series: "sockets", Node: "node-a", Sequence: 1}.Segment())); err != nil {
			break // retention has removed it
		}
	}
	if err := w.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
}

const aboutHoles = "select string_agg(concat_ws(' ', file_id, reason, packets), '; ' order by file_id, reason, packets) from coverage where kind = 'hole'"

func TestARingAsInput(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(t *testing.T, dir string)
		inputs int
		calls  string
		holes  string
		warns  string
	}{
		{"as it was recorded", func(*testing.T, string) {}, 3, "3 worker",
			"0 drop 3; 0 filter 2; 1 drop 3; 2 drop 3", ""},
		{"with a segment that is still written", func(t *testing.T, dir string) {
			writeFile(t, filepath.Join(dir, ".sockets-node-a-000000004.pcapng"), "half")
		}, 3, "3 worker", "0 drop 3; 0 filter 2; 1 drop 3; 2 drop 3", "not finished and was skipped"},
		{"without a segment that was sealed", func(t *testing.T, dir string) {
			remove(t, filepath.Join(dir, "sockets-node-a-000000002.pcapng"))
		}, 2, "2 worker", "-1 missing 7; 0 drop 3; 0 filter 2; 1 drop 3", "missing"},
		{"with a changed segment", func(t *testing.T, dir string) {
			path := filepath.Join(dir, "sockets-node-a-000000002.pcapng")
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			writeFile(t, path, strings.Replace(string(data), "GET /x", "GET /y", 1))
		}, 3, "3 worker", "0 drop 3; 0 filter 2; 1 drop 3; 2 drop 3", "its bytes differ from the sealed ones"},
		{"with a line of seals that is not one", func(t *testing.T, dir string) {
			path := filepath.Join(dir, "seals.jsonl")
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			writeFile(t, path, string(data)+"nonsense\n")
		}, 3, "3 worker", "0 drop 3; 0 filter 2; 1 drop 3; 2 drop 3", "cannot be read"},
		{"without a record it can read", func(t *testing.T, dir string) {
			writeFile(t, filepath.Join(dir, "seals.jsonl"), "nonsense\n")
		}, 3, "3 worker", "0 filter 0; 1 filter 0; 2 filter 0", "cannot be read"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "ring")
			ringWith(t, dir, 3, ring.Options{})
			tt.change(t, dir)
			m, got := exportertest.Proven(t, exporter.Options{}, []string{dir}, "select count(*) || ' ' || any_value(dst_process) from calls where protocol = 'http1'", aboutHoles,
				"select concat_ws(' ', node, synchronized, error_ns) from clocks limit 1", "select count(*)::varchar from anomalies where kind = 'seal_broken'")
			if len(m.Inputs) != tt.inputs || got[0] != tt.calls || got[1] != tt.holes || got[2] != "node-a true 5000" {
				t.Errorf("%d inputs, calls %q, holes %q, clock %q", len(m.Inputs), got[0], got[1], got[2])
			}
			if text := strings.Join(m.Warnings, "\n"); !strings.Contains(text, tt.warns) || tt.warns == "" && text != "" {
				t.Errorf("warnings %q, want %q", text, tt.warns)
			}
			broken := 0
			for _, in := range m.Inputs {
				if in.Segment == nil || in.Segment.Seal == "" && tt.name != "without a record it can read" {
					t.Errorf("segment %+v", in.Segment)
				} else if in.Segment.Seal == "broken" {
					broken++
				}
			}
			if (broken == 1) != (got[3] == "1") || (broken == 1) != strings.HasPrefix(tt.name, "with a changed") {
				t.Errorf("%d broken seals, %s anomalies", broken, got[3])
			}
		})
	}
}

func TestAPinnedRingAsInput(t *testing.T) {
	dir, pinned := filepath.Join(t.TempDir(), "ring"), filepath.Join(t.TempDir(), "pinned")
	ringWith(t, dir, 3, ring.Options{})
	if _, err := ring.Pin(context.Background(), dir, frames.SegmentBegin+1000e6, frames.SegmentBegin+1500e6, pinned, ring.PinOptions{}); err != nil {
		t.Fatal(err)
	}
	m, got := exportertest.Proven(t, exporter.Options{}, []string{pinned}, aboutHoles)
	if len(m.Inputs) != 1 || got[0] != "0 drop 3" || len(m.Warnings) > 0 {
		t.Errorf("%d inputs, holes %q, %q", len(m.Inputs), got[0], m.Warnings)
	}
}

// TestAPinWithoutOwnersSaysSo: side files of a pinned segment that were not final cause a
// warning and a counter, also in captures derived from it.
func TestAPinWithoutOwnersSaysSo(t *testing.T) {
	dir, pinned, derived := filepath.Join(t.TempDir(), "ring"), filepath.Join(t.TempDir(), "pinned"), filepath.Join(t.TempDir(), "derived")
	ringWith(t, dir, 1, ring.Options{})
	// The recorder is still writing the side files: their record does not exist yet.
	path := filepath.Join(dir, "seals.jsonl")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, _, _ := bytes.Cut(text, []byte(`"kind":"side_files"`))
	writeFile(t, path, string(before[:bytes.LastIndexByte(before, '\n')+1]))
	p, err := ring.Pin(context.Background(), dir, 0, 1<<62, pinned, ring.PinOptions{})
	if err != nil {
		t.Fatal(err)
	}
	about, err := ring.Derive(pinned, derived, p, ring.Derived{})
	if err != nil {
		t.Fatal(err)
	}
	h, _ := ring.ParseHeader(about)
	one := frames.NewSegment(t, h, workload.InterfaceComment{Cgroup: "/web"})
	one.Exchange(0, 0, clientEnd, serverEnd, "/x")
	writeFile(t, filepath.Join(derived, "derived.pcapng"), string(one.Bytes()))
	for _, from := range []string{pinned, derived} {
		m, _ := exportertest.Proven(t, exporter.Options{}, []string{from}, "select 1::varchar")
		if n := m.Accounts.Counters["ring"]["side_files_not_sealed"]; n != 1 {
			t.Errorf("%s: counter %d, want 1", filepath.Base(from), n)
		}
		if !slices.Contains(m.Warnings, "sockets-node-a-000000001.pcapng: its side files were not final; owners of packets and events may be missing") {
			t.Errorf("warnings %q", m.Warnings)
		}
	}
}

func TestRetentionIsACoverageGap(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ring")
	ringWith(t, dir, 10, ring.Options{MaxBytes: 15_000})
	m, got := exportertest.Proven(t, exporter.Options{}, []string{dir}, "select sum(packets)::bigint::varchar from coverage where reason = 'retention'",
		"select count(*)::varchar from coverage where reason = 'missing'")
	if gone := 10 - len(m.Inputs); gone == 0 || got[0] != fmt.Sprint(7*gone) || got[1] != "0" {
		t.Errorf("%d segments gone, %s packets, %s missing", gone, got[0], got[1])
	}
}

func TestKeysOfASegment(t *testing.T) {
	dir := t.TempDir()
	s := frames.NewSegment(t, ring.Header{}, workload.InterfaceComment{Cgroup: "/web"})
	s.Exchange(0, 0, clientEnd, serverEnd, "/x")
	const line = "CLIENT_RANDOM 0000000000000000000000000000000000000000000000000000000000000001 000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000001\n"
	path := s.Write(dir, "a", map[string]string{"keys": line})
	out := filepath.Join(t.TempDir(), "x.pcapsule")
	m, err := exporter.Run(context.Background(), []string{path}, out, exporter.Options{Release: "test", Repanic: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(m.SideInputs) != 1 || m.SideInputs[0].Kind != "keys" || m.SideInputs[0].Path != "" || m.Accounts.Counters["keys"]["secrets"] != 1 {
		t.Errorf("%+v, %v", m.SideInputs, m.Accounts.Counters)
	}
	b, err := bundle.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := exporter.Rederive(context.Background(), b, exporter.Options{Release: "test"}); !errors.Is(err, exporter.ErrNeedsKeys) {
		t.Errorf("made again without the keys: %v", err)
	}
	writeFile(t, filepath.Join(dir, "a.keys"), "these are no keys\n")
	if m, _ := exportertest.Proven(t, exporter.Options{}, []string{path}); len(m.SideInputs) != 0 || !strings.Contains(strings.Join(m.Warnings, "\n"), "a.keys: not used") {
		t.Errorf("%+v, %q", m.SideInputs, m.Warnings)
	}
	remove(t, filepath.Join(dir, "a.keys"))
	writeFile(t, filepath.Join(dir, "a.keys.age"), "age-encryption.org/v1\nx")
	if m, _ := exportertest.Proven(t, exporter.Options{}, []string{path}); !strings.Contains(strings.Join(m.Warnings, "\n"), "a.keys.age: not used: the file is encrypted with age") {
		t.Errorf("%q", m.Warnings)
	}
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

// TestHostileSideFiles makes a bundle with any content next to a segment and in its ring.
func TestHostileSideFiles(t *testing.T) {
	deep := strings.Repeat("[", 60_000)
	many := strings.Repeat(frames.Process(11, "worker", ""), 3000)
	for name, text := range map[string]string{
		"zeros": strings.Repeat("\x00", 200_000), "lines": strings.Repeat("\n", 200_000), "deep": deep, "deep in a field": `{"process":` + deep + "\n",
		"the same process again and again": many, "no end": strings.TrimSuffix(many, "\n"), "numbers": `{"process":1e400,"pid":1e400}` + "\n",
		"a name full of controls": frames.Process(11, `\u001b[31m\u202e\ud800`, ""),
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := frames.NewSegment(t, ring.Header{}, workload.InterfaceComment{Cgroup: "/web"})
			s.Sent = frames.Had(11, frames.ByWriter)
			s.Exchange(0, 0, clientEnd, serverEnd, "/x")
			s.Write(dir, "sockets-node-a-000000001", map[string]string{"owners.jsonl": text, "events": text, "keys": text})
			writeFile(t, filepath.Join(dir, "seals.jsonl"), text)
			writeFile(t, filepath.Join(dir, "pin.json"), text)
			_, got := exportertest.Proven(t, exporter.Options{}, []string{dir}, "select count(*)::varchar from calls where protocol = 'http1'",
				"select count(*)::varchar from endpoints where regexp_matches(coalesce(process, ''), '[\\x00-\\x1f\\x{202e}]')")
			if got[0] != "1" || got[1] != "0" {
				t.Errorf("%s calls, %s bad names", got[0], got[1])
			}
		})
	}
}

package exporter

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/bundle/bundletest"
	"github.com/pcapsule/pcapsule/exporter/derive"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/ring"
	"github.com/pcapsule/pcapsule/recorder/workload"
	"github.com/pcapsule/pcapsule/samples/frames"
)

// deriver makes derived bundles with this package.
type deriver struct{ Options }

func (d deriver) Derive(ctx context.Context, b *bundle.Bundle, output string, a derive.Additions, accept func(*derive.Draft) error) (*bundle.Manifest, error) {
	o := d.Options
	o.Kube, o.Hosts, o.Keys, o.EmbedKeys, o.MoveInputs = a.Kube, a.Hosts, a.Keys, a.EmbedKeys, a.MoveInputs
	return Derive(ctx, b, output, o, func(x *Draft) error {
		return accept(&derive.Draft{Manifest: x.Manifest, Sources: x.Sources, Files: x.Files(), Path: x.Path, Add: x.Add})
	})
}

func (d deriver) Trace(context.Context, *bundle.Bundle, func(int32, int64) bool, func(derive.Traced) error) error {
	return errors.New("a cut traces nothing")
}

// spacesSegment is a segment of a node with pods of several namespaces, with its side files: each talks to the outside,
// and shop talks to payments.
func spacesSegment(t *testing.T) (s *frames.Segment, sides map[string]string) {
	t.Helper()
	pod := func(namespace, name, uid, ip string) workload.InterfaceComment {
		return workload.InterfaceComment{Cgroup: "/kubepods/pod" + uid, How: "cgroup", Addresses: []netip.Addr{netip.MustParseAddr(ip)},
			Identity: workload.Identity{Node: "node-a", Namespace: namespace, Pod: name, PodUID: uid, Container: "c-" + name}}
	}
	s = frames.NewSegment(t, ring.Header{}, pod("shop", "web-1", "u1", "10.1.0.1"), pod("payments", "vault-1", "u2", "10.1.0.2"),
		workload.InterfaceComment{Cgroup: "/system.slice", How: "cgroup", Identity: workload.Identity{Node: "node-a"}})
	s.Taken, s.Sent = frames.Had(10, frames.ByWriter), frames.Had(10, frames.ByWriter)
	s.Exchange(0, 0, "192.0.2.1:40001", "10.1.0.1:80", "/of-shop")
	s.Exchange(0, 100, "10.1.9.9:40002", "10.1.0.1:80", "/of-catalog-and-shop") // named by an address line only
	s.Answered(0, 150, "192.0.2.1:40006", "10.1.0.1:80", "/of-shop-by-payments", frames.Had(11, frames.ByWriter))
	s.Taken, s.Sent = frames.Had(11, frames.ByWriter), frames.Had(11, frames.ByWriter)
	s.Exchange(1, 200, "192.0.2.1:40003", "10.1.0.2:80", "/of-payments")
	s.Exchange(1, 300, "10.1.0.1:40004", "10.1.0.2:80", "/of-shop-and-payments")
	s.Taken, s.Sent = frames.Had(12, frames.ByWriter), frames.Had(12, frames.ByWriter)
	s.Exchange(2, 400, "192.0.2.1:40005", "10.0.0.9:80", "/of-the-node")
	return s, map[string]string{
		"owners.jsonl": frames.Process(10, "webserver", `,"cgroup":"/kubepods/podu1","pod_uid":"u1"`) + frames.Process(11, "vaultserver", `,"cgroup":"/kubepods/podu2","pod_uid":"u2"`) + frames.Process(12, "kubelet", `,"cgroup":"/system.slice"`) +
			`{"address":"10.1.9.9","workload":{"ring":"3f9c2ab1","namespace":"catalog","pod":"list-1","pod_uid":"u3","how":"address","kind":"pod","name":"list-1"}}` + "\n",
		"events.jsonl": `{"ts":"` + frames.Stamp(5) + `","kind":"exec","pid":11,"name":"vaultserver"}` + "\n"}
}

// spacesRing is a ring with a segment.
func spacesRing(t *testing.T, s *frames.Segment, sides map[string]string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	w, err := ring.Create(ring.Options{Dir: dir, Node: "node-a", SyncEvery: -1})
	if err != nil {
		t.Fatal(err)
	}
	series, err := w.Series(ring.SeriesOptions{Name: "sockets", LinkType: 276, Sides: slices.Sorted(maps.Keys(sides))})
	if err != nil {
		t.Fatal(err)
	}
	r, err := pcapng.NewReader(bytes.NewReader(s.Bytes()), pcapng.Options{})
	if err != nil {
		t.Fatal(err)
	}
	faces := map[int32]ring.InterfaceID{}
	for b := (pcapng.Batch{}); r.Next(&b) == nil; {
		for i := range b.Packets {
			p := &b.Packets[i]
			if _, ok := faces[p.Interface]; !ok {
				x := r.Interfaces()[p.Interface]
				c, _ := workload.ParseInterfaceComment(x.Comments[0])
				c.Ring = w.Ring()
				if faces[p.Interface], err = series.Interface(pcapng.Interface{Name: x.Name, Comments: []string{workload.FormatInterfaceComment(c)}}); err != nil {
					t.Fatal(err)
				}
			}
			flags, _ := p.Flags()
			socket, _ := p.Socket()
			socket.PID, socket.TID = 0, 0
			pid, tid, _ := p.ProcessThread()
			if err := series.Append(&ring.Packet{Interface: faces[p.Interface], Time: p.Time, Data: p.Data, OrigLen: p.OrigLen, Flags: uint32(flags), PID: pid, TID: tid, Socket: socket}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for kind, text := range sides {
		side := filepath.Join(dir, series.Current().Side(kind))
		if err := os.WriteFile(side, []byte(strings.ReplaceAll(text, "3f9c2ab1", w.Ring())), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Seal(t.Context()), w.Close(t.Context())); err != nil {
		t.Fatal(err)
	}
	return dir
}

func twoSpaces(t *testing.T) *bundle.Bundle {
	t.Helper()
	s, sides := spacesSegment(t)
	path := s.Write(t.TempDir(), "sockets-node-a-000000001", sides)
	out := filepath.Join(t.TempDir(), "all.pcapsule")
	if _, err := Run(t.Context(), []string{path}, out, Options{Release: "test", Repanic: true}); err != nil {
		t.Fatal(err)
	}
	b, err := bundle.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var spacesWords = []string{"/of-shop ", "/of-catalog-and-shop ", "/of-payments ", "/of-shop-by-payments ", "/of-shop-and-payments ", "/of-the-node ",
	"web-1", "vault-1", "list-1", "webserver", "vaultserver", "kubelet", "payments", "catalog", "podu2"}

// spacesSeen is what people may see of spacesSegment.
var spacesSeen = []struct {
	name   string
	spaces []string
	has    []string
	calls  int64
}{
	{"one namespace", []string{"shop"}, []string{"/of-shop ", "web-1", "webserver"}, 1},
	{"another", []string{"payments"}, []string{"/of-payments ", "vault-1", "vaultserver", "payments", "podu2"}, 1},
	{"both sides of a call", []string{"payments", "shop"}, []string{"/of-shop ", "/of-payments ", "/of-shop-by-payments ", "/of-shop-and-payments ", "web-1", "vault-1", "webserver", "vaultserver", "payments", "podu2"}, 4},
	{"one that only an address line names", []string{"catalog", "shop"}, []string{"/of-shop ", "/of-catalog-and-shop ", "web-1", "list-1", "webserver", "catalog"}, 2},
	{"one without connections of its own", []string{"catalog"}, nil, 0},
	{"one that is not there", []string{"sho"}, nil, 0},
	{"none", []string{}, nil, 0},
}

// TestNamespacesOfACut cuts a bundle to namespaces, and searches every file of the result for what it must
// have and for what it must not.
func TestNamespacesOfACut(t *testing.T) {
	b := twoSpaces(t)
	if got, err := derive.Namespaces(t.Context(), b); err != nil || !slices.Equal(got, []string{"catalog", "payments", "shop"}) {
		t.Fatalf("namespaces %q, %v", got, err)
	}
	for _, tt := range spacesSeen {
		t.Run(tt.name, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "cut.pcapsule")
			_, err := derive.Cut(t.Context(), b, out, derive.Choice{Said: bundle.DerivedCut{Namespaces: tt.spaces}}, derive.Options{Exporter: deriver{Options{Release: "test", Repanic: true}}})
			if tt.calls == 0 {
				if !errors.Is(err, derive.ErrNothing) {
					t.Fatalf("%v, want %v", err, derive.ErrNothing)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			d, err := bundle.Open(out)
			if err != nil {
				t.Fatal(err)
			}
			if r, err := Rederive(t.Context(), d, Options{Release: "test"}); err != nil || !r.OK() {
				t.Errorf("it does not rederive: %v, %+v", err, r)
			}
			m := d.Manifest
			if m.Calls["http1"] != tt.calls || m.Accounts.Packets != 7*tt.calls || m.Derived.From.Packets+m.Derived.Packets.Removed != 0 || m.Derived.From.TagManifest != nil {
				t.Errorf("calls %v, %d packets, derived %+v", m.Calls, m.Accounts.Packets, m.Derived)
			}
			all := contents(t, out)
			for _, w := range spacesWords {
				if got, want := bytes.Contains(all, []byte(w)), slices.Contains(tt.has, w); got != want {
					t.Errorf("%q is in the bundle: %v, want %v", w, got, want)
				}
			}
		})
	}
}

// contents are the files of a bundle, and the rows of its tables that name somebody.
func contents(t *testing.T, dir string) (all []byte) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		all = append(all, text...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range bundletest.Ask(t, dir, "select coalesce(string_agg(to_json(e)::text, ' ' order by endpoint_id), '') from endpoints e",
		"select coalesce(string_agg(to_json(c)::text, ' ' order by call_no), '') from calls c", "select coalesce(string_agg(to_json(w)::text, ' '), '') from workloads w",
		"select coalesce(string_agg(to_json(e)::text, ' '), '') from os_events e", "select coalesce(string_agg(to_json(c)::text, ' '), '') from coverage c") {
		all = append(all, row...)
	}
	return all
}

// limited is the limit to namespaces, nil for none, when nobody knows more than the tables.
func limited(list []string) *bundle.Within {
	if list == nil {
		return nil
	}
	return &bundle.Within{Namespaces: list}
}

// TestNamespacesOfALiveView searches every row of a live view, and its manifest, for the same.
func TestNamespacesOfALiveView(t *testing.T) {
	s, sides := spacesSegment(t)
	dir := spacesRing(t, s, sides)
	for _, every := range []int64{0, 5} { // packets between cuts
		l := follows(t, dir, every)
		for _, tt := range spacesSeen {
			t.Run(fmt.Sprint(tt.name, " ", every), func(t *testing.T) {
				for _, finished := range []bool{false, true} {
					v, err := l.View(t.Context(), 0, limited(tt.spaces))
					if finished {
						v, err = l.Since(t.Context(), 0, limited(tt.spaces))
					}
					if err != nil {
						t.Fatal(err)
					}
					m := v.Bundle.Manifest
					all, packets := []byte(fmt.Sprintf("%+v", m)), int64(0)
					for name, list := range rowsOf(t, v.Bundle) {
						all = append(all, strings.Join(list, "\n")...)
						if name == "packets/packets" {
							packets += int64(len(list))
						}
					}
					if m.Calls["http1"] != tt.calls || m.Accounts.Packets != packets || !finished && packets != 7*tt.calls {
						t.Errorf("finished %v: calls %v, %d packets, %d rows of packets; want %d calls", finished, m.Calls, m.Accounts.Packets, packets, tt.calls)
					}
					for _, w := range spacesWords {
						if got, want := bytes.Contains(all, []byte(w)), slices.Contains(tt.has, w); got != want && !finished || got && !want {
							t.Errorf("finished %v: %q is in the view: %v, want %v", finished, w, got, want)
						}
					}
				}
			})
		}
	}
}

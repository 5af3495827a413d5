package exporter

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/derive"
	"github.com/pcapsule/pcapsule/internal/nightly"
	"github.com/pcapsule/pcapsule/recorder/ring"
	"github.com/pcapsule/pcapsule/recorder/workload"
	"github.com/pcapsule/pcapsule/samples/frames"
)

// party is somebody with an address in a generated cluster.
type party struct {
	namespace, name string // of a pod or the service of one; empty: a node, or outside
	addr            netip.Addr
	node            int // on which it runs; -1: none
}

// meeting is a connection: who took part, and the path of its request, which nobody else may see.
type meeting struct {
	client, server *party
	path           string
	seen           []int // nodes that recorded it
}

// cluster is a generated cluster: pods of several namespaces on several nodes, some with the addresses of pods that have
// ended, services, programs of nodes, and addresses outside, some of them private.
type cluster struct {
	r       *rand.Rand
	spaces  []string
	nodes   [][]*party // pods
	others  []*party   // nodes and outside
	meets   []meeting
	dark    int // node without a recorder; -1: none
	peers   int // which ends on other machines the recorders know: 0 none, 1 those behind services, 2 all
	bundles []*bundle.Bundle
}

var ranges = []string{"10.1.%d.%d", "100.64.%d.%d", "198.18.%d.%d", "203.0.%d.%d"}

func newCluster(t *testing.T, r *rand.Rand) *cluster {
	c := &cluster{r: r, peers: r.IntN(3), spaces: []string{"shop", "payments", "catalog", "kube-system"}[:2+r.IntN(3)]}
	pods := ranges[r.IntN(len(ranges))]
	for _, a := range []string{"192.0.2.77", "10.200.0.5", "172.31.9.9", "169.254.169.254"} {
		c.others = append(c.others, &party{addr: netip.MustParseAddr(a), node: -1})
	}
	for n := range 2 + r.IntN(2) {
		var here []*party
		for k := range 1 + r.IntN(3) {
			namespace := c.spaces[r.IntN(len(c.spaces))]
			here = append(here, &party{namespace: namespace, name: fmt.Sprintf("%s-%d-%d", namespace, n, k), addr: netip.MustParseAddr(fmt.Sprintf(pods, n+1, k+1)), node: n})
		}
		c.nodes = append(c.nodes, here)
	}
	c.dark = r.IntN(2*len(c.nodes)) - len(c.nodes)
	for i := range 4 + r.IntN(6) {
		c.meet(i)
	}
	for n := range c.nodes {
		if n == c.dark {
			continue
		}
		c.bundles = append(c.bundles, c.record(t, n))
	}
	return c
}

func (c *cluster) pod() *party {
	here := c.nodes[c.r.IntN(len(c.nodes))]
	return here[c.r.IntN(len(here))]
}

// meet adds a connection between two pods, or of a pod with the outside.
func (c *cluster) meet(i int) {
	m := meeting{client: c.pod(), server: c.pod()}
	switch c.r.IntN(4) {
	case 0:
		m.client = c.others[c.r.IntN(len(c.others))]
	case 1:
		m.server = c.others[c.r.IntN(len(c.others))]
	}
	if m.client == m.server {
		return
	}
	m.path = fmt.Sprintf("/between-%d-%s-%s", i, m.client.namespace, m.server.namespace)
	for _, p := range []*party{m.client, m.server} {
		if p.node >= 0 && p.node != c.dark && !slices.Contains(m.seen, p.node) {
			m.seen = append(m.seen, p.node)
		}
	}
	c.meets = append(c.meets, m)
}

// isServed reports whether a pod is behind a service, whose pods the recorders of other nodes know.
func (p *party) isServed() bool { return len(p.name)%2 == 0 }

// record makes the bundle of a node: its own pods have interfaces, others a line in the owners file if the recorder knows
// them.
func (c *cluster) record(t *testing.T, node int) *bundle.Bundle {
	t.Helper()
	var faces []workload.InterfaceComment
	for i, p := range c.nodes[node] {
		faces = append(faces, workload.InterfaceComment{Cgroup: fmt.Sprintf("/kubepods/pod%d", i), How: "cgroup", Addresses: []netip.Addr{p.addr},
			Identity: workload.Identity{Node: fmt.Sprint("n", node), Namespace: p.namespace, Pod: p.name, PodUID: "uid-" + p.name}})
	}
	s := frames.NewSegment(t, ring.Header{}, faces...)
	var owners strings.Builder
	for i, m := range c.meets {
		if !slices.Contains(m.seen, node) {
			continue
		}
		client, server := netip.AddrPortFrom(m.client.addr, uint16(40000+i)).String(), netip.AddrPortFrom(m.server.addr, 80).String()
		if face := slices.Index(c.nodes[node], m.server); face >= 0 {
			s.Exchange(int32(face), int64(i)*100, client, server, m.path)
		} else {
			asked(s, int32(slices.Index(c.nodes[node], m.client)), int64(i)*100, client, server, m.path)
		}
		for _, p := range []*party{m.client, m.server} {
			if p.node != node && p.node >= 0 && (c.peers == 2 || c.peers == 1 && p.isServed()) {
				text, err := json.Marshal(map[string]any{"address": p.addr, "workload": map[string]any{"ring": "3f9c2ab1", "namespace": p.namespace, "pod": p.name, "pod_uid": "uid-" + p.name, "how": "address", "kind": "pod", "name": p.name}})
				if err != nil {
					t.Fatal(err)
				}
				owners.Write(append(text, '\n'))
			}
		}
	}
	path := s.Write(t.TempDir(), "sockets-node-a-000000001", map[string]string{"owners.jsonl": owners.String()})
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

// asked writes an exchange as the client's machine sees it.
func asked(s *frames.Segment, face int32, ms int64, client, server, path string) {
	ask, answer := "GET "+path+" HTTP/1.1\r\nHost: svc\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	n, m := uint32(len(ask)), uint32(len(answer))
	s.TCP(face, ms, true, client, server, 100, 0, 2, "")
	s.TCP(face, ms+1, false, server, client, 500, 101, 0x12, "")
	s.TCP(face, ms+2, true, client, server, 101, 501, 0x18, ask)
	s.TCP(face, ms+3, false, server, client, 501, 101+n, 0x18, answer)
	s.TCP(face, ms+4, true, client, server, 101+n, 501+m, 0x11, "")
	s.TCP(face, ms+5, false, server, client, 501+m, 102+n, 0x11, "")
}

// owners are what the bundles name, with the pods of the API if it is known.
func (c *cluster) owners(t *testing.T, api bool) *bundle.Owners {
	t.Helper()
	o := &bundle.Owners{}
	if api {
		o.Until = frames.SegmentBegin + 3600e9
		for _, here := range c.nodes {
			for _, p := range here {
				o.Add(p.addr, p.namespace)
			}
		}
	}
	for _, b := range c.bundles {
		if err := derive.AddOwners(t.Context(), o, b); err != nil {
			t.Fatal(err)
		}
	}
	return o
}

// may reports whether somebody with rights in some namespaces may see a connection.
func (m *meeting) may(spaces []string) bool {
	in := false
	for _, p := range []*party{m.client, m.server} {
		if p.namespace != "" && !slices.Contains(spaces, p.namespace) {
			return false
		}
		in = in || p.namespace != ""
	}
	return in
}

// isPlain reports whether a recorder names a party, or its address alone says that it is no pod.
func (c *cluster) isPlain(p *party) bool {
	return p.namespace != "" && p.node != c.dark || p.namespace == "" && !p.addr.IsPrivate()
}

// TestTenants: what people with rights in some namespaces get of generated clusters has nothing of other namespaces and,
// if the pods of the cluster are known, everything of theirs, although the recorders of nodes know few pods of others.
func TestTenants(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 62))
	shown, kept, cuts := 0, 0, 0
	for cuts < nightly.Of(200, 20_000) {
		c := newCluster(t, r)
		for range 3 {
			spaces := slices.Clone(c.spaces)
			r.Shuffle(len(spaces), func(i, k int) { spaces[i], spaces[k] = spaces[k], spaces[i] })
			spaces = spaces[:1+r.IntN(len(spaces)-1)]
			slices.Sort(spaces)
			api := r.IntN(2) == 0
			owners := c.owners(t, api)
			var got [][]byte
			for _, b := range c.bundles {
				got = append(got, c.cut(t, b, spaces, owners))
				cuts++
			}
			for i := range c.meets {
				m := &c.meets[i]
				has := slices.ContainsFunc(got, func(text []byte) bool { return bytes.Contains(text, []byte(m.path+" ")) })
				switch may := m.may(spaces); {
				case has && !may:
					t.Errorf("people of %q see %s from %s to %s (peers %d, API %v)", spaces, m.path, m.client.addr, m.server.addr, c.peers, api)
				case !has && may && len(m.seen) > 0 && (api || c.isPlain(m.client) && c.isPlain(m.server)):
					t.Errorf("people of %q do not see %s from %s to %s (peers %d, API %v)", spaces, m.path, m.client.addr, m.server.addr, c.peers, api)
				case has:
					shown++
				default:
					kept++
				}
			}
			for _, here := range c.nodes {
				for _, p := range here {
					if !slices.Contains(spaces, p.namespace) && slices.ContainsFunc(got, func(text []byte) bool { return bytes.Contains(text, []byte(p.name)) }) {
						t.Errorf("people of %q see the name %s", spaces, p.name)
					}
				}
			}
			if t.Failed() {
				return
			}
		}
	}
	if shown < cuts/10 || kept < cuts/10 {
		t.Errorf("%d connections were shown and %d not, in %d cuts: the clusters say little", shown, kept, cuts)
	}
	t.Logf("%d cuts, %d connections shown, %d not", cuts, shown, kept)
}

// cut is every byte of a person's part of a bundle; nil if there is none.
func (c *cluster) cut(t *testing.T, b *bundle.Bundle, spaces []string, o *bundle.Owners) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "cut.pcapsule")
	_, err := derive.Cut(t.Context(), b, out, derive.Choice{Said: bundle.DerivedCut{Namespaces: spaces}, Owners: o}, derive.Options{Exporter: deriver{Options{Release: "test", Repanic: true}}})
	if errors.Is(err, derive.ErrNothing) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	var all []byte
	err = filepath.WalkDir(out, func(path string, e fs.DirEntry, err error) error {
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
	return all
}

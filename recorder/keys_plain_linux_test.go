package recorder

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/recorder/keys"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/policy"
	"github.com/pcapsule/pcapsule/recorder/ring"
	"github.com/pcapsule/pcapsule/recorder/workload"
)

// pieces is a plainOut that keeps what is written.
type pieces struct {
	interfaces []pcapng.Interface
	said       []string
}

func (p *pieces) Interface(i pcapng.Interface) (ring.InterfaceID, error) {
	p.interfaces = append(p.interfaces, i)
	return ring.InterfaceID(len(p.interfaces) - 1), nil
}

func (p *pieces) Append(x *ring.Packet) error {
	known := "?"
	if bytes.Contains(x.Prefix, []byte{0, 21, 0, 4}) { // a tag with a destination
		known = "!"
	}
	p.said = append(p.said, known+string(x.Data))
	return nil
}

func newPieces(rules *keyPolicy) (*plaintext, *pieces) {
	out := &pieces{}
	p := &plaintext{onError: func(error) {}, out: out, flush: func() {}, close: func() error { return nil }, rules: rules, speakers: map[speaker]ring.InterfaceID{}, talks: map[uint64]string{},
		waiting: map[uint64][]keys.Plain{}, settled: map[uint64]bool{}}
	p.tracker.Store(&keys.Tracker{})
	return p, out
}

func TestPlaintextWaitsForTheEndsOfItsConnection(t *testing.T) {
	ends := netip.MustParseAddrPort("10.0.0.1:443")
	piece := func(connection uint64, known keys.Ends, text string) keys.Plain {
		x := keys.Plain{Connection: connection, PID: 7, Executable: "/bin/x", Call: uint64(len(text)), Data: []byte(text), Ends: known}
		if known != keys.NoEnds {
			x.Local, x.Remote = ends, ends
		}
		return x
	}
	late := keys.Plain{}
	for _, tt := range []struct {
		name string
		in   []keys.Plain // an empty one advances the time
		out  string
	}{
		{"pieces with known ends are written at once", []keys.Plain{piece(1, keys.CallSocket, "a")}, "!a"},
		{"a later piece reveals the ends of earlier ones", []keys.Plain{piece(1, keys.NoEnds, "a"), piece(1, keys.NoEnds, "b"), piece(1, keys.LastSocket, "c")}, "!a !b !c"},
		{"another connection does not wait", []keys.Plain{piece(1, keys.NoEnds, "a"), piece(2, keys.CallSocket, "b"), piece(1, keys.CallSocket, "c")}, "!b !a !c"},
		{"pieces whose ends stay unknown are written without them", []keys.Plain{piece(1, keys.NoEnds, "a"), late, piece(1, keys.NoEnds, "b")}, "?a ?b"},
		{"nothing is lost at the end", []keys.Plain{piece(2, keys.NoEnds, "a"), piece(1, keys.NoEnds, "b")}, "?b ?a"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, out := newPieces(nil)
			for i := range tt.in {
				if tt.in[i].Connection == 0 {
					p.waitsFrom = time.Now().Add(-2 * plainPatience)
					p.tick()
					continue
				}
				x := tt.in[i]
				x.Data = bytes.Clone(x.Data)
				if err := p.Plain(&x); err != nil {
					t.Fatal(err)
				}
				clear(x.Data) // Plain must not keep it
			}
			p.releaseAll()
			if got := strings.Join(out.said, " "); got != tt.out || p.waits != 0 {
				t.Errorf("%q, want %q; %d bytes wait", got, tt.out, p.waits)
			}
			if len(out.interfaces) != 1 || !strings.Contains(strings.Join(out.interfaces[0].Comments, ""), `"executable":"/bin/x"`) {
				t.Errorf("interfaces %+v", out.interfaces)
			}
		})
	}
}

func TestForbiddenPlaintextIsNotWritten(t *testing.T) {
	never := func(r policy.Rule) *Options {
		return &Options{Policy: &policy.Policy{Never: []policy.Rule{r}}, Keys: &Keys{Plaintext: keys.Selector{PIDs: []uint32{1}}}}
	}
	if _, err := newKeyPolicy(never(policy.Rule{Ports: []policy.Ports{{From: 443, To: 443}}})); err == nil {
		t.Error("a rule about ports is accepted, which cannot be applied to plaintext")
	}
	d, err := newKeyPolicy(never(policy.Rule{Owner: workload.Selector{Processes: []string{"vault"}}}))
	if err != nil {
		t.Fatal(err)
	}
	p, out := newPieces(d)
	at := netip.MustParseAddrPort("10.0.0.1:443")
	for _, x := range []keys.Plain{{PID: 1, Executable: "/bin/vault", Data: []byte("secret"), Ends: keys.CallSocket, Local: at, Remote: at}, {PID: 2, Executable: "/bin/web", Data: []byte("open"), Ends: keys.CallSocket, Local: at, Remote: at},
		{PID: 2, Executable: "/bin/web", Data: []byte("unknown peer"), Connection: 9}} {
		if err := p.Plain(&x); err != nil {
			t.Fatal(err)
		}
	}
	p.releaseAll()
	if got := strings.Join(out.said, " "); got != "!open" || p.forbidden.Load() != 2 {
		t.Errorf("%q, %d forbidden, want 2", got, p.forbidden.Load())
	}
	if !d.forbids(1, "/bin/vault", "/x") || d.forbids(2, "/bin/web", "/x") {
		t.Error("keys of a forbidden process are read, or keys of others are not")
	}
}

func TestPlainTags(t *testing.T) {
	v4, v6 := netip.MustParseAddrPort("10.0.0.1:50000"), netip.MustParseAddrPort("[2001:db8::1]:443")
	for _, tt := range []struct {
		name string
		x    keys.Plain
		tags string
	}{
		{"IPv4 addresses", keys.Plain{Ends: keys.CallSocket, Local: v4, Remote: v4}, "12:4 20:4 21:4 24:4 25:4 26:4 0:0"},
		{"IPv6 addresses", keys.Plain{Ends: keys.CallSocket, Local: v6, Remote: v6}, "12:4 22:16 23:16 24:4 25:4 26:4 0:0"},
		{"an IPv4 and an IPv6 address", keys.Plain{Ends: keys.LastSocket, Local: v4, Remote: v6}, "12:4 22:16 23:16 24:4 25:4 26:4 0:0"},
		{"unknown addresses", keys.Plain{}, "12:4 0:0"},
	} {
		var got []string
		for b := plainTags(nil, "data", &tt.x); len(b) >= 4; {
			n := int(binary.BigEndian.Uint16(b[2:]))
			got = append(got, fmt.Sprintf("%d:%d", binary.BigEndian.Uint16(b), n))
			b = b[4+n:]
		}
		if strings.Join(got, " ") != tt.tags {
			t.Errorf("%s: %v, want %s", tt.name, got, tt.tags)
		}
	}
	for text, want := range map[string]string{"GET / HTTP/1.1\r\n": "http", "HTTP/1.1 200 OK\r\n": "http", "PRI * HTTP/2.0\r\n\r\nSM": "http2", "GETS": "data", "": "data"} {
		if got := dissectorOf([]byte(text)); got != want {
			t.Errorf("%q is %s, want %s", text, got, want)
		}
	}
}

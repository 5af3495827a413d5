package plaintext

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
	"github.com/pcapsule/pcapsule/recorder/ring"
)

// pieces is an Out that keeps what is written.
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

func newPieces(hides func(*keys.Plain) bool) (*Writer, *pieces) {
	out := &pieces{}
	return New(Options{Out: out, Flush: func() {}, OnError: func(error) {}, Hides: hides, EndsKnown: func() bool { return true }}), out
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
			p, out := newPieces(func(*keys.Plain) bool { return false })
			for i := range tt.in {
				if tt.in[i].Connection == 0 {
					p.waitsFrom = time.Now().Add(-2 * patience)
					p.Tick()
					continue
				}
				x := tt.in[i]
				x.Data = bytes.Clone(x.Data)
				if err := p.Plain(&x); err != nil {
					t.Fatal(err)
				}
				clear(x.Data) // Plain must not keep it
			}
			p.End()
			if got := strings.Join(out.said, " "); got != tt.out || p.waits != 0 {
				t.Errorf("%q, want %q; %d bytes wait", got, tt.out, p.waits)
			}
			if len(out.interfaces) != 1 || !strings.Contains(strings.Join(out.interfaces[0].Comments, ""), `"executable":"/bin/x"`) {
				t.Errorf("interfaces %+v", out.interfaces)
			}
		})
	}
}

func TestTags(t *testing.T) {
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
		for b := tags(nil, "data", &tt.x); len(b) >= 4; {
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

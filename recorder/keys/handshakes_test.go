package keys

import (
	"crypto/tls"
	"fmt"
	"strings"
	"testing"
)

// TestEachHandshakeIsKeyedOrReturned plays captured handshakes, their keys and their ends in
// different orders.
func TestEachHandshakeIsKeyedOrReturned(t *testing.T) {
	k := realTalk(t, tls.VersionTLS13, 0)
	const client, server, end = "client", "server", "end"
	for _, tt := range []struct {
		name  string
		steps string
		keyed uint64
		left  string // of Keyless up to each time, and finally always
	}{
		{"a key after the handshake", "client server key end", 1, ""},
		{"a key before its handshake", "key client server end", 1, ""},
		{"a key after the end", "client server end key", 1, ""},
		{"no key", "client server end", 0, "ended 7,8 answered"},
		{"a server that does not answer", "client end", 0, "ended 7,0"},
		{"a connection that is still open", "client server", 0, "open 7,8 answered"},
		{"sent and received on this machine", "client client server server end end", 0, "ended 7,8 answered"},
		{"no ClientHello", "server end", 0, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := NewConversations()
			for _, step := range strings.Fields(tt.steps) {
				switch step {
				case client:
					c.Packet(packetOf(false, true, 4000, 100, 200, k.client), 10, 7)
				case server:
					c.Packet(packetOf(false, false, 4000, 200, 100, k.server), 20, 8)
				case end:
					p := packetOf(false, true, 4000, 100+uint32(len(k.client)), 200, nil)
					p[20+13] = 1 // FIN
					c.Packet(p[:40], 30, 7)
				case "key":
					c.Keyed([32]byte(k.random))
				}
			}
			if early := c.Keyless(30); len(early) > 0 {
				t.Errorf("returned before the end: %+v", early)
			}
			got := ""
			for _, list := range [][]Handshake{c.Keyless(31), c.Keyless(always)} {
				for _, h := range list {
					state := map[bool]string{true: "open", false: "ended"}[h.Ended == 0]
					got += fmt.Sprintf("%s %d,%d%s", state, h.PIDs[0], h.PIDs[1], map[bool]string{true: " answered"}[h.Answered])
					if h.Time != 10 || h.ClientRandom != [32]byte(k.random) {
						t.Errorf("%+v", h)
					}
				}
			}
			if keyed, _ := c.Handshakes(); keyed != tt.keyed || got != tt.left {
				t.Errorf("%d keyed, want %d; left %q, want %q", keyed, tt.keyed, got, tt.left)
			}
		})
	}
}

// TestTooManyHandshakesAreCounted opens more connections without a key than are followed.
func TestTooManyHandshakesAreCounted(t *testing.T) {
	a := newHandshakes()
	for i := range maxHandshakes + 5 {
		a.add(&Handshake{ClientRandom: [32]byte{byte(i), byte(i >> 8), byte(i >> 16)}})
	}
	if len(a.open) != maxHandshakes || a.uncounted != 5 {
		t.Errorf("%d open, %d not followed", len(a.open), a.uncounted)
	}
}

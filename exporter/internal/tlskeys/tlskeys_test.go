package tlskeys

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/pcapsule/pcapsule/recorder/secrets"
)

// room is Memory that counts.
type room struct{ left, held int }

func (r *room) Hold(n int) bool {
	if n > r.left-r.held {
		return false
	}
	r.held += n
	return true
}

func (r *room) Release(n int) { r.held -= n }

func TestReplayWindow(t *testing.T) {
	var w replay
	for i, c := range []struct {
		number uint64
		first  bool
	}{
		{5, true}, {5, false}, {4, true}, {4, false}, {70, true}, {7, true}, {6, false}, {5, false}, {69, true}, {70, false},
		{1 << 47, true}, {1<<47 - 63, true}, {1<<47 - 64, false}, {1<<47 + 1, true}, {1 << 47, false},
	} {
		if got := w.first(c.number); got != c.first {
			t.Errorf("step %d: number %d is first %v, want %v", i, c.number, got, c.first)
		}
	}
}

func hello(n byte) *ClientHello {
	return &ClientHello{Version: secrets.TLS12, Random: bytes.Repeat([]byte{n}, 32)}
}

func answer(version, suite uint16) *ServerHello {
	return &ServerHello{Version: version, Suite: suite, Random: make([]byte, 32)}
}

func TestState(t *testing.T) {
	store := secrets.NewStore()
	log := fmt.Appendf(nil, "CLIENT_RANDOM %x %x\n", bytes.Repeat([]byte{1}, 32), make([]byte, 48))
	if err := store.AddLog("log", bytes.NewReader(log), int64(len(log))); err != nil {
		t.Fatal(err)
	}
	if err := store.Ready(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		said   func(k *Keys)
		state  State
		reason string
	}{
		{"nothing was seen", func(*Keys) {}, None, NoHandshake},
		{"bytes were lost in place of a hello", func(k *Keys) { k.HiddenHello() }, None, Gap},
		{"no key has the random", func(k *Keys) { k.ClientHello(hello(2), true); k.ServerHello(answer(secrets.TLS12, 0xc02f), true) }, None, NoSecret},
		{"a key has the random", func(k *Keys) { k.ClientHello(hello(1), true); k.ServerHello(answer(secrets.TLS12, 0xc02f), true) }, Unverified, ""},
		{"an unsupported suite", func(k *Keys) { k.ClientHello(hello(1), true); k.ServerHello(answer(secrets.TLS12, 0xc076), true) }, None, Unsupported},
		{"a suite of another version", func(k *Keys) { k.ClientHello(hello(1), true); k.ServerHello(answer(secrets.TLS12, 0x1301), true) }, None, Unsupported},
		{"compression", func(k *Keys) {
			k.ClientHello(hello(1), true)
			h := answer(secrets.TLS12, 0xc02f)
			h.Compression = 1
			k.ServerHello(h, true)
		}, None, Unsupported},
		{"the server's hello is lost", func(k *Keys) { k.ClientHello(hello(1), true) }, None, Gap},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := New(store, &room{left: 1 << 20}, &Engine{}, false)
			c.said(k)
			if state, reason := k.State(); state != c.state || reason != c.reason {
				t.Errorf("%d %q, want %d %q", state, reason, c.state, c.reason)
			}
			rec := secrets.Record{Type: 23, Version: 0x0303, Header: []byte{23, 3, 3, 0, 40}, Body: make([]byte, 40)}
			if out, what := k.Open(nil, Client, &rec, 0, nil); what == Opened || len(out.Plain) > 0 {
				t.Errorf("zeros opened as %q", out.Plain)
			}
		})
	}
}

// TestTranscriptIsBounded keeps messages only within a limit and frees all of them.
func TestTranscriptIsBounded(t *testing.T) {
	store := secrets.NewStore()
	log := fmt.Appendf(nil, "PMS_CLIENT_RANDOM %x %x\n", bytes.Repeat([]byte{1}, 32), make([]byte, 48))
	if err := store.AddLog("log", bytes.NewReader(log), int64(len(log))); err != nil {
		t.Fatal(err)
	}
	if err := store.Ready(); err != nil {
		t.Fatal(err)
	}
	for _, left := range []int{1 << 20, 3000, 0} {
		m := &room{left: left}
		k := New(store, m, &Engine{}, false)
		for range 5 {
			k.ClientHello(hello(1), true)
			k.Message(1, 0, make([]byte, 500))
			h := answer(secrets.TLS12, 0xc02f)
			h.Master = true
			k.ServerHello(h, true)
			for range 100 {
				k.Message(11, 0, make([]byte, 1000))
			}
			if m.held > maxTranscript {
				t.Errorf("%d bytes are held", m.held)
			}
		}
		k.Close()
		if m.held != 0 {
			t.Errorf("%d bytes are held after the end", m.held)
		}
	}
}

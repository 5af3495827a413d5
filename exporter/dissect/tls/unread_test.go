package tls

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
	"github.com/pcapsule/pcapsule/exporter/dissect/http1"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/handshake"
	"github.com/pcapsule/pcapsule/recorder/secrets"
)

// written is a conversation of TLS 1.3 that a test writes record by record, with secrets of its choice.
type written struct {
	t       testing.TB
	chunks  []dissecttest.Chunk
	log     []string
	traffic [2][]byte // secrets of application data
	keys    map[secrets.Label]*sealer
}

const writtenRandom = "0123456789abcdef0123456789abcdef"

func extension(typ uint16, body ...byte) []byte {
	return append([]byte{byte(typ >> 8), byte(typ), byte(len(body) >> 8), byte(len(body))}, body...)
}

func handshakeMessage(typ byte, body []byte) []byte {
	return append([]byte{typ, byte(len(body) >> 16), byte(len(body) >> 8), byte(len(body))}, body...)
}

// block has extensions behind their length.
func block(list ...[]byte) []byte {
	b := bytes.Join(list, nil)
	return append([]byte{byte(len(b) >> 8), byte(len(b))}, b...)
}

// write begins a conversation. early says that the client offers 0-RTT with a PSK that the server accepts.
func write(t testing.TB, early bool) *written {
	w := &written{t: t, keys: map[secrets.Label]*sealer{}}
	for i, l := range []secrets.Label{secrets.ClientEarlyTraffic, secrets.ClientHandshakeTraffic, secrets.ServerHandshakeTraffic, secrets.ClientTraffic, secrets.ServerTraffic} {
		secret := bytes.Repeat([]byte{byte(i + 1)}, 32)
		w.keys[l] = newSealer(secret)
		w.log = append(w.log, secrets.Secret{Label: l, ID: []byte(writtenRandom), Value: secret}.Line())
	}
	w.traffic = [2][]byte{bytes.Repeat([]byte{4}, 32), bytes.Repeat([]byte{5}, 32)}
	client := [][]byte{extension(43, 2, 3, 4), extension(10, 0, 2, 0, 29), extension(51, append([]byte{0, 36, 0, 29, 0, 32}, make([]byte, 32)...)...)}
	server := [][]byte{extension(43, 3, 4), extension(51, append([]byte{0, 29, 0, 32}, make([]byte, 32)...)...)}
	if early {
		psk := append([]byte{0, 8, 0, 2, 'i', 'd', 0, 0, 0, 0, 0, 33, 32}, make([]byte, 32)...)
		client = append(client, extension(42), extension(45, 1, 1), extension(41, psk...))
		server = append(server, extension(41, 0, 0))
	}
	hello := append([]byte{3, 3}, writtenRandom+"\x00\x00\x02\x13\x01\x01\x00"...)
	w.clear(dissect.ToServer, handshakeMessage(1, append(hello, block(client...)...)))
	w.answer(server)
	return w
}

// answer prepares the ServerHello, which chunks has after the client's 0-RTT.
func (w *written) answer(extensions [][]byte) {
	hello := append([]byte{3, 3}, strings.ToUpper(writtenRandom)+"\x00\x13\x01\x00"...)
	w.clear(dissect.ToClient, handshakeMessage(2, append(hello, block(extensions...)...)))
}

func (w *written) clear(dir dissect.Dir, message []byte) {
	w.raw(dir, append([]byte{recordHandshake, 3, 3, byte(len(message) >> 8), byte(len(message))}, message...))
}

func (w *written) raw(dir dissect.Dir, b []byte) {
	w.chunks = append(w.chunks, dissecttest.Chunk{Dir: dir, Data: b})
}

// early writes the client's 0-RTT data before the ServerHello.
func (w *written) early(text string) *written {
	w.raw(dissect.ToServer, w.keys[secrets.ClientEarlyTraffic].seal(recordData, []byte(text)))
	n := len(w.chunks)
	w.chunks[n-1], w.chunks[n-2] = w.chunks[n-2], w.chunks[n-1]
	return w
}

// shake writes the encrypted part of the handshake. accept says that the server accepts 0-RTT.
func (w *written) shake(accept bool) *written {
	extensions := [][]byte{}
	if accept {
		extensions = append(extensions, extension(42))
	}
	server, client := w.keys[secrets.ServerHandshakeTraffic], w.keys[secrets.ClientHandshakeTraffic]
	w.raw(dissect.ToClient, server.seal(recordHandshake, handshakeMessage(8, block(extensions...))))
	w.raw(dissect.ToClient, server.seal(recordHandshake, handshakeMessage(20, make([]byte, 32))))
	if accept {
		w.raw(dissect.ToServer, w.keys[secrets.ClientEarlyTraffic].seal(recordHandshake, handshakeMessage(5, nil)))
	}
	w.raw(dissect.ToServer, client.seal(recordHandshake, handshakeMessage(20, make([]byte, 32))))
	return w
}

func trafficLabel(dir dissect.Dir) secrets.Label {
	if dir == dissect.ToServer {
		return secrets.ClientTraffic
	}
	return secrets.ServerTraffic
}

// say writes application data.
func (w *written) say(dir dissect.Dir, text string) *written {
	w.raw(dir, w.keys[trafficLabel(dir)].seal(recordData, []byte(text)))
	return w
}

// update writes a KeyUpdate and changes to the next keys, RFC 8446 section 7.2.
func (w *written) update(dir dissect.Dir) *written {
	w.raw(dir, w.keys[trafficLabel(dir)].seal(recordHandshake, handshakeMessage(handshake.TypeKeyUpdate, []byte{0})))
	next, err := hkdf.Expand(sha256.New, w.traffic[dir], "\x00\x20\x11tls13 traffic upd\x00", 32)
	if err != nil {
		w.t.Fatal(err)
	}
	w.traffic[dir], w.keys[trafficLabel(dir)] = next, newSealer(next)
	return w
}

// lost removes the last n records from the capture.
func (w *written) lost(n int) *written {
	for _, c := range w.chunks[len(w.chunks)-n:] {
		w.raw(c.Dir, nil)
		w.chunks[len(w.chunks)-1].Gap = int64(len(c.Data))
	}
	w.chunks = slices.Delete(w.chunks, len(w.chunks)-2*n, len(w.chunks)-n)
	return w
}

// play reads the conversation with the secrets whose labels do not begin with one of without.
func (w *written) play(without ...string) (*plainSink, []string) {
	w.t.Helper()
	var log []byte
	for _, line := range w.log {
		if !slices.ContainsFunc(without, func(s string) bool { return strings.HasPrefix(line, s) }) {
			log = append(append(log, line...), '\n')
		}
	}
	got := playKeys(w.t, storeOf(w.t, log), dissect.TCP, w.chunks, http1.Protocol())
	var list []string
	for _, r := range got.Rows() {
		if b := r.Base(); b.Protocol == "http1" {
			list = append(list, fmt.Sprintf("%s, %s %v", b.Summary, b.Outcome, b.Complete))
		}
	}
	return got, list
}

func get(path string) string { return "GET /" + path + " HTTP/1.1\r\nHost: h\r\n\r\n" }

func page(body string) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

// TestWhatNoKeyDecrypts leaves out secrets and records. A call whose response is among what was not
// decrypted is unread, never one without a response, and missing content is never spliced.
func TestWhatNoKeyDecrypts(t *testing.T) {
	const up, down = dissect.ToServer, dissect.ToClient
	two := func(w *written) *written {
		return w.shake(false).say(up, get("a")).say(down, page("aa")).say(up, get("b")).say(down, page("bb"))
	}
	for _, k := range []struct {
		name    string
		write   func(w *written) *written
		early   bool
		without []string
		want    []string
		reason  string
	}{
		{"all keys", two, false, nil, []string{"GET /a → 200 (2 B), ok true", "GET /b → 200 (2 B), ok true"}, ""},
		{"no keys of the handshake", two, false, []string{"CLIENT_HANDSHAKE", "SERVER_HANDSHAKE"},
			[]string{"GET /a → 200 (2 B), ok true", "GET /b → 200 (2 B), ok true"}, dissect.NoKey},
		{"no keys of the server", two, false, []string{"SERVER_"}, []string{"GET /a → gap, unread false", "GET /b → gap, unread false"}, dissect.NoKey},
		{"a key update among lost records", func(w *written) *written {
			all := page("aaaabbbbcccc")
			w.shake(false).say(up, get("a")).say(down, all[:len(all)-8]).say(down, all[len(all)-8:len(all)-4]).update(down).lost(2)
			return w.say(down, all[len(all)-4:]).say(up, get("b")).say(down, page("bb"))
		}, false, nil, []string{"GET /a → 200 (8 B), gap, ok false", "GET /b → 200 (2 B), ok true"}, dissect.KeyGap},
		{"a lost key update", func(w *written) *written {
			w.shake(false).say(up, get("a")).say(down, page("aa")).update(down).lost(1)
			return w.say(up, get("b")).say(down, page("bb"))
		}, false, nil, []string{"GET /a → 200 (2 B), ok true", "GET /b → 200 (2 B), ok true"}, dissect.KeyGap},
		{"0-RTT", func(w *written) *written {
			return w.early(get("e")).shake(true).say(up, get("a")).say(down, page("eee")).say(down, page("aa"))
		}, true, nil, []string{"GET /e → 200 (3 B), ok true", "GET /a → 200 (2 B), ok true"}, ""},
		{"0-RTT without its key", func(w *written) *written {
			return w.early(get("e")).shake(true).say(up, get("a")).say(down, page("eee")).say(down, page("aa"))
		}, true, []string{"CLIENT_EARLY"}, []string{"GET /a → gap, unread false", "? ? → 200 (3 B), cut false", "? ? → 200 (2 B), cut false"}, dissect.NoKey},
		{"rejected 0-RTT without its key", func(w *written) *written {
			return w.early(get("e")).shake(false).say(up, get("e")).say(up, get("a")).say(down, page("eee")).say(down, page("aa"))
		}, true, []string{"CLIENT_EARLY"}, []string{"GET /e → 200 (3 B), ok true", "GET /a → 200 (2 B), ok true"}, dissect.NoKey},
		{"rejected 0-RTT", func(w *written) *written {
			return w.early(get("e")).shake(false).say(up, get("e")).say(up, get("a")).say(down, page("eee")).say(down, page("aa"))
		}, true, nil, []string{"GET /e → 200 (3 B), ok true", "GET /a → 200 (2 B), ok true"}, ""},
		{"rejected 0-RTT without keys of the server's handshake", func(w *written) *written {
			return w.early(get("e")).shake(false).say(up, get("e")).say(up, get("a")).say(down, page("eee")).say(down, page("aa"))
		}, true, []string{"SERVER_HANDSHAKE"}, []string{"GET /e → 200 (3 B), ok true", "GET /e → gap, unread false", "GET /a → gap, unread false", "? ? → 200 (2 B), cut false"}, dissect.NoKey},
		{"the last response is damaged", func(w *written) *written {
			w.shake(false).say(up, get("a")).say(down, page("aa")).say(up, get("b")).say(down, page("bb"))
			w.chunks[len(w.chunks)-1].Data[20] ^= 1
			return w
		}, false, nil, []string{"GET /a → 200 (2 B), ok true", "GET /b → gap, unread false"}, dissect.WrongKey},
		{"a response is damaged", func(w *written) *written {
			w.shake(false).say(up, get("a")).say(down, page("aa"))
			w.chunks[len(w.chunks)-1].Data[20] ^= 1
			return w.say(up, get("b")).say(down, page("bb"))
		}, false, nil, []string{"GET /a → gap, unread false", "GET /b → 200 (2 B), ok true"}, dissect.WrongKey},
		{"half of a response is damaged", func(w *written) *written {
			all := page("aaaabbbb")
			w.shake(false).say(up, get("a")).say(down, all[:len(all)-4]).say(down, all[len(all)-4:])
			w.chunks[len(w.chunks)-1].Data[10] ^= 1
			return w
		}, false, nil, []string{"GET /a → 200 (4 B), gap, ok false"}, dissect.WrongKey},
		{"half of a response is lost", func(w *written) *written {
			all := page("aaaabbbb")
			return w.shake(false).say(up, get("a")).say(down, all[:len(all)-4]).say(down, all[len(all)-4:]).lost(1)
		}, false, nil, []string{"GET /a → 200 (4 B), gap, ok false"}, dissect.KeyGap},
		{"the end of a response up to the end of the connection is cut off", func(w *written) *written {
			w.shake(false).say(up, get("a")).say(down, "HTTP/1.1 200 OK\r\n\r\nhalf").say(down, "rest")
			n := len(w.chunks) - 1
			w.chunks[n].Data = w.chunks[n].Data[:15]
			return w
		}, false, nil, []string{"GET /a → 200 (4 B), gap, ok false"}, dissect.NoKey},
		{"four lost key updates", func(w *written) *written {
			w.shake(false).say(up, get("a")).say(down, page("aa")).update(down).update(down).update(down).update(down).lost(4)
			return w.say(up, get("b")).say(down, page("bb"))
		}, false, nil, []string{"GET /a → 200 (2 B), ok true", "GET /b → gap, unread false"}, dissect.KeyGap},
		{"the only response is lost", func(w *written) *written {
			return w.shake(false).say(up, get("a")).say(down, page("aa")).lost(1)
		}, false, nil, []string{"GET /a → gap, unread false"}, dissect.KeyGap},
		{"the last response is lost", func(w *written) *written {
			return w.shake(false).say(up, get("a")).say(down, page("aa")).say(up, get("b")).say(down, page("bb")).lost(1)
		}, false, nil, []string{"GET /a → 200 (2 B), ok true", "GET /b → gap, unread false"}, dissect.KeyGap},
	} {
		t.Run(k.name, func(t *testing.T) {
			got, list := k.write(write(t, k.early)).play(k.without...)
			if !slices.Equal(list, k.want) {
				t.Errorf("%q, want %q", list, k.want)
			}
			if e := got.Conn.Encrypted(); e.Reason != k.reason {
				t.Errorf("reason %q, want %q", e.Reason, k.reason)
			}
			for _, a := range got.Anomalies {
				t.Logf("anomaly %s: %s", a.Kind, a.Detail)
			}
			e := got.Conn.Encrypted()
			t.Logf("opened %v of %v", e.Opened, e.Records)
		})
	}
}

package tls

import (
	"bytes"
	"fmt"
	"math/rand"
	"path/filepath"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
	"github.com/pcapsule/pcapsule/recorder/secrets"
)

// recorded are conversations of other stacks. Their keys are committed too, so that a finding of
// the fuzzer can be reproduced.
var recorded = [...]struct {
	name string
	udp  bool
}{
	{"gnutls-tls1.3-aes-128-gcm-sha256-key_update", false},
	{"gnutls-tls1.3-aes-256-gcm-sha384-resumed-early_data", false},
	{"gnutls-tls1.2-ecdhe-rsa-with-aes-256-cbc-sha-renegotiation-etm", false},
	{"gnutls-tls1.0-ecdhe-rsa-with-aes-128-cbc-sha-etm", false},
	{"gnutls-tls1.2-rsa-with-rc4-128-sha", false},
	{"gnutls-dtls1.2-ecdhe-rsa-with-aes-256-gcm-sha384-renegotiation", true},
	{"wolfssl-dtls1.3-aes-128-gcm-sha256-connection_id", true},
}

// sayings records the input of an engine.
type sayings struct {
	dissect.Stateless
	chunks []dissecttest.Chunk
}

func (s *sayings) protocol(transport dissect.Transport) *dissect.Protocol {
	return &dissect.Protocol{Name: "tls", Transports: []dissect.Transport{transport}, Row: &Row{},
		Detect: func(dissect.Dir, []byte) dissect.Verdict { return dissect.Yes },
		New:    func(*dissect.Conn) dissect.Dissector { return s }}
}

// Read implements dissect.Dissector.
func (s *sayings) Read(in *dissect.Input) (int, error) {
	if len(in.Data) > 0 {
		s.chunks = append(s.chunks, dissecttest.Chunk{Dir: in.Dir, Data: bytes.Clone(in.Data)})
	}
	return len(in.Data), nil
}

// Gap implements dissect.Dissector.
func (s *sayings) Gap(*dissect.Input, int64) bool { return true }

// Close implements dissect.Dissector.
func (s *sayings) Close(dissect.End) {}

// FuzzKeys changes, cuts and drops bytes of conversations with known keys. It must not panic,
// must account for every byte and hold no memory at the end, and must decrypt nothing that the
// unchanged conversation does not contain.
func FuzzKeys(f *testing.F) {
	type conversation struct {
		chunks []dissecttest.Chunk
		keys   *secrets.Store
		udp    bool
		plain  [2][][]byte
		said   map[string]bool
	}
	var list []conversation
	for i, r := range recorded {
		path := filepath.Join(samplesDir, r.name)
		c := conversation{keys: keysOf(f, path+".pcap", path+".keylog"), udp: r.udp}
		transport := dissect.TCP
		if r.udp {
			transport = dissect.UDP
		}
		var s sayings
		walkWith(f, path+".pcap", func() *dissect.Protocol { s = sayings{}; return s.protocol(transport) })
		c.chunks = s.chunks
		got := playKeys(f, c.keys, transport, c.chunks)
		c.plain = got.chunks
		c.said = said(got)
		if len(c.plain[0])+len(c.plain[1]) == 0 {
			f.Fatalf("%s: nothing comes out", r.name)
		}
		list = append(list, c)
		f.Add(uint8(i), int64(i), []byte{0})
		f.Add(uint8(i), int64(i), []byte{1, 9, 200, 3, 0, 77, 2, 14, 100})
	}
	f.Fuzz(func(t *testing.T, which uint8, seed int64, change []byte) {
		c := &list[int(which)%len(list)]
		rnd := rand.New(rand.NewSource(seed))
		chunks := c.chunks
		if !c.udp {
			chunks = segments(seed, chunks, 1+rnd.Intn(1460))
		}
		var out []dissecttest.Chunk
		for i, k := range chunks {
			k.Data = bytes.Clone(k.Data)
			for j := 0; j+2 < len(change); j += 3 {
				if int(change[j+1])%len(chunks) != i {
					continue
				}
				at := int(change[j+2]) * len(k.Data) / 256
				switch change[j] % 6 {
				case 0:
					k.Data[at] ^= 1 << (change[j+2] % 8)
				case 1: // lost
					k.Gap, k.Data = k.Gap+int64(len(k.Data)), nil
				case 2:
					k.Data = k.Data[:at]
				case 3:
					k.Dir = k.Dir.Other()
				case 4: // duplicated
					out = append(out, k)
				case 5:
					k.Data[at] = change[j+2]
				}
				if len(k.Data) == 0 {
					break
				}
			}
			out = append(out, k)
		}
		transport := dissect.TCP
		if c.udp {
			transport = dissect.UDP
		}
		got := playKeys(t, c.keys, transport, out)
		for s := range said(got) {
			if !c.said[s] { // hellos are trusted: keys of another suite may authenticate
				return
			}
		}
		for d := range got.chunks {
			for _, b := range got.chunks[d] {
				if !contains(c.plain, b) {
					t.Errorf("%q came out, which is in no record", b)
				}
			}
		}
	})
}

// said lists the values in the hellos that keys depend on.
func said(s *plainSink) map[string]bool {
	m := map[string]bool{}
	list, details := rows(&s.Result)
	for i, r := range list {
		m[fmt.Sprint(r.Version, r.Suite, details[i].EncryptThenMAC)] = true
	}
	return m
}

func contains(list [2][][]byte, b []byte) bool {
	for _, side := range list {
		for _, c := range side {
			if bytes.Equal(b, c) {
				return true
			}
		}
	}
	return false
}

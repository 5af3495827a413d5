package tls

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

// sealer encrypts records of TLS 1.3 with AES-128-GCM.
type sealer struct {
	aead cipher.AEAD
	iv   [12]byte
	seq  uint64
}

func newSealer(secret []byte) *sealer {
	expand := func(label string, n int) []byte {
		info := append([]byte{0, byte(n), byte(6 + len(label))}, "tls13 "+label+"\x00"...)
		b, err := hkdf.Expand(sha256.New, secret, string(info), n)
		if err != nil {
			panic(err)
		}
		return b
	}
	block, err := aes.NewCipher(expand("key", 16))
	if err != nil {
		panic(err)
	}
	s := &sealer{}
	if s.aead, err = cipher.NewGCM(block); err != nil {
		panic(err)
	}
	copy(s.iv[:], expand("iv", 12))
	return s
}

func (s *sealer) seal(typ byte, content []byte) []byte {
	n := len(content) + 1 + 16
	rec := []byte{recordData, 3, 3, byte(n >> 8), byte(n)}
	nonce := s.iv
	binary.BigEndian.PutUint64(nonce[4:], binary.BigEndian.Uint64(nonce[4:])^s.seq)
	s.seq++
	return s.aead.Seal(rec, nonce[:], append(append([]byte{}, content...), typ), rec[:headerBytes])
}

// stream is a TLS 1.3 conversation with its keys in k.log, and segments of a transfer of n
// records of 16 KiB after it.
func stream(b testing.TB, n int) (k talker, start, data []dissecttest.Chunk) {
	k = some(b, "TLS 1.3")[0]
	chunks := speak(b, k.cc, k.sc, newScript(1, 10, 10, 10, 1))
	var secret []byte
	for _, s := range storeOf(b, k.log.Bytes()).Find(chunks[0].Data[headerBytes+messageHeader+2:][:32]) {
		if s.Line()[:7] == "SERVER_" && s.Label.String() == "SERVER_TRAFFIC_SECRET_" {
			secret = s.Value
		}
	}
	// The server's records are replaced from its application keys on: those of the real server
	// are dropped.
	s := newSealer(secret)
	for _, c := range chunks {
		if c.Dir == dissect.ToClient && len(start) > 1 {
			continue
		}
		start = append(start, c)
		if c.Dir == dissect.ToServer && len(start) > 2 {
			break
		}
	}
	content := make([]byte, 16<<10)
	var wire []byte
	for range n {
		wire = append(wire, s.seal(recordData, content)...)
	}
	for len(wire) > 0 {
		m := min(1460, len(wire))
		data = append(data, dissecttest.Chunk{Dir: dissect.ToClient, Data: wire[:m]})
		wire = wire[m:]
	}
	return k, start, data
}

// BenchmarkOpen decrypts a transfer over TLS 1.3 with AES-128-GCM in segments of 1460 bytes.
func BenchmarkOpen(b *testing.B) {
	const n = 1024
	k, start, data := stream(b, n)
	size := int64(0)
	for _, c := range data {
		size += int64(len(c.Data))
	}
	e, err := dissect.NewEngine([]*dissect.Protocol{Protocol(storeOf(b, k.log.Bytes()))}, nil, &discard{}, true)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		var p dissect.Packet
		c := e.NewConn(dissect.Info{ServerPort: 443, RolesKnown: true, Began: [2]bool{true, true}, ConnectUs: -1})
		for _, k := range start {
			p.No++
			c.Data(k.Dir, k.Data, p)
		}
		for _, k := range data {
			p.No++
			c.Data(k.Dir, k.Data, p)
		}
		if got := c.Encryption().Plain[dissect.ToClient]; got < n*16<<10 {
			b.Fatalf("%d bytes came out", got)
		}
		c.Close(dissect.EndFin, p)
	}
}

// BenchmarkOpenShort decrypts a connection with a few bytes of data, including its handshake.
func BenchmarkOpenShort(b *testing.B) {
	for _, k := range usual(b) {
		b.Run(k.name, func(b *testing.B) {
			chunks := speak(b, k.cc, k.sc, newScript(1, 300, 2000, 2000, 1))
			e, err := dissect.NewEngine([]*dissect.Protocol{Protocol(storeOf(b, others(1000), k.log.Bytes()))}, nil, &discard{}, true)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				var p dissect.Packet
				c := e.NewConn(dissect.Info{ServerPort: 443, RolesKnown: true, Began: [2]bool{true, true}, ConnectUs: -1})
				for _, k := range chunks {
					p.No++
					c.Data(k.Dir, k.Data, p)
				}
				c.Close(dissect.EndFin, p)
			}
		})
	}
}

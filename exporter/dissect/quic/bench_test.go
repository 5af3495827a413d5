package quic

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
	"github.com/pcapsule/pcapsule/exporter/dissect/tls"
	"github.com/pcapsule/pcapsule/recorder/secrets"
)

// sealer encrypts packets like a peer.
type sealer struct {
	aead cipher.AEAD
	hp   cipher.Block
	iv   []byte
}

func expand(secret []byte, label string, n int) []byte {
	label = "tls13 " + label
	info := append(binary.BigEndian.AppendUint16(nil, uint16(n)), byte(len(label)))
	out, err := hkdf.Expand(sha256.New, secret, string(append(append(info, label...), 0)), n)
	if err != nil {
		panic(err)
	}
	return out
}

// newSealer makes keys of AES-128-GCM from a secret.
func newSealer(secret []byte, prefix string) *sealer {
	block, err := aes.NewCipher(expand(secret, prefix+"key", 16))
	if err != nil {
		panic(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	hp, err := aes.NewCipher(expand(secret, prefix+"hp", 16))
	if err != nil {
		panic(err)
	}
	return &sealer{aead, hp, expand(secret, prefix+"iv", 12)}
}

// seal protects a packet with a header that ends in a 4-byte packet number.
func (s *sealer) seal(header []byte, number uint64, frames []byte) []byte {
	at := len(header) - 4
	nonce := append([]byte(nil), s.iv...)
	for i := range 8 {
		nonce[11-i] ^= byte(number >> (8 * i))
	}
	out := s.aead.Seal(append([]byte(nil), header...), nonce, frames, header)
	var mask [16]byte
	s.hp.Encrypt(mask[:], out[at+4:at+20])
	if out[0]&0x80 != 0 {
		out[0] ^= mask[0] & 0x0f
	} else {
		out[0] ^= mask[0] & 0x1f
	}
	for i := range 4 {
		out[at+i] ^= mask[1+i]
	}
	return out
}

// long is a long header of version 1 for n bytes of frames.
func long(first byte, dcid, scid []byte, token bool, number uint32, n int) []byte {
	b := append([]byte{first | 3, 0, 0, 0, 1, byte(len(dcid))}, dcid...)
	b = append(append(b, byte(len(scid))), scid...)
	if token {
		b = append(b, 0)
	}
	b = binary.BigEndian.AppendUint16(b, 0x4000|uint16(4+n+tagBytes))
	return binary.BigEndian.AppendUint32(b, number)
}

// initialSecrets returns the initial secrets of version 1.
func initialSecrets(dcid []byte) (clientSecret, serverSecret []byte) {
	salt := []byte{0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17, 0x9a, 0xe6, 0xa4, 0xc8, 0x0c, 0xad, 0xcc, 0xbb, 0x7f, 0x0a}
	s, err := hkdf.Extract(sha256.New, dcid, salt)
	if err != nil {
		panic(err)
	}
	return expand(s, "client in", 32), expand(s, "server in", 32)
}

// BenchmarkOneRTT decrypts packets of a download.
func BenchmarkOneRTT(b *testing.B) {
	r := record(b, talk{streams: 1, up: 100, down: 100})
	store := r.store(b)
	x := &drain{}
	e, err := dissect.NewEngine([]*dissect.Protocol{Protocol(store), tls.Protocol(nil), x.protocol()}, nil, &dissecttest.Result{}, true)
	if err != nil {
		b.Fatal(err)
	}
	c := e.NewConn(dissect.Info{Transport: dissect.UDP, ClientPort: 40000, ServerPort: 443, ConnectUs: -1})
	p := dissect.Packet{}
	for _, d := range r.list[:len(r.list)-2] { // without CONNECTION_CLOSE
		p.No++
		c.Datagram(d.dir, d.data, p)
	}
	secret := store.Find(c.Encryption().Random)
	var keys *sealer
	for _, s := range secret {
		if s.Label.String() == "SERVER_TRAFFIC_SECRET_" {
			keys = newSealer(s.Value, "quic ")
		}
	}
	const size = 1350
	var packets [][]byte
	sent, number := 0, uint64(1000)
	var clientID []byte
	for _, d := range r.list {
		var h header
		if d.dir == dissect.ToClient && isLong(d.data[0]) && readLong(d.data, true, &h) == nil {
			clientID = h.dcid
		}
	}
	for range b.N {
		header := binary.BigEndian.AppendUint32(append([]byte{0x43}, clientID...), uint32(number))
		frames := []byte{frameStream | streamOffset, 0x40, 0x43} // a stream of the server
		frames = binary.BigEndian.AppendUint64(frames, 0xc0<<56|uint64(sent))
		n := size - len(header) - tagBytes - len(frames)
		sent += n
		frames = append(frames, make([]byte, n)...)
		packets = append(packets, keys.seal(header, number, frames))
		number++
	}
	before := c.Encryption().Opened[dissect.ToClient]
	b.SetBytes(size)
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		p.No, p.Time = p.No+1, p.Time+1000
		c.Datagram(dissect.ToClient, packets[i], p)
	}
	b.StopTimer()
	if got := c.Encryption().Opened[dissect.ToClient] - before; got != int64(b.N) {
		b.Fatalf("%d of %d opened", got, b.N)
	}
	b.ReportMetric(float64(x.n)/float64(b.N), "stream-bytes/op")
}

// drain consumes and discards all bytes.
type drain struct {
	blob
	n int64
}

func (d *drain) protocol() *dissect.Protocol {
	return &dissect.Protocol{Name: "blob", Doc: "any bytes", Transports: []dissect.Transport{dissect.QUIC}, ALPN: []string{"blob"}, Row: &blobRow{},
		NewStreams: func(*dissect.Conn) dissect.Streams { return d }}
}

func (d *drain) ReadStream(_ int64, in *dissect.Input) (int, error) {
	d.n += int64(len(in.Data))
	return len(in.Data), nil
}

// BenchmarkHandshake reads the hellos of a connection without keys.
func BenchmarkHandshake(b *testing.B) {
	e, err := dissect.NewEngine([]*dissect.Protocol{Protocol(nil), tls.Protocol(nil)}, nil, &dissecttest.Result{}, true)
	if err != nil {
		b.Fatal(err)
	}
	x, y := vector(b, "v1 client-packet"), vector(b, "v1 server-packet")
	b.ReportAllocs()
	for b.Loop() {
		c := e.NewConn(dissect.Info{Transport: dissect.UDP, ServerPort: 443, ConnectUs: -1})
		c.Datagram(dissect.ToServer, x, dissect.Packet{})
		c.Datagram(dissect.ToClient, y, dissect.Packet{})
		c.Close(dissect.EndTimeout, dissect.Packet{})
	}
}

// BenchmarkGuess tries a packet that no key of a full store decrypts.
func BenchmarkGuess(b *testing.B) {
	s := &settings{keys: secrets.NewStore()}
	var log []byte
	for i := range maxRandoms {
		for _, l := range []secrets.Label{secrets.ClientTraffic, secrets.ServerTraffic} {
			x := secrets.Secret{Label: l, ID: bytes.Repeat([]byte{byte(i)}, 32), Value: bytes.Repeat([]byte{byte(i), byte(l)}, 16)}
			log = append(append(log, x.Line()...), '\n')
		}
	}
	if err := s.keys.AddLog("keys", bytes.NewReader(log), int64(len(log))); err != nil {
		b.Fatal(err)
	}
	if err := s.keys.Ready(); err != nil {
		b.Fatal(err)
	}
	packet := make([]byte, 1350)
	for i := range packet {
		packet[i] = byte(i * i)
	}
	packet[0] = 0x40
	b.ReportAllocs()
	for b.Loop() {
		left := newBudget()
		if _, ok := s.guess(packet, left); ok {
			b.Fatal("opened")
		}
	}
}

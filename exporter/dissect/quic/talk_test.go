package quic

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	ctls "crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	mrand "math/rand"
	"net"
	"sync"
	"testing"
	"time"

	quicgo "github.com/quic-go/quic-go"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/tls"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/recorder/secrets"
)

// datagram is one that a tap recorded.
type datagram struct {
	dir  dissect.Dir
	data []byte
	path int // which of the client's ports
}

// recording is a conversation with a peer and the data sent in it.
type recording struct {
	mu    sync.Mutex
	list  []datagram
	keys  bytes.Buffer
	wants map[plainKey][]byte
}

func (r *recording) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.keys.Write(p)
}

func (r *recording) store(t testing.TB) *secrets.Store {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := secrets.NewStore()
	b := bytes.Clone(r.keys.Bytes())
	if err := s.AddLog("test", bytes.NewReader(b), int64(len(b))); err != nil {
		t.Fatal(err)
	}
	if err := s.Ready(); err != nil {
		t.Fatal(err)
	}
	return s
}

// tap is the client's port.
type tap struct {
	net.PacketConn
	to   *recording
	path int
}

func (c *tap) note(dir dissect.Dir, b []byte) {
	c.to.mu.Lock()
	defer c.to.mu.Unlock()
	c.to.list = append(c.to.list, datagram{dir, bytes.Clone(b), c.path})
}

func (c *tap) WriteTo(b []byte, a net.Addr) (int, error) {
	c.note(dissect.ToServer, b)
	return c.PacketConn.WriteTo(b, a)
}

func (c *tap) ReadFrom(b []byte) (int, net.Addr, error) {
	n, a, err := c.PacketConn.ReadFrom(b)
	if err == nil {
		c.note(dissect.ToClient, b[:n])
	}
	return n, a, err
}

// content is what a side sends on a stream.
func content(dir dissect.Dir, stream int64, n int) []byte {
	b := make([]byte, n)
	mrand.New(mrand.NewSource(stream*2 + int64(dir))).Read(b)
	return b
}

// talk describes a conversation.
type talk struct {
	versions  []quicgo.Version
	retry     bool
	streams   int
	up, down  int // bytes of each stream
	uni       int // streams of the server
	datagrams int
	early     bool // a first connection gets a ticket, the second sends 0-RTT
	move      bool // to another port
	idLen     int
	offers    []string
}

func certificate(t testing.TB) ctls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	x := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "peer.example"}, DNSNames: []string{"peer.example"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, x, x, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return ctls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func udp(t testing.TB) net.PacketConn {
	c, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// record runs a conversation between two peers and returns the traffic of the client's ports.
func record(t testing.TB, k talk) *recording {
	t.Helper()
	r := &recording{wants: map[plainKey][]byte{}}
	offers := k.offers
	if offers == nil {
		offers = []string{"blob"}
	}
	config := &quicgo.Config{Versions: k.versions, EnableDatagrams: k.datagrams > 0, Allow0RTT: true, MaxIncomingStreams: 1000, MaxIncomingUniStreams: 1000}
	cache := &tickets{ClientSessionCache: ctls.NewLRUClientSessionCache(8), came: make(chan bool, 8)}
	serverTLS := &ctls.Config{Certificates: []ctls.Certificate{certificate(t)}, NextProtos: []string{"blob"}, MinVersion: ctls.VersionTLS13}
	clientTLS := &ctls.Config{ServerName: "peer.example", InsecureSkipVerify: true, NextProtos: offers, KeyLogWriter: r, ClientSessionCache: cache}
	st := &quicgo.Transport{Conn: udp(t), VerifySourceAddress: func(net.Addr) bool { return k.retry }}
	l, err := st.ListenEarly(serverTLS, config)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept(context.Background())
			if err != nil {
				return
			}
			go serve(c, k, r)
		}
	}()
	if k.early {
		ct := &quicgo.Transport{Conn: udp(t)}
		c, err := ct.Dial(context.Background(), l.Addr(), clientTLS, config)
		if err != nil {
			t.Fatal(err)
		}
		select { // the ticket comes after the handshake
		case <-cache.came:
		case <-time.After(10 * time.Second):
			t.Fatal("no ticket")
		}
		_ = c.CloseWithError(0, "")
		_ = ct.Close()
	}
	ct := &quicgo.Transport{Conn: &tap{udp(t), r, 0}, ConnectionIDLength: k.idLen}
	defer ct.Close()
	dial := ct.Dial
	if k.early {
		dial = ct.DialEarly
	}
	c, err := dial(context.Background(), l.Addr(), clientTLS, config)
	if err != nil {
		t.Fatal(err)
	}
	k.openStreams(t, c, r, 0, k.streams)
	if k.move {
		two := &quicgo.Transport{Conn: &tap{udp(t), r, 1}, ConnectionIDLength: k.idLen}
		defer two.Close()
		p, err := c.AddPath(two)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Probe(context.Background()); err != nil {
			t.Fatal(err)
		}
		if err := p.Switch(); err != nil {
			t.Fatal(err)
		}
		k.openStreams(t, c, r, k.streams, k.streams)
	}
	for range k.datagrams {
		if err := c.SendDatagram([]byte("a datagram of the client")); err != nil {
			t.Fatal(err)
		}
		wait, stop := context.WithTimeout(context.Background(), 10*time.Second)
		if _, err := c.ReceiveDatagram(wait); err != nil {
			t.Fatal(err)
		}
		stop()
	}
	for range k.uni {
		s, err := c.AcceptUniStream(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(s); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(20 * time.Millisecond)
	_ = c.CloseWithError(7, "done\n")
	time.Sleep(20 * time.Millisecond)
	r.mu.Lock()
	defer r.mu.Unlock()
	if k.early {
		r.keys.WriteString(cache.line(t, r.list))
	}
	return r
}

// openStreams opens streams in sequence, four at a time.
func (k *talk) openStreams(t testing.TB, c *quicgo.Conn, r *recording, from, n int) {
	var wg sync.WaitGroup
	gate := make(chan struct{}, 4)
	for range n {
		s, err := c.OpenStreamSync(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		id := int64(s.StreamID())
		r.want(plainKey{dissect.ToServer, id}, content(dissect.ToServer, id, k.up))
		r.want(plainKey{dissect.ToClient, id}, content(dissect.ToClient, id, k.down))
		gate <- struct{}{}
		wg.Add(1)
		go func() {
			defer func() { <-gate; wg.Done() }()
			_, _ = s.Write(content(dissect.ToServer, id, k.up))
			_ = s.Close()
			if _, err := io.Copy(io.Discard, s); err != nil {
				t.Errorf("stream %d: %v", id, err)
			}
		}()
	}
	wg.Wait()
}

func (r *recording) want(k plainKey, b []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wants[k] = b
}

func serve(c *quicgo.Conn, k talk, r *recording) {
	go func() {
		for range k.uni {
			s, err := c.OpenUniStreamSync(context.Background())
			if err != nil {
				return
			}
			id := int64(s.StreamID())
			r.want(plainKey{dissect.ToClient, id}, content(dissect.ToClient, id, k.down))
			_, _ = s.Write(content(dissect.ToClient, id, k.down))
			_ = s.Close()
		}
	}()
	go func() {
		for {
			b, err := c.ReceiveDatagram(context.Background())
			if err != nil || c.SendDatagram(b) != nil {
				return
			}
		}
	}()
	for {
		s, err := c.AcceptStream(context.Background())
		if err != nil {
			return
		}
		go func() {
			_, _ = io.Copy(io.Discard, s)
			_, _ = s.Write(content(dissect.ToClient, int64(s.StreamID()), k.down))
			_ = s.Close()
		}()
	}
}

// blob reads streams with arbitrary bytes and keeps them.
type blob struct {
	dissect.Stateless
	c     *dissect.Conn
	got   map[plainKey][]byte
	gaps  int64
	ends  map[plainKey]bool
	dgram [2]int
	code  int64
	lazy  int     // bytes that it leaves unread
	more  []*blob // of further connections
}

func (b *blob) open(c *dissect.Conn) *blob {
	b.c, b.got, b.ends, b.code = c, map[plainKey][]byte{}, map[plainKey]bool{}, -2
	return b
}

// blobRow exists because a protocol needs a row type.
type blobRow struct{ table.Call }

func blobProtocol(b *blob) *dissect.Protocol {
	return &dissect.Protocol{Name: "blob", Doc: "any bytes", Transports: []dissect.Transport{dissect.QUIC}, ALPN: []string{"blob"}, Row: &blobRow{},
		NewStreams: func(c *dissect.Conn) dissect.Streams {
			if b.c == nil {
				return b.open(c)
			}
			b.more = append(b.more, (&blob{lazy: b.lazy}).open(c))
			return b.more[len(b.more)-1]
		}}
}

func (b *blob) ReadStream(id int64, in *dissect.Input) (int, error) {
	k := plainKey{in.Dir, id}
	n := len(in.Data)
	if b.lazy > 0 && !in.End {
		n = max(n-b.lazy, 0)
	}
	if int64(len(b.got[k])) != in.Offset(0) && b.gaps == 0 {
		panic(fmt.Sprintf("stream %d %v: offset %d, have %d, data %d, end %v", id, in.Dir, in.Offset(0), len(b.got[k]), len(in.Data), in.End))
	}
	b.got[k] = append(b.got[k], in.Data[:n]...)
	if in.End {
		b.ends[k] = in.Fin
	}
	return n, nil
}

func (b *blob) GapStream(id int64, in *dissect.Input, missing int64) bool {
	k := plainKey{in.Dir, id}
	b.gaps += missing
	b.got[k] = append(append(b.got[k], in.Data...), make([]byte, min(missing, 1<<20))...)
	return true
}

func (b *blob) ResetStream(int64, dissect.Dir, bool, int64, dissect.Packet) {}
func (b *blob) ReadDatagram(in *dissect.Input)                              { b.dgram[in.Dir]++ }
func (b *blob) Close(_ dissect.End, code int64)                             { b.code = code }

// play feeds datagrams to an engine. All datagrams of a path go to one connection, as they do
// for a path that is identified by its ids.
func play(t testing.TB, list []datagram, p ...*dissect.Protocol) (*sink, *dissect.Conn) {
	t.Helper()
	return playOn(t, 443, list, p...)
}

func playOn(t testing.TB, port uint16, list []datagram, p ...*dissect.Protocol) (*sink, *dissect.Conn) {
	t.Helper()
	out := &sink{}
	e, err := dissect.NewEngine(p, nil, out, true)
	if err != nil {
		t.Fatal(err)
	}
	c := e.NewConn(dissect.Info{Transport: dissect.UDP, ClientPort: 40000, ServerPort: port, ConnectUs: -1})
	out.Conn = c
	at := dissect.Packet{No: -1, Time: 1_700_000_000_000_000_000}
	for _, d := range list {
		at.No, at.Time = at.No+1, at.Time+100_000
		out.Bytes += int64(len(d.data))
		data := bytes.Clone(d.data)
		c.Datagram(d.dir, data, at)
		for i := range data {
			data[i] = 0xdb
		}
	}
	c.Close(dissect.EndTimeout, at)
	if n := e.Held(); n != 0 {
		t.Errorf("%d bytes held after the end", n)
	}
	if c.RowBytes+c.AnomalyBytes != out.Bytes {
		t.Errorf("%d bytes in rows, %d in anomalies, want %d", c.RowBytes, c.AnomalyBytes, out.Bytes)
	}
	return out, c
}

// protocols are QUIC with keys, TLS and a blob.
func protocols(keys *secrets.Store, b *blob) []*dissect.Protocol {
	return []*dissect.Protocol{Protocol(keys), tls.Protocol(nil), blobProtocol(b)}
}

// row is the one row of protocol quic.
func (s *sink) row(t testing.TB) *Row {
	t.Helper()
	var row *Row
	for _, e := range s.Emissions {
		if x, ok := e.Row.(*Row); ok {
			if row != nil {
				t.Errorf("two rows: %s, %s", row.Summary, x.Summary)
			}
			row = x
		}
	}
	if row == nil {
		t.Fatal("no row")
	}
	return row
}

package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/quic-go/quic-go"
)

// quicgo configures a client and a server of quic-go.
type quicgo struct {
	version  quic.Version
	suite    uint16
	features string
	retry    bool           // the server asks for a token first
	versions []quic.Version // of the server
	curve    tls.CurveID    // 0: what crypto/tls prefers
	emptyID  bool           // the client's connection id has no bytes
}

func (q quicgo) scenario(f func(quicgo, *quicLab) error) scenario {
	version := "v1"
	if q.version == quic.Version2 {
		version = "v2"
	}
	return scenario{name("quicgo", version, suiteShort(tls.CipherSuiteName(q.suite)), q.features), func(l *lab, h *shot) error {
		defer onlySuite(q.suite)()
		lab, err := q.start(l, h)
		if err != nil {
			return err
		}
		defer lab.close()
		ctx, cancel := context.WithTimeout(l.ctx, patient)
		defer cancel()
		lab.ctx = ctx
		return f(q, lab)
	}}
}

// quicLab is a running server with the data that a client needs.
type quicLab struct {
	ctx     context.Context
	l       *lab
	h       *shot
	ct, st  *tls.Config
	cc, sc  *quic.Config
	udp     *net.UDPConn
	server  *quic.Transport
	addr    *net.UDPAddr
	closers []func() error
	sockets []*quic.Transport
}

func (q quicgo) start(l *lab, h *shot) (*quicLab, error) {
	ct, st, keys, err := l.configs(h)
	if err != nil {
		return nil, err
	}
	x := &quicLab{l: l, h: h, ct: ct, st: st, addr: &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: h.port}}
	x.closers = append(x.closers, keys.Close)
	ct.NextProtos, st.NextProtos = []string{"example"}, []string{"example"}
	ct.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	if q.curve != 0 {
		ct.CurvePreferences = []tls.CurveID{q.curve}
	}
	x.cc = &quic.Config{Versions: []quic.Version{q.version}, DisablePathMTUDiscovery: true, MaxIdleTimeout: patient}
	x.sc = &quic.Config{Versions: q.versions, DisablePathMTUDiscovery: true, Allow0RTT: true, MaxIdleTimeout: patient}
	if q.versions != nil && !slices.Contains(q.versions, q.version) {
		x.cc.Versions = append(x.cc.Versions, q.versions...)
	}
	if x.udp, err = net.ListenUDP("udp4", x.addr); err != nil {
		return nil, err
	}
	x.server = &quic.Transport{Conn: x.udp}
	if q.retry {
		x.server.VerifySourceAddress = func(net.Addr) bool { return true }
	}
	return x, nil
}

func (x *quicLab) close() {
	for _, t := range x.sockets {
		t.Close()
		t.Conn.Close()
	}
	x.server.Close()
	x.udp.Close()
	for _, f := range x.closers {
		f()
	}
}

// socket is another port of the client.
func (x *quicLab) socket() (*quic.Transport, error) {
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	t := &quic.Transport{Conn: c}
	x.sockets = append(x.sockets, t)
	return t, nil
}

func (x *quicLab) dial(q quicgo, early bool) (*quic.Conn, error) {
	if q.emptyID {
		ct := x.ct.Clone()
		return quic.DialAddr(x.ctx, x.addr.String(), ct, x.cc)
	}
	t, err := x.socket()
	if err != nil {
		return nil, err
	}
	if early {
		return t.DialEarly(x.ctx, x.addr, x.ct, x.cc)
	}
	return t.Dial(x.ctx, x.addr, x.ct, x.cc)
}

// answers serves streams with responses that are known in advance.
func (x *quicLab) answers(list map[string][]byte) error {
	ln, err := x.server.ListenEarly(x.st, x.sc)
	if err != nil {
		return err
	}
	x.closers = append(x.closers, ln.Close)
	go func() {
		for {
			c, err := ln.Accept(context.Background())
			if err != nil {
				return
			}
			go func() {
				for {
					s, err := c.AcceptStream(context.Background())
					if err != nil {
						return
					}
					go func() {
						defer s.Close()
						request, err := io.ReadAll(s)
						if err == nil {
							s.Write(list[string(request)])
						}
					}()
				}
			}()
		}
	}()
	return nil
}

// ask makes one request on a new stream.
func (x *quicLab) ask(c *quic.Conn, request, want []byte) error {
	s, err := c.OpenStreamSync(x.ctx)
	if err != nil {
		return err
	}
	s.SetDeadline(time.Now().Add(patient))
	if _, err := s.Write(request); err != nil {
		return err
	}
	s.Close()
	got, err := io.ReadAll(s)
	if err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("the answer has %d bytes, want %d", len(got), len(want))
	}
	return nil
}

// done ends a connection and records one of its streams.
func (x *quicLab) note(q quicgo, c *quic.Conn, conn int, stream int64, features, protocol, what string, request, answer []byte) {
	state := c.ConnectionState()
	version := "QUIC v1"
	if state.Version == quic.Version2 {
		version = "QUIC v2"
	}
	x.h.note(row{conn: conn, stream: strconv.FormatInt(stream, 10), layer: "quic", version: version, suite: tls.CipherSuiteName(state.TLS.CipherSuite),
		features: features, protocol: protocol, what: what}, request, answer)
}

func bye(c *quic.Conn) {
	time.Sleep(settle)
	c.CloseWithError(0, "done")
	time.Sleep(settle / 2)
}

func request(i int) []byte { return fmt.Appendf(nil, "question %03d: what is the limit?\n", i) }

func answer(i, n int) []byte { return append(fmt.Appendf(nil, "answer %03d\n", i), text(n)...) }

package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
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

// plain makes requests on three streams.
func plain(q quicgo, x *quicLab) error {
	sizes := []int{40, 900, 9000}
	list := map[string][]byte{}
	for i, n := range sizes {
		list[string(request(i))] = answer(i, n)
	}
	if err := x.answers(list); err != nil {
		return err
	}
	c, err := x.dial(q, false)
	if err != nil {
		return err
	}
	for i, n := range sizes {
		if err := x.ask(c, request(i), answer(i, n)); err != nil {
			return err
		}
		x.note(q, c, 1, int64(4*i), q.features, "-", "bytes", request(i), answer(i, n))
		if q.features == "version_negotiation" {
			x.h.rows[i].inTshark = 2 // the first one has the version that the server rejected
		}
	}
	bye(c)
	return nil
}

// resumedQUIC makes two connections; the second sends its request as 0-RTT data.
func resumedQUIC(q quicgo, x *quicLab) error {
	if err := x.answers(map[string][]byte{string(request(0)): answer(0, 300), string(request(1)): answer(1, 200), string(request(2)): answer(2, 100)}); err != nil {
		return err
	}
	c, err := x.dial(q, false)
	if err != nil {
		return err
	}
	if err := x.ask(c, request(0), answer(0, 300)); err != nil {
		return err
	}
	bye(c)
	x.note(q, c, 1, 0, "full", "-", "bytes", request(0), answer(0, 300))
	if c, err = x.dial(q, true); err != nil {
		return err
	}
	for i := 1; i < 3; i++ {
		if err := x.ask(c, request(i), answer(i, 300-100*i)); err != nil {
			return err
		}
		x.note(q, c, 2, int64(4*(i-1)), q.features, "-", "bytes", request(i), answer(i, 300-100*i))
	}
	if !c.ConnectionState().Used0RTT {
		return errors.New("no early data was used")
	}
	bye(c)
	return nil
}

// migrating moves the connection to another port of the client.
func migrating(q quicgo, x *quicLab) error {
	if err := x.answers(map[string][]byte{string(request(0)): answer(0, 300), string(request(1)): answer(1, 2000)}); err != nil {
		return err
	}
	c, err := x.dial(q, false)
	if err != nil {
		return err
	}
	if err := x.ask(c, request(0), answer(0, 300)); err != nil {
		return err
	}
	t, err := x.socket()
	if err != nil {
		return err
	}
	p, err := c.AddPath(t)
	if err != nil {
		return err
	}
	if err := errors.Join(p.Probe(x.ctx), p.Switch()); err != nil {
		return err
	}
	time.Sleep(settle)
	if err := x.ask(c, request(1), answer(1, 2000)); err != nil {
		return err
	}
	bye(c)
	x.note(q, c, 1, 0, q.features, "-", "bytes", request(0), answer(0, 300))
	// LIMIT: the ids of the new path were sent encrypted, so its packets look like another
	// connection without a handshake, but the keys decrypt them.
	x.note(q, c, 2, 4, q.features, "-", "bytes", request(1), answer(1, 2000))
	x.h.rows[len(x.h.rows)-1].inTshark = 1
	return nil
}

// listed reports which of many streams have a line in INDEX.tsv: a regular sample.
const listed = 4

// many makes enough requests for a key update of quic-go. With lossy, packets of some requests are
// omitted, including those around the key update.
func many(lossy bool) func(quicgo, *quicLab) error {
	return func(q quicgo, x *quicLab) error {
		const n = 70
		list := map[string][]byte{}
		for i := range n {
			list[string(request(i))] = answer(i, 20)
		}
		if err := x.answers(list); err != nil {
			return err
		}
		c, err := x.dial(q, false)
		if err != nil {
			return err
		}
		var at [n + 1]int64
		for i := range n {
			if lossy {
				time.Sleep(40 * time.Millisecond) // longer than the delay of an acknowledgement
			}
			at[i] = time.Now().UnixNano()
			if err := x.ask(c, request(i), answer(i, 20)); err != nil {
				return err
			}
		}
		time.Sleep(settle)
		at[n] = time.Now().UnixNano()
		bye(c)
		gone := map[int]bool{}
		if lossy {
			for _, i := range []int{5, 6, 20} {
				gone[i] = true
			}
			if err := x.h.edit(func(list []packet) (kept []packet, err error) {
				sent, at100 := 0, int64(0)
				for _, p := range list {
					if p.dst == x.h.port {
						if sent++; sent == 101 {
							at100 = p.ns
						}
					}
				}
				if at100 == 0 {
					return nil, errors.New("fewer than a hundred packets")
				}
				for i := range n {
					if at[i] > at100-500e6 && at[i] < at100+300e6 {
						gone[i] = true
					}
				}
				for _, p := range list {
					i := 0
					for i < n && p.ns > at[i+1] {
						i++
					}
					if i == n || p.ns < at[0] || !gone[i] {
						kept = append(kept, p)
					}
				}
				return kept, nil
			}); err != nil {
				return err
			}
		}
		for i := range n {
			if !gone[i] && i%listed == 0 {
				x.note(q, c, 1, int64(4*i), q.features, "-", "bytes", request(i), answer(i, 20))
			}
		}
		return nil
	}
}

// web3 makes three HTTP/3 requests.
func web3(q quicgo, x *quicLab) error {
	x.ct.NextProtos, x.st = []string{http3.NextProtoH3}, http3.ConfigureTLSConfig(x.st)
	small, large, upload, taken := text(250), text(12_000), text(3000), []byte("taken\n")
	mux := http.NewServeMux()
	mux.HandleFunc("GET /small", func(w http.ResponseWriter, _ *http.Request) { w.Write(small) })
	mux.HandleFunc("GET /large", func(w http.ResponseWriter, _ *http.Request) { w.Write(large) })
	mux.HandleFunc("POST /echo", func(w http.ResponseWriter, r *http.Request) {
		if b, err := io.ReadAll(r.Body); err != nil || !bytes.Equal(b, upload) {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		w.Write(taken)
	})
	ln, err := x.server.ListenEarly(x.st, x.sc)
	if err != nil {
		return err
	}
	server := &http3.Server{Handler: mux}
	go server.ServeListener(ln)
	x.closers = append(x.closers, server.Close, ln.Close)
	c, err := x.dial(q, false)
	if err != nil {
		return err
	}
	t := &http3.Transport{DisableCompression: true}
	cc := t.NewClientConn(c)
	base := "https://" + serverName + ":" + strconv.Itoa(x.h.port)
	for i, r := range []struct {
		method, path string
		body, want   []byte
	}{{"GET", "/small", nil, small}, {"GET", "/large", nil, large}, {"POST", "/echo", upload, taken}} {
		var body io.Reader
		if r.body != nil {
			body = bytes.NewReader(r.body)
		}
		req, err := http.NewRequestWithContext(x.ctx, r.method, base+r.path, body)
		if err != nil {
			return err
		}
		resp, err := cc.RoundTrip(req)
		if err != nil {
			return err
		}
		got, err := io.ReadAll(resp.Body)
		if err != nil {
			return err
		}
		if resp.StatusCode != 200 || !bytes.Equal(got, r.want) {
			return fmt.Errorf("%s: status %d and %d bytes, want %d", r.path, resp.StatusCode, len(got), len(r.want))
		}
		x.note(q, c, 1, int64(4*i), q.features, "http3", "bodies", r.body, r.want)
	}
	bye(c)
	return nil
}

func quicAll() (all []scenario) {
	const aes, aes256, chacha = tls.TLS_AES_128_GCM_SHA256, tls.TLS_AES_256_GCM_SHA384, tls.TLS_CHACHA20_POLY1305_SHA256
	v1, v2 := quic.Version1, quic.Version2
	add := func(f func(quicgo, *quicLab) error, list ...quicgo) {
		for _, q := range list {
			all = append(all, q.scenario(f))
		}
	}
	x := tls.X25519
	add(plain,
		quicgo{version: v1, suite: aes, features: "streams", curve: x},
		quicgo{version: v1, suite: aes256, features: "streams", curve: x},
		quicgo{version: v1, suite: chacha, features: "streams", curve: x},
		quicgo{version: v2, suite: aes, features: "streams", curve: x},
		quicgo{version: v2, suite: chacha, features: "streams", curve: x},
		quicgo{version: v1, suite: aes, features: "mlkem"},
		quicgo{version: v1, suite: aes, features: "empty_id", curve: x, emptyID: true},
		quicgo{version: v1, suite: aes, features: "retry", curve: x, retry: true},
		quicgo{version: v2, suite: aes256, features: "retry", curve: x, retry: true},
		quicgo{version: v1, suite: aes, features: "version_negotiation", curve: x, versions: []quic.Version{v2}})
	add(func(q quicgo, x *quicLab) error {
		if err := plain(q, x); err != nil {
			return err
		}
		return x.h.embed(true)
	}, quicgo{version: v1, suite: aes, features: "keys_after", curve: x})
	add(resumedQUIC,
		quicgo{version: v1, suite: aes, features: "early_data", curve: x},
		quicgo{version: v2, suite: chacha, features: "early_data", curve: x})
	add(migrating,
		quicgo{version: v1, suite: aes, features: "migration", curve: x},
		quicgo{version: v2, suite: aes, features: "migration", curve: x})
	add(many(false),
		quicgo{version: v1, suite: aes, features: "key_update", curve: x},
		quicgo{version: v2, suite: aes256, features: "key_update", curve: x})
	add(many(true), quicgo{version: v1, suite: aes, features: "key_update_lost", curve: x})
	add(web3,
		quicgo{version: v1, suite: aes, features: "http3", curve: x},
		quicgo{version: v1, suite: aes256, features: "http3", curve: x},
		quicgo{version: v1, suite: chacha, features: "http3,retry", curve: x, retry: true},
		quicgo{version: v2, suite: aes, features: "http3", curve: x})
	return all
}

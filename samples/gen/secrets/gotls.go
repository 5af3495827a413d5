package main

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"time"
)

// gotls configures a client and a server of crypto/tls.
type gotls struct {
	features string
	protocol string
	client   func(*lab, *tls.Config) error
	server   func(*lab, *tls.Config) error
	plans    [][]step // of each connection in turn
}

// configs returns the configurations of client and server; the client writes the keys.
func (l *lab) configs(h *shot) (c, s *tls.Config, keys *os.File, err error) {
	pair, err := tls.LoadX509KeyPair(l.path("rsa.pem"), l.path("rsa.key"))
	if err != nil {
		return nil, nil, nil, err
	}
	ca, err := os.ReadFile(l.path("ca.pem"))
	if err != nil {
		return nil, nil, nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	if keys, err = os.Create(h.keyfile()); err != nil {
		return nil, nil, nil, err
	}
	return &tls.Config{RootCAs: roots, ServerName: serverName, KeyLogWriter: keys}, &tls.Config{Certificates: []tls.Certificate{pair}}, keys, nil
}

func (g gotls) make(l *lab, h *shot) error {
	cc, sc, keys, err := l.configs(h)
	if err != nil {
		return err
	}
	defer keys.Close()
	for _, f := range []struct {
		set func(*lab, *tls.Config) error
		c   *tls.Config
	}{{g.client, cc}, {g.server, sc}} {
		if f.set != nil {
			if err := f.set(l, f.c); err != nil {
				return err
			}
		}
	}
	addr := "127.0.0.1:" + strconv.Itoa(h.port)
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	defer ln.Close()
	if g.plans == nil {
		g.plans = [][]step{exchange()}
	}
	for i, plan := range g.plans {
		sent, state, err := goOnce(ln, addr, cc, sc, plan)
		if err != nil {
			return err
		}
		r := row{conn: i + 1, layer: "tls", version: tls.VersionName(state.Version), suite: tls.CipherSuiteName(state.CipherSuite), features: g.features, protocol: "http1"}
		if i == 0 && len(g.plans) > 1 {
			r.features = "full"
		} else if len(g.plans) > 1 && !state.DidResume {
			return errors.New("the connection was not resumed")
		}
		h.note(r, sent[0], sent[1])
	}
	return nil
}

// goOnce makes one connection and runs the steps on it.
func goOnce(ln net.Listener, addr string, cc, sc *tls.Config, plan []step) (sent [2][]byte, state tls.ConnectionState, err error) {
	type accepted struct {
		c   *tls.Conn
		err error
	}
	got := make(chan accepted, 1)
	go func() {
		c, err := ln.Accept()
		if err != nil {
			got <- accepted{nil, err}
			return
		}
		t := tls.Server(c, sc)
		t.SetDeadline(time.Now().Add(patient))
		got <- accepted{t, t.Handshake()}
	}()
	c, err := tls.Dial("tcp", addr, cc)
	if err != nil {
		return sent, state, err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patient))
	s := <-got
	if s.err != nil {
		return sent, state, s.err
	}
	defer s.c.Close()
	for _, x := range plan {
		from, to, side := c, s.c, 0
		if x.server {
			from, to, side = s.c, c, 1
		}
		done := make(chan error, 1)
		go func() {
			_, err := from.Write(x.send)
			done <- err
		}()
		b := make([]byte, len(x.send))
		if _, err := io.ReadFull(to, b); err != nil {
			return sent, state, err
		}
		if err := <-done; err != nil {
			return sent, state, err
		}
		if !bytes.Equal(b, x.send) {
			return sent, state, errors.New("other bytes arrived than were sent")
		}
		sent[side] = append(sent[side], x.send...)
	}
	return sent, c.ConnectionState(), nil
}

// limit sets the version, and the suite if it can be set.
func limit(version, suite uint16) func(*lab, *tls.Config) error {
	return func(_ *lab, c *tls.Config) error {
		c.MinVersion, c.MaxVersion = version, version
		if suite != 0 {
			c.CipherSuites = []uint16{suite}
		}
		return nil
	}
}

func remember(_ *lab, c *tls.Config) error {
	c.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	return nil
}

func goAll() (all []scenario) {
	add := func(version uint16, suite uint16, g gotls) {
		n := "auto"
		if suite != 0 {
			n = suiteShort(tls.CipherSuiteName(suite))
		}
		set := limit(version, suite)
		for _, f := range []*func(*lab, *tls.Config) error{&g.client, &g.server} {
			more := *f
			*f = func(l *lab, c *tls.Config) error {
				if err := set(l, c); err != nil || more == nil {
					return err
				}
				return more(l, c)
			}
		}
		all = append(all, scenario{name("go", tls.VersionName(version), n, g.features), g.make})
	}
	add(tls.VersionTLS13, 0, gotls{features: "mlkem", client: curves(tls.X25519MLKEM768)})
	add(tls.VersionTLS13, 0, gotls{features: "retry", client: curves(tls.X25519, tls.CurveP521), server: curves(tls.CurveP521)})
	add(tls.VersionTLS13, 0, gotls{features: "resumed", client: remember, plans: [][]step{exchange(), again()}})
	add(tls.VersionTLS13, 0, gotls{features: "long", plans: [][]step{{client(get("/export")), server(ok(text(20_000)))}}})
	var list []byte // of ECH configurations, from the server to the client
	add(tls.VersionTLS13, 0, gotls{features: "ech", server: func(_ *lab, c *tls.Config) (err error) {
		c.EncryptedClientHelloKeys, _, err = echKeys()
		return err
	}, client: func(l *lab, c *tls.Config) error { return errors.New("replaced below") }})
	all[len(all)-1].make = func(l *lab, h *shot) error {
		keys, configs, err := echKeys()
		if err != nil {
			return err
		}
		list = configs
		return gotls{features: "ech", server: func(l *lab, c *tls.Config) error {
			c.EncryptedClientHelloKeys = keys
			return limit(tls.VersionTLS13, 0)(l, c)
		}, client: func(l *lab, c *tls.Config) error {
			c.EncryptedClientHelloConfigList = list
			return limit(tls.VersionTLS13, 0)(l, c)
		}}.make(l, h)
	}
	add(tls.VersionTLS12, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, gotls{})
	add(tls.VersionTLS12, tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256, gotls{})
	add(tls.VersionTLS12, tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA, gotls{})
	add(tls.VersionTLS12, tls.TLS_RSA_WITH_RC4_128_SHA, gotls{})
	add(tls.VersionTLS12, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, gotls{features: "resumed,ticket", client: remember, plans: [][]step{exchange(), again()}})
	add(tls.VersionTLS11, tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA, gotls{})
	add(tls.VersionTLS10, tls.TLS_RSA_WITH_AES_128_CBC_SHA, gotls{features: "long", plans: [][]step{{client(get("/export")), server(ok(text(20_000)))}}})
	add(tls.VersionTLS10, tls.TLS_ECDHE_RSA_WITH_RC4_128_SHA, gotls{})
	return all
}

func curves(ids ...tls.CurveID) func(*lab, *tls.Config) error {
	return func(_ *lab, c *tls.Config) error {
		c.CurvePreferences = ids
		return nil
	}
}

// echKeys makes a key for encrypted hellos, and the list with its configuration (RFC 9849, 4).
func echKeys() ([]tls.EncryptedClientHelloKey, []byte, error) {
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	public := "public.example.test"
	body := []byte{7, 0, 0x20} // configuration 7, DHKEM(X25519, HKDF-SHA256)
	body = append(binary.BigEndian.AppendUint16(body, 32), key.PublicKey().Bytes()...)
	body = append(body, 0, 4, 0, 1, 0, 1) // HKDF-SHA256 with AES-128-GCM
	body = append(append(body, 32, byte(len(public))), public...)
	body = append(body, 0, 0)
	config := append(binary.BigEndian.AppendUint16([]byte{0xfe, 0x0d}, uint16(len(body))), body...)
	list := append(binary.BigEndian.AppendUint16(nil, uint16(len(config))), config...)
	return []tls.EncryptedClientHelloKey{{Config: config, PrivateKey: key.Bytes()}}, list, nil
}

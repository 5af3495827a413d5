package main

import (
	"bytes"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"time"

	"github.com/pion/dtls/v3"
)

// peer configures two ends of pion for DTLS 1.2.
type peer struct {
	suite    dtls.CipherSuiteID
	features string
	psk      bool
	ids      [2]func() []byte // generators of connection ids for client and server
	noEMS    bool
}

func (p peer) make(l *lab, h *shot) error {
	cc, _, keys, err := l.configs(h)
	if err != nil {
		return err
	}
	defer keys.Close()
	client := &dtls.Config{CipherSuites: []dtls.CipherSuiteID{p.suite}, RootCAs: cc.RootCAs, ServerName: serverName, KeyLogWriter: keys, ConnectionIDGenerator: p.ids[0]}
	server := &dtls.Config{CipherSuites: client.CipherSuites, ConnectionIDGenerator: p.ids[1]}
	if p.noEMS {
		client.ExtendedMasterSecret, server.ExtendedMasterSecret = dtls.DisableExtendedMasterSecret, dtls.DisableExtendedMasterSecret
	}
	suite := strings.ReplaceAll(p.suite.String(), "-", "_")
	if p.psk {
		for _, c := range []*dtls.Config{client, server} {
			c.PSK = func([]byte) ([]byte, error) { return []byte(pskHex), nil }
			c.PSKIdentityHint = []byte(pskIdentity)
		}
		client.ServerName, client.RootCAs = "", nil
	} else {
		file := "rsa"
		if strings.Contains(suite, "ECDSA") {
			file = "ec"
		}
		pair, err := tls.LoadX509KeyPair(l.path(file+".pem"), l.path(file+".key"))
		if err != nil {
			return err
		}
		server.Certificates = []tls.Certificate{pair}
	}
	addr := &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: h.port}
	ln, err := dtls.Listen("udp4", addr, server)
	if err != nil {
		return err
	}
	defer ln.Close()
	type accepted struct {
		c   net.Conn
		err error
	}
	got := make(chan accepted, 1)
	go func() {
		c, err := ln.Accept()
		if err == nil {
			err = c.(*dtls.Conn).HandshakeContext(l.ctx)
		}
		got <- accepted{c, err}
	}()
	c, err := dtls.Dial("udp4", addr, client)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.HandshakeContext(l.ctx); err != nil {
		return err
	}
	s := <-got
	if s.err != nil {
		return s.err
	}
	var sent [2][]byte
	for _, x := range messages() {
		from, to, side := net.Conn(c), s.c, 0
		if x.server {
			from, to, side = s.c, c, 1
		}
		to.SetDeadline(time.Now().Add(patient))
		if _, err := from.Write(x.send); err != nil {
			return err
		}
		b := make([]byte, 2048)
		n, err := to.Read(b)
		if err != nil {
			return err
		}
		if !bytes.Equal(b[:n], x.send) {
			return errors.New("other bytes arrived than were sent")
		}
		sent[side] = append(sent[side], x.send...)
	}
	c.Close()
	s.c.Close()
	h.note(row{layer: "dtls", version: "DTLS 1.2", suite: suite, features: p.features, protocol: "-"}, sent[0], sent[1])
	return nil
}

// pionAll omits CBC with connection ids: there pion 3.1.15 puts the plaintext into the MAC twice, which
// no other implementation accepts.
func pionAll() (all []scenario) {
	long, none := dtls.RandomCIDGenerator(8), dtls.OnlySendCIDGenerator()
	for _, p := range []peer{
		{suite: dtls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, features: "connection_id", ids: [2]func() []byte{dtls.RandomCIDGenerator(3), long}},
		{suite: dtls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, features: "connection_id", ids: [2]func() []byte{none, long}},
		{suite: dtls.TLS_PSK_WITH_AES_128_CCM_8, features: "psk,connection_id", psk: true, ids: [2]func() []byte{none, long}},
		{suite: dtls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, features: "no_ems", noEMS: true},
		{suite: dtls.TLS_PSK_WITH_AES_128_CBC_SHA256, features: "psk", psk: true},
	} {
		all = append(all, scenario{name("pion", "DTLS 1.2", suiteShort(p.suite.String()), p.features), p.make})
	}
	return all
}

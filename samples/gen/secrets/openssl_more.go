package main

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"regexp"
)

// withRSA replaces the key log of a scenario by the server's private key.
func withRSA(make func(*lab, *shot) error) func(*lab, *shot) error {
	return func(l *lab, h *shot) error {
		h.keys, h.secret = h.name+".key", l.path("rsa.key")
		return make(l, h)
	}
}

// opensslKeys are connections whose keys are not in a usual key log.
func opensslKeys() (all []scenario) {
	for _, o := range []ossl{
		{version: "-tls1_2", cipher: "AES128-GCM-SHA256", features: "rsa_key"},
		{version: "-tls1_2", cipher: "AES256-SHA256", features: "rsa_key,no_etm", both: "-no_etm"},
		{version: "-tls1_2", cipher: "AES256-GCM-SHA384", features: "rsa_key,renegotiation", server: "-client_renegotiation", plan: steps(exchange(), one(command("R\n")), again())},
		{version: "-tls1_1", cipher: "AES256-SHA", features: "rsa_key,etm"},
		{version: "-tls1", cipher: "AES128-SHA", features: "rsa_key,no_etm", both: "-no_etm"},
	} {
		s := o.scenario()
		all = append(all, scenario{s.name, withRSA(s.make)})
	}
	o := ossl{version: "-tls1_2", cipher: "AES128-GCM-SHA256", features: "rsa_key,resumed,session_id", both: "-no_ticket"}
	all = append(all, scenario{name("openssl", "TLS 1.2", o.cipher, o.features), withRSA(o.resumed(nil, false))})

	o = ossl{version: "-tls1_2", cipher: "ECDHE-RSA-AES128-GCM-SHA256", features: "session_line", both: "-no_ticket"}
	all = append(all, scenario{name("openssl", "TLS 1.2", o.cipher, o.features), o.sessionLine})
	for _, f := range []string{"rsa_line", "pms_line"} {
		o := ossl{version: "-tls1_2", cipher: "AES128-GCM-SHA256", features: f}
		all = append(all, scenario{name("openssl", "TLS 1.2", o.cipher, o.features), func(l *lab, h *shot) error { return o.preMasterLine(l, h, f == "pms_line") }})
	}
	return all
}

var sessionOf = regexp.MustCompile(`Session-ID: ([0-9A-F]{64})\s[\s\S]*?Master-Key: ([0-9A-F]{96})`)

// sessionLine makes the key log from the session that s_client prints.
func (o ossl) sessionLine(l *lab, h *shot) error {
	s, err := o.serve(l, h.port)
	if err != nil {
		return err
	}
	defer s.kill()
	c, sent, err := o.once(h, s, exchange())
	if err != nil {
		return err
	}
	out, _ := c.said()
	m := sessionOf.FindSubmatch(out)
	if m == nil {
		return errors.New("s_client printed no session")
	}
	h.note(o.row(l), sent[0], sent[1])
	return os.WriteFile(h.keyfile(), fmt.Appendf(nil, "RSA Session-ID:%s Master-Key:%s\n", m[1], m[2]), 0o600)
}

// preMasterLine makes the key log from the pre-master secret that the client sent.
func (o ossl) preMasterLine(l *lab, h *shot, byRandom bool) error {
	if err := o.make(l, h); err != nil {
		return err
	}
	if err := h.end(); err != nil {
		return err
	}
	packets, err := os.ReadFile(h.raw)
	if err != nil {
		return err
	}
	// A handshake record of TLS 1.2 with a client key exchange of 256 encrypted bytes.
	head := []byte{0x16, 3, 3, 1, 6, 0x10, 0, 1, 2, 1, 0}
	at := bytes.Index(packets, head)
	if at < 0 || len(packets) < at+len(head)+256 {
		return errors.New("no client key exchange in one packet")
	}
	encrypted := packets[at+len(head):][:256]
	text, err := os.ReadFile(l.path("rsa.key"))
	if err != nil {
		return err
	}
	block, _ := pem.Decode(text)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return err
	}
	secret, err := rsa.DecryptPKCS1v15(rand.Reader, key.(*rsa.PrivateKey), encrypted)
	if err != nil {
		return err
	}
	line := fmt.Sprintf("RSA %x %x\n", encrypted[:8], secret)
	if byRandom {
		keys, err := os.ReadFile(h.keyfile())
		if err != nil {
			return err
		}
		f := bytes.Fields(keys[bytes.Index(keys, []byte("CLIENT_RANDOM")):])
		line = fmt.Sprintf("PMS_CLIENT_RANDOM %s %x\n", f[1], secret)
	}
	return os.WriteFile(h.keyfile(), []byte(line), 0o600)
}

// messages is a conversation of datagrams.
func messages() []step {
	return []step{client([]byte("sensor 17: what is the limit?\n")), server([]byte("limit 21.5 degrees, report above\n")), client([]byte("sensor 17: 22.0 degrees\n")), server([]byte("noted 22.0 degrees\n"))}
}

func moreMessages() []step {
	return []step{client([]byte("sensor 17: 23.5 degrees now\n")), server([]byte("noted 23.5 degrees\n"))}
}

// opensslDTLS are the suites and features of DTLS in OpenSSL.
func opensslDTLS() (all []scenario) {
	for _, o := range []ossl{
		{version: "-dtls1_2", cipher: "ECDHE-ECDSA-AES128-GCM-SHA256", cert: "ec"},
		{version: "-dtls1_2", cipher: "ECDHE-RSA-AES256-GCM-SHA384"},
		{version: "-dtls1_2", cipher: "ECDHE-RSA-CHACHA20-POLY1305"},
		{version: "-dtls1_2", cipher: "ECDHE-ECDSA-AES128-CCM", cert: "ec"},
		{version: "-dtls1_2", cipher: "ECDHE-ECDSA-AES128-CCM8", cert: "ec"},
		{version: "-dtls1_2", cipher: "ECDHE-RSA-AES128-SHA", features: "etm"},
		{version: "-dtls1_2", cipher: "ECDHE-RSA-AES128-SHA256", features: "no_etm", both: "-no_etm"},
		{version: "-dtls1_2", cipher: "ECDHE-RSA-AES256-SHA384", features: "etm"},
		{version: "-dtls1_2", cipher: "NULL-SHA256"},
		{version: "-dtls1_2", cipher: "PSK-AES128-CCM8", cert: "none", both: pskFlags, features: "psk"},
		{version: "-dtls1_2", cipher: "ECDHE-PSK-AES128-CBC-SHA256", cert: "none", both: pskFlags, features: "psk"},
		{version: "-dtls1_2", cipher: "ECDHE-RSA-AES128-GCM-SHA256", features: "cookie", server: "-listen"},
		{version: "-dtls1_2", cipher: "ECDHE-RSA-AES128-GCM-SHA256", features: "fragments", both: "-mtu 256"},
		{version: "-dtls1_2", cipher: "ECDHE-RSA-AES128-GCM-SHA256", features: "client_certificate", client: "-cert client.pem -key client.key", server: "-Verify 1 -CAfile ca.pem"},
		{version: "-dtls1_2", cipher: "ECDHE-RSA-AES128-GCM-SHA256", features: "renegotiation", server: "-client_renegotiation", plan: steps(messages(), one(command("R\n")), moreMessages())},
		{version: "-dtls1_2", cipher: "ECDHE-RSA-AES256-SHA384", features: "renegotiation", both: "-no_etm", server: "-client_renegotiation", plan: steps(messages(), one(command("R\n")), moreMessages())},
		{version: "-dtls1", cipher: "ECDHE-RSA-AES128-SHA", features: "etm"},
		{version: "-dtls1", cipher: "AES256-SHA", features: "no_etm", both: "-no_etm"},
	} {
		if o.plan == nil {
			o.plan = messages()
		}
		all = append(all, o.scenario())
	}
	for _, o := range []ossl{
		{version: "-dtls1_2", cipher: "AES128-GCM-SHA256", features: "rsa_key"},
		{version: "-dtls1", cipher: "AES128-SHA", features: "rsa_key"},
	} {
		o.plan = messages()
		s := o.scenario()
		all = append(all, scenario{s.name, withRSA(s.make)})
	}
	for _, o := range []ossl{
		{version: "-dtls1_2", cipher: "ECDHE-RSA-AES128-GCM-SHA256", features: "resumed,ticket"},
		{version: "-dtls1_2", cipher: "ECDHE-RSA-AES128-SHA256", features: "resumed,session_id", both: "-no_ticket"},
	} {
		all = append(all, scenario{name("openssl", versionNames[o.version], o.cipher, o.features), o.resumed(nil, false)})
	}
	return all
}

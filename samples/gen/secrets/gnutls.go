package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// gtls configures gnutls-serv and gnutls-cli. The server echoes each line, so the client's output is
// what both sides received.
type gtls struct {
	version  string
	suite    string
	priority string // rest of the priority string after the version
	features string
	psk      bool
	client   string // further flags, with blanks
	server   string
	state    string
	plan     []string // lines and commands (^rekey^); nil for two lines
}

func (g gtls) dtls() bool { return strings.HasPrefix(g.version, "DTLS") }

func (g gtls) flags(l *lab, port int) []string {
	// LIMIT: no ECDHE-PSK, with which gnutls-cli 3.7.9 crashes.
	v := strings.ReplaceAll(g.version, " ", "")
	argv := []string{"-p", strconv.Itoa(port), "--priority", "NONE:+VERS-" + v + ":+SIGN-ALL:+COMP-NULL:+GROUP-ALL:+CTYPE-X509:" + g.priority + ":%VERIFY_ALLOW_BROKEN"}
	if g.dtls() {
		argv = append(argv, "--udp")
	}
	return argv
}

func (g gtls) serve(l *lab, port int) (*process, error) {
	argv := append([]string{"gnutls-serv", "--echo", "--crlf", "-q"}, g.flags(l, port)...)
	argv = append(argv, "--x509keyfile", "rsa.key", "--x509certfile", "rsa.pem", "--x509keyfile", "ec.key", "--x509certfile", "ec.pem", "--x509cafile", "ca.pem")
	if g.psk {
		if err := os.WriteFile(l.path("psk"), []byte(pskIdentity+":"+pskHex+"\n"), 0o600); err != nil {
			return nil, err
		}
		argv = append(argv, "--pskpasswd", "psk")
	}
	if !strings.Contains(g.server, "require-client-cert") {
		argv = append(argv, "--disable-client-cert")
	}
	s, err := l.start(nil, append(argv, strings.Fields(g.server)...)...)
	if err != nil {
		return nil, err
	}
	if g.dtls() {
		err = upUDP(port)
	} else {
		err = up(port)
	}
	if err != nil {
		_, errs := s.said()
		s.kill()
		return nil, fmt.Errorf("%w: %q", err, tail(errs))
	}
	return s, nil
}

func (g gtls) connect(h *shot) (*process, error) {
	argv := append([]string{"gnutls-cli", "--logfile", "cli.log", "--x509cafile", "ca.pem", "--sni-hostname", serverName, "--verify-hostname", serverName,
		"--inline-commands", "--insecure"}, g.flags(h.l, h.port)...)
	if g.psk {
		argv = append(argv, "--pskusername", pskIdentity, "--pskkey", pskHex)
	}
	argv = append(append(argv, strings.Fields(g.client)...), "127.0.0.1")
	return h.l.start([]string{"SSLKEYLOGFILE=" + h.keyfile()}, argv...)
}

// echoed sends each line and waits for its echo.
func echoed(c *process, plan []string) (sent []byte, err error) {
	for _, line := range plan {
		if _, err := c.in.Write([]byte(line + "\n")); err != nil {
			return sent, err
		}
		if strings.HasPrefix(line, "^") {
			time.Sleep(settle)
			continue
		}
		sent = append(sent, line+"\n"...)
		if err := c.await(0, sent); err != nil {
			return sent, err
		}
	}
	return sent, nil
}

func (g gtls) make(l *lab, h *shot) error {
	s, err := g.serve(l, h.port)
	if err != nil {
		return err
	}
	defer s.kill()
	plan := g.plan
	if plan == nil {
		plan = []string{"sensor 17: what is the limit?", "sensor 17: 22.0 degrees"}
	}
	c, err := g.connect(h)
	if err != nil {
		return err
	}
	sent, err := echoed(c, plan)
	if err != nil {
		c.kill()
		text, _ := os.ReadFile(l.path("cli.log"))
		_, errs := s.said()
		return fmt.Errorf("%w: %q, %q", err, tail(text), tail(errs))
	}
	time.Sleep(settle)
	c.in.Close()
	if err := c.end(patient); err != nil && !g.dtls() {
		return err
	}
	if out, _ := c.said(); !bytes.Equal(out, sent) {
		return fmt.Errorf("the server echoed %q of %q", out, sent)
	}
	layer := "tls"
	if g.dtls() {
		layer = "dtls"
	}
	r := row{layer: layer, version: g.version, suite: g.suite, features: g.features, protocol: "-", state: g.state}
	if strings.HasPrefix(g.features, "resumed") {
		// gnutls-cli sends nothing on its first connection.
		first := r
		first.features = "full"
		h.note(first, nil, nil)
		r.conn = 2
		if _, file, ok := strings.Cut(g.client, "--earlydata="); ok {
			early, err := os.ReadFile(l.path(file))
			if err != nil {
				return err
			}
			h.note(r, append(early, sent...), sent)
			return nil
		}
	}
	h.note(r, sent, sent)
	return nil
}

// suiteShort is the name of a suite in file names.
func suiteShort(s string) string {
	s = strings.TrimPrefix(strings.ToLower(s), "tls_")
	return strings.ReplaceAll(s, "_", "-")
}

func gnutlsAll() (all []scenario) {
	const (
		v13 = "TLS 1.3"
		v12 = "TLS 1.2"
		v11 = "TLS 1.1"
		v10 = "TLS 1.0"
		d12 = "DTLS 1.2"
		d10 = "DTLS 1.0"
		kx3 = "+ECDHE-RSA:+AEAD:"
	)
	twice := []string{"one before the new keys", "^rekey1^", "two after the client's", "^rekey^", "three after both sides' keys", "^rekey1^", "^rekey1^", "four"}
	reneg := []string{"one before the second handshake", "^renegotiate^", "two after it"}
	for _, g := range []gtls{
		{version: v13, suite: "TLS_AES_128_GCM_SHA256", priority: kx3 + "+AES-128-GCM"},
		{version: v13, suite: "TLS_AES_256_GCM_SHA384", priority: kx3 + "+AES-256-GCM"},
		{version: v13, suite: "TLS_CHACHA20_POLY1305_SHA256", priority: kx3 + "+CHACHA20-POLY1305"},
		{version: v13, suite: "TLS_AES_128_CCM_SHA256", priority: kx3 + "+AES-128-CCM"},
		{version: v13, suite: "TLS_AES_128_CCM_8_SHA256", priority: kx3 + "+AES-128-CCM-8"},
		{version: v13, suite: "TLS_AES_128_GCM_SHA256", priority: kx3 + "+AES-128-GCM", features: "key_update", plan: twice},
		{version: v13, suite: "TLS_AES_256_GCM_SHA384", priority: kx3 + "+AES-256-GCM", features: "key_update", plan: twice},
		{version: v13, suite: "TLS_CHACHA20_POLY1305_SHA256", priority: kx3 + "+CHACHA20-POLY1305", features: "client_certificate", client: "--x509certfile client.pem --x509keyfile client.key", server: "--require-client-cert"},
		{version: v13, suite: "TLS_AES_128_GCM_SHA256", priority: "+PSK:+AEAD:+AES-128-GCM", features: "psk_without_dh", psk: true},
		{version: v13, suite: "TLS_AES_128_GCM_SHA256", priority: "+DHE-PSK:+ECDHE-PSK:+AEAD:+AES-128-GCM", features: "psk", psk: true},
		{version: v13, suite: "TLS_AES_256_GCM_SHA384", priority: kx3 + "+AES-256-GCM", features: "resumed", client: "--resume --waitresumption"},
		{version: v13, suite: "TLS_AES_256_GCM_SHA384", priority: kx3 + "+AES-256-GCM", features: "resumed,early_data", client: "--resume --waitresumption --earlydata=early", server: "--earlydata --maxearlydata=1024"},

		{version: v12, suite: "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", priority: "+ECDHE-RSA:+AEAD:+AES-128-GCM"},
		{version: v12, suite: "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", priority: "+ECDHE-ECDSA:+AEAD:+CHACHA20-POLY1305"},
		{version: v12, suite: "TLS_DHE_RSA_WITH_AES_128_CCM", priority: "+DHE-RSA:+AEAD:+AES-128-CCM"},
		{version: v12, suite: "TLS_ECDHE_ECDSA_WITH_AES_256_CCM_8", priority: "+ECDHE-ECDSA:+AEAD:+AES-256-CCM-8"},
		{version: v12, suite: "TLS_RSA_WITH_3DES_EDE_CBC_SHA", priority: "+RSA:+SHA1:+3DES-CBC", features: "etm"},
		{version: v12, suite: "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA", priority: "+ECDHE-RSA:+SHA1:+3DES-CBC:%NO_ETM", features: "no_etm"},
		{version: v12, suite: "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384", priority: "+ECDHE-RSA:+SHA384:+AES-256-CBC", features: "etm"},
		{version: v12, suite: "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256", priority: "+ECDHE-RSA:+SHA256:+AES-128-CBC:%NO_ETM", features: "no_etm"},
		{version: v12, suite: "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256", priority: "+ECDHE-RSA:+SHA256:+AES-128-CBC:%NO_ETM:%NO_SESSION_HASH", features: "no_etm,no_ems"},
		{version: v12, suite: "TLS_RSA_WITH_RC4_128_SHA", priority: "+RSA:+SHA1:+ARCFOUR-128"},
		{version: v12, suite: "TLS_RSA_WITH_RC4_128_MD5", priority: "+RSA:+MD5:+ARCFOUR-128"},
		{version: v12, suite: "TLS_ECDHE_RSA_WITH_RC4_128_SHA", priority: "+ECDHE-RSA:+SHA1:+ARCFOUR-128", features: "renegotiation", plan: reneg},
		{version: v12, suite: "TLS_RSA_WITH_NULL_SHA256", priority: "+RSA:+SHA256:+NULL"},
		{version: v12, suite: "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", priority: "+ECDHE-RSA:+AEAD:+CHACHA20-POLY1305", features: "renegotiation", plan: reneg},
		{version: v12, suite: "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA", priority: "+ECDHE-RSA:+SHA1:+AES-256-CBC", features: "renegotiation,etm", plan: reneg},
		{version: v12, suite: "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", priority: "+ECDHE-RSA:+AEAD:+AES-256-GCM", features: "resumed,ticket", client: "--resume"},
		{version: v12, suite: "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", priority: "+ECDHE-RSA:+AEAD:+AES-256-GCM", features: "resumed,session_id", client: "--resume --noticket"},
		{version: v12, suite: "TLS_ECDHE_RSA_WITH_CAMELLIA_128_GCM_SHA256", priority: "+ECDHE-RSA:+AEAD:+CAMELLIA-128-GCM", features: "not_read", state: "none"},

		{version: v11, suite: "TLS_RSA_WITH_3DES_EDE_CBC_SHA", priority: "+RSA:+SHA1:+3DES-CBC:%NO_ETM", features: "no_etm"},
		{version: v11, suite: "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA", priority: "+ECDHE-RSA:+SHA1:+AES-256-CBC", features: "etm"},
		{version: v11, suite: "TLS_RSA_WITH_RC4_128_MD5", priority: "+RSA:+MD5:+ARCFOUR-128"},
		{version: v10, suite: "TLS_RSA_WITH_3DES_EDE_CBC_SHA", priority: "+RSA:+SHA1:+3DES-CBC:%NO_ETM", features: "no_etm"},
		{version: v10, suite: "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", priority: "+ECDHE-RSA:+SHA1:+AES-128-CBC", features: "etm"},
		{version: v10, suite: "TLS_RSA_WITH_RC4_128_SHA", priority: "+RSA:+SHA1:+ARCFOUR-128"},

		{version: d12, suite: "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", priority: "+ECDHE-RSA:+AEAD:+AES-128-GCM"},
		{version: d12, suite: "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", priority: "+ECDHE-RSA:+AEAD:+CHACHA20-POLY1305"},
		{version: d12, suite: "TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8", priority: "+ECDHE-ECDSA:+AEAD:+AES-128-CCM-8"},
		{version: d12, suite: "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384", priority: "+ECDHE-RSA:+SHA384:+AES-256-CBC", features: "etm"},
		{version: d12, suite: "TLS_RSA_WITH_3DES_EDE_CBC_SHA", priority: "+RSA:+SHA1:+3DES-CBC:%NO_ETM", features: "no_etm"},
		{version: d12, suite: "TLS_RSA_WITH_NULL_SHA", priority: "+RSA:+SHA1:+NULL"},
		{version: d12, suite: "TLS_PSK_WITH_AES_128_CCM_8", priority: "+PSK:+AEAD:+AES-128-CCM-8", psk: true, features: "psk"},
		{version: d12, suite: "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", priority: "+ECDHE-RSA:+AEAD:+AES-256-GCM", features: "renegotiation", plan: reneg},
		{version: d12, suite: "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", priority: "+ECDHE-RSA:+AEAD:+AES-256-GCM", features: "resumed", client: "--resume"},
		{version: d12, suite: "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", priority: "+ECDHE-RSA:+AEAD:+AES-256-GCM", features: "no_cookie", server: "--nocookie"},
		{version: d10, suite: "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", priority: "+ECDHE-RSA:+SHA1:+AES-128-CBC", features: "etm"},
		{version: d10, suite: "TLS_RSA_WITH_3DES_EDE_CBC_SHA", priority: "+RSA:+SHA1:+3DES-CBC:%NO_ETM", features: "no_etm"},
	} {
		all = append(all, g.scenario())
	}
	for _, g := range []gtls{
		{version: v12, suite: "TLS_RSA_WITH_AES_128_GCM_SHA256", priority: "+RSA:+AEAD:+AES-128-GCM:%NO_SESSION_HASH", features: "rsa_key,no_ems"},
		{version: v12, suite: "TLS_RSA_WITH_AES_256_CBC_SHA256", priority: "+RSA:+SHA256:+AES-256-CBC", features: "rsa_key,etm"},
		{version: v11, suite: "TLS_RSA_WITH_3DES_EDE_CBC_SHA", priority: "+RSA:+SHA1:+3DES-CBC:%NO_SESSION_HASH", features: "rsa_key,etm,no_ems"},
		{version: v10, suite: "TLS_RSA_WITH_RC4_128_SHA", priority: "+RSA:+SHA1:+ARCFOUR-128:%NO_SESSION_HASH", features: "rsa_key,no_ems"},
		{version: d12, suite: "TLS_RSA_WITH_AES_128_CBC_SHA", priority: "+RSA:+SHA1:+AES-128-CBC:%NO_SESSION_HASH", features: "rsa_key,etm,no_ems"},
	} {
		s := g.scenario()
		all = append(all, scenario{s.name, withRSA(s.make)})
	}
	return all
}

func (g gtls) scenario() scenario {
	return scenario{name("gnutls", g.version, suiteShort(g.suite), g.features), func(l *lab, h *shot) error {
		if strings.Contains(g.client, "--earlydata") {
			if err := os.WriteFile(l.path("early"), []byte("sensor 17: early, 19.0 degrees\n"), 0o600); err != nil {
				return err
			}
		}
		return g.make(l, h)
	}}
}

package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// ossl configures s_server and s_client.
type ossl struct {
	version  string // flag of both: -tls1_2
	cipher   string // OpenSSL's name; for TLS 1.3 the standard name
	cert     string // rsa, ec or none
	both     string // further flags of both, with blanks
	client   string
	server   string
	features string
	noisy    bool // commands are sent to the server
	plan     []step
}

// versionNames are the words of the column version.
var versionNames = map[string]string{"-tls1": "TLS 1.0", "-tls1_1": "TLS 1.1", "-tls1_2": "TLS 1.2", "-tls1_3": "TLS 1.3", "-dtls1": "DTLS 1.0", "-dtls1_2": "DTLS 1.2"}

func (o ossl) flags() (both []string) {
	both = append(both, o.version)
	switch o.version {
	case "-tls1_3":
		both = append(both, "-ciphersuites", o.cipher)
	default:
		both = append(both, "-cipher", o.cipher+":@SECLEVEL=0")
	}
	return append(both, strings.Fields(o.both)...)
}

func (o ossl) suite(l *lab) string {
	if s, ok := l.names[o.cipher]; ok {
		return s
	}
	return o.cipher
}

func (o ossl) dtls() bool { return strings.HasPrefix(o.version, "-dtls") }

// serve starts s_server.
func (o ossl) serve(l *lab, port int) (*process, error) {
	argv := append([]string{"openssl", "s_server", "-accept", "127.0.0.1:" + strconv.Itoa(port)}, o.flags()...)
	switch o.cert {
	case "none":
		argv = append(argv, "-nocert")
	case "":
		argv = append(argv, "-cert", "rsa.pem", "-key", "rsa.key")
	default:
		argv = append(argv, "-cert", o.cert+".pem", "-key", o.cert+".key")
	}
	if !o.noisy {
		argv = append(argv, "-quiet")
	}
	s, err := l.start(nil, append(argv, strings.Fields(o.server)...)...)
	if err != nil {
		return nil, err
	}
	if o.dtls() {
		err = upUDP(port)
	} else {
		err = up(port)
	}
	if err != nil {
		_, errs := s.said()
		s.kill()
		return nil, fmt.Errorf("%w: %q", err, errs)
	}
	return s, nil
}

// connect starts s_client, which writes its keys.
func (o ossl) connect(h *shot, more ...string) (*process, error) {
	argv := append([]string{"openssl", "s_client", "-connect", "127.0.0.1:" + strconv.Itoa(h.port), "-keylogfile", h.keyfile(), "-no_ign_eof"}, o.flags()...)
	if o.cert == "none" {
		argv = append(argv, "-noservername")
	} else {
		argv = append(argv, "-servername", serverName, "-CAfile", "ca.pem")
	}
	argv = append(argv, strings.Fields(o.client)...)
	return h.l.start(nil, append(argv, more...)...)
}

// once makes one connection and notes it.
func (o ossl) once(h *shot, s *process, plan []step, more ...string) (*process, [2][]byte, error) {
	c, err := o.connect(h, more...)
	if err != nil {
		return nil, [2][]byte{}, err
	}
	sent, err := talk(c, s, plan)
	if err != nil {
		c.kill()
		return nil, sent, err
	}
	time.Sleep(settle) // for tickets and answers to key updates
	c.in.Close()
	return c, sent, c.end(patient)
}

func (o ossl) row(l *lab) row {
	layer := "tls"
	if o.dtls() {
		layer = "dtls"
	}
	protocol := "http1"
	if o.dtls() {
		protocol = "-"
	}
	return row{layer: layer, version: versionNames[o.version], suite: o.suite(l), features: o.features, protocol: protocol}
}

// make is the scenario of one connection.
func (o ossl) make(l *lab, h *shot) error {
	s, err := o.serve(l, h.port)
	if err != nil {
		return err
	}
	defer s.kill()
	plan := o.plan
	if plan == nil {
		plan = exchange()
	}
	_, sent, err := o.once(h, s, plan, "-quiet", "-no_ign_eof")
	if err != nil {
		return err
	}
	h.note(o.row(l), sent[0], sent[1])
	return nil
}

// resumed is the scenario of two connections; the second resumes the first.
func (o ossl) resumed(early []byte, reject bool) func(*lab, *shot) error {
	return func(l *lab, h *shot) error {
		s, err := o.serve(l, h.port)
		if err != nil {
			return err
		}
		defer func() { s.kill() }()
		session := l.path("session")
		os.Remove(session)
		full, second := exchange(), again()
		if o.dtls() {
			full, second = messages(), moreMessages()
		}
		_, sent, err := o.once(h, s, full, "-sess_out", session)
		if err != nil {
			return err
		}
		first := o
		first.features = "full"
		h.note(first.row(l), sent[0], sent[1])
		more, plan := []string{"-sess_in", session}, second
		if early != nil {
			if err := os.WriteFile(l.path("early"), early, 0o600); err != nil {
				return err
			}
			more = append(more, "-early_data", l.path("early"))
		}
		if reject {
			// A server that has lost its ticket keys skips the early data.
			s.kill()
			if s, err = o.serve(l, h.port); err != nil {
				return err
			}
		}
		_, sent, err = o.once(h, s, plan, more...)
		if err != nil {
			return err
		}
		r := o.row(l)
		r.conn = 2
		if strings.HasPrefix(o.features, "rsa_key") {
			// LIMIT: only the first connection has the data for its master secret.
			r.state = "none"
		}
		if early != nil && !reject {
			sent[0] = append(early[:len(early):len(early)], sent[0]...)
			if out, _ := s.said(); !strings.Contains(string(out), string(early)) {
				return fmt.Errorf("the server did not print the early data")
			}
		}
		h.note(r, sent[0], sent[1])
		return nil
	}
}

func name(stack, version, suite string, features ...string) string {
	v := strings.ToLower(strings.ReplaceAll(version, " ", ""))
	s := strings.NewReplacer("tls_", "", "_", "-").Replace(strings.ToLower(suite))
	for _, f := range features {
		if f != "" && f != "-" {
			s += "-" + strings.ReplaceAll(f, ",", "-")
		}
	}
	return stack + "-" + v + "-" + s
}

func (o ossl) scenario() scenario {
	return scenario{name("openssl", versionNames[o.version], o.cipher, o.features), o.make}
}

const pskFlags = "-psk " + pskHex + " -psk_identity " + pskIdentity

// opensslTLS are the versions, suites and features of TLS in OpenSSL.
func opensslTLS() (all []scenario) {
	long := []step{client(get("/export")), server(ok(text(20_000))), client(post("/import", text(2_000))), server(ok(text(10)))}
	for _, o := range []ossl{
		{version: "-tls1_3", cipher: "TLS_AES_128_GCM_SHA256"},
		{version: "-tls1_3", cipher: "TLS_AES_256_GCM_SHA384"},
		{version: "-tls1_3", cipher: "TLS_CHACHA20_POLY1305_SHA256"},
		{version: "-tls1_3", cipher: "TLS_AES_128_CCM_SHA256"},
		{version: "-tls1_3", cipher: "TLS_AES_128_CCM_8_SHA256"},
		{version: "-tls1_3", cipher: "TLS_AES_128_GCM_SHA256", features: "long", plan: long},
		{version: "-tls1_3", cipher: "TLS_AES_256_GCM_SHA384", features: "retry", client: "-groups X25519:P-384", server: "-groups P-384"},
		{version: "-tls1_3", cipher: "TLS_AES_128_GCM_SHA256", features: "client_certificate", cert: "ec", client: "-cert client.pem -key client.key", server: "-Verify 1 -CAfile ca.pem"},
		{version: "-tls1_3", cipher: "TLS_AES_128_GCM_SHA256", features: "late_client_certificate", cert: "ec", noisy: true, client: "-cert client.pem -key client.key -enable_pha",
			server: "-verify 1 -CAfile ca.pem -no_ticket", plan: steps(exchange(), one(atServer("c\n")), again())},
		{version: "-tls1_3", cipher: "TLS_AES_128_GCM_SHA256", features: "key_update", noisy: true,
			plan: steps(exchange(), one(command("K\n")), again(), one(atServer("k\n")), exchange(), one(command("k\n")), one(command("k\n")), again())},
		{version: "-tls1_3", cipher: "TLS_AES_256_GCM_SHA384", features: "key_update", noisy: true, plan: steps(one(atServer("K\n")), exchange(), one(command("K\n")), again())},
		{version: "-tls1_3", cipher: "TLS_CHACHA20_POLY1305_SHA256", features: "key_update", noisy: true, plan: steps(exchange(), one(atServer("K\n")), again())},
		{version: "-tls1_3", cipher: "TLS_AES_128_CCM_SHA256", features: "key_update", noisy: true, plan: steps(exchange(), one(command("K\n")), again())},
		{version: "-tls1_3", cipher: "TLS_AES_128_GCM_SHA256", features: "psk", cert: "none", both: pskFlags},
		{version: "-tls1_3", cipher: "TLS_AES_128_GCM_SHA256", features: "padding", both: "-record_padding 512"},
		{version: "-tls1_3", cipher: "TLS_CHACHA20_POLY1305_SHA256", features: "small_records", both: "-max_send_frag 512", plan: []step{client(get("/a")), server(ok(text(9000)))}},
		{version: "-tls1_3", cipher: "TLS_AES_128_GCM_SHA256", features: "no_middlebox", both: "-no_middlebox"},

		{version: "-tls1_2", cipher: "ECDHE-ECDSA-AES128-GCM-SHA256", cert: "ec"},
		{version: "-tls1_2", cipher: "ECDHE-RSA-AES256-GCM-SHA384"},
		{version: "-tls1_2", cipher: "ECDHE-RSA-CHACHA20-POLY1305"},
		{version: "-tls1_2", cipher: "DHE-RSA-AES128-GCM-SHA256"},
		{version: "-tls1_2", cipher: "DHE-RSA-AES256-CCM8"},
		{version: "-tls1_2", cipher: "ECDHE-ECDSA-AES128-CCM", cert: "ec"},
		{version: "-tls1_2", cipher: "ECDHE-ECDSA-AES256-CCM8", cert: "ec"},
		{version: "-tls1_2", cipher: "AES256-CCM"},
		{version: "-tls1_2", cipher: "AES128-CCM8"},
		{version: "-tls1_2", cipher: "ECDHE-RSA-AES128-SHA", features: "etm"},
		{version: "-tls1_2", cipher: "ECDHE-RSA-AES128-SHA", features: "no_etm", both: "-no_etm"},
		{version: "-tls1_2", cipher: "ECDHE-RSA-AES256-SHA384", features: "etm"},
		{version: "-tls1_2", cipher: "ECDHE-RSA-AES256-SHA384", features: "no_etm", both: "-no_etm"},
		{version: "-tls1_2", cipher: "AES128-SHA256", features: "etm"},
		{version: "-tls1_2", cipher: "DHE-RSA-AES256-SHA256", features: "no_etm", both: "-no_etm"},
		{version: "-tls1_2", cipher: "NULL-MD5"},
		{version: "-tls1_2", cipher: "NULL-SHA256"},
		{version: "-tls1_2", cipher: "ECDHE-RSA-NULL-SHA"},
		{version: "-tls1_2", cipher: "AECDH-AES128-SHA", cert: "none", features: "anonymous"},
		{version: "-tls1_2", cipher: "ADH-AES256-GCM-SHA384", cert: "none", features: "anonymous"},
		{version: "-tls1_2", cipher: "PSK-AES128-GCM-SHA256", cert: "none", both: pskFlags, features: "psk"},
		{version: "-tls1_2", cipher: "PSK-AES256-CCM8", cert: "none", both: pskFlags, features: "psk"},
		{version: "-tls1_2", cipher: "DHE-PSK-AES256-CBC-SHA384", cert: "none", both: pskFlags, features: "psk"},
		{version: "-tls1_2", cipher: "ECDHE-PSK-CHACHA20-POLY1305", cert: "none", both: pskFlags, features: "psk"},
		{version: "-tls1_2", cipher: "RSA-PSK-AES128-CBC-SHA256", both: pskFlags, features: "psk"},
		{version: "-tls1_2", cipher: "ECDHE-RSA-AES256-GCM-SHA384", features: "long", plan: long},
		{version: "-tls1_2", cipher: "ECDHE-RSA-AES128-SHA256", features: "long", plan: long},
		{version: "-tls1_2", cipher: "ECDHE-RSA-AES128-GCM-SHA256", features: "client_certificate", client: "-cert client.pem -key client.key", server: "-Verify 1 -CAfile ca.pem"},
		{version: "-tls1_2", cipher: "ECDHE-RSA-AES128-GCM-SHA256", features: "renegotiation", server: "-client_renegotiation", plan: steps(exchange(), one(command("R\n")), again())},
		{version: "-tls1_2", cipher: "ECDHE-RSA-AES128-SHA256", features: "renegotiation", both: "-no_etm", server: "-client_renegotiation", plan: steps(exchange(), one(command("R\n")), again(), one(command("R\n")), exchange())},
		{version: "-tls1_2", cipher: "AES128-GCM-SHA256", features: "renegotiation_by_server", noisy: true, client: "-cert client.pem -key client.key", server: "-verify 1 -CAfile ca.pem",
			plan: steps(exchange(), one(atServer("R\n")), again())},

		{version: "-tls1_1", cipher: "ECDHE-RSA-AES128-SHA", features: "etm"},
		{version: "-tls1_1", cipher: "AES256-SHA", features: "no_etm", both: "-no_etm"},
		{version: "-tls1_1", cipher: "DHE-RSA-AES128-SHA", features: "renegotiation", server: "-client_renegotiation", plan: steps(exchange(), one(command("R\n")), again())},
		{version: "-tls1_1", cipher: "NULL-SHA"},
		{version: "-tls1", cipher: "ECDHE-RSA-AES256-SHA", features: "etm"},
		{version: "-tls1", cipher: "AES128-SHA", features: "no_etm", both: "-no_etm"},
		{version: "-tls1", cipher: "AES128-SHA", features: "no_empty_records", both: "-no_etm -bugs"},
		{version: "-tls1", cipher: "DHE-RSA-AES256-SHA", features: "long", both: "-no_etm", plan: long},
		{version: "-tls1", cipher: "ECDHE-RSA-NULL-SHA"},
		{version: "-tls1", cipher: "ECDHE-RSA-AES128-SHA", features: "renegotiation", server: "-client_renegotiation", plan: steps(exchange(), one(command("R\n")), again())},
	} {
		all = append(all, o.scenario())
	}
	for _, x := range []struct {
		o      ossl
		early  []byte
		reject bool
	}{
		{ossl{version: "-tls1_3", cipher: "TLS_AES_128_GCM_SHA256", features: "resumed"}, nil, false},
		{ossl{version: "-tls1_3", cipher: "TLS_AES_128_GCM_SHA256", features: "resumed,early_data", server: "-early_data -max_early_data 16384 -no_anti_replay"}, get("/early"), false},
		{ossl{version: "-tls1_3", cipher: "TLS_CHACHA20_POLY1305_SHA256", features: "resumed,early_data", server: "-early_data -max_early_data 16384"}, get("/early"), false},
		{ossl{version: "-tls1_3", cipher: "TLS_AES_128_GCM_SHA256", features: "resumed,early_data_refused", server: "-early_data -max_early_data 16384"}, get("/early"), true},
		{ossl{version: "-tls1_2", cipher: "ECDHE-RSA-AES128-GCM-SHA256", features: "resumed,ticket"}, nil, false},
		{ossl{version: "-tls1_2", cipher: "ECDHE-RSA-AES128-GCM-SHA256", features: "resumed,session_id", both: "-no_ticket"}, nil, false},
		{ossl{version: "-tls1_2", cipher: "ECDHE-RSA-AES256-SHA384", features: "resumed,session_id", both: "-no_ticket"}, nil, false},
		{ossl{version: "-tls1_1", cipher: "AES128-SHA", features: "resumed,ticket"}, nil, false},
		{ossl{version: "-tls1", cipher: "AES128-SHA", features: "resumed,session_id", both: "-no_ticket -no_etm"}, nil, false},
	} {
		all = append(all, scenario{name("openssl", versionNames[x.o.version], x.o.cipher, x.o.features), x.o.resumed(x.early, x.reject)})
	}
	return all
}

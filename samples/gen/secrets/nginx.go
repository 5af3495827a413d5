package main

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

const nginxConf = `daemon off;
master_process off;
pid %[1]s/nginx.pid;
error_log stderr notice;
events {}
http {
	access_log off;
	keepalive_timeout 5;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	server {
		listen 127.0.0.1:%[2]d ssl http2;
		server_name api.example.test;
		ssl_certificate %[1]s/rsa.pem;
		ssl_certificate_key %[1]s/rsa.key;
		ssl_protocols TLSv1 TLSv1.1 TLSv1.2 TLSv1.3;
		ssl_ciphers ALL:@SECLEVEL=0;
		root %[1]s/www;
		location /echo { return 200 "taken\n"; }
		location / { }
	}
}
`

// web configures curl and nginx.
type web struct {
	suite    string
	version  string
	features string
	flags    string // of curl, with blanks
	h2       bool
}

func (w web) make(l *lab, h *shot) error {
	www := l.path("www")
	if err := os.MkdirAll(www, 0o755); err != nil {
		return err
	}
	small, large := text(250), text(12_000)
	conf := l.path("nginx.conf")
	if err := errors.Join(os.WriteFile(filepath.Join(www, "small"), small, 0o644), os.WriteFile(filepath.Join(www, "large"), large, 0o644),
		os.WriteFile(l.path("upload"), text(700), 0o600), os.WriteFile(conf, fmt.Appendf(nil, nginxConf, l.dir, h.port), 0o644)); err != nil {
		return err
	}
	s, err := l.start(nil, "nginx", "-p", l.dir, "-c", conf)
	if err != nil {
		return err
	}
	defer s.kill()
	if err := up(h.port); err != nil {
		_, errs := s.said()
		return fmt.Errorf("%w: %q", err, tail(errs))
	}
	base := "https://" + serverName + ":" + strconv.Itoa(h.port)
	argv := []string{"curl", "-sS", "--cacert", "ca.pem", "--resolve", serverName + ":" + strconv.Itoa(h.port) + ":127.0.0.1", "--trace", "trace"}
	argv = append(argv, strings.Fields(w.flags)...)
	argv = append(argv, "-o", "o1", base+"/small", "-o", "o2", base+"/large", "--next", "-sS", "--cacert", "ca.pem", "--resolve", serverName+":"+strconv.Itoa(h.port)+":127.0.0.1")
	argv = append(argv, strings.Fields(w.flags)...)
	argv = append(argv, "-o", "o3", "--data-binary", "@upload", "-H", "Content-Type: text/plain", base+"/echo")
	c, err := l.start([]string{"SSLKEYLOGFILE=" + h.keyfile()}, argv...)
	if err != nil {
		return err
	}
	if err := c.end(patient); err != nil {
		_, errs := c.said()
		return fmt.Errorf("%w: %q", err, tail(errs))
	}
	r := row{layer: "tls", version: w.version, suite: w.suite, features: w.features, protocol: "http1"}
	if !w.h2 {
		sent, err := traced(l.path("trace"))
		if err != nil {
			return err
		}
		h.note(r, sent[0], sent[1])
		return nil
	}
	r.protocol, r.what = "http2", "bodies"
	for i, want := range [][2][]byte{{nil, small}, {nil, large}, {text(700), []byte("taken\n")}} {
		got, err := os.ReadFile(l.path("o" + strconv.Itoa(i+1)))
		if err != nil {
			return err
		}
		if !bytes.Equal(got, want[1]) {
			return fmt.Errorf("answer %d has %d bytes, want %d", i+1, len(got), len(want[1]))
		}
		r.stream = strconv.Itoa(2*i + 1)
		h.note(r, want[0], want[1])
	}
	return nil
}

// traced returns the data that curl reports as sent and received, without TLS messages.
func traced(path string) (sent [2][]byte, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return sent, err
	}
	side := -1
	for line := range strings.Lines(string(b)) {
		switch {
		case strings.HasPrefix(line, "=> Send header"), strings.HasPrefix(line, "=> Send data"):
			side = 0
		case strings.HasPrefix(line, "<= Recv header"), strings.HasPrefix(line, "<= Recv data"):
			side = 1
		case strings.HasPrefix(line, "=="), strings.HasPrefix(line, "=>"), strings.HasPrefix(line, "<="):
			side = -1
		case side >= 0 && len(line) > 6 && line[4] == ':':
			digits := strings.ReplaceAll(line[6:min(len(line), 6+16*3)], " ", "")
			data, err := hex.DecodeString(digits)
			if err != nil {
				return sent, fmt.Errorf("reading curl's trace: %w in %q", err, line)
			}
			sent[side] = append(sent[side], data...)
		}
	}
	return sent, nil
}

func nginxAll() (all []scenario) {
	const h1, h2 = "--http1.1", "--http2"
	for _, w := range []web{
		{version: "TLS 1.3", suite: "TLS_AES_256_GCM_SHA384", features: "http1", flags: h1},
		{version: "TLS 1.3", suite: "TLS_CHACHA20_POLY1305_SHA256", features: "http2", flags: h2 + " --tls13-ciphers TLS_CHACHA20_POLY1305_SHA256", h2: true},
		{version: "TLS 1.3", suite: "TLS_AES_128_GCM_SHA256", features: "http2", flags: h2 + " --tls13-ciphers TLS_AES_128_GCM_SHA256", h2: true},
		{version: "TLS 1.2", suite: "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", features: "http1", flags: h1 + " --tls-max 1.2 --ciphers ECDHE-RSA-AES128-GCM-SHA256"},
		{version: "TLS 1.2", suite: "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", features: "http2", flags: h2 + " --tls-max 1.2 --ciphers ECDHE-RSA-CHACHA20-POLY1305", h2: true},
		{version: "TLS 1.2", suite: "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384", features: "http1,etm", flags: h1 + " --tls-max 1.2 --ciphers ECDHE-RSA-AES256-SHA384"},
	} {
		all = append(all, scenario{name("nginx", w.version, suiteShort(w.suite), w.features), w.make})
	}
	return all
}

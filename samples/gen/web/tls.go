package web

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/pcapsule/pcapsule/samples/gen/lab"
)

const nginxTLSConf = `daemon off;
master_process off;
pid %[1]s/nginx.pid;
error_log stderr notice;
events {}
http {
	access_log off;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	server {
		listen 10.1.5.10:443 ssl http2;
		server_name www.shop.example;
		ssl_certificate %[1]s/cert.pem;
		ssl_certificate_key %[1]s/key.pem;
		ssl_protocols TLSv1.2 TLSv1.3;
		location / { return 200 "hello over tls\n"; }
	}
}
`

func makeTLS(ctx context.Context, out string) error {
	l, err := lab.New("tls", "", lab.At("client", "10.1.5.5"), lab.At("nginx", "10.1.5.10"), lab.At("app", "10.1.5.20"))
	if err != nil {
		return err
	}
	defer l.Close()
	if err := lab.WriteCertificates(l.Tmp); err != nil {
		return err
	}
	conf := filepath.Join(l.Tmp, "nginx.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, nginxTLSConf, l.Tmp), 0o644); err != nil {
		return err
	}
	if err := l.Serve("app", "tls-server", l.Tmp); err != nil {
		return err
	}
	if _, err := l.Start("nginx", "", "nginx", "-p", l.Tmp, "-c", conf); err != nil {
		return err
	}
	if err := l.Do(ctx, "client", "wait", "10.1.5.10:443"); err != nil {
		return err
	}
	r, err := l.Record(filepath.Join(out, "tls.pcapng"))
	if err != nil {
		return err
	}
	if err := l.Do(ctx, "client", "tls-client", l.Tmp); err != nil {
		return err
	}
	if err := r.Stop(); err != nil {
		return err
	}
	keys, err := os.ReadFile(filepath.Join(l.Tmp, "keys.log"))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(out, "tls.keylog"), keys, 0o644)
}

// tlsServer listens on several ports with different TLS settings.
func tlsServer(ctx context.Context, args []string) error {
	cert, err := tls.LoadX509KeyPair(filepath.Join(args[0], "cert.pem"), filepath.Join(args[0], "key.pem"))
	if err != nil {
		return err
	}
	roots, err := lab.Pool(args[0])
	if err != nil {
		return err
	}
	certs := []tls.Certificate{cert}
	for addr, c := range map[string]*tls.Config{
		"10.1.5.20:8443": {Certificates: certs, MaxVersion: tls.VersionTLS12},
		"10.1.5.20:9443": {Certificates: certs, MinVersion: tls.VersionTLS13, CurvePreferences: []tls.CurveID{tls.CurveP384}}, // makes most clients retry with another group
		"10.1.5.20:7443": {Certificates: certs, MinVersion: tls.VersionTLS12, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: roots},
	} {
		ln, err := tls.Listen("tcp", addr, c)
		if err != nil {
			return err
		}
		go http.Serve(ln, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			lab.WriteJSON(w, http.StatusOK, map[string]string{"tls": tls.VersionName(r.TLS.Version)})
		}))
	}
	fmt.Println("ready")
	<-ctx.Done()
	return nil
}

func tlsClient(_ context.Context, args []string) error {
	dir := args[0]
	roots, err := lab.Pool(dir)
	if err != nil {
		return err
	}
	cert, err := tls.LoadX509KeyPair(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
	if err != nil {
		return err
	}
	keys, err := os.Create(filepath.Join(dir, "keys.log"))
	if err != nil {
		return err
	}
	defer keys.Close()
	cache := tls.NewLRUClientSessionCache(4)
	for _, t := range []struct {
		about, addr string
		config      *tls.Config
		fails       bool
	}{
		{"TLS 1.3 with nginx, HTTP/2", "10.1.5.10:443", &tls.Config{ServerName: "www.shop.example", RootCAs: roots, NextProtos: []string{"h2", "http/1.1"}}, false},
		{"TLS 1.2 with nginx, HTTP/1.1", "10.1.5.10:443", &tls.Config{ServerName: "www.shop.example", RootCAs: roots, MaxVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}, false},
		{"TLS 1.2, first time", "10.1.5.20:8443", &tls.Config{ServerName: "api.shop.example", RootCAs: roots, ClientSessionCache: cache}, false},
		{"TLS 1.2, resumed", "10.1.5.20:8443", &tls.Config{ServerName: "api.shop.example", RootCAs: roots, ClientSessionCache: cache}, false},
		{"TLS 1.3 with a hello retry request", "10.1.5.20:9443", &tls.Config{ServerName: "api.shop.example", RootCAs: roots, CurvePreferences: []tls.CurveID{tls.X25519, tls.CurveP384}}, false},
		{"client with a certificate", "10.1.5.20:7443", &tls.Config{ServerName: "api.shop.example", RootCAs: roots, MaxVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}}, false},
		{"client without the certificate asked for", "10.1.5.20:7443", &tls.Config{ServerName: "api.shop.example", RootCAs: roots, MaxVersion: tls.VersionTLS12}, true},
		{"authority not known to the client", "10.1.5.20:8443", &tls.Config{ServerName: "api.shop.example", RootCAs: x509.NewCertPool()}, true},
		{"no version in common", "10.1.5.20:8443", &tls.Config{ServerName: "api.shop.example", RootCAs: roots, MinVersion: tls.VersionTLS13}, true},
		{"no protocol in common with a name that is not served", "10.1.5.20:9443", &tls.Config{ServerName: "other.example", RootCAs: roots}, true},
	} {
		t.config.KeyLogWriter = keys
		err := tlsOnce(t.addr, t.config)
		if (err != nil) != t.fails {
			return fmt.Errorf("%s: %w", t.about, err)
		}
	}
	return nil
}

func tlsOnce(addr string, config *tls.Config) error {
	c, err := tls.Dial("tcp", addr, config)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(5 * time.Second))
	if c.ConnectionState().NegotiatedProtocol == "h2" {
		return http2Over(c)
	}
	fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", config.ServerName)
	_, err = io.Copy(io.Discard, c)
	return err
}

// http2Over makes one request over an existing HTTP/2 connection.
func http2Over(c net.Conn) error {
	p := new(http.Protocols)
	p.SetHTTP2(true)
	t := &http.Transport{Protocols: p, ForceAttemptHTTP2: true, DialTLSContext: func(context.Context, string, string) (net.Conn, error) { return c, nil }}
	defer t.CloseIdleConnections()
	_, _, err := lab.Send(&http.Client{Transport: t}, "GET", "https://www.shop.example/", nil)
	return err
}

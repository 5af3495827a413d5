//go:build linux

package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// web makes each request on a new connection, with a fixed number of clients. The client closes first:
// so TIME_WAIT is on its side, and on the recorded side every packet has a socket.
func (k *kind) web(secure bool) error {
	url := "http://" + net.JoinHostPort(k.host, httpPort) + "/"
	if secure {
		url = "https://" + net.JoinHostPort(k.host, tlsPort) + "/"
	}
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		MaxIdleConnsPerHost: -1, // closes after the response without announcing it
		DialTLSContext:      dialTLS,
	}}
	took := make([][]time.Duration, k.workers)
	var failed atomic.Int64
	var wg sync.WaitGroup
	start := time.Now()
	for w := range took {
		wg.Go(func() {
			for time.Since(start) < k.length {
				before := time.Now()
				if err := ask(client, url); err != nil {
					failed.Add(1)
					continue
				}
				took[w] = append(took[w], time.Since(before))
			}
		})
	}
	wg.Wait()
	passed := time.Since(start).Seconds()
	all := slices.Concat(took...)
	if len(all) == 0 {
		return fmt.Errorf("asking %s: no answer in %.1f s", url, passed)
	}
	slices.Sort(all)
	at := func(share float64) string {
		return fmt.Sprintf("%.2f", all[int(share*float64(len(all)-1))].Seconds()*1e3)
	}
	answer("sent", len(all), "seconds", fmt.Sprintf("%.3f", passed), "rate", int64(float64(len(all))/passed), "unit", "conn/s", "p50", at(0.5), "p99", at(0.99), "cpu", processor(), "failed", failed.Load())
	return nil
}

// abrupt ends TLS without close_notify.
type abrupt struct{ *tls.Conn }

func (c abrupt) Close() error { return c.NetConn().Close() }

func dialTLS(ctx context.Context, network, address string) (net.Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return abrupt{tls.Client(c, &tls.Config{InsecureSkipVerify: true})}, nil
}

func ask(client *http.Client, url string) error {
	r, err := client.Get(url)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	_, err = io.Copy(io.Discard, r.Body)
	return err
}

// answers serves both ports.
func answers(host string) error {
	body := make([]byte, 200)
	for i := range body {
		body[i] = 'a' + byte(i%26)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(body)
	}), ErrorLog: log.New(io.Discard, "", 0)} // would log every end without close_notify
	plain, err := net.Listen("tcp4", net.JoinHostPort(host, httpPort))
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	secure, err := net.Listen("tcp4", net.JoinHostPort(host, tlsPort))
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	certificate, err := selfSigned()
	if err != nil {
		return err
	}
	config := &tls.Config{Certificates: []tls.Certificate{certificate}, SessionTicketsDisabled: true}
	go func() { _ = server.Serve(plain) }()
	go func() { _ = server.Serve(tls.NewListener(quietListener{secure}, config)) }()
	return nil
}

func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("making a key: %w", err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("making a certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// quietListener's connections write nothing after the other side has closed. A client that is gone
// would answer a close_notify of TLS with resets, and a reset for a closed socket has no socket: no
// recorder of sockets can see it.
type quietListener struct{ net.Listener }

func (l quietListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &quietConn{Conn: c}, nil
}

type quietConn struct {
	net.Conn
	over atomic.Bool
}

func (c *quietConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err != nil {
		c.over.Store(true)
	}
	return n, err
}

func (c *quietConn) Write(p []byte) (int, error) {
	if c.over.Load() {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

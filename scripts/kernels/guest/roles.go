//go:build linux

package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// Addresses of the scenario.
const (
	webAddress    = "127.0.0.1:8080"
	tlsAddress    = "127.0.0.1:8443"
	dnsAddress    = "127.0.0.1:5353"
	closedAddress = "127.0.0.1:9"
	farAddress    = "10.9.0.2:8080"
	gapAddress    = "127.0.0.1:7777"
)

// Names of the program's roles; the recorder must find them as owners.
var roles = map[string]func(args []string) error{
	"webserver": func([]string) error { return serve(webAddress) },
	"farserver": func([]string) error { return serve(farAddress) },
	"tlsserver": func([]string) error { return serveTLS(tlsAddress) },
	"dnsserver": func([]string) error { return serveDNS(dnsAddress) },
	"webclient": func(args []string) error { return get(http.DefaultTransport, args[0], 5) },
	"farclient": func(args []string) error { return get(http.DefaultTransport, args[0], 5) },
	"tlsclient": func(args []string) error {
		time.Sleep(3 * time.Second) // the recorder must see the program start, and the machine is slow
		return get(&http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}, args[0], 3)
	},
	"dnsclient":  func([]string) error { return ask(dnsAddress, 5) },
	"lostclient": func([]string) error { return lose(closedAddress) },
	"gapclient":  func([]string) error { return datagrams(gapAddress, gapPackets) },
}

func play(name string, args []string) error {
	role := roles[name]
	if role == nil {
		return fmt.Errorf("no role %s", name)
	}
	return role(args)
}

func hello(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain")
	fmt.Fprintf(w, "hello %s\n", r.URL.Path)
}

func serve(address string) error {
	return http.ListenAndServe(address, http.HandlerFunc(hello))
}

func serveTLS(address string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	c := x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "guest"}, NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<33, 0), DNSNames: []string{"localhost"}}
	der, err := x509.CreateCertificate(rand.Reader, &c, &c, key.Public(), key)
	if err != nil {
		return err
	}
	s := http.Server{Addr: address, Handler: http.HandlerFunc(hello), TLSConfig: &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}}
	return s.ListenAndServeTLS("", "")
}

func serveDNS(address string) error {
	c, err := net.ListenPacket("udp", address)
	if err != nil {
		return err
	}
	buf := make([]byte, 1500)
	for {
		n, from, err := c.ReadFrom(buf)
		if err != nil {
			return err
		}
		var m dnsmessage.Message
		if m.Unpack(buf[:n]) != nil || len(m.Questions) != 1 {
			continue
		}
		m.Response = true
		m.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: m.Questions[0].Name, Class: dnsmessage.ClassINET, TTL: 60}, Body: &dnsmessage.AResource{A: [4]byte{192, 0, 2, 1}}}}
		out, err := m.Pack()
		if err == nil {
			_, err = c.WriteTo(out, from)
		}
		if err != nil {
			return err
		}
	}
}

// get requests a page n times, on one connection if the transport keeps it.
func get(by http.RoundTripper, url string, n int) error {
	client := http.Client{Transport: by, Timeout: 20 * time.Second}
	for i := range n {
		r, err := client.Get(fmt.Sprintf("%s/%s/%d", url, os.Args[0][len("/bin/"):], i))
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, r.Body)
		if err = errors.Join(err, r.Body.Close()); err != nil {
			return err
		}
	}
	return nil
}

func ask(address string, n int) error {
	c, err := net.Dial("udp", address)
	if err != nil {
		return err
	}
	defer c.Close()
	for i := range n {
		m := dnsmessage.Message{Header: dnsmessage.Header{ID: uint16(1000 + i), RecursionDesired: true}, Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(fmt.Sprintf("q%d.example.", i)), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}}}
		out, err := m.Pack()
		if err == nil {
			_, err = c.Write(out)
		}
		if err == nil {
			err = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		}
		if err == nil {
			_, err = c.Read(make([]byte, 1500))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// lose sends datagrams to a closed port: the kernel drops them.
func lose(address string) error {
	c, err := net.Dial("udp", address)
	if err != nil {
		return err
	}
	defer c.Close()
	for range 5 {
		_, _ = c.Write([]byte("nobody is there")) // refused from the second on
		time.Sleep(20 * time.Millisecond)
	}
	return nil
}

// until waits for something to listen.
func until(ctx context.Context, address string) error {
	for {
		c, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			return c.Close()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", address, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

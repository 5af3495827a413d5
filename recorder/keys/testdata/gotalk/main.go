// Command gotalk talks TLS or QUIC to another gotalk process, and writes the keys that
// crypto/tls logs.
package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"os"
	"time"

	"github.com/quic-go/quic-go"
)

func main() {
	serve := flag.Bool("serve", false, "be the server")
	addr := flag.String("addr", "127.0.0.1:0", "address")
	keylog := flag.String("keylog", "", "write keys to this file")
	version := flag.String("version", "1.3", "1.2 or 1.3")
	useQUIC := flag.Bool("quic", false, "QUIC")
	n := flag.Int("n", 1, "connections")
	wait := flag.Duration("wait", 0, "before the first connection")
	gate := flag.Bool("gate", false, "wait for a line of input before the first connection")
	suite := flag.Uint("suite", 0, "cipher suite of TLS 1.2")
	rounds := flag.Int("rounds", 0, "number of times to send -bytes bytes to itself and back, after a line of input")
	size := flag.Int("bytes", 64, "bytes of a round")
	flag.IntVar(&echo, "echo", 0, "number of bytes to send, in pieces of many sizes, and to receive back")
	flag.Parse()
	cfg := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"talk"}, MaxVersion: tls.VersionTLS13}
	if *version == "1.2" {
		cfg.MaxVersion = tls.VersionTLS12
	}
	if *suite != 0 {
		cfg.CipherSuites = []uint16{uint16(*suite)}
	}
	if *keylog != "" {
		f, err := os.OpenFile(*keylog, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		if err != nil {
			log.Fatal(err)
		}
		cfg.KeyLogWriter = f
	}
	time.Sleep(*wait)
	if *gate {
		if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
			log.Fatal(err)
		}
	}
	switch {
	case *rounds > 0:
		talkToItself(cfg, *rounds, *size)
	case *serve && *useQUIC:
		serveQUIC(*addr, cfg)
	case *serve:
		serveTLS(*addr, cfg)
	case *useQUIC:
		for range *n {
			dialQUIC(*addr, cfg)
		}
	default:
		for range *n {
			dialTLS(*addr, cfg)
		}
	}
}

// talkToItself is both ends of a connection, for measurements.
func talkToItself(cfg *tls.Config, rounds, size int) {
	cfg.Certificates = []tls.Certificate{certificate()}
	l, err := tls.Listen("tcp", "127.0.0.1:0", cfg)
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		c, err := l.Accept()
		if err != nil {
			log.Fatal(err)
		}
		b := make([]byte, size)
		for {
			if _, err := io.ReadFull(c, b); err != nil {
				return
			}
			if _, err := c.Write(b); err != nil {
				log.Fatal(err)
			}
		}
	}()
	c, err := tls.Dial("tcp", l.Addr().String(), cfg)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("ready")
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		log.Fatal(err)
	}
	b := make([]byte, size)
	for range rounds {
		if _, err := c.Write(b); err != nil {
			log.Fatal(err)
		}
		if _, err := io.ReadFull(c, b); err != nil {
			log.Fatal(err)
		}
	}
}

var echo int

// pattern is what the client sends.
func pattern(n int) []byte {
	b := make([]byte, n)
	x := uint32(7)
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}

// sizes are the sizes of writes, used in a cycle.
var sizes = []int{1, 200, 257, 4000, 5000, 16384, 20000, 70000, 300000, 1 << 20}

// sendAll writes from the goroutine's stack if the stack is large enough. Its depth, and so
// the address of the bytes, is different each time.
func sendAll(c *tls.Conn, b []byte) {
	for i := 0; len(b) > 0; i++ {
		n := min(sizes[i%len(sizes)], len(b))
		if n <= 4096 {
			deep(c, b[:n], 3*i%100)
		} else if _, err := c.Write(b[:n]); err != nil {
			log.Fatal(err)
		}
		b = b[n:]
	}
}

func deep(c *tls.Conn, b []byte, more int) {
	var own [4096]byte
	if more > 0 {
		own[more] = 1
		deep(c, b, more-1)
		return
	}
	copy(own[:], b)
	if _, err := c.Write(own[:len(b)]); err != nil {
		log.Fatal(err)
	}
}

func receiveAll(c *tls.Conn, n int) []byte {
	var all []byte
	var own [3000]byte
	for len(all) < n {
		k, err := c.Read(own[:])
		if all = append(all, own[:k]...); err != nil && len(all) < n {
			log.Fatal(err)
		}
	}
	return all
}

func certificate() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"talk.example"}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		log.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func serveTLS(addr string, cfg *tls.Config) {
	cfg.Certificates = []tls.Certificate{certificate()}
	l, err := tls.Listen("tcp", addr, cfg)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(l.Addr())
	for {
		c, err := l.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go func() {
			if echo > 0 {
				sendAll(c.(*tls.Conn), receiveAll(c.(*tls.Conn), echo))
			} else {
				answer(c)
			}
			c.Close()
		}()
	}
}

func answer(rw io.ReadWriter) {
	line, err := bufio.NewReader(rw).ReadString('\n')
	if err == nil {
		fmt.Fprintf(rw, "you said %s", line)
	}
}

func ask(rw io.ReadWriter) {
	if _, err := fmt.Fprintln(rw, "plain words of the client"); err != nil {
		log.Fatal(err)
	}
	line, err := bufio.NewReader(rw).ReadString('\n')
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(line)
}

func dialTLS(addr string, cfg *tls.Config) {
	c, err := (&tls.Dialer{NetDialer: &net.Dialer{Timeout: 5 * time.Second}, Config: cfg}).Dial("tcp", addr)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	if echo > 0 {
		done := make(chan bool)
		go func() { sendAll(c.(*tls.Conn), pattern(echo)); close(done) }()
		<-done
		fmt.Println(len(receiveAll(c.(*tls.Conn), echo)))
		return
	}
	ask(c)
}

func serveQUIC(addr string, cfg *tls.Config) {
	cfg.Certificates = []tls.Certificate{certificate()}
	l, err := quic.ListenAddr(addr, cfg, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(l.Addr())
	for {
		c, err := l.Accept(context.Background())
		if err != nil {
			log.Fatal(err)
		}
		go func() {
			if s, err := c.AcceptStream(context.Background()); err == nil {
				answer(s)
				s.Close()
			}
		}()
	}
}

func dialQUIC(addr string, cfg *tls.Config) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	c, err := quic.DialAddr(ctx, addr, cfg, nil)
	if err != nil {
		log.Fatal(err)
	}
	s, err := c.OpenStreamSync(ctx)
	if err != nil {
		log.Fatal(err)
	}
	ask(s)
	s.Close()
	c.CloseWithError(0, "")
}

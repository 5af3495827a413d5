package truth

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/quic-go/quic-go/http3"
)

// keyLog is added to the name of the file of a stage's start: the key log of its QUIC clients.
const keyLog = ".keys"

// quicPart plays parts that speak HTTP/3.
func quicPart(role []string) {
	name, transport, addr, rest := role[0], role[1], role[2], role[3:]
	switch name + " " + transport {
	case "serve quic":
		serveQUIC(addr, number(rest[0]))
	case "ask quic":
		askQUIC(addr, number(rest[0]), rest[1])
	default:
		turns(role)
	}
}

// serveQUIC responds to n requests.
func serveQUIC(addr string, n int) {
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	form := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	cert := tls.Certificate{Certificate: [][]byte{must(x509.CreateCertificate(rand.Reader, form, form, key.Public(), key))}, PrivateKey: key}
	answered := make(chan bool, n)
	server := &http3.Server{
		TLSConfig: http3.ConfigureTLSConfig(&tls.Config{Certificates: []tls.Certificate{cert}}),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			must(io.WriteString(w, "response"))
			report("dst", r.URL.Path)
			answered <- true
		}),
	}
	socket := must(net.ListenUDP("udp", must(net.ResolveUDPAddr("udp", addr))))
	listening()
	go func() { must(0, server.Serve(socket)) }()
	for range n {
		<-answered
	}
	time.Sleep(100 * time.Millisecond) // last responses
}

// askQUIC makes n requests on one connection, and writes its keys to the stage's key log.
func askQUIC(addr string, n int, name string) {
	await(".udp")
	keys := must(os.OpenFile(os.Getenv(begunEnv)+keyLog, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600))
	defer keys.Close()
	client := &http3.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, KeyLogWriter: keys}}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for i := range n {
		path := fmt.Sprintf("/%s-%d", name, i)
		response := must(client.RoundTrip(must(http.NewRequestWithContext(ctx, http.MethodGet, "https://"+addr+path, nil))))
		must(io.Copy(io.Discard, response.Body))
		must(0, response.Body.Close())
		report("src", path)
	}
}

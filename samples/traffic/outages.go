package traffic

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"time"
)

// More of the shop: a service of payments, a broker of events and an interface of a card scheme outside.
const (
	payments = "10.0.0.4"
	cache    = "10.0.0.6"
	cards    = "198.51.100.20"
)

// checkout is a request of a user to the gateway, which fails or does not.
func checkout(c *Capture, s, took float64, i int, answer string) {
	conn, user := fmt.Sprintf("user %d", i), fmt.Sprintf("203.0.113.%d", 5+i%4)
	c.Exchange(at(s), at(took), conn, user, gateway+":80", HTTP("POST /checkout HTTP/1.1\r\nHost: shop.example", "", `{"basket":7}`), answer)
	c.Close(at(s+took+0.01), conn)
}

func ok(body string) string { return HTTP("HTTP/1.1 200 OK", "Content-Type: application/json", body) }

// nameDown has a resolver that stops answering, so that the gateway cannot find its service.
func nameDown(c *Capture) {
	question := func(id int) string {
		return fmt.Sprintf("%c%c", 0x20, id) + "\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x08payments\x04shop\x03svc\x07cluster\x05local\x00\x00\x01\x00\x01"
	}
	for i := range 30 {
		s := float64(i)*1.5 + float64(i%3)*0.1
		q := question(i + 1)
		if i < 12 {
			c.Datagram(at(s+0.001), gateway, resolver+":53", q, q[:2]+"\x81\x80\x00\x01\x00\x01"+q[8:]+"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x05\x00\x04\x0a\x00\x00\x04")
			up := fmt.Sprintf("up %d", i)
			c.Exchange(at(s+0.003), at(0.01), up, gateway, payments+":8080", HTTP("POST /pay HTTP/1.1\r\nHost: payments", "", "{}"), ok(`{"paid":true}`))
			c.Close(at(s+0.02), up)
			checkout(c, s, 0.03, i, ok(`{"order":1}`))
			continue
		}
		c.Again(at(s+0.001), at(0.4), gateway, resolver+":53", q)
		checkout(c, s, 0.9, i, HTTP("HTTP/1.1 500 Internal Server Error", "Content-Type: application/json", `{"error":"dial tcp: lookup payments.shop.svc.cluster.local: i/o timeout"}`))
	}
}

// expired has a service whose certificate has expired, so that the gateway ends each handshake.
func expired(c *Capture) {
	for i := range 20 {
		s, up := float64(i)*2, fmt.Sprintf("up %d", i)
		hello, flight := handshake(begin.AddDate(0, 0, -1), tls.VersionTLS12)
		c.Exchange(at(s+0.002), at(0.002), up, gateway, payments+":443", hello, flight)
		c.Exchange(at(s+0.006), 0, up, gateway, payments+":443", "\x15\x03\x03\x00\x02\x02\x2d", "")
		c.Close(at(s+0.007), up)
		checkout(c, s, 0.02, i, HTTP("HTTP/1.1 502 Bad Gateway", "Content-Type: text/html", "<html><head><title>502 Bad Gateway</title></head></html>"))
	}
}

// handshake is the first flight of a client of TLS, and the answer of a server whose certificate ends at a time.
func handshake(until time.Time, version uint16) (hello, flight string) {
	return handshakeFor("payments.shop", until, version)
}

// handshakeFor is a handshake of a server whose certificate is for a name.
func handshakeFor(name string, until time.Time, version uint16) (hello, flight string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	form := &x509.Certificate{SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, NotBefore: until.AddDate(0, -3, 0), NotAfter: until}
	der, err := x509.CreateCertificate(rand.Reader, form, form, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	a, b := net.Pipe()
	client, server := &recorded{Conn: a}, &recorded{Conn: b}
	done := make(chan struct{})
	go func() {
		_ = tls.Server(server, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MaxVersion: version}).Handshake()
		close(done)
	}()
	stop := func([][]byte, [][]*x509.Certificate) error { return errors.New("expired") }
	_ = tls.Client(client, &tls.Config{ServerName: "payments.shop", InsecureSkipVerify: true, VerifyPeerCertificate: stop, MinVersion: tls.VersionTLS12, MaxVersion: version}).Handshake()
	a.Close()
	<-done
	return client.first, server.first
}

// recorded is a connection that keeps the first thing that was written.
type recorded struct {
	net.Conn
	first string
}

func (r *recorded) Write(p []byte) (int, error) {
	if r.first == "" {
		r.first = string(p)
	}
	return r.Conn.Write(p)
}

// diskFull has a database that reads and can no longer write.
func diskFull(c *Capture) {
	db := "db"
	c.Exchange(at(-1), at(0.001), db, orders, database+":5432", pgStartup("orders"), pgReady())
	for i := range 40 {
		s, up := float64(i)*0.7, fmt.Sprintf("up %d", i)
		c.Exchange(at(s+0.003), at(0.001), db, orders, database+":5432", pgMessage('Q', "SELECT price FROM items WHERE id = 3\x00"), pgRows())
		answer, inner, said := ok(`{"order":1}`), ok(`{"order":1}`), pgMessage('C', "INSERT 0 1\x00")+pgMessage('Z', "I")
		if i >= 15 {
			said = pgMessage('E', "SERROR\x00VERROR\x00C53100\x00Mcould not extend file \"base/16384/16397\": No space left on device\x00HCheck free disk space.\x00\x00") + pgMessage('Z', "I")
			inner = HTTP("HTTP/1.1 500 Internal Server Error", "Content-Type: application/json", `{"status":500,"error":"Internal Server Error","path":"/orders"}`)
			answer = HTTP("HTTP/1.1 502 Bad Gateway", "", "")
		}
		c.Exchange(at(s+0.006), at(0.002), db, orders, database+":5432", pgMessage('Q', "INSERT INTO orders VALUES (3)\x00"), said)
		c.Exchange(at(s+0.002), at(0.01), up, gateway, orders+":8080", HTTP("POST /orders HTTP/1.1\r\nHost: orders", "", "{}"), inner)
		c.Close(at(s+0.03), up)
		checkout(c, s, 0.02, i, answer)
	}
}

// slowBelow has a database whose query becomes slow, and a gateway that gives up before it ends.
func slowBelow(c *Capture) {
	for i := range 40 {
		s, up, db := float64(i)*1.1, fmt.Sprintf("up %d", i), fmt.Sprintf("db %d", i)
		took := 0.004
		if i >= 14 {
			took = 3.2
		}
		c.Exchange(at(s+0.003), at(0.001), db, orders, database+":5432", pgStartup("orders"), pgReady())
		c.Exchange(at(s+0.006), at(took), db, orders, database+":5432", pgMessage('Q', "SELECT * FROM baskets WHERE owner = 'x'\x00"), pgRows())
		c.Close(at(s+took+0.02), db)
		if i < 14 {
			c.Exchange(at(s+0.002), at(0.01), up, gateway, orders+":8080", HTTP("POST /orders HTTP/1.1\r\nHost: orders", "", "{}"), ok(`{"order":1}`))
			c.Close(at(s+0.03), up)
			checkout(c, s, 0.02, i, ok(`{"order":1}`))
			continue
		}
		c.Exchange(at(s+0.002), 0, up, gateway, orders+":8080", HTTP("POST /orders HTTP/1.1\r\nHost: orders", "", "{}"), "")
		c.Acknowledge(at(s+0.0021), up)
		c.Close(at(s+2.002), up)
		checkout(c, s, 2.005, i, HTTP("HTTP/1.1 504 Gateway Timeout", "", "upstream request timeout"))
	}
}

// limited has an interface outside that limits how often it is asked.
func limited(c *Capture) {
	for i := range 40 {
		s, up, out := float64(i)*0.3, fmt.Sprintf("up %d", i), fmt.Sprintf("out %d", i)
		charge, inner, answer := HTTP("HTTP/1.1 201 Created", "Content-Type: application/json", `{"id":"ch_1"}`), ok(`{"paid":true}`), ok(`{"order":1}`)
		if i%4 != 0 && i > 8 {
			charge = HTTP("HTTP/1.1 429 Too Many Requests", "Content-Type: application/json\r\nRetry-After: 30", `{"error":{"type":"rate_limit_error","message":"Too many requests hit the API too quickly."}}`)
			inner = HTTP("HTTP/1.1 503 Service Unavailable", "Content-Type: application/json", `{"message":"payment not possible now"}`)
			answer = HTTP("HTTP/1.1 503 Service Unavailable", "Content-Type: application/json", `{"message":"please try again later"}`)
		}
		c.Exchange(at(s+0.01), at(0.05), out, payments, cards+":80", HTTP("POST /v1/charges HTTP/1.1\r\nHost: api.cards.example", "", "amount=5"), charge)
		c.Close(at(s+0.07), out)
		c.Exchange(at(s+0.002), at(0.08), up, gateway, payments+":8080", HTTP("POST /pay HTTP/1.1\r\nHost: payments", "", "{}"), inner)
		c.Close(at(s+0.09), up)
		checkout(c, s, 0.1, i, answer)
	}
}

// pool has a service that has no free connection to its database, because its queries do not end.
func pool(c *Capture) {
	for i := range 4 {
		db := fmt.Sprintf("db %d", i)
		c.Exchange(at(-2), at(0.001), db, orders, database+":5432", pgStartup("orders"), pgReady())
		c.Exchange(at(-1), at(0.001), db, orders, database+":5432", pgMessage('Q', "SELECT 1\x00"), pgRows())
	}
	for i := range 30 {
		s, up := float64(i)*0.9, fmt.Sprintf("up %d", i)
		if i < 10 {
			c.Exchange(at(s+0.005), at(0.002), fmt.Sprintf("db %d", i%4), orders, database+":5432", pgMessage('Q', "SELECT stock FROM items WHERE id = 3 FOR UPDATE\x00"), pgRows())
			c.Exchange(at(s+0.002), at(0.01), up, gateway, orders+":8080", HTTP("POST /orders HTTP/1.1\r\nHost: orders", "", "{}"), ok(`{"order":1}`))
			c.Close(at(s+0.02), up)
			checkout(c, s, 0.02, i, ok(`{"order":1}`))
			continue
		}
		if i < 14 { // the queries that do not end
			c.Exchange(at(s+0.005), 0, fmt.Sprintf("db %d", i%4), orders, database+":5432", pgMessage('Q', "SELECT stock FROM items WHERE id = 3 FOR UPDATE\x00"), "")
			c.Acknowledge(at(s+0.006), fmt.Sprintf("db %d", i%4))
		}
		c.Exchange(at(s+0.002), at(5), up, gateway, orders+":8080", HTTP("POST /orders HTTP/1.1\r\nHost: orders", "", "{}"),
			HTTP("HTTP/1.1 500 Internal Server Error", "Content-Type: application/json", `{"message":"HikariPool-1 - Connection is not available, request timed out after 5000ms."}`))
		c.Close(at(s+5.1), up)
		checkout(c, s, 5.01, i, HTTP("HTTP/1.1 500 Internal Server Error", "", ""))
	}
}

// oneReplica has three replicas of a service, of which one has a bad release.
func oneReplica(c *Capture) {
	const question, a = "\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x06orders\x04shop\x00\x00\x01\x00\x01", "\xc0\x0c\x00\x01\x00\x01\x00\x00\x0e\x10\x00\x04\x0a\x00\x01"
	c.Datagram(at(-1), gateway, resolver+":53", "\x20\x01"+question, "\x20\x01\x81\x80\x00\x01\x00\x03"+question[6:]+a+"\x01"+a+"\x02"+a+"\x03")
	for i := range 45 {
		s, up := float64(i)*0.5, fmt.Sprintf("up %d", i)
		replica := fmt.Sprintf("10.0.1.%d", 1+i%3)
		inner, answer := ok(`{"order":1}`), ok(`{"order":1}`)
		if i%3 == 2 && i >= 15 {
			inner = HTTP("HTTP/1.1 500 Internal Server Error", "Content-Type: application/json", `{"error":"column items.discount does not exist"}`)
			answer = HTTP("HTTP/1.1 502 Bad Gateway", "", "")
		}
		c.Exchange(at(s+0.002), at(0.01), up, gateway, replica+":8080", HTTP("POST /orders HTTP/1.1\r\nHost: orders", "", "{}"), inner)
		c.Close(at(s+0.02), up)
		checkout(c, s, 0.02, i, answer)
	}
}

// lossy has a network between two services that loses most packets from a moment on.
func lossy(c *Capture) {
	for i := range 40 {
		s, up := float64(i)*1.3, fmt.Sprintf("up %d", i)
		request := HTTP("POST /orders HTTP/1.1\r\nHost: orders", "", "{}")
		if i < 16 || i%5 == 0 {
			c.Exchange(at(s+0.002), at(0.01), up, gateway, orders+":8080", request, ok(`{"order":1}`))
			c.Close(at(s+0.02), up)
			checkout(c, s, 0.02, i, ok(`{"order":1}`))
			continue
		}
		c.Exchange(at(s+0.002), 0, up, gateway, orders+":8080", request, "")
		for _, wait := range []float64{0.2, 0.6, 1.4} {
			c.Resend(at(s+0.002+wait), up, request)
		}
		c.Reset(at(s+2.002), up)
		checkout(c, s, 2.004, i, HTTP("HTTP/1.1 504 Gateway Timeout", "", ""))
	}
}

// memory has a cache that may not store more.
func memory(c *Capture) {
	for i := range 24 {
		s, up := float64(i)*0.8, fmt.Sprintf("cache %d", i)
		said, answer := "+OK\r\n", ok(`{"order":1}`)
		if i >= 9 {
			said, answer = "-OOM command not allowed when used memory > 'maxmemory'.\r\n", HTTP("HTTP/1.1 500 Internal Server Error", "Content-Type: text/plain", "cannot store the session")
		}
		c.Exchange(at(s+0.002), at(0.001), up, gateway, cache+":6379", "*3\r\n$3\r\nSET\r\n$9\r\nsession:7\r\n$1\r\nx\r\n", said)
		c.Close(at(s+0.01), up)
		checkout(c, s, 0.02, i, answer)
	}
}

// sealedAlert has a service whose certificate has expired, in TLS 1.3, where the alert of the client is encrypted.
func sealedAlert(c *Capture) {
	for i := range 20 {
		s, up := float64(i)*2, fmt.Sprintf("up %d", i)
		hello, flight := handshake(begin.AddDate(0, 0, -1), tls.VersionTLS13)
		c.Exchange(at(s+0.002), at(0.002), up, gateway, payments+":443", hello, flight)
		c.Exchange(at(s+0.006), 0, up, gateway, payments+":443", "\x14\x03\x03\x00\x01\x01\x17\x03\x03\x00\x13abcdefghijklmnopqrs", "")
		c.Close(at(s+0.007), up)
		checkout(c, s, 0.02, i, HTTP("HTTP/1.1 502 Bad Gateway", "Content-Type: text/html", "<html><head><title>502 Bad Gateway</title></head></html>"))
	}
}

package secrets

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"
)

// tap records what is written to a connection.
type tap struct {
	net.Conn
	mu   *sync.Mutex
	sent *bytes.Buffer
}

func (c tap) Write(b []byte) (int, error) {
	c.mu.Lock()
	c.sent.Write(b)
	c.mu.Unlock()
	return c.Conn.Write(b)
}

// session is the record of a conversation of crypto/tls with itself.
type session struct {
	log    []byte
	sent   [2][]byte // by client, by server
	random [2][]byte
	suite  *Suite
}

func certificates(t testing.TB) []tls.Certificate {
	t.Helper()
	var list []tls.Certificate
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	old, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"peer"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &ec.PublicKey, ec)
	if err != nil {
		t.Fatal(err)
	}
	list = append(list, tls.Certificate{Certificate: [][]byte{der}, PrivateKey: ec})
	der, err = x509.CreateCertificate(rand.Reader, tmpl, tmpl, &old.PublicKey, old)
	if err != nil {
		t.Fatal(err)
	}
	return append(list, tls.Certificate{Certificate: [][]byte{der}, PrivateKey: old})
}

// talk lets both sides send their texts, and records them.
func talk(t testing.TB, certs []tls.Certificate, version, suite uint16, fromClient, fromServer []byte) *session {
	t.Helper()
	var log bytes.Buffer
	conf := &tls.Config{MinVersion: version, MaxVersion: version, CipherSuites: []uint16{suite}, Certificates: certs,
		InsecureSkipVerify: true, KeyLogWriter: &log, DynamicRecordSizingDisabled: true}
	a, b := net.Pipe()
	var mu sync.Mutex
	var sent [2]bytes.Buffer
	server := tls.Server(tap{b, &mu, &sent[1]}, conf)
	client := tls.Client(tap{a, &mu, &sent[0]}, conf)
	done := make(chan error, 1)
	go func() {
		defer server.Close()
		got := make([]byte, len(fromClient))
		if _, err := io.ReadFull(server, got); err != nil {
			done <- err
			return
		}
		_, err := server.Write(fromServer)
		done <- err
	}()
	if _, err := client.Write(fromClient); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(fromServer))
	if _, err := io.ReadFull(client, got); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	// Closing is quick as long as the other end of the pipe still reads.
	go io.Copy(io.Discard, client)
	s := &session{log: log.Bytes(), suite: SuiteOf(client.ConnectionState().CipherSuite)}
	mu.Lock()
	defer mu.Unlock()
	for i := range sent {
		s.sent[i] = bytes.Clone(sent[i].Bytes())
		s.random[i] = s.sent[i][5+6:][:32]
	}
	return s
}

// records splits a stream into records.
func records(stream []byte) (list []Record) {
	for len(stream) >= 5 {
		n := int(stream[3])<<8 | int(stream[4])
		if len(stream) < 5+n {
			break
		}
		list = append(list, Record{Type: stream[0], Version: uint16(stream[1])<<8 | uint16(stream[2]), Header: stream[:5], Body: stream[5 : 5+n]})
		stream = stream[5+n:]
	}
	return list
}

func storeOf(t testing.TB, log []byte) *Store {
	t.Helper()
	s := NewStore()
	if err := s.AddLog("test", bytes.NewReader(log), int64(len(log))); err != nil {
		t.Fatal(err)
	}
	if err := s.Ready(); err != nil {
		t.Fatal(err)
	}
	return s
}

// application returns the records that a side's last keys protect, and these keys.
func (s *session) application(t testing.TB, version uint16) (openers [2]*Opener, recs [2][]Record) {
	t.Helper()
	store := storeOf(t, s.log)
	found := store.Find(s.random[0])
	value := func(l Label) []byte {
		for _, f := range found {
			if f.Label == l && f.N == 0 {
				return f.Value
			}
		}
		t.Fatalf("no %v in the log", l)
		return nil
	}
	var err error
	if version < tls.VersionTLS13 {
		openers[0], openers[1], err = Open12(version, s.suite, false, value(ClientRandom), s.random[0], s.random[1])
		if err != nil {
			t.Fatal(err)
		}
		for i := range recs {
			all := records(s.sent[i])
			for k, r := range all {
				if r.Type == 20 {
					recs[i] = all[k+1:]
				}
			}
		}
		return openers, recs
	}
	for i, l := range []Label{ClientTraffic, ServerTraffic} {
		if openers[i], err = Open13(s.suite, value(l)); err != nil {
			t.Fatal(err)
		}
		hs, err := Open13(s.suite, value([]Label{ClientHandshakeTraffic, ServerHandshakeTraffic}[i]))
		if err != nil {
			t.Fatal(err)
		}
		seq := uint64(0)
		for _, r := range records(s.sent[i]) {
			if r.Type != 23 {
				continue
			}
			r.Seq = seq
			if _, _, err := hs.Open(nil, &r); err == nil {
				seq++
				continue
			}
			recs[i] = append(recs[i], r)
		}
	}
	return openers, recs
}

func TestOpensRecordsOfCryptoTLS(t *testing.T) {
	certs := certificates(t)
	messages := [2][]byte{bytes.Repeat([]byte("question "), 5000), bytes.Repeat([]byte("an answer "), 9001)}
	for _, version := range []uint16{tls.VersionTLS10, tls.VersionTLS11, tls.VersionTLS12, tls.VersionTLS13} {
		for _, list := range [][]*tls.CipherSuite{tls.CipherSuites(), tls.InsecureCipherSuites()} {
			for _, cs := range list {
				speaks := false
				for _, v := range cs.SupportedVersions {
					speaks = speaks || v == version
				}
				if !speaks {
					continue
				}
				t.Run(fmt.Sprintf("%s %s", tls.VersionName(version), cs.Name), func(t *testing.T) {
					s := talk(t, certs, version, cs.ID, messages[0], messages[1])
					if s.suite == nil || version != tls.VersionTLS13 && s.suite.ID != cs.ID {
						t.Fatalf("negotiated %v", s.suite)
					}
					openers, recs := s.application(t, version)
					for i, o := range openers {
						var got []byte
						for k := range recs[i] {
							r := &recs[i][k]
							r.Seq = uint64(k)
							n := len(got)
							plain, typ, err := o.Open(got, r)
							if err != nil {
								t.Fatalf("side %d record %d: %v", i, k, err)
							}
							if least, most := o.Overhead(); len(r.Body) < len(plain)-n+least || len(r.Body) > len(plain)-n+most {
								t.Errorf("side %d record %d: %d bytes from %d, want %d to %d less", i, k, len(plain)-n, len(r.Body), least, most)
							}
							if got = plain; typ != 23 {
								got = got[:n]
							}
						}
						if !bytes.Equal(got, messages[i]) {
							t.Errorf("side %d: %d bytes, want %d", i, len(got), len(messages[i]))
						}
					}
				})
			}
		}
	}
}

package tls

import (
	"bytes"
	"crypto/rsa"
	stdtls "crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"math/rand"
	"slices"
	"testing"

	crand "crypto/rand"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/recorder/secrets"
)

// storeOf holds key logs and RSA keys.
func storeOf(t testing.TB, logs ...[]byte) *secrets.Store {
	t.Helper()
	s := secrets.NewStore()
	for i, b := range logs {
		var err error
		if bytes.HasPrefix(b, []byte("-----")) {
			err = s.AddKey(fmt.Sprint("key ", i), b)
		} else {
			err = s.AddLog(fmt.Sprint("log ", i), bytes.NewReader(b), int64(len(b)))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Ready(); err != nil {
		t.Fatal(err)
	}
	return s
}

// plainSink collects decrypted bytes.
type plainSink struct {
	dissecttest.Result
	chunks [2][][]byte
	inner  *dissect.Conn
}

func (s *plainSink) Plain(inner *dissect.Conn, dir dissect.Dir, _ int64, data []byte, _ dissect.Packet) {
	s.chunks[dir] = append(s.chunks[dir], bytes.Clone(data))
	s.inner = inner
}

func (s *plainSink) plain(dir dissect.Dir) []byte { return bytes.Join(s.chunks[dir], nil) }

func (s *plainSink) row(t testing.TB, i int) (*Row, *table.TLSHandshake) {
	t.Helper()
	list, details := rows(&s.Result)
	if len(list) <= i {
		t.Fatalf("%d rows of TLS, want more than %d", len(list), i)
	}
	return list[i], details[i]
}

func playKeys(t testing.TB, keys *secrets.Store, transport dissect.Transport, chunks []dissecttest.Chunk, inner ...*dissect.Protocol) *plainSink {
	t.Helper()
	s := &plainSink{}
	e, err := dissect.NewEngine(append([]*dissect.Protocol{Protocol(keys)}, inner...), nil, s, true)
	if err != nil {
		t.Fatal(err)
	}
	c := e.NewConn(dissect.Info{Transport: transport, ClientPort: 40000, ServerPort: 443, RolesKnown: false, ConnectUs: -1})
	s.Conn = c
	p := dissect.Packet{No: -1, Time: 1_700_000_000_000_000_000}
	at := [2]uint32{1, 1}
	for _, ch := range chunks {
		p.No, p.Time = p.No+1, p.Time+1000
		at[ch.Dir] += uint32(ch.Gap)
		p.Seq, p.Ack = at[ch.Dir], at[ch.Dir.Other()]
		at[ch.Dir] += uint32(len(ch.Data))
		if ch.Gap > 0 {
			c.Gap(ch.Dir, ch.Gap, p)
		}
		data := bytes.Clone(ch.Data)
		s.Bytes += int64(len(data))
		if transport == dissect.TCP {
			c.Data(ch.Dir, data, p)
		} else {
			c.Datagram(ch.Dir, data, p)
		}
		for i := range data {
			data[i] = 0xDB
		}
	}
	if transport == dissect.TCP {
		c.End(dissect.ToServer, p)
		c.End(dissect.ToClient, p)
	}
	c.Close(dissect.EndFin, p)
	s.Held = e.Held()
	if got := c.RowBytes + c.AnomalyBytes; got != s.Bytes || s.Held != 0 {
		t.Errorf("%d bytes accounted for of %d, %d held", got, s.Bytes, s.Held)
	}
	return s
}

// script is the application data that two stacks exchange.
type script struct {
	up, down []byte
	writes   int // most bytes of one write
	rounds   int
}

func newScript(seed int64, up, down, writes, rounds int) script {
	rnd := rand.New(rand.NewSource(seed))
	s := script{make([]byte, up), make([]byte, down), writes, rounds}
	rnd.Read(s.up)
	rnd.Read(s.down)
	return s
}

// speak lets two real stacks perform a handshake and exchange a script in rounds.
func speak(t testing.TB, cc, sc *stdtls.Config, s script) []dissecttest.Chunk {
	t.Helper()
	rec := &recording{}
	a, b := pipe()
	defer a.Close()
	defer b.Close()
	srv := stdtls.Server(&tap{b, dissect.ToClient, rec}, sc)
	cli := stdtls.Client(&tap{a, dissect.ToServer, rec}, cc)
	part := func(b []byte, i int) []byte { return b[len(b)*i/s.rounds : len(b)*(i+1)/s.rounds] }
	send := func(w io.Writer, b []byte, rnd *rand.Rand) error {
		for len(b) > 0 {
			n := 1 + rnd.Intn(min(len(b), s.writes))
			if _, err := w.Write(b[:n]); err != nil {
				return err
			}
			b = b[n:]
		}
		return nil
	}
	served := make(chan error, 1)
	go func() {
		defer b.Close()
		rnd := rand.New(rand.NewSource(5))
		for i := range s.rounds {
			got := make([]byte, len(part(s.up, i)))
			if _, err := io.ReadFull(srv, got); err != nil {
				served <- err
				return
			}
			if err := send(srv, part(s.down, i), rnd); err != nil {
				served <- err
				return
			}
		}
		_, err := srv.Read(make([]byte, 1)) // close_notify
		if err == io.EOF {
			err = srv.Close()
		}
		served <- err
	}()
	err := func() error {
		rnd := rand.New(rand.NewSource(6))
		for i := range s.rounds {
			if err := send(cli, part(s.up, i), rnd); err != nil {
				return err
			}
			if _, err := io.ReadFull(cli, make([]byte, len(part(s.down, i)))); err != nil {
				return err
			}
		}
		if err := cli.CloseWrite(); err != nil {
			return err
		}
		if _, err := cli.Read(make([]byte, 1)); err != io.EOF {
			return err
		}
		return nil
	}()
	if e := <-served; err == nil {
		err = e
	}
	if err != nil {
		t.Fatal(err)
	}
	rec.mu.Lock()
	defer rec.mu.Unlock()
	return rec.chunks
}

// segments splits a conversation like TCP.
func segments(seed int64, chunks []dissecttest.Chunk, most int) (out []dissecttest.Chunk) {
	rnd := rand.New(rand.NewSource(seed))
	for _, c := range chunks {
		for b := c.Data; len(b) > 0; {
			n := min(len(b), most)
			if rnd.Intn(3) == 0 {
				n = 1 + rnd.Intn(n)
			}
			if k := len(out) - 1; k >= 0 && out[k].Dir == c.Dir && len(out[k].Data)+n <= most && rnd.Intn(2) == 0 {
				out[k].Data = append(bytes.Clone(out[k].Data), b[:n]...)
			} else {
				out = append(out, dissecttest.Chunk{Dir: c.Dir, Data: b[:n]})
			}
			b = b[n:]
		}
	}
	return out
}

// same checks that everything that was sent was decrypted.
func same(t *testing.T, s *plainSink, want script) {
	t.Helper()
	if got := s.plain(dissect.ToServer); !bytes.Equal(got, want.up) {
		t.Errorf("the client's %d bytes were decrypted to %d different ones", len(want.up), len(got))
	}
	if got := s.plain(dissect.ToClient); !bytes.Equal(got, want.down) {
		t.Errorf("the server's %d bytes were decrypted to %d different ones", len(want.down), len(got))
	}
	for _, a := range s.Anomalies {
		t.Errorf("anomaly %s: %s", a.Kind, a.Detail)
	}
	if last := s.Emissions[len(s.Emissions)-1].Row.Base(); last.DecryptedBy.V != "tls" || !last.TLSUs.OK {
		t.Errorf("the inner connection was decrypted by %v, after a handshake of %v us", last.DecryptedBy, last.TLSUs)
	}
	e := s.Conn.Encrypted()
	if e == nil || e.State != dissect.KeyVerified || e.Reason != "" || e.Opened != e.Records || e.Layer != "tls" ||
		e.Plain != [2]int64{int64(len(want.up)), int64(len(want.down))} {
		t.Errorf("encryption %s %s %q, opened %v of %v, plain %v", e.Layer, e.State, e.Reason, e.Opened, e.Records, e.Plain)
	}
}

// rsaIdentity makes a certificate with an RSA key, and the key as a file.
func rsaIdentity(t testing.TB) (identity, []byte) {
	key, err := rsa.GenerateKey(crand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "a.example"}, NotBefore: past, NotAfter: future,
		DNSNames: []string{"a.example"}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(crand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return identity{pool, stdtls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}},
		pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
}

type talker struct {
	name     string
	cc, sc   *stdtls.Config
	sessions int // conversations of which the last one counts
	log      *bytes.Buffer
	pem      []byte
}

// talkers are all combinations that crypto/tls supports: each version and suite, full and
// resumed, with a client certificate, with HelloRetryRequest.
func talkers(t testing.TB) (list []talker) {
	ec := newIdentity(t, "a.example", past, future)
	rsa, key := rsaIdentity(t)
	add := func(name string, version, suite uint16, change func(t *talker)) {
		id := ec
		if s := stdtls.CipherSuiteName(suite); suite != 0 && version < stdtls.VersionTLS13 && !bytes.Contains([]byte(s), []byte("ECDSA")) {
			id = rsa
		}
		log := &bytes.Buffer{}
		k := talker{name: name, sessions: 1, log: log, pem: key,
			cc: &stdtls.Config{ServerName: "a.example", RootCAs: id.pool, MinVersion: version, MaxVersion: version, NextProtos: []string{"h2"}},
			sc: &stdtls.Config{Certificates: []stdtls.Certificate{id.cert}, MinVersion: stdtls.VersionTLS10, KeyLogWriter: log, NextProtos: []string{"h2"}}}
		if suite != 0 {
			k.cc.CipherSuites, k.sc.CipherSuites = []uint16{suite}, []uint16{suite}
		}
		if change != nil {
			change(&k)
		}
		list = append(list, k)
	}
	names := map[uint16]string{stdtls.VersionTLS10: "TLS 1.0", stdtls.VersionTLS11: "TLS 1.1", stdtls.VersionTLS12: "TLS 1.2", stdtls.VersionTLS13: "TLS 1.3"}
	resumed := func(k *talker) {
		k.sessions = 2
		k.cc.ClientSessionCache = stdtls.NewLRUClientSessionCache(4)
	}
	for _, s := range slices.Concat(stdtls.CipherSuites(), stdtls.InsecureCipherSuites()) {
		for _, v := range s.SupportedVersions {
			if v == stdtls.VersionTLS13 {
				continue // its suite cannot be selected
			}
			add(names[v]+" "+s.Name, v, s.ID, nil)
			add(names[v]+" "+s.Name+" resumed", v, s.ID, resumed)
		}
	}
	add("TLS 1.3", stdtls.VersionTLS13, 0, nil)
	add("TLS 1.3 psk", stdtls.VersionTLS13, 0, resumed)
	add("TLS 1.3 hello retry", stdtls.VersionTLS13, 0, func(k *talker) {
		k.cc.CurvePreferences = []stdtls.CurveID{stdtls.X25519, stdtls.CurveP384}
		k.sc.CurvePreferences = []stdtls.CurveID{stdtls.CurveP384}
	})
	for _, v := range []uint16{stdtls.VersionTLS12, stdtls.VersionTLS13} {
		add(names[v]+" client certificate", v, 0, func(k *talker) {
			k.cc.Certificates = []stdtls.Certificate{ec.cert}
			k.sc.ClientAuth = stdtls.RequestClientCert
		})
	}
	return list
}

// resumedLine is the key log line of a resumed session before TLS 1.3. Unlike other stacks,
// crypto/tls does not log it.
func resumedLine(k talker, chunks []dissecttest.Chunk) []byte {
	if k.sessions == 1 || k.cc.MaxVersion == stdtls.VersionTLS13 {
		return nil
	}
	line := bytes.Fields(k.log.Bytes())
	return fmt.Appendf(nil, "CLIENT_RANDOM %x %s\n", chunks[0].Data[headerBytes+messageHeader+2:][:32], line[2])
}

// TestKeys: with a key log, everything that two stacks exchanged is decrypted exactly, for any
// segmentation.
func TestKeys(t *testing.T) {
	for i, k := range talkers(t) {
		t.Run(k.name, func(t *testing.T) {
			s := newScript(int64(i), 9_000, 60_000, 20_000, 3)
			var chunks []dissecttest.Chunk
			for range k.sessions {
				chunks = speak(t, k.cc, k.sc, s)
			}
			store := storeOf(t, k.log.Bytes(), resumedLine(k, chunks))
			for seed := range int64(6) {
				got := playKeys(t, store, dissect.TCP, segments(seed, chunks, []int{1460, 1, 60, 9000, 300, 70000}[seed]))
				same(t, got, s)
				row, det := got.row(t, 0)
				if !row.Complete || row.Error.OK || row.ALPN.V != "h2" || det.KeyState.V != "verified" || row.Resumed.OK != (k.sessions == 2) {
					t.Errorf("row %s, error %v, complete %v, keys %v %v, messages %v", row.Summary, row.Error, row.Complete, det.KeyState, det.KeyReason, row.Messages)
				}
				if want := map[bool]string{true: "none", false: "observed"}[k.sessions == 2]; row.CertState.V != want && row.VersionName.V != "TLS 1.3" {
					t.Errorf("certificate %v, want %s", row.CertState, want)
				}
			}
		})
	}
}

// TestRSAKey: a server's RSA key alone decrypts connections with its key exchange.
func TestRSAKey(t *testing.T) {
	opened := 0
	for i, k := range talkers(t) {
		suite := uint16(0)
		if len(k.cc.CipherSuites) > 0 {
			suite = k.cc.CipherSuites[0]
		}
		s := secrets.SuiteOf(suite)
		if s == nil || !s.RSA || k.sessions > 1 {
			continue
		}
		t.Run(k.name, func(t *testing.T) {
			say := newScript(int64(i), 5_000, 5_000, 3_000, 2)
			got := playKeys(t, storeOf(t, k.pem), dissect.TCP, speak(t, k.cc, k.sc, say))
			same(t, got, say)
			lines := got.Conn.Encrypted().Lines
			if len(lines) != 1 || !bytes.Contains(k.log.Bytes(), []byte(lines[0])) {
				t.Errorf("lines %q, want the one of the client's log", lines)
			}
			opened++
		})
	}
	if opened < 8 {
		t.Errorf("%d suites, want more", opened)
	}
}

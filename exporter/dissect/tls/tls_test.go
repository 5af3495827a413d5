package tls

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	stdtls "crypto/tls"
	"crypto/x509"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
	"github.com/pcapsule/pcapsule/exporter/table"
)

func play(t testing.TB, end dissect.End, chunks ...dissecttest.Chunk) *dissecttest.Result {
	t.Helper()
	return dissecttest.Play(t, dissecttest.Options{ServerPort: 443, Roles: true, Protocols: []*dissect.Protocol{Protocol(nil)}, End: end}, chunks...)
}

// rows are the rows of this protocol with their details.
func rows(r *dissecttest.Result) (list []*Row, details []*table.TLSHandshake) {
	for _, e := range r.Emissions {
		if row, ok := e.Row.(*Row); ok {
			list = append(list, row)
			details = append(details, e.Details[0].(*table.TLSHandshake))
		}
	}
	return list, details
}

// one plays a conversation with one handshake and no anomaly.
func one(t *testing.T, chunks []dissecttest.Chunk) (*Row, *table.TLSHandshake) {
	t.Helper()
	r := play(t, dissect.EndFin, chunks...)
	list, details := rows(r)
	if len(list) != 1 || len(r.Emissions) != 1 {
		t.Fatalf("%d rows of %d, want 1", len(list), len(r.Emissions))
	}
	for _, a := range r.Anomalies {
		t.Errorf("anomaly %s %s", a.Kind, a.Detail)
	}
	if got := r.Conn.RowBytes; got != r.Bytes {
		t.Errorf("%d bytes in rows, want %d", got, r.Bytes)
	}
	return list[0], details[0]
}

var (
	past   = time.Unix(1_600_000_000, 0)
	future = time.Unix(2_000_000_000, 0) // dissecttest plays in 2023
)

func configs(t testing.TB, version uint16) (client, server *stdtls.Config) {
	id := newIdentity(t, "a.example", past, future)
	return &stdtls.Config{ServerName: "a.example", RootCAs: id.pool, MinVersion: version, MaxVersion: version, NextProtos: []string{"h2", "http/1.1"}},
		&stdtls.Config{Certificates: []stdtls.Certificate{id.cert}, MinVersion: stdtls.VersionTLS10, NextProtos: []string{"h2"}}
}

func mustTalk(t testing.TB, client, server *stdtls.Config) []dissecttest.Chunk {
	t.Helper()
	chunks, err := talk(t, client, server)
	if err != nil {
		t.Fatal(err)
	}
	return chunks
}

func TestSuite(t *testing.T) {
	c12, s12 := configs(t, stdtls.VersionTLS12)
	c13, s13 := configs(t, stdtls.VersionTLS13)
	c10, s10 := configs(t, stdtls.VersionTLS10)
	dissecttest.Run(t, Protocol(nil),
		dissecttest.Sample{Name: "TLS 1.0", Chunks: mustTalk(t, c10, s10), Rows: 1},
		dissecttest.Sample{Name: "TLS 1.2", Chunks: mustTalk(t, c12, s12), Rows: 1},
		dissecttest.Sample{Name: "TLS 1.3", Chunks: mustTalk(t, c13, s13), Rows: 1})
}

func TestVersions(t *testing.T) {
	for version, name := range map[uint16]string{stdtls.VersionTLS10: "TLS 1.0", stdtls.VersionTLS11: "TLS 1.1", stdtls.VersionTLS12: "TLS 1.2", stdtls.VersionTLS13: "TLS 1.3"} {
		t.Run(name, func(t *testing.T) {
			cc, sc := configs(t, version)
			row, det := one(t, mustTalk(t, cc, sc))
			if !row.Complete || row.Failed || row.Error.OK || row.SNI.V != "a.example" || row.Host.V != "a.example" || row.VersionName.V != name || row.Version.V != int32(version) {
				t.Errorf("row %+v", row)
			}
			if !slices.Equal(row.ALPNOffered, []string{"h2", "http/1.1"}) || len(row.Suites) == 0 || row.SuiteName.V != stdtls.CipherSuiteName(uint16(row.Suite.V)) {
				t.Errorf("offers %v %v %v", row.ALPNOffered, row.Suites, row.SuiteName)
			}
			if !row.TLSUs.OK || row.Info.V != "ClientHello / ServerHello" || row.Resumed.OK {
				t.Errorf("time %v, info %v, resumed %v", row.TLSUs, row.Info, row.Resumed)
			}
			if version == stdtls.VersionTLS13 {
				if row.CertState.V != "not_observable" || row.ALPN.OK || det.CertSHA256.OK {
					t.Errorf("certificate %v, ALPN %v: encrypted in TLS 1.3", row.CertState, row.ALPN)
				}
				return
			}
			if row.CertState.V != "observed" || row.ALPN.V != "h2" || row.Group.V == "" {
				t.Errorf("certificate %v, ALPN %v, group %v", row.CertState, row.ALPN, row.Group)
			}
			der := sc.Certificates[0].Certificate[0]
			if det.CertSHA256.V != table.Hash(sha256.Sum256(der)) || det.CertSubject.V != "CN=a.example,O=Example" || det.CertSerial.V != "1234" ||
				!slices.Equal(det.CertSANs, []string{"a.example", "*.wild.example", "192.0.2.1"}) || det.CertKeyType.V != "ecdsa" || det.CertKeyBits.V != 256 {
				t.Errorf("certificate %+v", det)
			}
			if !det.CertSelfSigned.V || det.CertExpired.V || det.CertNotYetValid.V || !det.CertMatchesSNI.V || det.CertNotAfterNs.V != future.UnixNano() {
				t.Errorf("certificate flags %+v", det)
			}
		})
	}
}

func TestExpiredAndWrongName(t *testing.T) {
	cc, sc := configs(t, stdtls.VersionTLS12)
	sc.Certificates = []stdtls.Certificate{newIdentity(t, "b.example", past, past.Add(time.Hour)).cert}
	cc.InsecureSkipVerify = true
	_, det := one(t, mustTalk(t, cc, sc))
	if !det.CertExpired.V || det.CertMatchesSNI.V {
		t.Errorf("expired %v, matches %v, want true and false", det.CertExpired, det.CertMatchesSNI)
	}
}

func TestResumption(t *testing.T) {
	for _, c := range []struct {
		version uint16
		how     string
	}{{stdtls.VersionTLS12, "ticket"}, {stdtls.VersionTLS13, "psk"}} {
		t.Run(c.how, func(t *testing.T) {
			cc, sc := configs(t, c.version)
			cc.ClientSessionCache = stdtls.NewLRUClientSessionCache(4)
			mustTalk(t, cc, sc)
			chunks := mustTalk(t, cc, sc)
			row, _ := one(t, chunks)
			if row.Resumed.V != c.how || !row.Complete {
				t.Errorf("resumed %v, complete %v, want %s", row.Resumed, row.Complete, c.how)
			}
			chunks[0], chunks[1] = chunks[1], chunks[0]
			if row, _ := one(t, chunks); row.Resumed.V != c.how {
				t.Errorf("the server's answer was captured first: resumed %v, want %s", row.Resumed, c.how)
			}
			if want := map[string]string{"ticket": "none", "psk": "not_observable"}[c.how]; row.CertState.V != want {
				t.Errorf("certificate %v, want %s", row.CertState, want)
			}
		})
	}
}

func TestClientCertificate(t *testing.T) {
	for _, sent := range []bool{true, false} {
		cc, sc := configs(t, stdtls.VersionTLS12)
		sc.ClientAuth = stdtls.RequestClientCert
		want := "empty"
		if sent {
			cc.Certificates = []stdtls.Certificate{newIdentity(t, "client.example", past, future).cert}
			want = "sent"
		}
		row, det := one(t, mustTalk(t, cc, sc))
		if row.ClientCert.V != want || sent != (det.ClientCertSubject.V == "CN=client.example,O=Example") || sent != (len(det.ClientChainSHA256) == 1) {
			t.Errorf("client certificate %v, subject %v, want %s", row.ClientCert, det.ClientCertSubject, want)
		}
	}
}

func TestHelloRetry(t *testing.T) {
	cc, sc := configs(t, stdtls.VersionTLS13)
	cc.CurvePreferences = []stdtls.CurveID{stdtls.X25519, stdtls.CurveP384}
	sc.CurvePreferences = []stdtls.CurveID{stdtls.CurveP384}
	row, det := one(t, mustTalk(t, cc, sc))
	if !row.HelloRetry || row.Group.V != "secp384r1" || !row.Complete || !slices.Equal(det.KeyShares, []string{"x25519"}) {
		t.Errorf("retry %v, group %v, complete %v, shares %v", row.HelloRetry, row.Group, row.Complete, det.KeyShares)
	}
	if want := []string{"client_hello", "server_hello", "client_hello", "server_hello"}; !slices.Equal(row.Messages, want) {
		t.Errorf("messages %v, want %v", row.Messages, want)
	}
}

func TestFailures(t *testing.T) {
	tests := []struct {
		name  string
		spoil func(cc, sc *stdtls.Config)
		alert string
		by    string
	}{
		{"no version in common", func(cc, sc *stdtls.Config) { sc.MinVersion = stdtls.VersionTLS13 }, "protocol_version", "server"},
		{"no application protocol in common", func(cc, sc *stdtls.Config) { sc.NextProtos = []string{"other"} }, "no_application_protocol", "server"},
		{"the client does not trust the certificate", func(cc, sc *stdtls.Config) { cc.RootCAs = x509.NewCertPool() }, "bad_certificate", "client"},
		{"the client does not trust the certificate of TLS 1.3", func(cc, sc *stdtls.Config) {
			cc.RootCAs, cc.MinVersion, cc.MaxVersion = x509.NewCertPool(), stdtls.VersionTLS13, stdtls.VersionTLS13
		}, "encrypted", "client"},
		{"no cipher suite in common", func(cc, sc *stdtls.Config) {
			sc.CipherSuites = []uint16{stdtls.TLS_RSA_WITH_AES_128_GCM_SHA256}
		}, "handshake_failure", "server"},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			cc, sc := configs(t, stdtls.VersionTLS12)
			c.spoil(cc, sc)
			chunks, err := talk(t, cc, sc)
			if err == nil {
				t.Fatal("the handshake succeeded")
			}
			row, det := one(t, chunks)
			if !row.Failed || row.StatusText.V != c.alert || !slices.Contains(row.Alerts, c.alert) || det.FailedAlertBy.V != c.by || row.TLSUs.OK {
				t.Errorf("failed %v, status %v, alerts %v, by %v, time %v", row.Failed, row.StatusText, row.Alerts, det.FailedAlertBy, row.TLSUs)
			}
		})
	}
}

// TestUnfinished ends a connection at every point of its handshake.
func TestUnfinished(t *testing.T) {
	cc, sc := configs(t, stdtls.VersionTLS12)
	chunks := mustTalk(t, cc, sc)
	for _, c := range []struct {
		name   string
		chunks []dissecttest.Chunk
		end    dissect.End
		want   string
		failed bool
	}{
		{"no answer and a reset", chunks[:1], dissect.EndReset, "reset", true},
		{"no answer and the end", chunks[:1], dissect.EndFin, "no_response", true},
		{"no answer in the capture", chunks[:1], dissect.EndCapture, "cut", false},
		{"closed in the middle", chunks[:2], dissect.EndFin, "cut", true},
		{"the capture ends in the middle", chunks[:2], dissect.EndCapture, "cut", false},
		{"timeout in the middle", chunks[:2], dissect.EndTimeout, "timeout", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			list, _ := rows(play(t, c.end, c.chunks...))
			if len(list) != 1 || list[0].Error.V != c.want || list[0].Failed != c.failed || list[0].Complete {
				t.Errorf("rows %+v, want one with error %s, failed %v", list, c.want, c.failed)
			}
		})
	}
}

func from(chunks []dissecttest.Chunk, dir dissect.Dir) (out []dissecttest.Chunk) {
	for _, c := range chunks {
		if c.Dir == dir {
			out = append(out, c)
		}
	}
	return out
}

func TestOneSided(t *testing.T) {
	for _, version := range []uint16{stdtls.VersionTLS12, stdtls.VersionTLS13} {
		cc, sc := configs(t, version)
		chunks := mustTalk(t, cc, sc)
		list, _ := rows(play(t, dissect.EndCapture, from(chunks, dissect.ToServer)...))
		if len(list) != 1 || list[0].SNI.V != "a.example" || list[0].Complete {
			t.Errorf("client alone: %+v", list)
		}
		list, _ = rows(play(t, dissect.EndCapture, from(chunks, dissect.ToClient)...))
		if len(list) != 1 || list[0].VersionName.V == "" || list[0].Error.V != "no_request" {
			t.Errorf("server alone: %+v", list)
		}
	}
}

// longTalk has a few data records after the handshake.
func longTalk(t testing.TB) []dissecttest.Chunk {
	cc, sc := configs(t, stdtls.VersionTLS12)
	chunks := mustTalk(t, cc, sc)
	body := make([]byte, 16000)
	rand.Read(body)
	for i := range body {
		if body[i] == 3 { // no record header by chance
			body[i] = 7
		}
	}
	record := append([]byte{recordData, 3, 3, byte(len(body) >> 8), byte(len(body))}, body...)
	for range 5 {
		for rest := record; len(rest) > 0; {
			n := min(1400, len(rest))
			chunks = append(chunks, dissecttest.Chunk{Dir: dissect.ToClient, Data: rest[:n]})
			rest = rest[n:]
		}
	}
	return chunks
}

// TestGapInData drops bytes of records: reading must continue at the next one.
func TestGapInData(t *testing.T) {
	chunks := longTalk(t)
	start := len(chunks) - 5*12
	for _, lose := range [][2]int{{1, 1}, {1, 3}, {3, 20}, {10, 14}, {0, 1}} {
		var c []dissecttest.Chunk
		lost := int64(0)
		for i, k := range chunks {
			if j := i - start; j >= lose[0] && j < lose[0]+lose[1] {
				lost += int64(len(k.Data))
				continue
			}
			if lost > 0 {
				k.Gap, lost = lost, 0
			}
			c = append(c, k)
		}
		r := play(t, dissect.EndFin, c...)
		list, _ := rows(r)
		if len(list) != 1 || !list[0].Complete || r.Conn.AnomalyBytes != 0 {
			t.Errorf("losing %v: %d rows, %d bytes in anomalies %v", lose, len(list), r.Conn.AnomalyBytes, r.Anomalies)
		}
	}
}

// TestGapInHandshake drops a part of the server's messages; the row must say so.
func TestGapInHandshake(t *testing.T) {
	cc, sc := configs(t, stdtls.VersionTLS12)
	chunks := mustTalk(t, cc, sc)
	var c []dissecttest.Chunk
	for i, k := range chunks {
		if i == 1 {
			head, tail := k, k
			head.Data, tail.Data, tail.Gap = k.Data[:200], k.Data[300:], 100
			c = append(c, head, tail)
			continue
		}
		c = append(c, k)
	}
	list, _ := rows(play(t, dissect.EndFin, c...))
	if len(list) != 1 || list[0].Error.V != "gap" || list[0].Complete || list[0].SNI.V != "a.example" {
		t.Errorf("rows %+v", list)
	}
}

// TestCutHello captures only the first bytes of a ClientHello. Its server name is known if they have it;
// what depends on its end is unknown.
func TestCutHello(t *testing.T) {
	for _, version := range []uint16{stdtls.VersionTLS12, stdtls.VersionTLS13} {
		cc, sc := configs(t, version)
		chunks := mustTalk(t, cc, sc)
		hello := chunks[0].Data
		name := bytes.Index(hello, []byte("a.example")) + len("a.example")
		for n := headerBytes + messageHeader; n < len(hello); n++ {
			cut := slices.Clone(chunks)
			cut[0].Data = hello[:n]
			next := slices.IndexFunc(cut[1:], func(c dissecttest.Chunk) bool { return c.Dir == dissect.ToServer })
			cut[1+next].Gap = int64(len(hello) - n)
			r := play(t, dissect.EndFin, cut...)
			list, details := rows(r)
			if len(list) != 1 || list[0].Complete || list[0].Failed || list[0].Error.V != "gap" || list[0].JA3.OK || list[0].JA4.OK || details[0].ClientExtensions != nil {
				t.Fatalf("%d bytes: rows %+v", n, list)
			}
			if known := n >= name; list[0].SNI.OK != known || known && list[0].SNI.V != "a.example" {
				t.Fatalf("%d bytes: server name %+v; it ends at %d", n, list[0].SNI, name)
			}
		}
	}
}

func TestMidstream(t *testing.T) {
	chunks := longTalk(t)
	r := dissecttest.Play(t, dissecttest.Options{ServerPort: 443, Protocols: []*dissect.Protocol{Protocol(nil)}, End: dissect.EndCapture}, chunks[len(chunks)-12:]...)
	list, _ := rows(r)
	if len(list) != 1 || !list[0].Midstream || list[0].Complete || list[0].Failed {
		t.Fatalf("rows %+v", list)
	}
	if n := list[0].ResponseBytes + list[0].RequestBytes; n != headerBytes {
		t.Errorf("%d bytes cited, want the first header", n)
	}
}

func TestRenegotiation(t *testing.T) {
	cc, sc := configs(t, stdtls.VersionTLS12)
	chunks := mustTalk(t, cc, sc)
	chunks = chunks[:len(chunks)-2] // alerts
	sealed := string([]byte{recordHandshake, 3, 3, 0, 40}) + strings.Repeat("x", 40)
	change := string([]byte{recordCCS, 3, 3, 0, 17}) + strings.Repeat("y", 17)
	chunks = append(chunks, dissecttest.Client(sealed), dissecttest.Server(sealed+sealed), dissecttest.Client(sealed+change+sealed), dissecttest.Server(change+sealed))
	list, _ := rows(play(t, dissect.EndFin, chunks...))
	if len(list) != 2 || !list[1].Renegotiation || !list[1].Complete || list[1].VersionName.V != "TLS 1.2" {
		t.Errorf("rows %+v", list)
	}
}

func TestNotTLS(t *testing.T) {
	cc, sc := configs(t, stdtls.VersionTLS12)
	hello := mustTalk(t, cc, sc)[0]
	r := play(t, dissect.EndFin, hello, dissecttest.Server("HTTP/1.1 400 Bad Request\r\n\r\n"))
	list, _ := rows(r)
	if len(list) != 1 || list[0].Error.V != "malformed" || list[0].Outcome != table.Unread {
		t.Errorf("rows %+v", list)
	}
}

// TestHeartbeats has heartbeats that claim more than they have, and answers with more than was sent.
func TestHeartbeats(t *testing.T) {
	beat := func(kind byte, claims, size int) string {
		return string([]byte{recordHeartbeat, 3, 2, byte(size >> 8), byte(size), kind, byte(claims >> 8), byte(claims)}) + strings.Repeat("x", size-3)
	}
	sealed := func(size int) string {
		return string([]byte{recordHeartbeat, 3, 3, byte(size >> 8), byte(size)}) + strings.Repeat("x", size)
	}
	from, to := dissecttest.Client, dissecttest.Server
	for name, tt := range map[string]struct {
		early, late []dissecttest.Chunk
		want        []string
	}{
		"valid":             {early: []dissecttest.Chunk{from(beat(1, 16, 35)), to(beat(2, 16, 35))}},
		"too long":          {early: []dissecttest.Chunk{from(beat(1, 0x4000, 3))}, want: []string{"heartbeat_length"}},
		"too long, answer":  {early: []dissecttest.Chunk{from(beat(1, 0x1000, 3)), to(beat(2, 0x1000, 0x1013))}, want: []string{"heartbeat_length", "heartbeat_answer"}},
		"without padding":   {early: []dissecttest.Chunk{from(beat(1, 0x100, 0x103))}, want: []string{"heartbeat_length"}},
		"encrypted":         {late: []dissecttest.Chunk{from(sealed(48)), to(sealed(48))}},
		"encrypted, short":  {late: []dissecttest.Chunk{from(sealed(32)), to(sealed(48))}, want: []string{"heartbeat_length"}},
		"encrypted, answer": {late: []dissecttest.Chunk{from(sealed(48)), to(sealed(400))}, want: []string{"heartbeat_answer"}},
	} {
		t.Run(name, func(t *testing.T) {
			cc, sc := configs(t, stdtls.VersionTLS12)
			chunks := slices.Concat(slices.Insert(mustTalk(t, cc, sc), 2, tt.early...), tt.late)
			r := play(t, dissect.EndFin, chunks...)
			var got []string
			for _, a := range r.Anomalies {
				got = append(got, a.Kind)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("anomalies %v, want %v", r.Anomalies, tt.want)
			}
		})
	}
}

// TestHostileCertificates replaces a certificate with garbage.
func TestHostileCertificates(t *testing.T) {
	cc, sc := configs(t, stdtls.VersionTLS12)
	der := sc.Certificates[0].Certificate[0]
	chunks := mustTalk(t, cc, sc)
	at := -1
	for i, c := range chunks {
		if j := bytes.Index(c.Data, der); j >= 0 {
			at = i
		}
	}
	if at < 0 {
		t.Fatal("no certificate on the wire")
	}
	for i := range 300 {
		bad := bytes.Clone(der)
		n, _ := rand.Int(rand.Reader, big.NewInt(int64(len(bad))))
		bad[n.Int64()] ^= byte(1 + i%255)
		if i == 0 {
			bad = bytes.Repeat([]byte{0x30, 0x80}, len(der))[:len(der)]
		}
		c := slices.Clone(chunks)
		c[at].Data = bytes.Replace(c[at].Data, der, bad, 1)
		list, det := rows(play(t, dissect.EndFin, c...))
		if len(list) != 1 || det[0].CertSHA256.V != table.Hash(sha256.Sum256(bad)) {
			t.Fatalf("changed byte %d: %d rows, hash %x", n, len(list), det[0].CertSHA256.V)
		}
		if i == 0 && det[0].CertProblem.V == "" {
			t.Error("garbage has no problem")
		}
	}
}

func TestSSL2Hello(t *testing.T) {
	suites := "\x01\x00\x80\x00\x00\x05\x00\x00\x0a"
	body := "\x01\x03\x01" + "\x00\x09\x00\x00\x00\x10" + suites + strings.Repeat("r", 16)
	r := play(t, dissect.EndReset, dissecttest.Client(string([]byte{0x80, byte(len(body))})+body))
	list, _ := rows(r)
	want := []string{"SSL_CK_RC4_128_WITH_MD5", "TLS_RSA_WITH_RC4_128_SHA", "TLS_RSA_WITH_3DES_EDE_CBC_SHA"}
	if len(list) != 1 || !slices.Equal(list[0].Suites, want) || list[0].JA3.OK {
		t.Errorf("rows %+v", list)
	}
}

// TestClientHelloFromTheOtherSide states that the sender of the ClientHello is the client: of the connection if no
// handshake of TCP says which side dialled, else of the call, as in RFC 8071.
func TestClientHelloFromTheOtherSide(t *testing.T) {
	client, server := configs(t, stdtls.VersionTLS12)
	chunks := mustTalk(t, client, server)
	for i := range chunks {
		chunks[i].Dir = chunks[i].Dir.Other()
	}
	for _, known := range []bool{false, true} {
		o := dissecttest.OptionsOf(Protocol(nil))
		o.Roles, o.ServerPort = known, 7443
		r := dissecttest.Play(t, o, chunks...)
		if len(r.Emissions) != 1 || r.Conn.Flipped() == known || r.Emissions[0].Reversed != known {
			t.Errorf("roles known %t: flipped %t, %s", known, r.Conn.Flipped(), dissecttest.Lines(r))
		}
	}
}

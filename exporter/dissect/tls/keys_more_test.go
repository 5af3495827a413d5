package tls

import (
	"bytes"
	"crypto/rand"
	"fmt"
	mathrand "math/rand"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

// some selects talkers by name.
func some(t testing.TB, names ...string) (list []talker) {
	for _, k := range talkers(t) {
		for _, n := range names {
			if k.name == n {
				list = append(list, k)
			}
		}
	}
	if len(list) != len(names) {
		t.Fatalf("%d talkers, want %d", len(list), len(names))
	}
	return list
}

func usual(t testing.TB) []talker {
	return some(t, "TLS 1.3", "TLS 1.3 client certificate", "TLS 1.2 TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS 1.0 TLS_RSA_WITH_AES_128_CBC_SHA")
}

// others makes secrets of other sessions.
func others(n int) []byte {
	var b bytes.Buffer
	for range n {
		id, secret := make([]byte, 32), make([]byte, 32)
		rand.Read(id)
		for _, label := range []string{"CLIENT_HANDSHAKE_TRAFFIC_SECRET", "SERVER_HANDSHAKE_TRAFFIC_SECRET", "CLIENT_TRAFFIC_SECRET_0", "SERVER_TRAFFIC_SECRET_0"} {
			rand.Read(secret)
			fmt.Fprintf(&b, "%s %x %x\n", label, id, secret)
		}
	}
	return b.Bytes()
}

// TestForeignKeys: keys of other connections decrypt nothing and change no row.
func TestForeignKeys(t *testing.T) {
	for _, k := range usual(t) {
		chunks := speak(t, k.cc, k.sc, newScript(1, 3000, 3000, 900, 2))
		with := playKeys(t, storeOf(t, others(20)), dissect.TCP, chunks)
		without := playKeys(t, nil, dissect.TCP, chunks)
		e := with.Conn.Encrypted()
		if len(with.chunks[0])+len(with.chunks[1]) != 0 || e.State != dissect.KeyNone || e.Reason != dissect.NoKey || len(e.Random) != 32 {
			t.Errorf("%s: keys %s %q, %d bytes came out", k.name, e.State, e.Reason, len(with.plain(0)))
		}
		if a, b := without.Conn.Encrypted(), e; a.Records != b.Records || a.Bytes != b.Bytes || a.Records[0] == 0 || a.Opened != [2]int64{} {
			t.Errorf("%s: records %v with keys, %v without", k.name, b.Records, a.Records)
		}
		a, _ := with.row(t, 0)
		b, _ := without.row(t, 0)
		a.Delivery, b.Delivery = nil, nil // pointers
		if fmt.Sprintf("%+v", a) != fmt.Sprintf("%+v", b) {
			t.Errorf("%s: rows differ:\n%+v\n%+v", k.name, a, b)
		}
	}
}

// TestWrongKeys: wrong secrets for the right random, alone and together with correct ones.
func TestWrongKeys(t *testing.T) {
	for _, k := range usual(t) {
		s := newScript(1, 3000, 3000, 900, 2)
		chunks := speak(t, k.cc, k.sc, s)
		wrong := bytes.Clone(k.log.Bytes())
		for i := 1; i < len(wrong); i++ { // another digit at the end of each line
			if wrong[i] == '\n' {
				wrong[i-1] = "1032547698badcfe"[bytes.IndexByte([]byte("0123456789abcdef"), wrong[i-1])]
			}
		}
		got := playKeys(t, storeOf(t, wrong), dissect.TCP, chunks)
		if e := got.Conn.Encrypted(); e.State != dissect.KeyUnverified || e.Reason != dissect.WrongKey || got.inner != nil {
			t.Errorf("%s: keys %s %q, want unverified wrong_key", k.name, e.State, e.Reason)
		}
		same(t, playKeys(t, storeOf(t, wrong, k.log.Bytes()), dissect.TCP, chunks), s)
	}
}

// TestBeginningLost starts in the middle of a TLS 1.3 connection: its secrets are found among
// others by trial.
func TestBeginningLost(t *testing.T) {
	k := some(t, "TLS 1.3")[0]
	chunks := speak(t, k.cc, k.sc, newScript(1, 60_000, 90_000, 900, 8))
	keys := storeOf(t, others(60), k.log.Bytes())
	list := records(t, keys, chunks)
	for _, from := range []int{12, 40, 120} {
		var rest []dissecttest.Chunk
		var want [2][]byte
		at := [2]int64{}
		for i, r := range list {
			if i < from {
				at[r.dir] = r.from + int64(r.size)
			} else {
				want[r.dir] = append(want[r.dir], r.content...)
			}
		}
		var off [2]int64
		for _, c := range chunks {
			if skip := at[c.Dir] - off[c.Dir]; skip < int64(len(c.Data)) {
				rest = append(rest, dissecttest.Chunk{Dir: c.Dir, Data: c.Data[max(skip, 0):]})
			}
			off[c.Dir] += int64(len(c.Data))
		}
		got := playKeys(t, keys, dissect.TCP, segments(1, rest, 1460))
		e := got.Conn.Encrypted()
		if e.State != dissect.KeyVerified || e.Reason != "" || len(e.Lines) == 0 || e.Random != nil || e.Opened != e.Records {
			t.Errorf("from record %d: keys %s %q, %d lines, opened %v of %v", from, e.State, e.Reason, len(e.Lines), e.Opened, e.Records)
		}
		for d := range want {
			if !bytes.Equal(want[d], got.plain(dissect.Dir(d))) {
				t.Errorf("from record %d: %d bytes came out in direction %d, want %d", from, len(got.plain(dissect.Dir(d))), d, len(want[d]))
			}
		}
		row, det := got.row(t, 0)
		if !row.Midstream || det.KeyState.V != "verified" || row.SNI.OK || row.VersionName.V != "TLS 1.3" {
			t.Errorf("row %s, keys %v", row.Summary, det.KeyState)
		}
		none := playKeys(t, storeOf(t, others(60)), dissect.TCP, segments(1, rest, 1460)).Conn.Encrypted()
		if none.State != dissect.KeyNone || none.Reason != dissect.NoHandshake {
			t.Errorf("without its keys: %s %q, want none no_handshake", none.State, none.Reason)
		}
	}
}

// TestServerHelloLost removes the ServerHello: the cipher suite is found by trial.
func TestServerHelloLost(t *testing.T) {
	k := some(t, "TLS 1.3")[0]
	s := newScript(1, 3000, 3000, 900, 2)
	chunks := speak(t, k.cc, k.sc, s)
	hello := chunks[1] // ServerHello alone, or with the messages after it
	n := headerBytes + header(hello.Data).size
	cut := append([]dissecttest.Chunk{chunks[0], {Dir: hello.Dir, Gap: int64(n), Data: hello.Data[n:]}}, chunks[2:]...)
	got := playKeys(t, storeOf(t, k.log.Bytes()), dissect.TCP, cut)
	if !bytes.Equal(got.plain(0), s.up) || !bytes.Equal(got.plain(1), s.down) {
		t.Errorf("%d and %d bytes came out", len(got.plain(0)), len(got.plain(1)))
	}
	row, _ := got.row(t, 0)
	if row.VersionName.V != "TLS 1.3" || row.SuiteName.V != "TLS_AES_128_GCM_SHA256" || row.Error.V != "gap" || row.ALPN.V != "h2" || row.CertState.V != "observed" {
		t.Errorf("row %s, error %v, certificate %v", row.Summary, row.Error, row.CertState)
	}
	k = some(t, "TLS 1.2 TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256")[0]
	chunks = speak(t, k.cc, k.sc, s)
	cut = append([]dissecttest.Chunk{chunks[0], {Dir: dissect.ToClient, Gap: 60, Data: chunks[1].Data[60:]}}, chunks[2:]...)
	e := playKeys(t, storeOf(t, k.log.Bytes()), dissect.TCP, cut).Conn.Encrypted()
	if e.State != dissect.KeyNone || e.Reason != dissect.KeyGap {
		t.Errorf("TLS 1.2 without a ServerHello: %s %q, want none gap", e.State, e.Reason)
	}
}

// TestCutShort ends conversations anywhere.
func TestCutShort(t *testing.T) {
	for _, k := range usual(t) {
		s := newScript(1, 300, 500, 200, 2)
		all := segments(3, speak(t, k.cc, k.sc, s), 100)
		keys := storeOf(t, k.log.Bytes())
		for n := range all {
			got := playKeys(t, keys, dissect.TCP, all[:n])
			if !bytes.HasPrefix(s.up, got.plain(0)) || !bytes.HasPrefix(s.down, got.plain(1)) {
				t.Fatalf("%s cut after %d segments: what came out is not what was sent", k.name, n)
			}
		}
	}
}

// TestForged changes bytes of records. Only bytes that were sent may be decrypted, and records
// that do not authenticate must be counted.
func TestForged(t *testing.T) {
	for _, k := range usual(t) {
		s := newScript(1, 20_000, 30_000, 900, 2)
		chunks := speak(t, k.cc, k.sc, s)
		keys := storeOf(t, k.log.Bytes())
		list := records(t, keys, chunks)
		for seed := range int64(40) {
			rnd := mathrand.New(mathrand.NewSource(seed))
			r := list[rnd.Intn(len(list))]
			for r.content == nil {
				r = list[rnd.Intn(len(list))]
			}
			at := r.from + headerBytes + int64(rnd.Intn(r.size-headerBytes))
			var bad []dissecttest.Chunk
			var off [2]int64
			for _, c := range chunks {
				c.Data = bytes.Clone(c.Data)
				if i := at - off[c.Dir]; c.Dir == r.dir && i >= 0 && i < int64(len(c.Data)) {
					c.Data[i] ^= 1 << rnd.Intn(8)
				}
				off[c.Dir] += int64(len(c.Data))
				bad = append(bad, c)
			}
			got := playKeys(t, keys, dissect.TCP, segments(seed, bad, 1460))
			want := [2][]byte{s.up, s.down}
			i := bytes.Index(want[r.dir], r.content)
			if len(r.content) > 8 {
				want[r.dir] = append(bytes.Clone(want[r.dir][:i]), want[r.dir][i+len(r.content):]...)
			}
			for d := range want {
				if len(r.content) > 8 && !bytes.Equal(got.plain(dissect.Dir(d)), want[d]) {
					t.Errorf("%s, run %d: %d bytes came out in direction %d, want %d", k.name, seed, len(got.plain(dissect.Dir(d))), d, len(want[d]))
				}
			}
			if len(got.Anomalies) == 0 || got.Anomalies[0].Kind != "tls_record_not_authentic" {
				t.Errorf("%s, run %d: anomalies %v", k.name, seed, got.Anomalies)
			}
		}
	}
}

// TestSuiteWithKeys is the conformance suite with decryption.
func TestSuiteWithKeys(t *testing.T) {
	for _, k := range usual(t) {
		chunks := speak(t, k.cc, k.sc, newScript(1, 400, 600, 250, 2))
		dissecttest.Run(t, Protocol(storeOf(t, k.log.Bytes())), dissecttest.Sample{Name: k.name, Chunks: chunks, Rows: 2})
	}
}

// TestNoMemory has no memory for whole records: they are skipped, and smaller ones are still
// decrypted.
func TestNoMemory(t *testing.T) {
	k := some(t, "TLS 1.3")[0]
	s := newScript(1, 100, 40_000, 40_000, 4)
	chunks := segments(1, speak(t, k.cc, k.sc, s), 1000)
	sink := &plainSink{}
	e, err := dissect.NewEngine([]*dissect.Protocol{Protocol(storeOf(t, k.log.Bytes()))}, nil, sink, true)
	if err != nil {
		t.Fatal(err)
	}
	c := e.NewConn(dissect.Info{ServerPort: 443, RolesKnown: true, Began: [2]bool{true, true}, ConnectUs: -1})
	for i, ch := range chunks {
		if i == 20 {
			e.SetBudget(8000)
		}
		c.Data(ch.Dir, ch.Data, dissect.Packet{No: int64(i)})
	}
	c.Close(dissect.EndFin, dissect.Packet{})
	got := c.Encryption()
	if !bytes.Equal(sink.plain(dissect.ToServer), s.up) || got.Opened[dissect.ToClient] == 0 || got.Opened[dissect.ToClient] == got.Records[dissect.ToClient] || e.Held() != 0 {
		t.Errorf("%d bytes from the client, %d of %d opened of the server, %d held", len(sink.plain(0)), got.Opened[1], got.Records[1], e.Held())
	}
	at := 0
	for _, b := range sink.chunks[dissect.ToClient] {
		i := bytes.Index(s.down[at:], b)
		if i < 0 {
			t.Fatalf("%d bytes came out that were not sent there", len(b))
		}
		at += i + len(b)
	}
}

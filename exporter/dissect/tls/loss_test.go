package tls

import (
	"bytes"
	"fmt"
	"math/rand"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
	"github.com/pcapsule/pcapsule/exporter/dissect/http1"
	"github.com/pcapsule/pcapsule/recorder/secrets"
)

// sent is a record as it was sent.
type sent struct {
	dir     dissect.Dir
	from    int64 // offset in its direction
	size    int
	sealed  bool
	content []byte // its application data
}

// records finds the records of a conversation and their content, by playing it record by record.
func records(t testing.TB, keys *secrets.Store, chunks []dissecttest.Chunk) (list []sent) {
	t.Helper()
	var rest [2][]byte
	var at [2]int64
	var single []dissecttest.Chunk
	for _, c := range chunks {
		rest[c.Dir] = append(rest[c.Dir], c.Data...)
		for b := rest[c.Dir]; len(b) >= headerBytes && len(b) >= headerBytes+header(b).size; b = rest[c.Dir] {
			n := headerBytes + header(b).size
			single = append(single, dissecttest.Chunk{Dir: c.Dir, Data: bytes.Clone(b[:n])})
			list = append(list, sent{dir: c.Dir, from: at[c.Dir], size: n})
			at[c.Dir] += int64(n)
			rest[c.Dir] = b[n:]
		}
	}
	s := &plainSink{}
	e, err := dissect.NewEngine([]*dissect.Protocol{Protocol(keys)}, nil, s, true)
	if err != nil {
		t.Fatal(err)
	}
	c := e.NewConn(dissect.Info{ServerPort: 443, RolesKnown: true, Began: [2]bool{true, true}, ConnectUs: -1})
	for i, k := range single {
		was, opened := len(s.chunks[k.Dir]), c.Encryption().Opened[k.Dir]
		c.Data(k.Dir, k.Data, dissect.Packet{No: int64(i)})
		if now := s.chunks[k.Dir]; len(now) > was {
			list[i].content = now[was]
		}
		list[i].sealed = c.Encryption().Opened[k.Dir] > opened
	}
	c.Close(dissect.EndFin, dissect.Packet{})
	return list
}

// lose drops segments, except those for which keep returns true.
func lose(rnd *rand.Rand, chunks []dissecttest.Chunk, keep func(i int, at int64, c dissecttest.Chunk) bool) (out []dissecttest.Chunk, gaps [2][][2]int64) {
	var at, gap [2]int64
	for i, c := range chunks {
		d, n := c.Dir, int64(len(c.Data))
		if rnd.Intn(100) == 0 && !keep(i, at[d], c) {
			gap[d] += n
			gaps[d] = append(gaps[d], [2]int64{at[d], at[d] + n})
		} else {
			c.Gap, gap[d] = gap[d], 0
			out = append(out, c)
		}
		at[d] += n
	}
	return out, gaps
}

// captured reports whether all bytes from a to b were captured.
func captured(gaps [][2]int64, a, b int64) bool {
	for _, h := range gaps {
		if h[0] < b && h[1] > a {
			return false
		}
	}
	return true
}

func lossTalkers(t testing.TB) (list []talker) {
	for _, k := range talkers(t) {
		for _, name := range []string{"TLS 1.3", "TLS 1.3 psk", "TLS 1.2 TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS 1.2 TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
			"TLS 1.2 TLS_RSA_WITH_AES_128_CBC_SHA", "TLS 1.0 TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA", "TLS 1.0 TLS_RSA_WITH_3DES_EDE_CBC_SHA", "TLS 1.2 TLS_RSA_WITH_RC4_128_SHA"} {
			if k.name == name {
				list = append(list, k)
			}
		}
	}
	return list
}

// TestLostSegments drops one segment in a hundred at random. Only bytes that were sent may be
// decrypted, and completely captured records must be: exactly, if the hellos are complete.
func TestLostSegments(t *testing.T) {
	const runs = 30
	for i, k := range lossTalkers(t) {
		t.Run(k.name, func(t *testing.T) {
			var chunks []dissecttest.Chunk
			for range k.sessions {
				chunks = speak(t, k.cc, k.sc, newScript(int64(i), 150_000, 400_000, 40_000, 4))
			}
			keys := storeOf(t, k.log.Bytes())
			list := records(t, keys, chunks)
			for seed := range int64(runs) {
				rnd := rand.New(rand.NewSource(seed))
				exact := seed%3 != 0
				pieces := segments(seed, chunks, 1460)
				start := [2]int64{}
				for _, r := range list {
					if r.content == nil && start[r.dir] >= 0 {
						start[r.dir] = r.from + int64(r.size)
					} else if start[r.dir] >= 0 {
						start[r.dir] = -start[r.dir]
					}
				}
				cut, gaps := lose(rnd, pieces, func(_ int, at int64, c dissecttest.Chunk) bool {
					return exact && at < -start[c.Dir]
				})
				got := playKeys(t, keys, dissect.TCP, cut)
				checkLoss(t, k, seed, exact, list, gaps, got)
			}
		})
	}
}

func checkLoss(t *testing.T, k talker, seed int64, exact bool, list []sent, gaps [2][][2]int64, got *plainSink) {
	t.Helper()
	stream, chained := strings.Contains(k.name, "RC4"), int64(0) // bytes before a record on which its decryption depends
	if strings.Contains(k.name, "TLS 1.0") {
		chained = 16
		if strings.Contains(k.name, "3DES") {
			chained = 8
		}
	}
	missing := int64(0) // content of lost records before a captured one
	for dir := range got.chunks {
		var want [][]byte
		opened, gone := 0, int64(0)
		for _, r := range list {
			if int(r.dir) != dir || !r.sealed {
				continue
			}
			whole := captured(gaps[dir], r.from, r.from+int64(r.size)) && captured(gaps[dir], max(r.from-chained, 0), r.from)
			if !whole {
				gone += int64(len(r.content))
				continue
			}
			opened++
			missing, gone = missing+gone, 0
			if r.content != nil {
				want = append(want, r.content)
			}
		}
		next := 0
		for _, c := range got.chunks[dir] {
			for next < len(want) && !bytes.Equal(want[next], c) {
				if exact && !stream {
					t.Errorf("run %d: record of %d bytes was captured whole in direction %d and did not come out", seed, len(want[next]), dir)
				}
				next++
			}
			if next == len(want) {
				t.Fatalf("run %d: %d bytes came out in direction %d that were not sent there", seed, len(c), dir)
			}
			next++
		}
		if exact && !stream && (next != len(want) || int(got.Conn.Encrypted().Opened[dir]) != opened) {
			t.Errorf("run %d: %d of %d came out in direction %d, %d opened of %d", seed, next, len(want), dir, got.Conn.Encrypted().Opened[dir], opened)
		}
	}
	if aead := !strings.Contains(k.name, "CBC"); exact && !stream && aead && got.inner.GapBytes != missing {
		t.Errorf("run %d: %d bytes were reported as lost, want %d", seed, got.inner.GapBytes, missing)
	}
}

// TestALostResponseCutsItsCallOnly loses all of a response. The next request, which the client sent after it, has its own.
func TestALostResponseCutsItsCallOnly(t *testing.T) {
	up, down := "", ""
	for i := range 3 {
		up += fmt.Sprintf("GET /%d HTTP/1.1\r\nHost: h\r\n\r\n", i)
		down += fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: 3000\r\n\r\n%03d", i) + strings.Repeat("x", 2997)
	}
	for _, k := range lossTalkers(t) {
		if strings.Contains(k.name, "CBC") || strings.Contains(k.name, "RC4") { // the first record after a loss has no beginning
			continue
		}
		t.Run(k.name, func(t *testing.T) {
			var chunks []dissecttest.Chunk
			for range k.sessions {
				chunks = speak(t, k.cc, k.sc, script{[]byte(up), []byte(down), 5000, 3})
			}
			var kept []dissecttest.Chunk
			for nth, i := 0, 0; i < len(chunks); {
				end, size := i, int64(0)
				for ; end < len(chunks) && chunks[end].Dir == chunks[i].Dir; end++ {
					size += int64(len(chunks[end].Data))
				}
				if chunks[i].Dir == dissect.ToClient && size > 3000 {
					nth++
				}
				if nth == 2 && chunks[i].Dir == dissect.ToClient {
					kept = append(kept, dissecttest.Chunk{Dir: dissect.ToClient, Gap: size})
				} else {
					kept = append(kept, chunks[i:end]...)
				}
				i = end
			}
			got := playKeys(t, storeOf(t, k.log.Bytes()), dissect.TCP, kept, http1.Protocol())
			var list []string
			for _, r := range got.Rows() {
				if b := r.Base(); b.Protocol == "http1" {
					list = append(list, fmt.Sprint(b.Summary, " ", b.Complete))
				}
			}
			want := []string{"GET /0 → 200 (3.0 kB) true", "GET /1 → gap false", "GET /2 → 200 (3.0 kB) true"}
			if !slices.Equal(list, want) {
				t.Errorf("%q, want %q", list, want)
			}
		})
	}
}

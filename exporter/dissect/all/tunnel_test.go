package all

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/http2/hpack"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

// section is a header section of HTTP/2 that uses no table.
func section(pairs ...string) string {
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	e.SetMaxDynamicTableSize(0)
	for i := 0; i < len(pairs); i += 2 {
		if err := e.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]}); err != nil {
			panic(err)
		}
	}
	return b.String()
}

// inStream puts a conversation into DATA frames of stream 1, of at most 500 bytes.
func inStream(list []dissecttest.Chunk) (out []dissecttest.Chunk) {
	for _, c := range list {
		for part := range slices.Chunk(c.Data, 500) {
			out = append(out, dissecttest.Chunk{Dir: c.Dir, Data: []byte(h2(0, 0, 1, string(part)))})
		}
	}
	return out
}

// TestTunnelsInHTTP2 plays a CONNECT with another protocol inside, as service meshes do, with and without losses.
func TestTunnelsInHTTP2(t *testing.T) {
	c, s := dissecttest.Client, dissecttest.Server
	preface := []dissecttest.Chunk{c("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + h2(4, 0, 0, "")), s(h2(4, 0, 0, ""))}
	connect := c(h2(1, 4, 1, section(":method", "CONNECT", ":authority", "shop:6379")))
	agreed, refused := s(h2(1, 4, 1, section(":status", "200"))), s(h2(1, 5, 1, section(":status", "503")))
	other := []dissecttest.Chunk{c(h2(1, 5, 3, section(":method", "GET", ":scheme", "http", ":path", "/a", ":authority", "shop"))), s(h2(1, 5, 3, section(":status", "204")))}
	pings := []dissecttest.Chunk{c(ping), s(pong), c(ping), s(pong)}
	lost := inStream(pings)
	lost[1] = dissecttest.Chunk{Dir: dissect.ToClient, Gap: int64(len(lost[1].Data))}
	const pinged, get = "redis PING → PONG true", "http2 GET /a → 204 true"
	for _, tc := range []struct {
		name string
		list [][]dissecttest.Chunk
		want string
	}{
		{"TLS", [][]dissecttest.Chunk{{connect, agreed}, inStream(tlsTalk(t))}, "http2; tls"},
		{"Redis beside another stream", [][]dissecttest.Chunk{{connect, agreed}, inStream(pings[:2]), other, inStream(pings[2:])}, "http2; " + pinged + "; " + pinged + "; " + get},
		{"the first bytes come before the answer", [][]dissecttest.Chunk{{connect}, inStream(pings[:1]), {agreed}, inStream(pings[1:2])}, "http2; " + pinged},
		{"a CONNECT that is refused", [][]dissecttest.Chunk{{connect, refused}, other}, "http2; " + get},
		{"an answer is lost", [][]dissecttest.Chunk{{connect, agreed}, lost}, "http2; redis PING → gap false; " + pinged},
		{"HTTP/2 in it", [][]dissecttest.Chunk{{connect, agreed}, inStream(slices.Concat(preface, other))}, "http2; " + get},
		{"something unknown", [][]dissecttest.Chunk{{connect, agreed}, inStream([]dissecttest.Chunk{c("\x01\x02\x03\x04\x05\x06"), s("\x07")})}, "http2; tcp "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := dissecttest.Play(t, dissecttest.Options{Protocols: Protocols(nil), ServerPort: 15008, Roles: true, End: dissect.EndFin}, slices.Concat(append([][]dissecttest.Chunk{preface}, tc.list...)...)...)
			want := strings.Split(tc.want, "; ")
			slices.Sort(want)
			if got := sketch(r); !slices.Equal(got, want) || r.Held != 0 {
				t.Errorf("\n got %q\nwant %q; %d held, anomalies %v", got, want, r.Held, r.Anomalies)
			}
			for _, row := range r.Rows() {
				if b := row.Base(); b.Failed && b.StatusCode.V != 503 {
					t.Errorf("%s has failed: %s", b.Summary, b.Outcome)
				}
			}
		})
	}
}

package all

import (
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

// TestLostBytesMakeNoWrongCall loses one byte, or one whole chunk, of each recorded conversation
// at every place. A call that is complete then must be one of the complete recording, unless its
// text shows what is missing or the connection has an anomaly.
func TestLostBytesMakeNoWrongCall(t *testing.T) {
	for file := range samples {
		t.Run(file, func(t *testing.T) {
			list := talks(t, file)
			for _, k := range list[:min(len(list), 8)] {
				o := dissecttest.Options{ServerPort: k.port, End: dissect.EndFin, Roles: true}
				play := func(chunks []dissecttest.Chunk) *dissecttest.Result {
					o.Protocols = Protocols(nil)
					return dissecttest.Play(t, o, chunks...)
				}
				want := pairs(play(k.chunks))
				for i := range min(len(k.chunks), 60) {
					for _, whole := range []bool{false, true} {
						r := play(without(k.chunks, i, whole))
						if len(r.Anomalies) > 0 {
							continue
						}
						for _, got := range pairs(r) {
							if !slices.Contains(want, got) && !showsLoss(got) {
								t.Errorf("%s without chunk %d (whole: %v): %.150q", k.name, i, whole, got)
							}
						}
					}
				}
			}
		})
	}
}

// TestTheFirstRequestOfABatchIsLost loses a request that the client sends with another one. The response to the lost
// one is the first that comes, and must not be assigned to the other one. Later requests have their responses.
func TestTheFirstRequestOfABatchIsLost(t *testing.T) {
	for _, p := range pipelines() {
		if p.kind != dissect.TCP {
			continue
		}
		t.Run(p.name, func(t *testing.T) {
			o := dissecttest.Options{ServerPort: p.port, End: dissect.EndFin, Roles: true, Protocols: Protocols(nil)}
			alone := slices.Concat(p.login, []dissecttest.Chunk{fromClient(p.request(0)), fromServer(p.response(0))})
			later := []dissecttest.Chunk{fromClient(p.request(3)), fromServer(p.response(3))}
			lost := []dissecttest.Chunk{{Dir: dissect.ToServer, Gap: int64(len(p.request(1))), Data: []byte(p.request(2))}, fromServer(p.response(1)), fromServer(p.response(2))}
			want := pairs(dissecttest.Play(t, o, slices.Concat(alone, later)...))
			switch p.name {
			case "http2", "ldap", "dns, tcp", "thrift": // a number pairs them
				want = pairs(dissecttest.Play(t, o, slices.Concat(alone, []dissecttest.Chunk{fromClient(p.request(2)), fromServer(p.response(2))}, later)...))
			}
			got := pairs(dissecttest.Play(t, o, slices.Concat(alone, lost, later)...))
			if slices.Sort(want); !slices.Equal(slices.Sorted(slices.Values(got)), want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		})
	}
}

// pairs are the summaries of the complete calls that have a request and a response.
func pairs(r *dissecttest.Result) (list []string) {
	for _, e := range r.Emissions {
		b := e.Row.Base()
		if _, unknown := e.Row.(*dissect.Unknown); !unknown && b.Complete && e.Request.Seen && e.Response.Seen {
			list = append(list, b.Protocol+" "+b.Summary)
		}
	}
	return list
}

// showsLoss reports whether a summary says that a part of the call was not captured: the end of a
// statement, a statement, or the mechanism of an authentication.
func showsLoss(summary string) bool {
	return strings.HasSuffix(summary, " ?") || strings.Contains(summary, "… →") || strings.Contains(summary, "…; ") || strings.Contains(summary, " ?; ") || strings.Contains(summary, " ? →") || strings.Contains(summary, ", sasl →")
}

// without loses chunk i, or the byte in its middle.
func without(chunks []dissecttest.Chunk, i int, whole bool) (list []dissecttest.Chunk) {
	lost := chunks[i]
	list = append(list, chunks[:i]...)
	rest, gap := slices.Clone(chunks[i+1:]), int64(len(lost.Data))
	if n := len(lost.Data); !whole && n > 2 {
		first, second := lost, lost
		first.Data, second.Data, second.Gap = lost.Data[:n/2], lost.Data[n/2+1:], 1
		return append(append(list, first, second), rest...)
	}
	for k := range rest {
		if rest[k].Dir == lost.Dir {
			rest[k].Gap = gap
			break
		}
	}
	return append(list, rest...)
}

// TestRestOfALostMessageIsNoMessage: the first bytes that a client sent are lost. What follows
// is the rest of its message, whatever its text looks like, so nothing in it is a call.
func TestRestOfALostMessageIsNoMessage(t *testing.T) {
	query := func(s string) string { return "Q\x00\x00\x00" + string(rune(len(s)+5)) + s + "\x00" }
	fill := strings.Repeat("A", 60)
	for _, tt := range []struct {
		name, rest, answer, next, nextAnswer string
	}{
		{"http1, a request line in a body", fill + "GET /forged HTTP/1.1\r\nHost: q\r\n\r\n" + fill, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na",
			"GET /real HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nb"},
		{"http1, the next request is in no line of its own", fill, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na",
			"GET /real HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nb"},
		{"redis, a command in a value", fill + "\r\n*1\r\n$6\r\nFORGED\r\n" + fill, "+OK\r\n", "*2\r\n$3\r\nGET\r\n$4\r\nreal\r\n", "$1\r\na\r\n"},
		{"postgresql, a query in a value", fill + query("drop table forged") + fill, "C\x00\x00\x00\x0fINSERT 0 1\x00Z\x00\x00\x00\x05I",
			query("select real"), "C\x00\x00\x00\x0dSELECT 1\x00Z\x00\x00\x00\x05I"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rest := dissecttest.Client(tt.rest)
			rest.Gap = 1400
			r := dissecttest.Play(t, dissecttest.Options{Protocols: Protocols(nil), Roles: true, End: dissect.EndFin},
				rest, dissecttest.Server(tt.answer), dissecttest.Client(tt.next), dissecttest.Server(tt.nextAnswer))
			read := false
			for _, e := range r.Emissions {
				b := e.Row.Base()
				if s := strings.ToLower(b.Summary); strings.Contains(s, "forged") || strings.Contains(s, "aaaaaa") && b.Complete {
					t.Errorf("the rest of a lost message is the call %q", b.Summary)
				}
				read = read || b.Complete && strings.Contains(b.Summary, "real")
			}
			if !read {
				t.Error("the call after it is not complete")
			}
			if sum := r.Conn.RowBytes + r.Conn.AnomalyBytes; sum != r.Bytes {
				t.Errorf("%d of %d bytes accounted for", sum, r.Bytes)
			}
		})
	}
}

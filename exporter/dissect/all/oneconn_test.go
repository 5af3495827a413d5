package all

import (
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// counted counts rows, and lists anomalies.
type counted struct {
	calls     int
	anomalies []string
}

func (s *counted) Call(e dissect.Emission) {
	s.calls++
	for _, b := range [...]*dissect.Body{e.ReqBody, e.RespBody} {
		if b != nil {
			b.Release()
		}
	}
}

func (s *counted) Anomaly(_ *dissect.Conn, a table.Anomaly) {
	s.anomalies = append(s.anomalies, a.Kind)
}

// TestOneConnectionBeyondTheBudget sends requests that nobody answers on one connection until they
// exceed the memory limit, in segments that end within a request. Its oldest calls give way; the
// later requests are read, too.
func TestOneConnectionBeyondTheBudget(t *testing.T) {
	const requests, segment = 20_000, 1399
	for _, tt := range []struct {
		name, first string
		port        uint16
		request     func(i int) string
	}{
		{"http1", "", 80, func(int) string { return "GET /a HTTP/1.1\r\nHost: shop\r\n\r\n" }},
		{"http2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + h2(4, 0, 0, ""), 80, func(i int) string { return h2(1, 5, 2*i+1, "\x82\x84\x86\x41\x04shop") }},
		{"redis", "", 6379, func(int) string { return "*2\r\n$3\r\nGET\r\n$3\r\nabc\r\n" }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var sink counted
			e, err := dissect.NewEngine(Protocols(nil), nil, &sink, true)
			if err != nil {
				t.Fatal(err)
			}
			e.SetBudget(2 << 20)
			c := e.NewConn(dissect.Info{Transport: dissect.TCP, ClientPort: 40000, ServerPort: tt.port, RolesKnown: true, Began: [2]bool{true, true}, ConnectUs: -1, IPVersion: 4})
			var all strings.Builder
			all.WriteString(tt.first)
			for i := range requests {
				all.WriteString(tt.request(i))
			}
			data, no, last := []byte(all.String()), int64(0), dissect.Packet{}
			for at := 0; at < len(data); at += segment {
				last = dissect.Packet{No: no, Time: no * 1000, Seq: uint32(at)}
				c.Data(dissect.ToServer, data[at:min(at+segment, len(data))], last)
				no++
			}
			c.Close(dissect.EndCapture, last)
			if sink.calls != requests {
				t.Errorf("%d calls of %d requests", sink.calls, requests)
			}
			if got := strings.Join(sink.anomalies, " "); got != "evicted" {
				t.Errorf("anomalies %q, want evicted, once", got)
			}
		})
	}
}

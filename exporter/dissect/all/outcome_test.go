package all

import (
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// TestOutcomesAtTheEnd ends conversations in every way before an answer is complete.
func TestOutcomesAtTheEnd(t *testing.T) {
	const get = "GET /orders/17 HTTP/1.1\r\nHost: a\r\n\r\n"
	const half = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"
	for _, tt := range []struct {
		name    string
		request string
		answer  string
		end     dissect.End
		outcome string
		failed  bool
	}{
		{"no answer, closed", get, "", dissect.EndFin, table.NoAnswer, true},
		{"no answer, reset", get, "", dissect.EndReset, table.NoAnswer, true},
		{"no answer, silent", get, "", dissect.EndTimeout, table.NoAnswer, true},
		{"no answer, the capture ends", get, "", dissect.EndCapture, table.Cut, false},
		{"half an answer, closed", get, half, dissect.EndFin, table.NoAnswer, true},
		{"half an answer, the capture ends", get, half, dissect.EndCapture, table.Cut, false},
		{"an answer without a request", "", "HTTP/1.1 204 No Content\r\n\r\n", dissect.EndCapture, table.Cut, false},
		{"an error without a request", "", "HTTP/1.1 503 x\r\nContent-Length: 0\r\n\r\n", dissect.EndCapture, table.ServerError, true},
		{"an unknown payload", "\x01\x02\x03 no protocol", "\x04\x05", dissect.EndFin, table.Unread, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var chunks []dissecttest.Chunk
			if tt.request != "" {
				chunks = append(chunks, dissecttest.Client(tt.request))
			}
			if tt.answer != "" {
				chunks = append(chunks, dissecttest.Server(tt.answer))
			}
			r := dissecttest.Play(t, dissecttest.Options{Protocols: Protocols(nil), Roles: true, End: tt.end}, chunks...)
			if len(r.Emissions) != 1 {
				t.Fatalf("%d rows", len(r.Emissions))
			}
			c := r.Emissions[0].Row.Base()
			if c.Outcome != tt.outcome || c.Failed != tt.failed {
				t.Errorf("%s, outcome %s, failed %v, want %s, %v", c.Summary, c.Outcome, c.Failed, tt.outcome, tt.failed)
			}
			if want := tt.request != ""; c.WaitedUs.OK != want {
				t.Errorf("waited %+v", c.WaitedUs)
			}
		})
	}
}

// TestUnaskedResponsesAreNotCut sends a response that no request explains on a connection that was captured from its
// beginning, and takes away each reason for that certainty in turn.
func TestUnaskedResponsesAreNotCut(t *testing.T) {
	const get, no, end = "GET /a HTTP/1.1\r\nHost: a.example\r\n\r\n", "HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"
	client, server := dissecttest.Client, dissecttest.Server
	for _, tt := range []struct {
		name    string
		midway  bool
		chunks  []dissecttest.Chunk
		outcome string
	}{
		{"all was captured", false, []dissecttest.Chunk{client(get), server(no), server(no)}, table.OK},
		{"the capture begins in the middle", true, []dissecttest.Chunk{client(get), server(no), server(no)}, table.Cut},
		{"bytes of the client are lost", false, []dissecttest.Chunk{client(get), server(no), {Dir: dissect.ToServer, Gap: 10}, server(no)}, table.Cut},
		{"bytes of the server are lost", false, []dissecttest.Chunk{client(get), {Dir: dissect.ToClient, Gap: 10, Data: []byte(no)}, server(no)}, table.Cut},
		{"the client's side was not captured", false, []dissecttest.Chunk{server(no)}, table.Cut},
		{"the end of the capture cuts it", false, []dissecttest.Chunk{client(get), server(no), server(end + "a")}, table.Cut},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := dissecttest.Play(t, dissecttest.Options{Protocols: Protocols(nil), Roles: !tt.midway, End: dissect.EndCapture}, tt.chunks...)
			last := r.Emissions[len(r.Emissions)-1].Row.Base()
			if last.Error.V != "no_request" || last.Outcome != tt.outcome {
				t.Errorf("%s: error %s, outcome %s, want no_request, %s", last.Summary, last.Error.V, last.Outcome, tt.outcome)
			}
		})
	}
}

package httpstream

import (
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/hpack"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/httpfield"
	"github.com/pcapsule/pcapsule/exporter/table"
)

func fieldsOf(pairs ...string) (out []hpack.Field) {
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, hpack.Field{Name: pairs[i], Value: pairs[i+1]})
	}
	return out
}

func TestWhichFieldsCanBeTrailers(t *testing.T) {
	for _, row := range []struct {
		name   string
		fields []hpack.Field
		want   bool
	}{
		{"no field at all", nil, true},
		{"plain fields", fieldsOf("grpc-status", "0", "x", "1"), true},
		{"a pseudo header among them", fieldsOf("x", "1", ":status", "200"), false},
		{"an unknown name may be a pseudo header", fieldsOf(hpack.UnknownText, hpack.UnknownText), false},
	} {
		if got := Trailing(row.fields); got != row.want {
			t.Errorf("%s: %v, want %v", row.name, got, row.want)
		}
	}
}

func TestInterimStatusIsThatOfA1xxResponse(t *testing.T) {
	for status, want := range map[string]int32{"103": 103, "100": 100, "199": 199, "200": 0, "99": 0, "abc": 0, "99999999": 0, "": 0} {
		if got := InterimStatus(fieldsOf("link", "x", ":status", status)); got != want {
			t.Errorf("%q: %d, want %d", status, got, want)
		}
	}
}

func TestPseudoHeadersHaveTheirPlace(t *testing.T) {
	for _, row := range []struct {
		name, header, kind string
		first, again       bool
	}{
		{"a method once", ":method", httpfield.Request, true, false},
		{"a path once", ":path", httpfield.Request, true, false},
		{"no status in a request", ":status", httpfield.Request, false, false},
		{"a status once", ":status", httpfield.Response, true, false},
		{"every interim response has one", ":status", interim, true, true},
		{"no method in a response", ":method", httpfield.Response, false, false},
		{"none in trailers", ":status", httpfield.ResponseTrailer, false, false},
		{"none in a request's trailers", ":path", httpfield.RequestTrailer, false, false},
	} {
		var s Stream
		if got := s.pseudo(row.header, "200", row.kind); got != row.first {
			t.Errorf("%s: first %v, want %v", row.name, got, row.first)
		}
		if got := s.pseudo(row.header, "200", row.kind); got != row.again {
			t.Errorf("%s: again %v, want %v", row.name, got, row.again)
		}
	}
}

func TestAddFieldsDistinguishesHeadInterimAndTrailers(t *testing.T) {
	var s Stream
	s.AddFields(nil, dissect.ToServer, fieldsOf(":method", "POST", ":scheme", "http", ":path", "/a?b", "content-type", "application/grpc"), 30, false)
	s.AddFields(nil, dissect.ToClient, fieldsOf(":status", "103", "link", "x"), 9, false)
	s.AddFields(nil, dissect.ToClient, fieldsOf(":status", "200", "content-length", "12"), 10, false)
	s.AddFields(nil, dissect.ToClient, fieldsOf("grpc-status", "0"), 11, true)
	var kinds []string
	for _, x := range s.Headers {
		kinds = append(kinds, x.Kind+" "+x.Name)
	}
	if got, want := strings.Join(kinds, ", "), "request content-type, interim link, response content-length, response_trailer grpc-status"; got != want {
		t.Errorf("headers %s\nwant %s", got, want)
	}
	resp := &s.Half[dissect.ToClient]
	if s.Method != "POST" || s.Path != "/a" || s.Query.V != "b" || s.Status != 200 || s.Interim != "103" || !s.GRPC || resp.Wire != 10 || resp.length.V != 12 {
		t.Errorf("%+v", s)
	}
}

func TestCausePrefersTheUnderlyingReason(t *testing.T) {
	head, whole, nothing := Half{Head: true}, Half{Head: true, End: true}, Half{}
	for _, row := range []struct {
		name  string
		s     Stream
		cause string
		gap   bool
		want  string
	}{
		{"whole", Stream{Status: 200, Half: [2]Half{whole, whole}}, "", false, ""},
		{"answered before the request's end", Stream{Status: 200, Half: [2]Half{head, whole}}, "cut", false, ""},
		{"reset in spite of a gap", Stream{Half: [2]Half{whole, nothing}}, "reset", true, "reset"},
		{"malformed, whatever is missing", Stream{Malformed: true, Half: [2]Half{whole, nothing}}, "cut", true, "malformed"},
		{"a gap, which may be why nothing came", Stream{Half: [2]Half{whole, nothing}}, "no_response", true, "gap"},
		{"an answer to a request that was not captured", Stream{Status: 200, Half: [2]Half{nothing, whole}}, "", false, "no_request"},
		{"an unfinished answer to a request that was not captured", Stream{Status: 200, Half: [2]Half{nothing, head}}, "no_response", false, "no_request"},
		{"no answer", Stream{Half: [2]Half{whole, nothing}}, "no_response", false, "no_response"},
	} {
		e := End{Error: row.s.Cause(row.cause, row.gap), Gap: row.gap}
		var c table.Call
		row.s.Row(&c, &e)
		if e.Error != row.want || c.Error.V != row.want {
			t.Errorf("%s: %q, want %q", row.name, e.Error, row.want)
		}
	}
}

func TestALengthEndsABodyUnderSuspicion(t *testing.T) {
	for _, row := range []struct {
		name       string
		half       Half
		lengthEnds bool
		want       bool
	}{
		{"its end came", Half{Head: true, End: true, Suspect: true, length: table.Some(int64(0))}, false, false},
		{"its end did not come", Half{Head: true, Suspect: true, length: table.Some(int64(0))}, false, true},
		{"its end need not come", Half{Head: true, Suspect: true, length: table.Some(int64(0))}, true, false},
		{"too short", Half{Head: true, End: true, Suspect: true, length: table.Some(int64(1))}, true, true},
		{"no length", Half{Head: true, End: true, Suspect: true}, true, true},
	} {
		s := Stream{Half: [2]Half{{Head: true, End: true}, row.half}}
		if got := s.Settle(row.lengthEnds); got != row.want {
			t.Errorf("%s: gap %v, want %v", row.name, got, row.want)
		}
	}
}

func TestContentLengthIsDigitsOnly(t *testing.T) {
	for text, want := range map[string]int64{"0": 0, "12": 12, "": -1, "-1": -1, "1 ": -1, "99999999999999999999": -1} {
		n, ok := parseLength(text)
		if !ok {
			n = -1
		}
		if n != want {
			t.Errorf("%q: %d, want %d", text, n, want)
		}
	}
}

func TestSummaryCutsALongPath(t *testing.T) {
	s := Stream{Method: "GET", HasPath: true, Path: "/" + strings.Repeat("ä", 200), Status: 200}
	got := s.summary(&End{Error: "reset", CodeName: "CANCEL"})
	if want := "GET /" + strings.Repeat("ä", 99) + "… → 200, reset CANCEL"; got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

func TestEndedForgetsTheFirst(t *testing.T) {
	var e Ended
	if e.Has(0) {
		t.Error("an empty one has 0")
	}
	for i := range int64(maxEnded) {
		e.Add(i)
		e.Add(i)
	}
	e.Add(-5)
	if e.Has(0) || !e.Has(1) || !e.Has(-5) || len(e.keys) != maxEnded {
		t.Errorf("0: %v, 1: %v, -5: %v, %d keys", e.Has(0), e.Has(1), e.Has(-5), len(e.keys))
	}
}

// quiet is a sink that keeps nothing.
type quiet struct{ anomalies int }

func (q *quiet) Call(dissect.Emission)                {}
func (q *quiet) Anomaly(*dissect.Conn, table.Anomaly) { q.anomalies++ }

// TestEndlessInterimResponsesAreBounded: each response used to rebuild the list of the previous
// ones.
func TestEndlessInterimResponsesAreBounded(t *testing.T) {
	sink := &quiet{}
	e, err := dissect.NewEngine(nil, nil, sink, true)
	if err != nil {
		t.Fatal(err)
	}
	c := e.NewConn(dissect.Info{Transport: dissect.TCP})
	var s Stream
	for range 5000 {
		s.AddFields(c, dissect.ToClient, fieldsOf(":status", "103"), 8, false)
	}
	if len(s.Interim) > maxInterim+4 || sink.anomalies == 0 {
		t.Errorf("%d bytes of interim codes and %d anomalies", len(s.Interim), sink.anomalies)
	}
}

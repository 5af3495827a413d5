package http3

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

// showHeaders lists the headers of a row.
func showHeaders(r *dissecttest.Result, i int) string {
	var b strings.Builder
	for _, x := range r.Emissions[i].Row.Base().Headers {
		fmt.Fprintf(&b, "%s: %s\n", x.Name, x.Value)
	}
	return b.String()
}

// dynamic is a response with :status and one other header, which is entry i of the encoder
// stream's insertions.
func dynamic(need, i int) string {
	return frameOf(frameHeaders, after("\xd9", indexed(need, i))) + data("x")
}

// after puts static fields before those of a section whose prefix has two bytes.
func after(fields, section string) string { return section[:2] + fields + section[2:] }

func TestDynamicTable(t *testing.T) {
	const known, unknown = "x-a: 1\n", "(unknown): (unknown)\n"
	a, b := insertion("x-a", "1"), insertion("x-b", "2")
	for _, row := range []struct {
		name  string
		steps []dissecttest.Step
		rows  int
		want  string // headers of the last row
		kinds string
	}{
		{"insertions first", with(say(7, down, capacity()+a), fin(0, up, request("/")), fin(0, down, dynamic(1, 0))), 1, known, ""},
		{"the section first", with(fin(0, up, request("/")), fin(0, down, dynamic(1, 0)), say(7, down, capacity()), say(7, down, a[:3]), say(7, down, a[3:]+b)), 1, known, ""},
		{"the section in pieces, and before the stream's end", with(fin(0, up, request("/")), say(0, down, dynamic(1, 0)[:2]), say(0, down, dynamic(1, 0)[2:]),
			say(7, down, capacity()+a), fin(0, down, "")), 1, known, ""},
		{"insertions that never come", with(fin(0, up, request("/")), fin(0, down, dynamic(1, 0))), 1, unknown, "qpack_blocked qpack_unknown"},
		{"a section that waits does not stop others", with(fin(0, up, request("/")), fin(0, down, dynamic(1, 0)), fin(4, up, request("/b")), fin(4, down, response("x")),
			say(7, down, capacity()+a)), 2, known, ""},
		{"insertions that come too late", with(fin(0, up, request("/")), fin(0, down, dynamic(1, 0)), dissecttest.Step{Stream: 4, Dir: up, Data: []byte(request("/b")), Wait: 11e9},
			say(7, down, capacity()+a)), 2, "", "qpack_blocked qpack_unknown"},
		{"a gap in the encoder stream", with(say(7, down, capacity()+a), gap(7, down, 8, b), fin(0, up, request("/")), fin(0, down, dynamic(2, 1))), 1, unknown, "qpack_unknown"},
		{"an entry from before the gap", with(say(7, down, capacity()+a), gap(7, down, 8, b), fin(0, up, request("/")), fin(0, down, dynamic(2, 0))), 1, known, ""},
		{"a gap while a section waits", with(say(7, down, capacity()+a), fin(0, up, request("/")), fin(0, down, dynamic(2, 1)), gap(7, down, 8, b)), 1, unknown, "qpack_unknown"},
		{"a gap in both streams of QPACK", with(say(7, down, capacity()+a), gap(7, down, 8, b), gap(10, up, 3, ""), fin(0, up, request("/")), fin(0, down, dynamic(2, 0))), 1, unknown, "qpack_unknown"},
		{"a gap over the type of a stream", []dissecttest.Step{gap(7, down, 30, b), fin(0, up, request("/")), fin(0, down, dynamic(2, 0))}, 1, unknown, "qpack_unknown"},
		{"settings lost", []dissecttest.Step{say(7, down, num(streamEncoder)+capacity()+a), fin(0, up, request("/")), fin(0, down, dynamic(1, 0))}, 1, known, ""},
		{"entries larger than the table", with(say(7, down, "\x21"+a), fin(0, up, request("/")), fin(0, down, dynamic(1, 0))), 1, unknown, "malformed qpack_unknown"},
		{"more than was announced", with(say(7, down, "\x3f\xe1\x3f"), fin(0, up, request("/")), fin(0, down, response("x"))), 1, "content-type: text/plain\n", "qpack_table_size"},
		{"two sections of one stream", with(fin(0, up, request("/")), fin(0, down, dynamic(1, 0)+frameOf(frameHeaders, indexed(2, 1))), say(7, down, capacity()+a), say(7, down, b)), 1, known + "x-b: 2\n", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := play(t, dissect.EndFin, noError, row.steps...)
			if len(r.Emissions) != row.rows {
				t.Fatalf("%d rows, want %d:\n%s%v", len(r.Emissions), row.rows, dissecttest.Lines(r), r.Anomalies)
			}
			got := showHeaders(r, row.rows-1)
			if i := strings.Index(got, "user-agent: t/1\n"); i >= 0 {
				got = got[i+len("user-agent: t/1\n"):]
			}
			if got != row.want {
				t.Errorf("headers\n%swant\n%s", got, row.want)
			}
			if got := dissecttest.Kinds(r); got != row.kinds {
				t.Errorf("anomalies %q, want %q: %v", got, row.kinds, r.Anomalies)
			}
		})
	}
}

// TestSmallTable has a table of one entry: a blocked section must be read as soon as its entry
// is there, because the next insertion evicts it.
func TestSmallTable(t *testing.T) {
	size := func() string { return "\x3f\x09" } // 40 bytes
	var steps []dissecttest.Step
	steps = append(steps, say(2, up, num(streamControl)+settings(1, 64)), say(7, down, num(streamEncoder)+size()))
	var stream string
	for i := range 9 {
		id := int64(4 * i)
		stream += insertion("x-n", fmt.Sprint(i))
		need := i + 1
		coded := byte(need%(2*2) + 1) // a table of 64 bytes has at most 2 entries
		steps = append(steps, fin(id, up, request("/")), fin(id, down, frameOf(frameHeaders, string([]byte{coded, 0, 0xd9, 0x80}))))
		if i%2 == 1 { // two sections wait at a time, as many as the table may have entries
			steps = append(steps, say(7, down, stream))
			stream = ""
		}
	}
	r := play(t, dissect.EndFin, noError, append(steps, say(7, down, stream))...)
	if len(r.Emissions) != 9 || len(r.Anomalies) > 0 {
		t.Fatalf("%d rows, %v", len(r.Emissions), r.Anomalies)
	}
	for i := range r.Emissions {
		c := r.Emissions[i].Row.Base()
		if want := fmt.Sprintf("x-n: %d\n", c.StreamID.V/4); !strings.HasSuffix(showHeaders(r, i), want) {
			t.Errorf("stream %d: %s, want %s", c.StreamID.V, showHeaders(r, i), want)
		}
	}
}

// TestManyWait blocks more sections than the limit allows.
func TestManyWait(t *testing.T) {
	steps := with()
	for i := range int64(maxWaiting + 50) {
		steps = append(steps, fin(4*i, up, request("/")), fin(4*i, down, dynamic(1, 0)))
	}
	r := play(t, dissect.EndFin, noError, append(steps, say(7, down, capacity()+insertion("x-a", "1")))...)
	known := 0
	for i := range r.Emissions {
		if strings.Contains(showHeaders(r, i), "x-a: 1") {
			known++
		}
	}
	if len(r.Emissions) != maxWaiting+50 || known != maxWaiting {
		t.Errorf("%d rows, %d of them waited, want %d", len(r.Emissions), known, maxWaiting)
	}
}

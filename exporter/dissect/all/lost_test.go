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
	return strings.Contains(summary, "… →") || strings.Contains(summary, "…; ") || strings.Contains(summary, " ?; ") || strings.Contains(summary, " ? →") || strings.Contains(summary, ", sasl →")
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

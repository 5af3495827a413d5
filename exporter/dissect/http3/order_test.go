package http3

import (
	"fmt"
	"math/rand"
	"reflect"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// TestAnyOrder plays streams in any interleaving, each in order and cut into pieces. No bytes
// are missing, so all rows must be the same.
func TestAnyOrder(t *testing.T) {
	for _, s := range samples() {
		if s.Name == "tunnels" { // streams after the end of their session belong to no row
			continue
		}
		var steps []dissecttest.Step
		for _, st := range s.Steps {
			if !st.Reset && !st.Datagram {
				steps = append(steps, st)
			}
		}
		t.Run(s.Name, func(t *testing.T) {
			want := byStream(play(t, dissect.EndFin, -1, steps...))
			for seed := range int64(200) {
				rnd := rand.New(rand.NewSource(seed))
				r := play(t, dissect.EndFin, -1, interleave(rnd, steps)...)
				if got := byStream(r); !reflect.DeepEqual(got, want) {
					t.Fatalf("order %d:\n got %v\nwant %v", seed, got, want)
				}
			}
		})
	}
}

// interleave cuts the bytes of each stream's direction into pieces and shuffles the streams.
func interleave(rnd *rand.Rand, steps []dissecttest.Step) (out []dissecttest.Step) {
	type lane struct {
		id  int64
		dir dissect.Dir
	}
	bytes, ends := map[lane][]byte{}, map[lane]bool{}
	var lanes []lane
	for _, s := range steps {
		l := lane{s.Stream, s.Dir}
		if _, ok := bytes[l]; !ok {
			lanes = append(lanes, l)
		}
		bytes[l] = append(bytes[l], s.Data...)
		ends[l] = ends[l] || s.Fin
	}
	for len(lanes) > 0 {
		i := rnd.Intn(len(lanes))
		l := lanes[i]
		n := min(rnd.Intn(30), len(bytes[l]))
		s := dissecttest.Step{Stream: l.id, Dir: l.dir, Data: bytes[l][:n]}
		if bytes[l] = bytes[l][n:]; len(bytes[l]) == 0 {
			s.Fin = ends[l]
			lanes = append(lanes[:i], lanes[i+1:]...)
		}
		out = append(out, s)
	}
	return out
}

// byStream renders rows by stream, without the parts that depend on the order.
func byStream(r *dissecttest.Result) map[int64]string {
	out := map[int64]string{}
	for _, e := range r.Emissions {
		c := e.Row.Base()
		kinds := map[string][]table.Header{}
		for _, x := range c.Headers {
			kinds[x.Kind] = append(kinds[x.Kind], x)
		}
		out[c.StreamID.V] = fmt.Sprint(c.Summary, c.Complete, c.Error, kinds, c.RequestBytes, c.ResponseBytes, c.RequestBodyHash, c.ResponseBodyHash, c.RequestHeadersSize, c.ResponseHeadersSize)
	}
	return out
}

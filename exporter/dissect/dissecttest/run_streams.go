package dissecttest

import (
	"bytes"
	"math/rand"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
)

// StreamSample is a conversation on many streams that a protocol's author supplies for the
// suite.
type StreamSample struct {
	Name  string
	Steps []Step
	Rows  int                 // expected number of calls
	Needs []*dissect.Protocol // protocols that also have rows in it
}

// RunStreams is Run for a protocol with NewStreams: any split of the streams' bytes produces the
// same rows; truncation, loss, another order, resets and changed bytes never panic; every byte is
// accounted for; no memory is held after the end.
func RunStreams(t *testing.T, p *dissect.Protocol, samples ...StreamSample) {
	t.Helper()
	if len(samples) == 0 || len(p.ALPN) == 0 {
		t.Fatal("the suite needs at least one sample, and an ALPN name")
	}
	t.Run("columns", func(t *testing.T) { columns(t, p) })
	for _, s := range samples {
		t.Run(s.Name, func(t *testing.T) {
			o := Options{Protocols: append([]*dissect.Protocol{p}, s.Needs...), End: dissect.EndFin}
			whole := PlayStreams(t, o, p.ALPN[0], -1, s.Steps...)
			account(t, whole)
			if got := ours(whole, p); len(got) < 1 || len(whole.Emissions) != s.Rows {
				t.Fatalf("%d rows, %d of them %s, want %d; anomalies %v", len(whole.Emissions), len(got), p.Name, s.Rows, whole.Anomalies)
			}
			for _, a := range whole.Anomalies {
				t.Errorf("anomaly on a good sample: %s %s", a.Kind, a.Detail)
			}
			cutStreams(t, o, p, s, shapes(whole))
			damageStreams(t, o, p, s)
		})
	}
}

// cutStreams plays the steps cut into smaller ones and compares the rows.
func cutStreams(t *testing.T, o Options, p *dissect.Protocol, s StreamSample, want []string) {
	rnd := rand.New(rand.NewSource(1))
	for i := range 12 {
		steps := cutSteps(s.Steps, func() int {
			switch i {
			case 0:
				return 1
			case 1:
				return 7
			}
			return 1 + rnd.Intn(40)
		})
		r := PlayStreams(t, o, p.ALPN[0], -1, steps...)
		account(t, r)
		got := shapes(r)
		if len(got) != len(want) {
			t.Fatalf("cut %d gives %d rows, want %d", i, len(got), len(want))
		}
		for k := range got {
			if got[k] != want[k] {
				t.Fatalf("cut %d gives another row:\n got %s\nwant %s", i, got[k], want[k])
			}
		}
	}
}

func cutSteps(in []Step, size func() int) (out []Step) {
	for _, s := range in {
		if s.Datagram || len(s.Data) == 0 {
			out = append(out, s)
			continue
		}
		for d := s.Data; len(d) > 0; {
			n := min(size(), len(d))
			c := s
			c.Data, c.Fin = d[:n], s.Fin && n == len(d)
			if len(d) < len(s.Data) {
				c.Gap, c.Wait = 0, 0
			}
			out = append(out, c)
			d = d[n:]
		}
	}
	return out
}

// damageStreams plays the steps truncated, with gaps, in another order, with resets and with
// changed bytes.
func damageStreams(t *testing.T, o Options, p *dissect.Protocol, s StreamSample) {
	rnd := rand.New(rand.NewSource(2))
	small := cutSteps(s.Steps, func() int { return 1 + rnd.Intn(60) })
	for range 100 {
		var w []Step
		kind, at := rnd.Intn(7), rnd.Intn(len(small))
		for i, c := range small {
			c.Data = bytes.Clone(c.Data)
			switch {
			case kind == 0 && i >= at:
				continue // truncated
			case kind == 1 && rnd.Intn(10) == 0 && !c.Datagram:
				w = append(w, Step{Stream: c.Stream, Dir: c.Dir, Gap: int64(len(c.Data)), Fin: c.Fin})
				continue
			case kind == 2 && len(c.Data) > 0 && rnd.Intn(6) == 0:
				c.Data[rnd.Intn(len(c.Data))] = byte(rnd.Intn(256))
			case kind == 3 && i < at:
				continue // starts in the middle
			case kind == 4:
				c.Dir = c.Dir.Other()
			case kind == 5 && rnd.Intn(8) == 0:
				w = append(w, Step{Stream: c.Stream, Dir: dissect.Dir(rnd.Intn(2)), Reset: rnd.Intn(2) == 0, Stop: true, Code: int64(rnd.Intn(600))})
			}
			w = append(w, c)
		}
		if kind == 6 {
			w = mix(rnd, w)
		}
		opt := o
		opt.End = []dissect.End{dissect.EndFin, dissect.EndReset, dissect.EndTimeout, dissect.EndCapture}[rnd.Intn(4)]
		account(t, PlayStreams(t, opt, p.ALPN[0], int64(rnd.Intn(3))*0x100-1, w...))
	}
}

// mix reorders steps; those of one stream's direction keep their order.
func mix(rnd *rand.Rand, in []Step) (out []Step) {
	for len(in) > 0 {
		i := rnd.Intn(len(in))
		for k := range i {
			if in[k].Stream == in[i].Stream && in[k].Dir == in[i].Dir && !in[k].Datagram {
				i = k
				break
			}
		}
		out = append(out, in[i])
		in = append(in[:i:i], in[i+1:]...)
	}
	return out
}

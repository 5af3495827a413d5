package dissecttest

import (
	"bytes"
	"fmt"
	"math/rand"
	"reflect"
	"slices"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Sample is a conversation that a protocol's author supplies for the suite.
type Sample struct {
	Name   string
	Chunks []Chunk
	Rows   int                 // expected number of calls
	Needs  []*dissect.Protocol // protocols it upgrades to, or from
}

// Run checks the contract of a protocol on each sample and on damaged forms of it: any segmentation
// produces the same rows; truncation, loss, swapped directions and changed bytes never panic; every
// byte is accounted for; no memory is held after the end.
func Run(t *testing.T, p *dissect.Protocol, samples ...Sample) {
	t.Helper()
	if len(samples) == 0 {
		t.Fatal("the suite needs at least one sample")
	}
	t.Run("columns", func(t *testing.T) { columns(t, p) })
	for _, s := range samples {
		t.Run(s.Name, func(t *testing.T) {
			o := OptionsOf(p)
			o.need(s.Needs)
			whole := Play(t, o, s.Chunks...)
			account(t, whole)
			if got := ours(whole, p); len(got) < 1 || len(whole.Emissions) != s.Rows {
				t.Fatalf("%d rows, %d of them %s, want %d; anomalies %v", len(whole.Emissions), len(got), p.Name, s.Rows, whole.Anomalies)
			}
			for _, a := range whole.Anomalies {
				t.Errorf("anomaly on a good sample: %s %s", a.Kind, a.Detail)
			}
			if o.Transport == dissect.TCP {
				cuts(t, o, s, whole)
			} else {
				unreadable(t, o, p, s, whole)
			}
			damage(t, o, s)
		})
	}
	t.Run("noise", func(t *testing.T) { noise(t, p) })
}

func ours(r *Result, p *dissect.Protocol) (rows []table.CallRow) {
	for _, e := range r.Emissions {
		if e.Row.Base().Protocol == p.Name {
			rows = append(rows, e.Row)
		}
	}
	return rows
}

// columns checks column names: snake case, protocol prefix, documentation, no conflict with
// shared ones.
func columns(t *testing.T, p *dissect.Protocol) {
	s := table.SchemaOf("calls/"+p.Name, p.Doc, reflect.ValueOf(p.Row).Elem().Interface())
	base := table.SchemaOf("calls", "", table.Call{})
	if _, err := table.Union(base, s); err != nil {
		t.Error(err)
	}
	for _, c := range s.Columns[len(base.Columns):] {
		if len(c.Field) > 1 && reflect.TypeOf(p.Row).Elem().Field(c.Field[0]).Type.Kind() == reflect.Pointer {
			continue // what the content means, see package content
		}
		if len(c.Name) <= len(p.Name) || c.Name[:len(p.Name)] != p.Name {
			t.Errorf("column %s lacks the prefix %s_", c.Name, p.Name)
		}
	}
}

// cuts plays the conversation with other segments and compares the rows.
func cuts(t *testing.T, o Options, s Sample, whole *Result) {
	rnd := rand.New(rand.NewSource(1))
	var ways [][]Chunk
	ways = append(ways, cut(s.Chunks, func() int { return 1 }), cut(s.Chunks, func() int { return 7 }))
	for range 10 {
		ways = append(ways, cut(s.Chunks, func() int { return 1 + rnd.Intn(40) }))
	}
	want := shapes(whole)
	for i, w := range ways {
		r := Play(t, o, w...)
		account(t, r)
		if got := shapes(r); !reflect.DeepEqual(got, want) {
			t.Fatalf("cut %d gives other rows:\n got %v\nwant %v", i, got, want)
		}
	}
}

func cut(in []Chunk, size func() int) (out []Chunk) {
	for _, c := range in {
		for d := c.Data; len(d) > 0; {
			n := min(size(), len(d))
			out = append(out, Chunk{Dir: c.Dir, Data: d[:n]})
			d = d[n:]
		}
	}
	return out
}

// shapes renders the rows without the parts that depend on packets: times, citations, marks.
func shapes(r *Result) (out []string) {
	for _, e := range r.Emissions {
		v := reflect.ValueOf(e.Row).Elem()
		c := reflect.New(v.Type()).Elem()
		c.Set(v)
		b := c.Addr().Interface().(table.CallRow).Base()
		b.Cites, b.TsNs, b.Ts, b.Delivery = nil, 0, 0, nil
		b.CallID = table.ID{} // contains sequence and acknowledgement numbers
		for _, p := range []*table.Opt[int64]{&b.ElapsedUs, &b.WaitedUs, &b.TTFBUs, &b.TLSUs, &b.SendUs, &b.WaitUs, &b.ReceiveUs} {
			*p = table.Opt[int64]{}
		}
		shared := "" // structs that the row points to
		for i := range c.NumField() {
			if f := c.Field(i); f.Kind() == reflect.Pointer && !f.IsNil() {
				shared += fmt.Sprintf(" %+v", f.Elem().Interface())
				f.SetZero()
			}
		}
		out = append(out, fmt.Sprintf("%+v", c.Interface())+shared)
	}
	return out
}

// damage truncates, drops, flips and garbles chunks; nothing may panic, and every byte must be
// accounted for.
func damage(t *testing.T, o Options, s Sample) {
	rnd := rand.New(rand.NewSource(2))
	small := cut(s.Chunks, func() int { return 1 + rnd.Intn(60) })
	for range 60 {
		var w []Chunk
		kind := rnd.Intn(5)
		at := rnd.Intn(len(small))
		for i, c := range small {
			c.Data = bytes.Clone(c.Data)
			switch {
			case kind == 0 && i >= at:
				continue // truncated
			case kind == 1 && rnd.Intn(10) == 0:
				w = append(w, Chunk{Dir: c.Dir, Gap: int64(len(c.Data))})
				continue
			case kind == 2 && len(c.Data) > 0 && rnd.Intn(6) == 0:
				c.Data[rnd.Intn(len(c.Data))] = byte(rnd.Intn(256))
			case kind == 3 && i < at:
				continue // starts in the middle
			case kind == 4:
				c.Dir = c.Dir.Other()
			}
			w = append(w, c)
		}
		opt := o
		opt.End = []dissect.End{dissect.EndFin, dissect.EndReset, dissect.EndTimeout, dissect.EndCapture}[rnd.Intn(4)]
		account(t, Play(t, opt, w...))
	}
}

// unreadable shortens the datagrams from the server, each in turn: a question whose response came, but cannot be read, is
// not one without an answer.
func unreadable(t *testing.T, o Options, p *dissect.Protocol, s Sample, whole *Result) {
	o.End = dissect.EndTimeout
	for i, c := range s.Chunks {
		for _, n := range []int{len(c.Data) / 2, len(c.Data) - 1} {
			if c.Dir != dissect.ToClient || n <= 0 || n >= len(c.Data) {
				continue
			}
			w := slices.Clone(s.Chunks)
			w[i].Data = c.Data[:n]
			if r := Play(t, o, w...); unanswered(ours(r, p)) > unanswered(ours(whole, p)) {
				t.Errorf("with %d bytes of chunk %d:\n%s%v", n, i, Lines(r), r.Anomalies)
			}
		}
	}
}

func unanswered(rows []table.CallRow) (n int) {
	for _, row := range rows {
		if row.Base().Outcome == table.NoAnswer {
			n++
		}
	}
	return n
}

// noise passes random bytes to Detect; a protocol that answers Yes claims other protocols'
// traffic.
func noise(t *testing.T, p *dissect.Protocol) {
	if p.Detect == nil || p.Transports[0] == dissect.ICMP || p.Transports[0] == dissect.SCTP { // these transports carry nothing else
		return
	}
	rnd := rand.New(rand.NewSource(3))
	yes := 0
	const tries = 20000
	for range tries {
		b := make([]byte, rnd.Intn(200))
		rnd.Read(b)
		for _, d := range []dissect.Dir{dissect.ToServer, dissect.ToClient} {
			if p.Detect(d, b) >= dissect.Likely {
				yes++
			}
		}
	}
	if yes > tries/1000 {
		t.Errorf("Detect says Yes to %d of %d random heads", yes, 2*tries)
	}
}

// account checks that the played bytes equal the bytes in rows and anomalies, that citations are
// valid, and that no memory is held.
func account(t *testing.T, r *Result) {
	t.Helper()
	if got := r.Conn.RowBytes + r.Conn.AnomalyBytes; got != r.Bytes {
		t.Errorf("%d bytes in rows + %d in anomalies, want %d", r.Conn.RowBytes, r.Conn.AnomalyBytes, r.Bytes)
	}
	if r.Held != 0 {
		t.Errorf("%d bytes held after the end", r.Held)
	}
	for _, e := range r.Emissions {
		b := e.Row.Base()
		if len(b.Cites) == 0 {
			t.Errorf("row %q cites nothing", b.Summary)
		}
		if b.Summary == "" {
			t.Errorf("row of %s has no summary", b.Protocol)
		}
	}
}

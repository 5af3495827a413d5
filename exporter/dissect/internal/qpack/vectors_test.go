package qpack

import (
	"bufio"
	"fmt"
	"math/rand"
	"os"
	"strings"
	"testing"
)

// event is a line of testdata/vectors.txt; see testdata/vectors.c.
type event struct {
	kind   byte
	data   []byte
	stream int64
	want   string
}

type vectors struct {
	capacity, blocked, seed int64
	events                  []event
}

func readVectors(t testing.TB) []vectors {
	t.Helper()
	f, err := os.Open("testdata/vectors.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []vectors
	for sc := bufio.NewScanner(f); sc.Scan(); {
		kind, rest, _ := strings.Cut(sc.Text(), " ")
		if kind == "conn" {
			var v vectors
			if _, err := fmt.Sscan(rest, &v.capacity, &v.blocked, &v.seed); err != nil {
				t.Fatal(err)
			}
			out = append(out, v)
			continue
		}
		v := &out[len(out)-1]
		switch kind {
		case "h", "H":
			name, value, _ := strings.Cut(rest, "\t")
			if kind == "H" {
				value += "!"
			}
			v.events[len(v.events)-1].want += name + "=" + value + "\n"
		case "s":
			var e event
			var hex string
			if _, err := fmt.Sscan(rest, &e.stream, &hex); err != nil {
				t.Fatal(err)
			}
			e.kind, e.data = 's', unhex(t, hex)
			v.events = append(v.events, e)
		default:
			v.events = append(v.events, event{kind: kind[0], data: unhex(t, rest)})
		}
	}
	return out
}

// waiting is a section that was seen, but not read yet.
type waiting struct {
	e    *event
	need int64
}

// observer reads a connection like http3: sections wait, and the encoder stream stops when one
// of them is ready.
type observer struct {
	t       *testing.T
	d       Decoder
	stream  []byte // of the encoder, not read yet
	waiting []waiting
	read    int
	unknown int
}

func (o *observer) see(e *event) {
	o.t.Helper()
	switch e.kind {
	case 'e':
		o.stream = append(o.stream, e.data...)
	case 'd':
		if n, err := o.d.Acks(e.data); n != len(e.data) || err != nil {
			o.t.Fatalf("acknowledgements: took %d of %d, %v", n, len(e.data), err)
		}
	case 's':
		need, err := o.d.Need(e.stream, e.data)
		if err != nil {
			o.t.Fatal(err)
		}
		o.waiting = append(o.waiting, waiting{e, need})
	}
	for {
		until := int64(all)
		left := o.waiting[:0]
		for _, w := range o.waiting {
			if !o.d.Ready(w.need) {
				until = min(until, w.need)
				left = append(left, w)
				continue
			}
			o.decode(w)
		}
		o.waiting = left
		n, err := o.d.Insertions(o.stream, until)
		if err != nil {
			o.t.Fatal(err)
		}
		if o.stream = o.stream[n:]; n == 0 {
			return
		}
	}
}

func (o *observer) decode(w waiting) {
	o.t.Helper()
	f, err := o.d.Decode(w.e.data, w.need)
	if err != nil {
		o.t.Fatal(err)
	}
	o.read++
	o.unknown += o.d.Unknown
	if got := show(f); got != w.e.want && !o.compatible(got, w.e.want) {
		o.t.Fatalf("section of stream %d:\n%swant\n%s", w.e.stream, got, w.e.want)
	}
}

// compatible reports whether got equals want except for unknown fields or names. If
// nothing is missing, differences are never compatible.
func (o *observer) compatible(got, want string) bool {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	if !o.d.Lost() && o.d.maxKnown || len(g) != len(w) {
		return false
	}
	for i := range g {
		name, value, _ := strings.Cut(g[i], "=")
		_, wantValue, _ := strings.Cut(w[i], "=")
		if g[i] != w[i] && (name != UnknownText || value != UnknownText && value != UnknownText+"!" && value != wantValue) {
			return false
		}
	}
	return true
}

// TestVectors reads the output of nghttp3's encoder in its original order and in others that a
// network could cause.
func TestVectors(t *testing.T) {
	for _, v := range readVectors(t) {
		t.Run(fmt.Sprint("capacity ", v.capacity, ", blocked ", v.blocked), func(t *testing.T) {
			for try := range int64(50) {
				o := &observer{t: t}
				if try%5 != 4 || v.capacity < 4096 { // sometimes SETTINGS were not seen
					o.d.SetMax(v.capacity)
				}
				sections := 0
				for _, e := range shuffle(v.events, try) {
					if e.kind == 's' {
						sections++
					}
					o.see(&e)
				}
				if o.read != sections || len(o.stream) > 0 {
					t.Fatalf("try %d: %d of %d sections read, %d bytes left", try, o.read, sections, len(o.stream))
				}
				if o.unknown > 0 && o.d.maxKnown {
					t.Fatalf("try %d: %d fields unknown", try, o.unknown)
				}
			}
		})
	}
}

// shuffle reorders the events: the encoder stream arrives in pieces and late, and the sections
// of different streams in any order, as far as acknowledgements allow.
func shuffle(in []event, seed int64) []event {
	if seed == 0 {
		return in
	}
	rnd := rand.New(rand.NewSource(seed))
	var out, sections []event
	var stream []byte
	some := func(n int) {
		n = min(n, len(stream))
		if n > 0 {
			out = append(out, event{kind: 'e', data: stream[:n:n]})
			stream = stream[n:]
		}
	}
	one := func() {
		i := rnd.Intn(len(sections))
		for k := range i { // those of one stream stay in order
			if sections[k].stream == sections[i].stream {
				i = k
				break
			}
		}
		out = append(out, sections[i])
		sections = append(sections[:i:i], sections[i+1:]...)
	}
	for _, e := range in {
		switch e.kind {
		case 'e':
			stream = append(stream, e.data...)
		case 's':
			sections = append(sections, e)
		case 'd':
			for len(sections) > 0 {
				if rnd.Intn(2) == 0 {
					some(rnd.Intn(200))
				}
				one()
			}
			if seed%2 == 0 { // else the encoder stream is behind, as after a lost packet
				some(len(stream))
			}
			out = append(out, e)
		}
	}
	for len(sections) > 0 {
		one()
	}
	some(len(stream))
	return out
}

// TestVectorsLost drops a part of the encoder stream, of the acknowledgements, or the start of
// everything; no field may get a value that it did not have.
func TestVectorsLost(t *testing.T) {
	for _, v := range readVectors(t) {
		for try := range int64(100) {
			rnd := rand.New(rand.NewSource(try))
			o := &observer{t: t}
			o.d.SetMax(v.capacity)
			from := rnd.Intn(len(v.events))
			if try%4 == 1 { // begins in mid-connection
				o.d.Lose()
				o.d.LoseAcks()
			}
			for i, e := range shuffle(v.events, try/8) {
				if try%4 == 1 && i < from {
					continue
				}
				if i == from && try%4 != 3 {
					o.d.Lose()
				}
				if i == from && try%4 == 2 {
					o.d.LoseAcks()
				}
				if e.kind == 'e' && o.d.Lost() {
					continue
				}
				o.see(&e)
			}
		}
	}
}

package dissecttest

import (
	"math/rand"
	"reflect"
	"slices"
	"testing"
	"unicode/utf8"

	"github.com/pcapsule/pcapsule/exporter/dissect"
)

// Fuzz reads random bytes in both directions, split anywhere, with gaps, as connections of a
// protocol. It must not panic, must account for every byte and hold no memory at the end. Every
// row must cite packets, and its text must be valid UTF-8. The seeds are the samples.
func Fuzz(f *testing.F, p *dissect.Protocol, samples ...Sample) {
	for i, s := range samples {
		var sides [2][]byte
		for _, c := range s.Chunks {
			sides[c.Dir] = append(sides[c.Dir], c.Data...)
		}
		f.Add(string(sides[dissect.ToServer]), string(sides[dissect.ToClient]), int64(i+1), byte(i))
	}
	f.Fuzz(func(t *testing.T, toServer, toClient string, seed int64, end byte) {
		o := OptionsOf(p)
		for _, s := range samples {
			o.need(s.Needs)
		}
		o.End, o.Roles = dissect.End(end%6), seed%2 == 0
		r := Play(t, o, split(rand.New(rand.NewSource(seed)), toServer, toClient)...)
		account(t, r)
		for _, row := range r.Rows() {
			checkText(t, reflect.ValueOf(row).Elem())
		}
	})
}

// OptionsOf are the usual options of a protocol's conversations: its first transport and port.
func OptionsOf(p *dissect.Protocol) Options {
	o := Options{Transport: p.Transports[0], Protocols: []*dissect.Protocol{p}, End: dissect.EndFin, Roles: p.Transports[0] == dissect.TCP}
	if len(p.Ports) > 0 {
		o.ServerPort = p.Ports[0]
	}
	return o
}

// need adds protocols that are not in the list.
func (o *Options) need(list []*dissect.Protocol) {
	for _, p := range list {
		if !slices.ContainsFunc(o.Protocols, func(q *dissect.Protocol) bool { return q.Name == p.Name }) {
			o.Protocols = append(o.Protocols, p)
		}
	}
}

// split makes a conversation of the bytes of both sides.
func split(rnd *rand.Rand, toServer, toClient string) (out []Chunk) {
	for len(toServer)+len(toClient) > 0 {
		from, dir := &toServer, dissect.ToServer
		if len(toServer) == 0 || len(toClient) > 0 && rnd.Intn(2) == 0 {
			from, dir = &toClient, dissect.ToClient
		}
		n := 1 + rnd.Intn(min(len(*from), 1+rnd.Intn(80)))
		c := Chunk{Dir: dir, Data: []byte((*from)[:n])}
		if rnd.Intn(12) == 0 {
			c.Gap = int64(1 + rnd.Intn(20))
		}
		out, *from = append(out, c), (*from)[n:]
	}
	return out
}

var bytesType = reflect.TypeFor[[]byte]()

// checkText reports text of a row that is not UTF-8; columns of bytes may have anything.
func checkText(t *testing.T, v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		if !utf8.ValidString(v.String()) {
			t.Errorf("text that is not UTF-8: %q", v.String())
		}
	case reflect.Pointer:
		if !v.IsNil() {
			checkText(t, v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			checkText(t, v.Field(i))
		}
	case reflect.Slice:
		if v.Type() == bytesType {
			return
		}
		for i := range v.Len() {
			checkText(t, v.Index(i))
		}
	}
}
